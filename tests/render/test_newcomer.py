"""A newcomer's path with the installed command: Triton's statistics, a profile, a plan, files that need names alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from capacity.formats.document import Document
from capacity.formats.triton_config import read_plan

STATISTICS = Path(__file__).parents[2] / "docs" / "examples" / "triton-statistics.json"


def capacity(folder: Path, line: str) -> str:
    words = [str(Path(sys.executable).with_name("capacity")), *line.split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_from_tritons_statistics_to_files(tmp_path: Path) -> None:
    import kubernetes_validate  # takes a second or two, which every worker would wait for

    (tmp_path / "statistics.json").write_bytes(STATISTICS.read_bytes())
    assert "a profile" in capacity(tmp_path, "import statistics.json --kind gpu -o classifier.json")
    asked = "plan --profile classifier.json --rate 600rps --slo-p99 60ms --routing random --batch-wait 0ms"
    answer = json.loads(capacity(tmp_path, f"{asked} -o plan.json --json"))
    capacity(tmp_path, "render plan.json --target triton --target kubernetes -o deploy")

    plan, deploy = answer["recommendation"], tmp_path / "deploy"
    found = read_plan(Document.read(deploy / "config.pbtxt"))
    assert (found.name, found.device_kind) == ("classifier", "gpu")
    assert (found.batch_size_max, found.batch_wait_max_s) == (
        plan["batch_size_max"],
        plan["batch_wait_max_s"],
    )
    manifests = {
        one["kind"]: one for one in yaml.safe_load_all((deploy / "kubernetes.yaml").read_text("utf-8"))
    }
    for one in manifests.values():
        kubernetes_validate.validate(one, "1.37", strict=True)
    deployment = manifests["Deployment"]["spec"]
    assert deployment["replicas"] * found.replicas == plan["replicas"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}


@pytest.mark.long
def test_what_is_left_to_edit_is_names(tmp_path: Path) -> None:
    """Lines to replace are marked, and what the profile does not say is stated."""
    (tmp_path / "statistics.json").write_bytes(STATISTICS.read_bytes())
    capacity(tmp_path, "import statistics.json --kind gpu -o classifier.json")
    capacity(
        tmp_path,
        "plan --profile classifier.json --rate 100rps --slo-p99 90ms --routing random --batch-wait 0ms -o plan.json",
    )
    capacity(tmp_path, "render plan.json --target triton --target kubernetes -o deploy")
    lines = [
        line
        for name in ("config.pbtxt", "kubernetes.yaml")
        for line in (tmp_path / "deploy" / name).read_text("utf-8").splitlines()
    ]
    marked = [line.split("#")[0].strip() for line in lines if "# replace" in line]
    assert marked == ["image: classifier:latest"]
    assert not any("does not say" in line for line in lines)
