"""Stages of a server and its queue, in numbers by hand and in the sentences that tell them."""

from typing import Any

import pytest

from capacity.evidence.stages import sentences, waiting_of
from capacity.formats.load_test import EngineNow, LoadRun, Loop
from capacity.units import format_duration

MS = 1e-3
STAGES = {
    "queue": 20 * MS,
    "compute input": 1 * MS,
    "compute infer": 8 * MS,
    "compute output": 1 * MS,
    "client send": 2 * MS,
}


def run_of(**others: Any) -> LoadRun:
    usual = {"name": "run", "loop": Loop.CLOSED, "throughput_rps": 100.0, "stages_s": STAGES}
    return LoadRun(**{**usual, **others})


def test_each_stage_obeys_littles_law() -> None:
    """At 100 rps 20 ms in the queue are two requests, and 10 ms in the other stages of the server one."""
    found = waiting_of(run_of())
    assert (found.queue_s, found.served_s) == (20 * MS, pytest.approx(10 * MS))
    assert (found.waiting, found.served) == (2.0, pytest.approx(1.0))
    assert (found.throughput_rps, found.is_measured, found.client_batch) == (100.0, True, 1)


def test_a_server_that_is_never_idle_stands_in_for_a_throughput() -> None:
    found = waiting_of(run_of(throughput_rps=None, batch_size_mean=2.0, batch_mean_s=10 * MS))
    assert (found.throughput_rps, found.is_measured, found.waiting) == (200.0, False, 4.0)
    for others in ({}, {"batch_size_mean": 2.0}, {"batch_mean_s": 1.0}):
        assert waiting_of(run_of(throughput_rps=None, **others)) is None
    assert waiting_of(run_of(throughput_rps=0.0)) is None
    assert waiting_of(run_of(stages_s={"compute infer": 1.0})) is None


def test_inferences_that_a_throughput_counts_are_taken_apart() -> None:
    """1600 inferences/s of 4 users at 40 ms: each request carries 16."""
    run = run_of(throughput_rps=1600.0, counts_inferences=True, users=4.0, mean_s=40 * MS)
    found = waiting_of(run)
    assert (found.throughput_rps, found.client_batch) == (100.0, 16)
    assert (
        "at 100 rps, as each request must carry 16 inferences for the law to hold" in list(sentences(run))[2]
    )


LITTLE = (
    "By Little's law that is {} requests waiting and 1 being served, at 100 rps: {} in the server at once."
)


def told(queue_ms: float = 20.0, **others: Any) -> list[str]:
    return list(sentences(run_of(stages_s=STAGES | {"queue": queue_ms * MS}, **others)))


def test_the_longest_stage_is_told_first() -> None:
    first, second, third, last = told()
    assert first == "run: 62 % of a request's 32 ms is queue."
    assert second == "A request waits 20 ms, 2.5 times its inference of 8 ms."
    assert third == LITTLE.format(2, 3)
    assert last.startswith("More requests arrive at once than are served at once")
    assert "Batches hold" not in last
    assert " Batches hold 2.5 on average. More replicas" in told(batch_size_mean=2.5)[-1]


@pytest.mark.parametrize(
    ("queue_ms", "users", "words"),
    [
        (4.9, None, "The queue is short"),
        (4.9, 4.0, "The queue is short"),
        (5.1, None, "More requests arrive at once"),
        (20.0, 4.0, "Of 4 users who wait for their answers 2 stand in the queue"),
        (20.0, 2.87, "Of 2.87 users"),
        (20.0, 2.8, "A closed loop of 2.8 cannot have that many"),
    ],
)
def test_why_a_queue_is_as_long_as_it_is(queue_ms: float, users: float | None, words: str) -> None:
    """Half a request is served for each that waits, and 5 % more in flight than users is rounding."""
    assert told(queue_ms, users=users)[-1].startswith(words)


@pytest.mark.parametrize(
    ("queue_s", "held", "words"),
    [
        (2.0, {"waiting": 3.0, "kv_share": 0.95}, "Requests wait for room in the KV cache"),
        (2.0, {"waiting": 3.0, "kv_share": 0.5}, "if 12 requests are all that --max-num-seqs allows"),
        (2.0, {"waiting": 0.0, "kv_share": 0.95}, "The page does not show why"),
        (2.0, {"waiting": 3.0}, "The page does not show why"),
        (2.0, None, "The page does not show why"),
        (0.05, {"waiting": 3.0, "kv_share": 0.95}, "The queue is short"),
    ],
)
def test_why_requests_wait_for_an_engine(queue_s: float, held: dict[str, float] | None, words: str) -> None:
    stages_s = {"queue": queue_s, "prefill": 0.5, "decode": 2.5}
    engine = None if held is None else EngineNow(running=12.0, **held)
    told = list(sentences(LoadRun(name="vllm", stages_s=stages_s, engine=engine)))
    assert f"waits {format_duration(queue_s)} for its first step, and 500 ms more" in told[1]
    assert words in told[-1]
    assert len(told) == (3 if held is None else 4)


def test_what_an_engine_held_is_told() -> None:
    engine = EngineNow(running=1.0, waiting=3.0, kv_share=0.954, preemptions=0.25)
    told = list(sentences(LoadRun(name="vllm", stages_s={"queue": 1.0, "prefill": 1.0}, engine=engine)))
    assert told[2] == (
        "When the page was read, 1 request ran and 3 waited, with 95 % of the KV cache in use; 25 of 100 requests were "
        "preempted."
    )
    bare = LoadRun(
        name="v", stages_s={"queue": 1.0, "prefill": 1.0}, engine=EngineNow(running=2.0, waiting=0.0)
    )
    assert list(sentences(bare))[2] == "When the page was read, 2 requests ran and 0 waited."


def test_without_an_inference_or_any_time_less_is_told() -> None:
    assert list(sentences(run_of(stages_s={}))) == []
    assert list(sentences(run_of(stages_s={"queue": 0.0}))) == []
    queue_alone = list(sentences(run_of(stages_s={"queue": 20 * MS})))
    assert len(queue_alone) == 3
    assert queue_alone[1].startswith("By Little's law")
    whole = list(sentences(run_of(stages_s={"queue": 20 * MS, "compute": 5 * MS})))
    assert whole[1] == "A request waits 20 ms, 4 times its inference of 5 ms."
    assert len(list(sentences(run_of(throughput_rps=None)))) == 1
