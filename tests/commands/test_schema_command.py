"""`capacity schema`: files that commands read are valid by it, and files with a mistake are not."""

import json
from pathlib import Path
from typing import Any

import pytest
from planned import plan_document
from readme import _FILES
from typer.testing import CliRunner

from capacity.answer.schema import File, _types
from cli import app

BUNDLED = Path(__file__).parents[2] / "capacity" / "profile"


def schema(kind: str) -> Any:
    from jsonschema import Draft202012Validator  # takes a second or two, which every worker would wait for

    done = CliRunner().invoke(app, ["schema", kind])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    Draft202012Validator.check_schema(found)
    assert found["title"] == f"capacity {kind}"
    return Draft202012Validator(found)


@pytest.mark.parametrize(("kind", "folder"), [("profile", "bundled"), ("llm-profile", "bundled_llm")])
def test_bundled_profiles_are_valid(kind: str, folder: str) -> None:
    validator, paths = schema(kind), sorted((BUNDLED / folder).glob("*.json"))
    assert paths
    for path in paths:
        validator.validate(json.loads(path.read_text("utf-8")))


def test_a_saved_plan_is_valid() -> None:
    schema("plan").validate(plan_document())


@pytest.mark.parametrize(
    "mistake",
    [
        {"batch_sise": 1}, {"kind": "tpu"}, {"hourly_usd": "0.5"}, {"timings": [{"mean_ms": 3.0}]},
        {"timings": [{"batch_size": 1, "mean": 3.0}]},
    ],
    ids=str,
)  # fmt: skip
def test_a_mistake_is_seen(mistake: dict[str, Any]) -> None:
    profile = json.loads((BUNDLED / "bundled" / "resnet50-t4-fp16.json").read_text("utf-8"))
    assert not schema("profile").is_valid({**profile, **mistake})


def test_every_kind_of_file_in_the_reference_has_a_schema() -> None:
    assert {_FILES[title] for title in set(_FILES) - {"One of its timings"}} == set(_types().values())
    assert set(_types()) == set(File)


def test_an_unknown_kind_is_refused() -> None:
    done = CliRunner().invoke(app, ["schema", "trace"])
    assert done.exit_code == 2
