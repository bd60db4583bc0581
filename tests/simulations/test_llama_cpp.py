"""llama.cpp's policy: each rule by hand, where every pass lasts a second; the compiled engine; and the real server."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_server import Recording, Stream, record
from real_engine import Replay, differences, replay, step_ends_s, violations

from capacity.errors import DomainError
from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import EngineReplica, run_engines
from simulations.reference.scheduler import Part

SECOND = linear_table(1.0, 0.0, 0.0, 0.0, (1_000, 10_000, 10_000))
LINE = linear_table(0.01, 1e-4, 5e-4, 1e-6, (64, 4096, 4096))
ROUTINGS = [one for one in PLAIN_ROUTINGS if one is not Routing.SHARED_QUEUE]
Lengths = list[tuple[int, ...]]


def slots_of(count: int, tokens_max: int, share: int = 100) -> EngineRules:
    return EngineRules(
        sequences_max=count,
        tokens_max=tokens_max,
        blocks=count * share,
        block_tokens=1,
        scheduler=Scheduler.LLAMA_CPP,
    )


def draws_of(lengths: Lengths, arrived_s: list[float] | None = None) -> TokenDraws:
    """Requests by input, output and tokens that are cached, all at once unless told otherwise."""
    count = len(lengths)
    given, got, cached = (np.array([(*one, 0)[at] for one in lengths], dtype=np.int64) for at in range(3))
    return TokenDraws(
        arrived_s=np.array(arrived_s or [0.0] * count),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=cached,
        routing=np.random.default_rng(0).random(2 * count),
        noise_seed=7,
    )


class Told(NamedTuple):
    """Records, the parts of each pass as request, tokens and tokens before, and the slot of each request."""

    records: TokenRecords
    passes: list[list[tuple[int, int, int]]]
    slots: list[int]


def told(monkeypatch: pytest.MonkeyPatch, rules: EngineRules, draws: TokenDraws) -> Told:
    """Run the readable engine, and write down each pass."""
    passes: list[list[tuple[int, int, int]]] = []
    slots = [-1] * len(draws.arrived_s)
    lasts_s = EngineReplica._duration_s

    def noted_s(engine: EngineReplica, parts: list[Part]) -> float:
        passes.append([(one.request.number, one.tokens, one.before) for one in parts])
        for one in parts:
            slots[one.request.number] = one.request.slot
        return lasts_s(engine, parts)

    with monkeypatch.context() as patch:
        patch.setattr(EngineReplica, "_duration_s", noted_s)
        records = run_engines(SECOND, rules, 1, Routing.ROUND_ROBIN, draws)
    return Told(records, passes, slots)


def same(one: TokenRecords, other: TokenRecords) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in TokenRecords.__slots__)


def test_of_slots_that_were_never_used_the_highest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the one that was released first: slot 2 at 1 s, and slot 1 at 2 s."""
    draws = draws_of([(4, 1), (4, 2), (4, 9), (4, 1), (4, 1)], [0.0, 0.0, 0.0, 2.5, 2.5])
    assert told(monkeypatch, slots_of(3, 64), draws).slots == [2, 1, 0, 2, 1]


def test_slots_of_one_pass_are_released_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slot 1 decodes and slot 0 completes its prompt in the second pass; both end, and 0 is idle a little longer."""
    draws = draws_of([(4, 2), (4, 1), (4, 1), (4, 1)], [0.0, 0.5, 3.0, 3.0])
    found = told(monkeypatch, slots_of(2, 64), draws)
    assert found.passes[1] == [(0, 1, 4), (1, 4, 0)]
    assert found.slots == [1, 0, 0, 1]


def test_deferred_requests_come_first_and_the_last_that_is_called_foremost(monkeypatch) -> None:
    """0, 1 and 2 end together, so 3 and 4 are called; 5 came later, and has what is left; 6 is deferred."""
    draws = draws_of([(4, 2), (4, 2), (4, 2), (4, 1), (4, 1), (4, 1), (4, 1)], [0, 0, 0, 0.2, 0.3, 1.2, 1.3])
    found = told(monkeypatch, slots_of(3, 64), draws)
    assert found.slots == [2, 1, 0, 1, 0, 2, 0]
    assert found.records.first_s.tolist() == [1, 1, 1, 3, 3, 3, 4]


def test_prompts_are_computed_in_order_of_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last to come has the lowest slot; each gets what the one before leaves of a pass."""
    found = told(monkeypatch, slots_of(3, 10), draws_of([(4, 1), (7, 1), (8, 1)]))
    assert found.passes == [[(2, 8, 0), (1, 2, 0)], [(1, 5, 2), (0, 4, 0)]]


def test_every_slot_that_generates_gets_its_token_before_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots 2 and 1 generate when a prompt comes to slot 0."""
    draws = draws_of([(2, 5), (2, 5), (5, 1)], [0.0, 0.0, 0.5])
    found = told(monkeypatch, slots_of(3, 4), draws)
    assert found.passes[1:4] == [
        [(1, 1, 2), (0, 1, 2), (2, 2, 0)],
        [(1, 1, 3), (0, 1, 3), (2, 2, 2)],
        [(1, 1, 4), (0, 1, 4), (2, 1, 4)],
    ]
    assert found.records.first_s.tolist() == [1.0, 1.0, 4.0]


def test_who_comes_during_a_pass_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(monkeypatch, slots_of(2, 64), draws_of([(4, 3), (4, 1), (4, 1)], [0.0, 0.5, 2.0]))
    assert found.records.first_s.tolist() == [1.0, 2.0, 4.0]


def test_nobody_is_preempted_and_the_cache_may_be_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request and its last token fill the share of a slot."""
    found = told(monkeypatch, slots_of(2, 8, share=10), draws_of([(6, 4), (3, 7)]))
    assert found.records.preemptions.tolist() == [0, 0]
    assert found.records.thrown_out == 0
    assert found.records.allocated == found.records.freed == 18


