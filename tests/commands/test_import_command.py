"""`capacity import` of sweeps over a language model's server, as each tool writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
from engine_on_paper import Law, Seen, examples, sweeps, write_all
from typer.testing import CliRunner, Result

import capacity as cap
from capacity.profile.load import load_llm
from cli import app

LAW = Law()
FLAGS = ["--kv-tokens", "65536", "--sequences-max", "16", "--batched-tokens-max", "512"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Seen]]:
    return sweeps(jitter_s=5e-4)


@pytest.fixture(scope="module")
def files(runs: dict[str, list[Seen]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_all(tmp_path_factory.mktemp("vllm"), "vllm_bench", runs)


@pytest.mark.parametrize("tool", ["vllm_bench", "guidellm", "aiperf"])
def test_each_tool_gives_the_steps_of_the_engine(tool, runs, tmp_path) -> None:
    paths = write_all(tmp_path, tool, runs)
    done = run("import", *paths, *FLAGS, "--json", "-o", tmp_path / "engine.json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert abs(answer["check"]["difference"]) < 0.03
    assert answer["profile"] == json.loads((tmp_path / "engine.json").read_text(encoding="utf-8"))
    found = load_llm(str(tmp_path / "engine.json"))
    assert found.name == "engine"
    for requests in (1, 2, 4, 7, 8, 12, 15, 16):
        for context in (50, 1000):
            expected_s = LAW.step_s(0, requests, requests * context)
            assert found.table.mean_s(
                decode_requests=requests, kv_tokens=requests * context
            ) == pytest.approx(expected_s, rel=0.02)


def test_a_plan_stands_on_what_was_imported(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    assert (
        run("import", *files, *FLAGS, "--hourly-usd", "2", "--runtime", "vllm 0.19.0", "-o", path).exit_code
        == 0
    )
    asked = [
        "--lengths", "input=constant:200;output=constant:50", "--rate", "10rps", "--replicas", "1",
        "--precision", "0.2",
    ]  # fmt: skip
    done = run("simulate", "--profile", path, *asked, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["performance"]
    assert found["load"] == pytest.approx(10 / 20.4, rel=0.03)
    assert found["tpot_mean_s"] > LAW.step_s(0, 1, 200)


def test_the_table_says_what_the_steps_come_from(files: list[Path]) -> None:
    done = run("import", *files, *FLAGS)
    assert done.exit_code == 0
    for part in (
        "16 sequences, 512 tokens a step", "prompts of 8 to 1024 tokens, each alone", "by these steps",
        "Note: no step with prompts",
    ):  # fmt: skip
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_python_says_the_same(files: list[Path]) -> None:
    answer = cap.import_file(files, kv_tokens=65_536, sequences_max=16, batched_tokens_max=512)
    done = run("import", *files, *FLAGS, "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(answer.to_dict()))
    assert len(answer.to_frame()) == len(answer.profile.steps)
    assert "by these steps" in answer.explain()


def test_a_corrupted_saturated_run_is_refused_with_numbers(files: list[Path], tmp_path: Path) -> None:
    saturated = next(path for path in files if path.stem == "saturated")
    document: dict[str, Any] = json.loads(saturated.read_text(encoding="utf-8"))
    for name in ("ttfts", "start_times"):
        document[name] = [1.1 * value for value in document[name]]
    document["itls"] = [[1.1 * gap for gap in gaps] for gaps in document["itls"]]
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(document), encoding="utf-8")
    target = tmp_path / "engine.json"
    done = run("import", *(path for path in files if path != saturated), slower, *FLAGS, "-o", target)
    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        "profile engine fails its check: its steps give 20.2 rps where a saturated run measured 18.6 rps (+8.9"
        in done.output
    )
    assert not target.exists()


def test_without_a_saturated_run_a_note_says_so(files: list[Path]) -> None:
    done = run("import", *(path for path in files if path.stem != "saturated"), *FLAGS, "--json")
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert answer["check"] is None
    assert "steps_unchecked" in {one["code"] for one in answer["caveats"]}


def test_a_file_of_no_known_format_is_refused(files: list[Path], tmp_path: Path) -> None:
    for text in ("", "{}", "a,b\n1,2\n", "\x00\x01", '{"duration": 1}'):
        path = tmp_path / "other.json"
        path.write_text(text, encoding="utf-8")
        done = run("import", *files[:1], path, *FLAGS)
        assert done.exit_code == 2
        assert "other.json is of none of the" in done.output
    assert "cannot read missing.json" in run("import", "missing.json", *FLAGS).output


def test_no_input_is_written_over(files: list[Path]) -> None:
    done = run("import", *files, *FLAGS, "-o", files[0])
    assert done.exit_code == 2
    assert "would replace" in done.output


def test_the_examples_of_the_documents_are_what_the_engine_on_paper_writes() -> None:
    """Else: python tests/engine_on_paper.py."""
    folder = Path(cap.__file__).parents[1] / "docs" / "examples" / "sweeps"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == examples()
