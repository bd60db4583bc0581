"""Rules of vLLM V1's scheduler, each in a case that is worked out by hand: every pass lasts a second."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from simulations.draws.tokens import EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import EngineReplica, run_engines
from simulations.reference.request import Request
from simulations.reference.scheduler import Part
from simulations.reference.vllm import VllmV1

SECOND = linear_table(1.0, 0.0, 0.0, 0.0, (1_000, 10_000, 10_000))
RULES = EngineRules(sequences_max=8, tokens_max=64, blocks=100, block_tokens=4)
FULL = RULES._replace(blocks=4)
PAIR = ((4, 8), (4, 8))  # who together need more than four blocks of four tokens

Lengths = tuple[tuple[int, ...], ...]


class Pass(NamedTuple):
    """From when, who gets how many tokens after how many, who was thrown out for it, and who holds how many blocks."""

    started_s: float
    parts: list[tuple[int, int, int]]
    thrown_out: list[int]


class Told(NamedTuple):
    records: TokenRecords
    passes: list[Pass]


def draws_of(lengths: Lengths, arrived_s: tuple[float, ...] = ()) -> TokenDraws:
    """Requests by input, output and tokens that are cached, all at once unless told otherwise."""
    count = len(lengths)
    given, got, cached = (np.array([(*one, 0)[at] for one in lengths], dtype=np.int64) for at in range(3))
    return TokenDraws(
        arrived_s=np.array(arrived_s or (0.0,) * count),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=cached,
        routing=np.zeros(2 * count),
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> "Teller":
    return Teller(monkeypatch)


class Teller:
    """Runs the readable engine, and writes down each pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._out: list[int] = []
        self._passes: list[Pass] = []
        lasts_s, preempt = EngineReplica._duration_s, VllmV1._preempt

        def noted_s(engine: EngineReplica, parts: list[Part]) -> float:
            told = [(part.request.number, part.tokens, part.before) for part in parts]
            self._passes.append(Pass(engine._clock.now, told, self._out[:]))
            self._out.clear()
            return lasts_s(engine, parts)

        def noted(scheduler: VllmV1, request: Request) -> None:
            self._out.append(request.number)
            preempt(scheduler, request)

        monkeypatch.setattr(EngineReplica, "_duration_s", noted_s)
        monkeypatch.setattr(VllmV1, "_preempt", noted)

    def __call__(self, rules: EngineRules, draws: TokenDraws) -> Told:
        self._passes.clear()
        self._out.clear()
        records = run_engines(SECOND, rules, 1, Routing.ROUND_ROBIN, draws)
        return Told(records, list(self._passes))


def test_the_last_admitted_is_thrown_out(told: Teller) -> None:
    """The ninth token of the first needs a block that only the second can give."""
    found = told(FULL, draws_of(PAIR))
    assert found.passes[5].parts == [(0, 1, 8)]
    assert found.passes[5].thrown_out == [1]
    assert found.records.preemptions.tolist() == [0, 1]
    assert found.records.finished_s.tolist() == [8.0, 11.0]


def test_who_was_thrown_out_finds_the_beginning_of_its_own(told: Teller) -> None:
    """Of its two blocks the later one was freed first and is taken first."""
    found = told(FULL, draws_of(PAIR))
    assert found.passes[8].parts == [(1, 5, 4)]
    assert found.records.cached == 4
    assert told(FULL._replace(caching=False), draws_of(PAIR)).passes[8].parts == [(1, 9, 0)]


def test_nobody_joins_a_pass_for_which_somebody_was_thrown_out(told: Teller) -> None:
    """A part of the second would fit at once where not all of its tokens need room."""
    rules = RULES._replace(blocks=8, tokens_max=8, reserve=False, caching=False)
    found = told(rules, draws_of(((4, 20), (19, 3))))
    assert found.passes[5] == Pass(5.0, [(0, 1, 8)], [1])
    assert found.passes[6].parts == [(0, 1, 9), (1, 7, 0)]


def test_who_was_thrown_out_is_the_first_in_the_line(told: Teller) -> None:
    """Before one that came earlier than it was thrown out, and would fit sooner."""
    found = told(FULL._replace(sequences_max=2), draws_of((*PAIR, (1, 1))))
    assert [part[0] for part in found.passes[8].parts] == [1, 2]
    assert found.passes[6].parts == [(0, 1, 9)]


