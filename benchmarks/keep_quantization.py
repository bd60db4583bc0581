"""Keeps what `python -m serve_api.quantize --json` prints of weights and answers, with where it was measured.

    python -m serve_api.quantize --artifacts artifacts/mlp --output artifacts/mlp-int8 --json \\
        | python benchmarks/keep_quantization.py "how the model was trained"

Writes capacity/quantizations/serve-mlp-cpu.json, which `capacity.measured_quantization` reads.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from capacity.measured_quantization import read_measured_quantization
from capacity.measurement.environment import machine

FILE = Path(__file__).resolve().parent.parent / "capacity" / "quantizations" / "serve-mlp-cpu.json"
KEPT = ("source", "test_rows", "layers", "weights_only", "models")


def main() -> None:
    answer = json.load(sys.stdin)
    source = {
        "command": "python -m serve_api.quantize --artifacts artifacts/mlp --output artifacts/mlp-int8",
        "artifact": sys.argv[1],
        "versions": ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnx", "onnxruntime")),
        **machine(),
    }
    document = {"source": source, "study": {key: answer[key] for key in KEPT}}
    read_measured_quantization(document, "the answer")  # refuses what could not be read again
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
