"""Statistics of Triton, written by the shape of its protocol extension; nothing here is a file of Triton's own."""

import json
from pathlib import Path
from typing import Any

import pytest
from written import file, load_test, refusal

from capacity.formats.registry import Kind, read
from capacity.profile.profile import ServiceProfile

MS = 1_000_000


def duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}


def size(batch_size: int, executions: int, infer_ns: int) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "compute_input": duration(executions, executions * MS),
        "compute_infer": duration(executions, executions * infer_ns),
        "compute_output": duration(executions, executions * 2 * MS),
    }


def model(**others: Any) -> dict[str, Any]:
    """10 single requests, 5 batches of 4, none of 8; 30 ms in the system on average, 12 of them in the queue."""
    return {
        "name": "resnet/50",
        "version": "1",
        "last_inference": 1_700_000_000_000,
        "inference_count": 30,
        "execution_count": 15,
        "inference_stats": {
            "success": duration(30, 900 * MS),
            "fail": duration(2, 5 * MS),
            "queue": duration(30, 360 * MS),
            "compute_input": duration(30, 30 * MS),
            "compute_infer": duration(30, 450 * MS),
            "compute_output": duration(30, 60 * MS),
            "cache_hit": duration(0, 0),
        },
        "batch_stats": [size(8, 0, 0), size(4, 5, 17 * MS), size(1, 10, 7 * MS)],
    } | others


def answer(*models: dict[str, Any]) -> dict[str, Any]:
    return {"model_stats": list(models)}


EXAMPLES = {"statistics": json.dumps(answer(model())).encode()}


def test_each_executed_size_has_its_mean(tmp_path: Path) -> None:
    profile = read(file(tmp_path, answer(model())), Kind.PROFILE)
    assert isinstance(profile, ServiceProfile)
    assert profile.batch_sizes == (1, 4)
    assert [one.mean_s for one in profile.timings] == pytest.approx([0.010, 0.020])
    assert (profile.name, profile.model, profile.runtime) == ("resnet-50", "resnet/50", "triton")


def test_a_run_has_its_stages(tmp_path: Path) -> None:
    found = load_test(tmp_path, answer(model()))
    (run,) = found.runs
    assert (run.succeeded, run.failed, run.batch_size) == (30, 2, 1)
    assert run.mean_s == pytest.approx(0.030)
    assert run.stages_s == pytest.approx(
        {"queue": 0.012, "compute input": 0.001, "compute infer": 0.015, "compute output": 0.002}
    )
    assert run.quantiles_s == {}
    assert any("2 inferences in a batch on average" in note for note in found.notes)


def test_batches_of_the_client_and_cached_answers_are_told(tmp_path: Path) -> None:
    """Five requests of six inferences each, and three that the cache answered."""
    stats = model()["inference_stats"] | {"success": duration(8, 80 * MS), "cache_hit": duration(3, MS)}
    found = load_test(tmp_path, answer(model(inference_stats=stats)))
    assert found.runs[0].batch_size == 6
    assert any("response cache answered 3 requests" in note for note in found.notes)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (
            {"execution_count": 16},
            "execution_count is 16, but batch_stats add up to 15: the counters were read",
        ),
        ({"inference_count": 31}, "inference_count is 31, but batch_stats add up to 30"),
        ({"batch_stats": []}, "has executed no batch"),
        ({"batch_stats": [size(1, 10, 7 * MS) | {"compute_output": duration(9, 9)}]}, "add up to 10"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"batch_stats": [size(2, 15, 900_000 * MS)]}, "is the unit in the column name right"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, others: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, answer(model(**others)), Kind.PROFILE)


def test_parts_of_an_execution_are_counted_alike(tmp_path: Path) -> None:
    torn = [size(4, 5, 17 * MS), size(1, 10, 7 * MS) | {"compute_output": duration(9, 9)}]
    said = refusal(tmp_path, answer(model(batch_stats=torn)), Kind.PROFILE)
    assert "compute_infer 10, compute_output 9" in said
    assert "restarted" in said


def test_one_of_several_models_is_to_be_chosen(tmp_path: Path) -> None:
    both = answer(model(), model(version="2"))
    said = refusal(tmp_path, both, Kind.PROFILE)
    assert "resnet/50:1, resnet/50:2" in said
    assert "versions/VERSION/stats" in said
    assert [run.name for run in load_test(tmp_path, both).runs] == ["resnet/50:1", "resnet/50:2"]


def test_a_server_that_nobody_asked_is_refused(tmp_path: Path) -> None:
    assert "has no model in model_stats" in refusal(tmp_path, answer())
    idle = model()["inference_stats"] | {"success": duration(0, 0)}
    assert "no successful request" in refusal(tmp_path, answer(model(inference_stats=idle)))
