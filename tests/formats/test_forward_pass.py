"""Forward pass metrics as Dynamo's trace, its messages and its simulator have them; by their shape, none is a real file."""

import json

import pytest
from engine_on_paper import Step, as_forward_pass, closed_loop
from reading import read_bytes, refusal

from capacity.formats.registry import Kind

STEPS: list[Step] = []
closed_loop([(40, 5), (600, 4), (16, 3)], 2, record=STEPS)
TRACE = as_forward_pass(STEPS)
MESSAGES = [json.loads(line)["fpm"] for line in TRACE.splitlines()]
IDLE = MESSAGES[0] | {
    "wall_time": 0.0,
    "scheduled_requests": dict.fromkeys(MESSAGES[0]["scheduled_requests"], 0),
}
FLAT = [
    {key: message[key] for key in ("worker_id", "dp_rank", "wall_time")} | message["scheduled_requests"]
    for message in MESSAGES
]
EXAMPLES = {
    "trace": TRACE,
    "messages": "".join(json.dumps(one) + "\n" for one in [*MESSAGES, IDLE]),
    "flat": "".join(json.dumps(one) + "\n" for one in FLAT),
}


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_each_step_comes_back(name: str) -> None:
    (seen,) = read_bytes(EXAMPLES[name], Kind.STEPS)
    assert len(seen.steps) == len(STEPS)
    for found, step in zip(seen.steps, STEPS, strict=True):
        assert found[:5] == (step.prompts, step.prompt_tokens, step.past, step.requests, step.read)
        assert found.seconds == step.seconds


def test_engines_are_kept_apart() -> None:
    two = [one | {"dp_rank": number % 2} for number, one in enumerate(MESSAGES)]
    seen = read_bytes("".join(json.dumps(one) + "\n" for one in two), Kind.STEPS)
    assert [one.name.partition(" ")[2] for one in seen] == ["worker w rank 0", "worker w rank 1"]
    assert sum(len(one.steps) for one in seen) == len(STEPS)


def changed(**others: object) -> str:
    line = MESSAGES[1] | {"scheduled_requests": MESSAGES[1]["scheduled_requests"] | others}
    return json.dumps(MESSAGES[0]) + "\n" + json.dumps(line) + "\n"


REFUSED = [
    (changed(num_decode_requests=-1), "counts that cannot be", Kind.STEPS),
    (changed(sum_prefill_tokens=1.5), "sum_prefill_tokens must be a whole number, got 1.5", Kind.STEPS),
    (json.dumps(IDLE) + "\n", "has no step in which anything was computed", Kind.STEPS),
    (TRACE[: len(TRACE) - 30], f"result.bin line {len(STEPS)}", Kind.STEPS),
]


@pytest.mark.parametrize(("content", "said", "kind"), REFUSED)
def test_what_cannot_be_is_refused(content: str, said: str, kind: Kind) -> None:
    assert said in refusal(content, kind)


def test_a_step_that_takes_no_time_is_refused() -> None:
    content = json.dumps(MESSAGES[0] | {"wall_time": 0.0}) + "\n"
    assert "in 0 s" in refusal(content, Kind.STEPS)
