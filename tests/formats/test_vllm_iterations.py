"""Logs of vLLM's iterations, by the form of its message; nothing here is a log of vLLM's own."""

import re

import pytest
from engine_on_paper import Step, as_iterations, closed_loop
from reading import read_bytes, refusal

from capacity.formats.registry import Kind

STEPS: list[Step] = []
closed_loop([(40, 5), (600, 4), (16, 3)], 2, record=STEPS)
LOG = as_iterations(STEPS, 65_536)
OLDER = re.sub(r"Engine 000: |, GPU KV cache usage: [0-9.]+%", "", LOG)
DUMMY = LOG.splitlines()[-1].replace(" ms,", " ms (dummy),")
ENCODED = LOG.splitlines()[-1] + ", encoder inputs: 1, encoder output embeddings: 64"
DRAFTS = (
    "(APIServer pid=1) INFO 12-01 10:00:10 [metrics.py:101] Engine 000: SpecDecoding metrics: Mean acceptance length: "
    "{mean}, Accepted throughput: 2.00 tokens/s, Drafted throughput: 6.00 tokens/s, Accepted: 20 tokens, Drafted: "
    "{drafted} tokens, Per-position acceptance rate: {rates}, Avg Draft acceptance rate: 33.3%\n"
)
DRAFTING = (
    re.sub(
        r"(\d+) generation requests, \d+",
        lambda found: f"{found[1]} generation requests, {3 * int(found[1])}",
        LOG,
    )
    + DRAFTS.format(mean="2.00", drafted=60, rates="0.800, 0.200")
    + DRAFTS.format(mean="1.40", drafted=20, rates="0.400, 0.000")
)
EXAMPLES = {
    "log": LOG,
    "older": OLDER,
    "others": f"{LOG}{DUMMY}\n{ENCODED}\nINFO something else\n",
    "drafting": DRAFTING,
}


def test_drafts_are_what_their_lines_say_weighed_by_tokens_drafted() -> None:
    (seen,) = read_bytes(DRAFTING, Kind.STEPS)
    assert (seen.draft_tokens, seen.speculation.in_steps) == (2, True)
    assert seen.speculation.rates == pytest.approx((0.7, 0.15))


def test_steps_without_drafts_bring_one_token() -> None:
    """Half of the requests of steps have drafts, so that half as much is accepted in a step."""
    (seen,) = read_bytes(LOG + DRAFTING, Kind.STEPS)
    assert seen.speculation.rates == pytest.approx((0.35, 0.075))


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_each_step_comes_back(name: str) -> None:
    (seen,) = read_bytes(EXAMPLES[name], Kind.STEPS)
    assert seen.kv_tokens == 65_536
    assert len(seen.steps) == len(STEPS)
    for found, step in zip(seen.steps, STEPS, strict=True):
        assert found[:5] == (step.prompts, step.prompt_tokens, 0, step.requests, None)
        assert found.seconds == pytest.approx(step.seconds, abs=6e-6)
        assert found.cache_share is None or found.cache_share == pytest.approx(step.held / 65_536, abs=6e-4)


def test_engines_are_kept_apart() -> None:
    others = LOG.replace("Engine 000", "Engine 001")
    seen = read_bytes(LOG + others, Kind.STEPS)
    assert [one.name.partition(" ")[2] for one in seen] == ["engine 0", "engine 1"]


LAST = LOG.splitlines()[-1]
REFUSED = [
    (f"{LOG}{LAST.replace('0 context tokens', '5 context tokens')}\n", "counts that cannot be", Kind.STEPS),
    (f"{LOG}INFO Iteration(9): iteration elapsed time: 1\n", f"line {len(STEPS) + 2} is cut off", Kind.STEPS),
    (f"{DUMMY}\n", "has no step of requests", Kind.STEPS),
]


@pytest.mark.parametrize(("content", "said", "kind"), REFUSED)
def test_what_cannot_be_is_refused(content: str, said: str, kind: Kind) -> None:
    assert said in refusal(content, kind)
