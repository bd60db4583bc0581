"""Engines of language models in trouble: the compiled ones against the readable ones, and hand-made schedules."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_schedules import engine_cases
from hypothesis import HealthCheck, given, settings
from recovery_schedules import Case, assert_alike

from capacity.errors import DomainError
from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.traffic.clients import Clients
from simulations.draws.attempts import AttemptDraws, EngineFleet, Outcomes
from simulations.draws.tokens import EngineRules, TokenDraws
from simulations.draws.watching import Sight, Watcher
from simulations.kernel.engines import serve_engines
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference


def assert_same(case: Case) -> None:
    found, expected = run_kernel(*case), run_reference(*case)
    assert found.tokens is not None
    assert_alike(found, expected, has_faults=bool(case.faults))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(engine_cases())
def test_both_kinds_of_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(engine_cases())
def test_both_kinds_of_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(engine_cases())
def test_every_attempt_at_an_engine_is_accounted_for(case: Case) -> None:
    outcomes = run_kernel(*case)
    gone = outcomes.served + outcomes.rejected + outcomes.crashed + outcomes.dropped
    stuck = int(outcomes.sent.sum()) - gone
    undecided = int(np.isinf(outcomes.ended_s).sum())
    answered = ~np.isnan(outcomes.answered_s)
    assert stuck >= undecided
    assert stuck == 0 or undecided > 0
    assert outcomes.shed == 0
    assert outcomes.served - outcomes.for_nobody == answered.sum()
    assert (outcomes.answered_s[answered] > outcomes.arrived_s[answered]).all()
    if case.clients.deadline_s is not None:
        assert (outcomes.ended_s <= outcomes.arrived_s + case.clients.deadline_s).all()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(engine_cases())
def test_without_trouble_engines_serve_as_they_always_do(case: Case) -> None:
    assert isinstance(case.fleet, EngineFleet)
    assert case.draws.lengths is not None
    fleet = replace(case.fleet, queue_limit=None)
    draws = replace(case.draws, routing=case.draws.routing[:1])
    tokens = replace(case.draws.lengths, routing=draws.routing[0].ravel())
    outcomes = run_kernel(fleet, draws, Clients(), Protection(), [])
    records = serve_engines(fleet.table, fleet.rules, fleet.replicas, fleet.routing, tokens)
    np.testing.assert_array_equal(outcomes.answered_s, records.finished_s)


# Schedules by hand: a pass takes 1 s, a prompt is one token and takes one pass, which brings the first token; so a
# request of n output tokens that is admitted at t is done at t + n.
RULES = EngineRules(sequences_max=2, tokens_max=64, blocks=100, block_tokens=1)
SECOND = linear_table(1.0, 0.0, 0.0, 0.0, (64, 4096, 4096))


Engines = Callable[..., Outcomes]


def in_slots(engines: Engines) -> Engines:
    """The same with llama.cpp's slots, which serve such requests alike."""

    def run(fleet: EngineFleet, *rest: Any, **others: Any) -> Outcomes:
        rules = fleet.rules._replace(scheduler=Scheduler.LLAMA_CPP)
        return engines(replace(fleet, rules=rules), *rest, **others)

    return run


BOTH = pytest.mark.parametrize("engines", [run_reference, run_kernel], ids=["readable", "compiled"])
ALL = pytest.mark.parametrize(
    "engines",
    [run_reference, run_kernel, in_slots(run_reference), in_slots(run_kernel)],
    ids=["readable", "compiled", "readable-slots", "compiled-slots"],
)


def by_hand(
    engines: Engines,
    arrived_s: list[float],
    outputs: list[int],
    clients: Clients,
    faults: list[Fault],
    *,
    replicas: int = 1,
    queue_limit: int | None = None,
    abandoned: Abandoned = Abandoned.STOPPED,
    watcher: Watcher | None = None,
    table: StepTable = SECOND,
    rules: EngineRules = RULES,
) -> Outcomes:
    """What one kind of engines does."""
    count = len(arrived_s)
    tokens = TokenDraws(
        arrived_s=np.array(arrived_s),
        input_tokens=np.ones(count, dtype=np.int64),
        output_tokens=np.array(outputs),
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
    )
    draws = AttemptDraws(
        arrived_s=tokens.arrived_s,
        service=np.zeros((0, 0)),
        routing=np.zeros((1, count, 2)),
        backoff=np.zeros((0, 0)),
        lengths=tokens,
    )
    fleet = EngineFleet(
        table=table,
        rules=rules,
        replicas=replicas,
        routing=Routing.LEAST_OUTSTANDING,
        queue_limit=queue_limit,
    )
    return engines(fleet, draws, clients, Protection(abandoned=abandoned), faults, watcher=watcher)


