"""`capacity render`: every target from one plan, into files or to stdout, and refusals that name the way out."""

import json
from pathlib import Path
from typing import Any

import pytest
from planned import plan_document
from typer.testing import CliRunner, Result

import capacity as cap
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.registry import TARGETS
from cli import app

# Clients alone are described by plans that were made to recover: `test_deploy_clients.py`.
BATCHING = [name for name, forms in TARGETS.items() if any(issubclass(Fleet, one.PLANS) for one in forms)]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_document()), encoding="utf-8")
    return path


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["render", *(str(one) for one in arguments)])
    assert done.exit_code == code, done.output
    return done


def test_the_targets_are_found() -> None:
    assert set(TARGETS) == {
        "triton", "kubernetes", "keda", "kserve", "ray-serve", "bentoml", "compose", "serve-api", "k6", "prometheus",
        "vllm", "sglang", "llama-server", "envoy", "istio", "grpc", "inference-pool", "guidellm", "aiperf",
        "haproxy", "nginx",
    }  # fmt: skip
    assert len({forms[0].FILE for forms in TARGETS.values()}) == len(TARGETS)
    for forms in TARGETS.values():
        assert len({one.PLANS for one in forms}) == len(forms)
        assert len({one.FILE for one in forms}) == 1


@pytest.mark.parametrize("name", BATCHING)
def test_each_says_where_it_came_from(name: str, plan: Path) -> None:
    text = run(plan, "--target", name).stdout
    assert text == cap.render_plan(plan, name)
    assert text.splitlines()[0].endswith(f"capacity render {plan} --target {name}")
    assert "P99 20 ms" in text
    assert len(text.splitlines()) > 8


def test_many_targets_have_a_file_each(plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    flags = [word for name in BATCHING for word in ("--target", name)]
    run(plan, *flags, "-o", folder)
    assert {path.name for path in folder.iterdir()} == {TARGETS[name][0].FILE for name in BATCHING}
    for name in BATCHING:
        assert (folder / TARGETS[name][0].FILE).read_text("utf-8") == cap.render_plan(plan, name)


def test_one_target_goes_to_a_file_or_a_folder(plan: Path, tmp_path: Path) -> None:
    run(plan, "--target", "k6", "-o", tmp_path / "mine.js")
    run(plan, "--target", "k6", "-o", tmp_path)
    assert (tmp_path / "mine.js").read_bytes() == (tmp_path / "load-test.js").read_bytes()
    run(plan, "--target", "k6", "-o", f"{tmp_path}/new/")
    assert (tmp_path / "new" / "load-test.js").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--target", "nomad"],
            "'nomad' is unknown; use one of aiperf, bentoml, compose, envoy, grpc, guidellm, haproxy, inference-pool, istio, k6, keda, kserve",
        ),
        (["--target", "vllm"], "is for a plan of a language model, and plan.json is one of a fleet that batches"),
        (["--target", "k6", "--target", "keda"], "give a folder for them: -o FOLDER"),
        (["--target", "k6", "-o", "mine.yaml"], "is a .js or .txt file"),
        (["--target", "k6", "--target", "keda", "-o", "no/such"], "give a folder, or one to make"),
    ],
)  # fmt: skip
def test_refusals_name_the_way_out(arguments, said, plan, monkeypatch) -> None:
    monkeypatch.chdir(plan.parent)
    shown = run(plan, *arguments, code=2)
    assert said in f"{shown.exception} {shown.output}"


def test_nothing_is_written_where_one_target_cannot(plan: Path, tmp_path: Path) -> None:
    run(plan, "--target", "k6", "--target", "vllm", "-o", tmp_path / "deploy", code=2)
    assert not (tmp_path / "deploy").exists()


def test_nothing_is_written_where_one_file_cannot_be(plan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    (folder / "keda.yaml").mkdir(parents=True)
    run(plan, "--target", "k6", "--target", "keda", "-o", folder, code=2)
    assert [path.name for path in folder.iterdir()] == ["keda.yaml"]


def test_names_from_outside_stay_in_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb: c.json"
    path.write_text(json.dumps(plan_document()), encoding="utf-8")
    for name in BATCHING:
        lines = cap.render_plan(path, name).splitlines()
        assert not any(line.startswith("b: c") for line in lines)


def test_the_same_plan_gives_the_same_bytes(plan: Path) -> None:
    def all_of() -> list[str]:
        return [cap.render_plan(plan, name) for name in BATCHING]

    assert all_of() == all_of()


def test_an_answer_without_its_numbers_is_refused(tmp_path: Path) -> None:
    from capacity.answer.saved_plan import signature

    document: dict[str, Any] = plan_document()
    del document["answer"]["performance"]
    document["sha256"] = signature(document)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(cap.InputError, match=r"answer\.performance"):
        cap.render_plan(path, "triton")