def test_who_does_not_fit_holds_up_those_behind_it(told: Teller) -> None:
    """A block is free, two are needed by the one that waits first, and one by the one behind it."""
    found = told(FULL, draws_of(((9, 3), (8, 1), (2, 1))))
    starts = {part[0]: one.started_s for one in reversed(found.passes) for part in one.parts}
    assert starts == {0: 0.0, 1: 3.0, 2: 3.0}


def test_the_last_token_of_a_cached_prompt_is_computed(told: Teller) -> None:
    assert told(RULES, draws_of(((16, 1, 16),))).passes[0].parts == [(0, 4, 12)]
    assert told(RULES, draws_of(((17, 1, 17),))).passes[0].parts == [(0, 1, 16)]
    assert told(RULES, draws_of(((16, 1, 7),))).passes[0].parts == [(0, 12, 4)]


def test_running_requests_leave_less_of_a_pass_to_prompts(told: Teller) -> None:
    found = told(RULES._replace(tokens_max=4), draws_of(((4, 4), (7, 1))))
    assert [one.parts for one in found.passes] == [
        [(0, 4, 0)],
        [(0, 1, 4), (1, 3, 0)],
        [(0, 1, 5), (1, 3, 3)],
        [(0, 1, 6), (1, 1, 6)],
    ]


def test_a_prompt_that_is_not_cut_waits_for_a_pass_of_its_size(told: Teller) -> None:
    rules = RULES._replace(tokens_max=8, chunked=False)
    found = told(rules, draws_of(((2, 3), (8, 1))))
    assert [one.parts for one in found.passes] == [[(0, 2, 0)], [(0, 1, 2)], [(0, 1, 3)], [(1, 8, 0)]]


@pytest.mark.parametrize(("reserve", "started_s"), [(True, 3.0), (False, 1.0)])
def test_room_is_kept_for_all_of_a_prompt(told: Teller, reserve: bool, started_s: float) -> None:
    """Two blocks are free, the prompt takes three in the end, and one for its first part."""
    rules = FULL._replace(tokens_max=4, reserve=reserve)
    found = told(rules, draws_of(((4, 3), (12, 1))))
    assert min(one.started_s for one in found.passes if any(p[0] == 1 for p in one.parts)) == started_s


def test_a_request_may_fill_the_cache(told: Teller) -> None:
    found = told(FULL, draws_of(((10, 7),)))
    assert found.records.preemptions.tolist() == [0]
    assert found.records.block_s == 3.0 * 3 + 4.0 * 4


@pytest.mark.parametrize(("ahead", "started_s"), [(False, 2.0), (True, 3.0)])
def test_slots_return_a_pass_late_where_it_is_composed_ahead(told, ahead, started_s) -> None:
    rules = RULES._replace(sequences_max=2, ahead=ahead)
    found = told(rules, draws_of(((4, 2), (4, 9), (4, 1))))
    assert [one.started_s for one in found.passes if any(p[0] == 2 for p in one.parts)] == [started_s]


@pytest.mark.parametrize(("lone_is_whole", "alone"), [(False, [4, 4]), (True, [8])])
def test_a_long_prompt_leaves_room_for_others_while_there_are_any(told, lone_is_whole, alone) -> None:
    """The short one shares the first pass, and is done with it."""
    rules = RULES._replace(tokens_max=8, part_max=4, lone_is_whole=lone_is_whole)
    found = told(rules, draws_of(((12, 1), (3, 1))))
    assert found.passes[0].parts == [(0, 4, 0), (1, 3, 0)]
    assert [tokens for one in found.passes[1:] for _, tokens, _ in one.parts] == alone


@pytest.mark.parametrize(("spare", "started_s"), [(0, 0.0), (1, 0.0), (2, 3.0)])
def test_who_starts_beside_others_leaves_blocks_to_spare(told: Teller, spare: int, started_s: float) -> None:
    """Three of four blocks are free, and it needs two; the first one starts alone, and needs none to spare."""
    found = told(FULL._replace(spare=spare), draws_of(((4, 3), (5, 1))))
    assert min(one.started_s for one in found.passes if any(p[0] == 1 for p in one.parts)) == started_s
    alone = told(FULL._replace(spare=4), draws_of(((10, 7),)))
    assert alone.passes[0].parts == [(0, 10, 0)]


