"""What the first command on a machine waits for: the processor time of commands without kept machine code and with it.

    python benchmarks/first_run.py

Each runs twice with a folder of its own for machine code, which is empty at first. Processor seconds, of the user.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_ENGINES = "--profile llama-3.1-8b-rtx-pro-6000-bf16 --lengths azure-conversation-2023"
_SPIKE = "--replicas 2 --trigger spike:2x,30s --attempts 2"
COMMANDS = {
    "plan": "plan --profile resnet50-t4-fp16 --rate 3200rps --slo-p99 40ms",
    "plan of closed users": "plan --profile resnet50-t4-fp16 --users 400 --think-time 200ms --slo-p99 60ms",
    "plan of engines": f"plan {_ENGINES} --rate 20rps --slo-ttft-p99 2s --slo-tpot-p99 60ms --precision 0.05",
    "sweep": "sweep --profile resnet50-t4-fp16 --rate 400rps --rate 800rps --replicas 1 --replicas 2",
    "stress": f"stress --profile resnet50-t4-fp16 --rate 800rps --timeout 500ms {_SPIKE}",
    "stress of engines": f"stress {_ENGINES} --rate 5rps --timeout 30s {_SPIKE}",
}


def seconds(command: str, folder: Path) -> float:
    """Processor time of a command whose machine code is kept in a folder. [s]"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    program = [sys.executable, "-c", "from cli import app; app()", *command.split()]
    done = subprocess.run(
        program, env=os.environ | {"NUMBA_CACHE_DIR": str(folder)}, capture_output=True, check=False
    )
    if done.returncode not in (0, 3, 4):
        sys.exit(done.stderr.decode())
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main() -> None:
    """Print a row a command."""
    print(f"{'command':22}  first   later")
    for name, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            first_s, later_s = (seconds(command, Path(folder)) for _ in range(2))
        print(f"{name:22} {first_s:5.1f} s {later_s:5.1f} s")


if __name__ == "__main__":
    main()