@ALL
def test_an_attempt_that_is_called_off_leaves_its_slot_at_once(engines: Engines) -> None:
    """Both give up at 5 s, just after the pass from then on was composed; the third joins that of 6 s, too late."""
    outcomes = by_hand(engines, [0.0, 0.0, 1.5], [9, 9, 2], Clients(timeout_s=5.0), [])
    np.testing.assert_array_equal(outcomes.answered_s, [np.nan, np.nan, np.nan])
    outcomes = by_hand(engines, [0.0, 0.0, 2.5], [4, 9, 2], Clients(timeout_s=4.0), [])
    # At 4 s the first is done just in time, the second is called off after the pass from 4 s on was composed with
    # both slots' tokens; the third was admitted at 4 s into the first's slot.
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, np.nan, 6.0])
    assert (outcomes.served, outcomes.dropped, outcomes.for_nobody) == (2, 1, 0)


@ALL
def test_an_attempt_that_is_served_for_nobody_keeps_its_slot(engines: Engines) -> None:
    """Two give up at 5.5 s; the third joins the pass of 6 s if they are stopped, and that of 9 s if they go on."""
    stopped = by_hand(engines, [0.0, 0.0, 5.0], [9, 9, 2], Clients(timeout_s=5.5), [])
    served = by_hand(
        engines, [0.0, 0.0, 5.0], [9, 9, 2], Clients(timeout_s=5.5), [], abandoned=Abandoned.SERVED
    )
    np.testing.assert_array_equal(stopped.answered_s, [np.nan, np.nan, 8.0])
    np.testing.assert_array_equal(served.answered_s, [np.nan, np.nan, np.nan])
    assert (served.served, served.for_nobody) == (3, 3)


@ALL
def test_a_crash_loses_who_runs_and_who_waits_and_retries_start_from_the_prompt(engines: Engines) -> None:
    """The crash at 2.5 s; the engine is back at 4 s, and each try from then on begins with its prompt."""
    faults = [
        Fault(instant_s=2.5, replica=0, action=Action.CRASH),
        Fault(instant_s=2.5, replica=0, action=Action.HIDE),
        Fault(instant_s=4.0, replica=0, action=Action.RESTART),
    ]
    outcomes = by_hand(engines, [0.0, 0.0, 1.0, 4.0], [3, 2, 2, 3], Clients(), faults)
    np.testing.assert_array_equal(outcomes.answered_s, [np.nan, 2.0, np.nan, 7.0])
    assert (outcomes.crashed, outcomes.served) == (2, 2)


@ALL
def test_a_fault_comes_before_the_pass_that_begins_at_its_instant(engines: Engines) -> None:
    """Two passes of 1 s, and from 2 s on three of 3 s each."""
    slow = [Fault(instant_s=2.0, replica=0, action=Action.SLOW, value=3.0)]
    outcomes = by_hand(engines, [0.0], [5], Clients(), slow)
    np.testing.assert_array_equal(outcomes.answered_s, [2.0 + 3 * 3.0])


class Looker:
    """Looks at these instants, and changes nothing."""

    def __init__(self, *instants_s: float) -> None:
        self.seen: list[Sight] = []
        self._instants_s = [*instants_s, np.inf]

    @property
    def next_s(self) -> float:
        return self._instants_s[len(self.seen)]

    def look(self, sight: Sight) -> list[Fault]:
        self.seen.append(sight)
        return []


@ALL
def test_a_watcher_sees_who_waits_who_runs_and_how_long_engines_have_worked(engines: Engines) -> None:
    """Three requests of four tokens from 0 s on, two at a time: the third runs from 4 to 8 s."""
    watcher = Looker(0.5, 4.0, 6.5, 9.0)
    by_hand(engines, [0.0, 0.0, 0.0], [4, 4, 4], Clients(), [], watcher=watcher)
    assert [one.waiting.tolist() for one in watcher.seen] == [[1], [0], [0], [0]]
    assert [one.serving.tolist() for one in watcher.seen] == [[2], [1], [1], [0]]
    assert [one.busy_s.tolist() for one in watcher.seen] == [[0.5], [4.0], [6.5], [8.0]]