@pytest.mark.parametrize(("unfilled_first", "found"), [(False, 0), (True, 4)])
def test_blocks_that_hold_nothing_to_find_are_used_first(told: Teller, unfilled_first, found) -> None:
    """The last is thrown out for the second, and its block goes, unless the first leaves a block with one token."""
    rules = FULL._replace(unfilled_first=unfilled_first)
    assert told(rules, draws_of(((4, 2), (3, 4), (4, 2)))).records.cached == found


def some_runs() -> Iterator[tuple[EngineRules, TokenDraws]]:
    """Short of blocks, of slots and of tokens, in turn."""
    for seed in range(40):
        generator = np.random.default_rng(seed)
        count = int(generator.integers(5, 30))
        rules = EngineRules(
            sequences_max=int(generator.integers(1, 8)),
            tokens_max=int(generator.integers(1, 30)),
            blocks=20 + int(generator.integers(0, 30)),
            block_tokens=4,
            caching=bool(seed % 2),
            reserve=bool(seed % 3),
            ahead=seed % 5 == 0,
            part_max=(0, 0, 5)[seed % 3],
            lone_is_whole=seed % 4 > 1,
            spare=(0, 2)[seed % 2],
            unfilled_first=seed % 4 > 1,
        )
        lengths = tuple(
            (int(p), int(m), int(min(p, c)))
            for p, m, c in generator.integers(1, 40, (count, 3)) * (1, 1, seed % 4)
        )
        yield rules, draws_of(lengths, tuple(np.cumsum(generator.exponential(4.0, count)).tolist()))


def test_little_on_the_line_the_slots_and_the_blocks(told: Teller) -> None:
    """What the engine adds up by time is what its requests spend there, each by itself."""
    thrown_out = 0
    for rules, draws in some_runs():
        if rules.ahead:
            continue
        records, passes = told(rules, draws)
        slots: dict[int, int] = {}  # blocks of who is in a slot
        slot_s = block_s = 0.0
        for one in passes:
            for number in one.thrown_out:
                del slots[number]
            for number, tokens, before in one.parts:
                slots[number] = math.ceil((before + tokens) / rules.block_tokens)
            ended_s = one.started_s + 1.0
            assert len(slots) <= rules.sequences_max
            assert sum(slots.values()) <= rules.blocks
            assert sum(tokens for _, tokens, _ in one.parts) <= rules.tokens_max
            slot_s += len(slots)
            block_s += sum(slots.values())
            for number in [n for n in slots if records.finished_s[n] == ended_s]:
                del slots[number]
        assert not slots
        assert records.running_s == pytest.approx(slot_s, rel=1e-12)
        assert records.block_s == pytest.approx(block_s, rel=1e-12)
        assert records.busy_s == pytest.approx(len(passes), rel=1e-12)
        spent_s = math.fsum(records.finished_s - draws.arrived_s)
        assert slot_s <= spent_s
        thrown_out += int(records.preemptions.sum())
    assert thrown_out > 20


CASES = (
    (FULL, draws_of((*PAIR, (1, 1)))),
    (FULL._replace(caching=False), draws_of(PAIR)),
    (RULES._replace(blocks=8, tokens_max=8, reserve=False, caching=False), draws_of(((4, 20), (19, 3)))),
    (FULL, draws_of(((9, 3), (8, 1), (2, 1)))),
    (RULES._replace(tokens_max=4), draws_of(((4, 4), (7, 1)))),
    (RULES._replace(tokens_max=8, chunked=False), draws_of(((2, 3), (8, 1)))),
    (RULES._replace(sequences_max=2, ahead=True), draws_of(((4, 2), (4, 9), (4, 1)))),
    (RULES, draws_of(((4, 20), (4, 1)), (0.0, 5.5))),
)


def test_the_compiled_engine_goes_by_the_same_rules() -> None:
    for rules, draws in (*CASES, *some_runs()):
        one = run_engines(SECOND, rules, 1, Routing.ROUND_ROBIN, draws)
        other = serve_engines(SECOND, rules, 1, Routing.ROUND_ROBIN, draws)
        for name in TokenRecords.__slots__:
            assert np.array_equal(getattr(one, name), getattr(other, name)), (name, rules)
