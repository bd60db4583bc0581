"""Statistics of Triton, written by the shape of its protocol extension; nothing here is a file of Triton's own."""

from pathlib import Path
from typing import Any

import pytest
from reading import file, load_test, read_bytes, refusal

import capacity as cap
from capacity.errors import InputError
from capacity.formats.registry import Kind
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


EXAMPLES = {"statistics": answer(model())}


def test_batches_of_the_client_and_cached_answers_are_told() -> None:
    """Five requests of six inferences each, and three that the cache answered."""
    stats = model()["inference_stats"] | {"success": duration(8, 80 * MS), "cache_hit": duration(3, MS)}
    found = load_test(answer(model(inference_stats=stats)))
    assert found.runs[0].batch_size == 6
    assert any("response cache answered 3 requests" in note for note in found.notes)


REFUSED = [
    (answer(model(**others)), said, Kind.PROFILE)
    for others, said in [
        (
            {"execution_count": 16},
            "execution_count is 16, but batch_stats add up to 15, more than the requests that may be in flight",
        ),
        ({"inference_count": 31}, "inference_count is 31, but batch_stats add up to 30"),
        ({"batch_stats": []}, "has executed no batch"),
        ({"batch_stats": [size(1, 10, 7 * MS) | {"compute_output": duration(9, 9)}]}, "add up to 10"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"batch_stats": [size(2, 15, 900_000 * MS)]}, "is the unit in the column name right"),
    ]
]


def test_parts_of_an_execution_are_counted_alike() -> None:
    torn = [size(4, 5, 17 * MS), size(1, 10, 7 * MS) | {"compute_output": duration(9, 9)}]
    said = refusal(answer(model(batch_stats=torn)), Kind.PROFILE)
    assert "compute_infer 10, compute_output 9" in said
    assert "restarted" in said


def test_one_of_several_models_is_to_be_chosen() -> None:
    both = answer(model(), model(version="2"))
    said = refusal(both, Kind.PROFILE)
    assert "resnet/50:1, resnet/50:2" in said
    assert "--model NAME" in said
    assert "versions/VERSION/stats" in said
    assert [run.name for run in load_test(both).runs] == ["resnet/50:1", "resnet/50:2"]


def busy(**others: Any) -> dict[str, Any]:
    """The same a thousand times: 10 000 executions of one request, and 5000 of four."""
    stats = {
        key: duration(1000 * one["count"], 1000 * one["ns"])
        for key, one in model()["inference_stats"].items()
    }
    counts = {"inference_count": 30_000, "execution_count": 15_000, "inference_stats": stats}
    return model(batch_stats=[size(4, 5000, 17 * MS), size(1, 10_000, 7 * MS)]) | counts | others


def test_counters_of_a_server_at_work_may_differ_by_what_is_in_flight() -> None:
    live = busy(inference_count=30_007, execution_count=15_004)
    live["batch_stats"][0]["compute_output"] = duration(4998, 4998 * 2 * MS)
    profile = read_bytes(answer(live), Kind.PROFILE)
    assert [one.mean_s for one in profile.timings] == pytest.approx([0.010, 0.020])
    assert "read while requests ran" in profile.source["note"]
    assert "note" not in read_bytes(answer(busy()), Kind.PROFILE).source


@pytest.mark.parametrize("others", [{"execution_count": 15_017}, {"inference_count": 30_065}])
def test_more_than_can_be_in_flight_is_refused(others: dict[str, int]) -> None:
    said = refusal(answer(busy(**others)), Kind.PROFILE)
    assert "more than the requests that may be in flight" in said


def test_client_batches_are_seen_while_requests_run() -> None:
    stats = busy()["inference_stats"] | {"success": duration(4997, 80_000 * MS)}
    assert load_test(answer(busy(inference_stats=stats))).runs[0].batch_size == 6


def test_a_model_is_chosen_by_name_or_by_name_and_version(tmp_path: Path) -> None:
    path = file(
        tmp_path, answer(model(), model(name="bert", batch_stats=[size(2, 15, 7 * MS)]), model(version="2"))
    )
    found = cap.import_file(path, model="bert").found
    assert isinstance(found, ServiceProfile)
    assert (found.model, found.batch_sizes) == ("bert", (2,))
    assert cap.import_file(path, model="resnet/50:2").found.batch_sizes == (1, 4)
    assert cap.import_file(path, kind="load-test", model="bert").found.runs[0].name == "bert:1"
    for name, said in (
        ("resnet/50", "has 2 versions of model"),
        ("vit", "has no model 'vit', of resnet/50:1, bert:1"),
    ):
        with pytest.raises(InputError, match=said):
            cap.import_file(path, model=name)


def test_the_model_of_a_file_with_one_is_renamed(tmp_path: Path) -> None:
    found = cap.import_file(file(tmp_path, answer(model())), model="mine").found
    assert isinstance(found, ServiceProfile)
    assert found.model == "mine"