@ALL
def test_who_leaves_ends_what_it_has_begun_and_hands_on_who_waits(engines: Engines) -> None:
    """Two run at each engine; the fifth waits at 0, and goes to 1 when 0 leaves at 1.5 s, where a slot is free at 3 s."""
    leave = [Fault(instant_s=1.5, replica=0, action=Action.LEAVE)]
    outcomes = by_hand(engines, [0.0, 0.0, 0.0, 0.0, 1.25], [5, 3, 5, 3, 2], Clients(), leave, replicas=2)
    np.testing.assert_array_equal(outcomes.answered_s, [5.0, 3.0, 5.0, 3.0, 5.0])
    assert outcomes.served == 5


@ALL
def test_a_pause_delays_the_pass_and_a_straggler_those_that_begin(engines: Engines) -> None:
    faults = [
        Fault(instant_s=1.5, replica=0, action=Action.PAUSE, value=10.0),
        Fault(instant_s=11.5, replica=0, action=Action.RESUME),
        Fault(instant_s=12.5, replica=0, action=Action.SLOW, value=3.0),
    ]
    outcomes = by_hand(engines, [0.0], [4], Clients(), faults)
    np.testing.assert_array_equal(outcomes.answered_s, [1 + (1 + 10) + 1 + 3])


@ALL
def test_who_finds_the_limit_waiting_is_rejected_also_before_the_first_pass(engines: Engines) -> None:
    """At 0 s all come at once; two wait for the first pass, and the third finds the limit."""
    outcomes = by_hand(engines, [0.0, 0.0, 0.0, 0.5], [2, 2, 2, 2], Clients(), [], queue_limit=2)
    np.testing.assert_array_equal(outcomes.answered_s, [2.0, 2.0, np.nan, 4.0])
    assert outcomes.rejected == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"protection": Protection(shedding=Shedding.LATE)}, "shed nothing"),
        ({"protection": Protection(abandoned=Abandoned.DROPPED)}, "shed nothing"),
        ({"limit": 0}, "queue limit of 0"),
    ],
)
def test_what_engines_in_trouble_do_not_have_is_refused(changed: dict[str, Any], reason: str) -> None:
    fleet = EngineFleet(
        table=SECOND,
        rules=RULES,
        replicas=1,
        routing=Routing.RANDOM,
        queue_limit=changed.get("limit"),
    )
    nothing = np.zeros(0, dtype=np.int64)
    tokens = TokenDraws(
        arrived_s=np.zeros(0),
        input_tokens=nothing,
        output_tokens=nothing,
        cached_tokens=nothing,
        routing=np.zeros(0),
    )
    draws = AttemptDraws(
        arrived_s=np.zeros(0),
        service=np.zeros((0, 0)),
        routing=np.zeros((0, 0, 2)),
        backoff=np.zeros((0, 0)),
        lengths=tokens,
    )
    for engines in (run_kernel, run_reference):
        with pytest.raises(DomainError, match=reason):
            engines(fleet, draws, Clients(), changed.get("protection", Protection()), [])


@BOTH
def test_a_pass_that_was_composed_ahead_reads_all_tokens_before_it(engines: Engines) -> None:
    """A pass takes 1 s and 1/8 s for each token that it reads, and is composed while the one before it is computed.

    The first request's passes end at 1, 2.25, 3.625 and 5.125 s, and read 2, 3 and 4 tokens. The second comes at 2.5 s, when the
    pass that ends at 5.125 s is composed, and joins the next: 5.125 + 1.625 s, and then 8 tokens are read in 2 s.
    """
    reads = linear_table(1.0, 0.0, 0.0, 0.125, (64, 4096, 4096))
    outcomes = by_hand(
        engines, [0.0, 2.5], [6, 2], Clients(), [], table=reads, rules=RULES._replace(ahead=True)
    )
    np.testing.assert_array_equal(outcomes.answered_s, [8.75, 8.75])