def test_the_last_token_of_a_cached_prompt_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache goes by tokens: a part of a block is found too."""
    rules = slots_of(1, 64)
    assert told(monkeypatch, rules, draws_of([(16, 1, 7)])).passes == [[(0, 9, 7)]]
    assert told(monkeypatch, rules, draws_of([(16, 1, 16)])).passes == [[(0, 1, 15)]]


def test_a_request_that_no_slot_holds_is_refused() -> None:
    with pytest.raises(DomainError, match="has 11 tokens, and a slot has room for 10"):
        serve_engines(SECOND, slots_of(2, 8, share=10), 1, Routing.ROUND_ROBIN, draws_of([(6, 5)]))


def test_a_pass_has_a_token_for_every_slot() -> None:
    with pytest.raises(DomainError, match="none for some of 8 slots"):
        serve_engines(SECOND, slots_of(8, 7), 1, Routing.ROUND_ROBIN, draws_of([(6, 5)]))


@st.composite
def runs(draw: st.DrawFn) -> tuple[StepTable, EngineRules, int, Routing, TokenDraws]:
    count = draw(st.integers(1, 40))
    gaps_s = draw(st.lists(st.sampled_from([0.0, 0.01, 0.0105, 0.5, 1.0]), min_size=count, max_size=count))
    length = st.tuples(st.integers(1, 40), st.sampled_from([1, 1, 2, 3, 20]), st.sampled_from([0, 0, 10, 40]))
    lengths = draw(st.lists(length, min_size=count, max_size=count))
    slots = draw(st.integers(1, 6))
    rules = slots_of(slots, slots + draw(st.integers(0, 60)))
    draws = draws_of([(p, m, min(p, c)) for p, m, c in lengths], np.cumsum(gaps_s).tolist())
    table = draw(st.sampled_from([SECOND, LINE]))
    return table, rules, draw(st.integers(1, 3)), draw(st.sampled_from(ROUTINGS)), draws


# Two are called after a run of passes in which they waited; the order of their prompts tells.
CALLED = draws_of([(1, 5), (1, 5), (9, 2), (3, 2), (2, 2)], [0.0, 0.0, 2.5, 2.5, 4.5])


@settings(max_examples=120, deadline=None)
@given(runs())
@example((SECOND, slots_of(2, 8), 1, Routing.ROUND_ROBIN, CALLED))
def test_the_compiled_engine_gives_the_same_bytes(run) -> None:
    for window_s in (ALWAYS, (0.3, 0.9)):
        assert same(run_engines(*run, window_s), serve_engines(*run, window_s))


@settings(max_examples=60, deadline=None)
@given(runs())
def test_tokens_are_conserved(run: tuple[StepTable, EngineRules, int, Routing, TokenDraws]) -> None:
    *_, draws = run
    records = serve_engines(*run)
    known = int((draws.input_tokens + draws.output_tokens - 1).sum())
    assert records.computed + records.cached == known
    assert records.allocated == records.freed == known
    assert records.gap_counts.sum() == int((draws.output_tokens - 1).sum())
    assert (records.finished_s >= records.first_s).all()
    assert (records.first_s > draws.arrived_s).all()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A few hundred requests in bursts, so that slots run out on any machine."""
    for name in ("xllamacpp", "gguf"):
        pytest.importorskip(name, reason=f"{name} runs llama.cpp; it is in the dev extra")
    return record(
        Stream(requests=300, gap_s=0.02, burst=6.0), tmp_path_factory.mktemp("llama"), timeout_s=120.0
    )


@pytest.fixture(scope="module")
def ours(recording: Recording) -> Replay:
    return replay(recording)


def test_the_real_server_keeps_the_rules(recording: Recording) -> None:
    assert list(violations(recording)) == []


def test_the_recording_says_enough(recording: Recording) -> None:
    """Requests were deferred, several at once were called, and prompts were cut and shared a step.

    With wide margins, since it depends on how fast this machine is today.
    """
    loops = recording.loops
    assert sum(len(loop.deferred) for loop in loops) > 30
    assert sum(len(loop.popped) > 1 for loop in loops) > 0
    assert sum(len(loop.prompts) > 1 for loop in loops) > 30
    assert sum(before > 0 for loop in loops for _, _, before in loop.prompts) > 50
    assert sum(bool(loop.decoding and loop.prompts) for loop in loops) > 50


def test_driven_by_recorded_ends_our_engine_does_what_the_server_did(recording, ours) -> None:
    """The same slots and steps, and tokens at the same instants; however fast this machine is today."""
    assert len(ours.steps) == len(step_ends_s(recording)) > 300
    assert set(differences(recording, ours).values()) == {0}


def test_tokens_come_when_the_server_stamps_them(recording: Recording, ours: Replay) -> None:
    """Within the step that brings each: after its beginning, and no later than our engine says."""
    ends_s = ours.ends_s
    begins_s = dict(zip(ends_s, [-math.inf, *ends_s[:-1]], strict=True))
    firsts: dict[int, float] = {}
    for loop in recording.loops:
        firsts = {**loop.token_s, **firsts}
    for task, first_s in firsts.items():
        assert begins_s[ours.first_s[task]] < first_s <= ours.first_s[task]


def test_a_log_in_other_words_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_server.subprocess.run", lambda *_, **__: type("Done", (), {"returncode": 0}))
    with pytest.raises(RuntimeError, match="tells of 0 of 3 requests"):
        record(Stream(requests=3, gap_s=0.0), tmp_path)