def test_a_server_that_nobody_asked_is_refused() -> None:
    assert "has no model in model_stats" in refusal(answer())
    idle = model()["inference_stats"] | {"success": duration(0, 0)}
    assert "no successful request" in refusal(answer(model(inference_stats=idle)))


def test_sixteen_may_be_in_flight_where_they_are_a_hundredth() -> None:
    """Of 15 000 executions 16 are few; of 100 executions one is a hundredth, and two are not."""
    for others in ({"execution_count": 15_016}, {"inference_count": 30_064}):
        found = read_bytes(answer(busy(**others)), Kind.PROFILE)
        assert "note" in found.source
    small = {"batch_stats": [size(1, 100, 7 * MS)], "inference_count": 100}
    assert "note" in read_bytes(answer(model(execution_count=101, **small)), Kind.PROFILE).source
    said = refusal(answer(model(execution_count=102, **small)), Kind.PROFILE)
    assert "execution_count is 102, but batch_stats add up to 100" in said


def test_a_profile_says_what_it_is_of() -> None:
    found = read_bytes(answer(model(name="._a" + "é" * 130)), Kind.PROFILE)
    assert found.name == "a" + "-" * 127
    assert found.source["figures"].endswith(", 15 executions")
    assert read_bytes(answer(model(name="._")), Kind.PROFILE).name == "triton-model"


@pytest.mark.parametrize(("inferences", "client_batch"), [(1010, 1), (1011, 1), (1991, 2), (1989, 1)])
def test_inferences_a_request_are_whole_to_a_hundredth(inferences, client_batch) -> None:
    stats = model()["inference_stats"] | {"success": duration(1000, MS)}
    run = load_test(answer(model(inference_stats=stats, inference_count=inferences))).runs[0]
    assert run.batch_size == client_batch
    # 15 executions took 10 * 10 ms + 5 * 20 ms
    assert run.batch_size_mean == pytest.approx(inferences / client_batch / 15)
    assert run.batch_mean_s == pytest.approx(0.2 / 15)


def test_what_is_not_counted_is_not_told() -> None:
    """The cache answered all, so nothing was executed."""
    stats = {"success": duration(4, 8 * MS), "queue": duration(0, 0), "cache_hit": duration(4, MS)}
    idle = model(inference_stats=stats, inference_count=0, execution_count=0, batch_stats=[])
    del idle["version"]
    found = load_test(answer(idle))
    run = found.runs[0]
    assert (run.name, run.failed, run.mean_s, run.stages_s) == ("resnet/50", None, 0.002, {})
    assert (run.batch_size, run.batch_size_mean, run.batch_mean_s) == (1, None, None)
    assert [note for note in found.notes if "inferences" in note] == []
    assert "response cache answered 4 requests" in found.notes[-1]


def test_five_models_are_named_and_more_are_hinted_at(tmp_path: Path) -> None:
    for number, told in ((5, "(m0:1, m1:1, m2:1, m3:1, m4:1);"), (6, "(m0:1, m1:1, m2:1, m3:1, m4:1, ...);")):
        models = answer(*(model(name=f"m{at}") for at in range(number)))
        assert f"{number} models or versions {told}" in refusal(models, Kind.PROFILE)
    path = file(tmp_path, models)
    with pytest.raises(InputError, match=f"has no model '{'n' * 60}', of"):
        cap.import_file(path, model="n" * 61)


@pytest.mark.parametrize("key", ["count", "ns"])
def test_counters_are_not_below_zero(key: str) -> None:
    stats = model()["inference_stats"] | {"queue": duration(1, 1) | {key: -1}}
    said = refusal(answer(model(inference_stats=stats)))
    assert f"inference_stats.queue.{key} must not be below 0, got -1" in said


def test_a_total_below_that_of_the_sizes_is_told_too() -> None:
    found = read_bytes(answer(busy(execution_count=14_999)), Kind.PROFILE)
    assert "read while requests ran" in found.source["note"]


def test_one_of_two_models_is_chosen(tmp_path: Path) -> None:
    path = file(tmp_path, answer(model(), model(name="bert", batch_stats=[size(2, 15, 7 * MS)])))
    assert cap.import_file(path, model="bert:1").found.batch_sizes == (2,)


def test_different_counts_within_a_size_are_noted_as_read_under_load() -> None:
    live = busy()
    live["batch_stats"][0]["compute_output"] = duration(4998, 4998 * 2 * MS)
    found = read_bytes(answer(live), Kind.PROFILE)
    assert "read while requests ran" in found.source["note"]


def test_requests_without_a_counted_inference_are_single_and_of_unknown_batches() -> None:
    found = load_test(answer(model(inference_count=0)))
    assert (found.runs[0].batch_size, found.runs[0].batch_size_mean) == (1, None)
    assert [note for note in found.notes if "inferences" in note] == []
