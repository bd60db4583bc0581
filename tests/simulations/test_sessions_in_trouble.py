"""Turns of sessions in trouble: the compiled engines against the readable ones, laws, and hand-made schedules."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recovery_schedules import Case, assert_alike, clients_on, faults_on
from session_schedules import SERVERS, STEP_S, schedules, schedules_of_sglang

from capacity.errors import DomainError
from capacity.profile.llm import Scheduler
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.server.engine.router import RouterRules
from capacity.traffic.clients import Clients
from capacity.traffic.sessions.turns import Turns
from simulations.draws.attempts import AttemptDraws, EngineFleet, Outcomes
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws
from simulations.kernel.engines import serve_engines
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference

ROUTINGS = tuple(one for one in Routing if one is not Routing.SHARED_QUEUE)


@st.composite
def troubled(draw: st.DrawFn, routings: tuple[Routing, ...] = ROUTINGS, *, sheds: bool = False) -> Case:
    """A small run of sessions, whose clients and faults come on one grid."""
    schedule = draw(schedules(routings) | schedules_of_sglang(routings))
    clients = draw(clients_on(STEP_S))
    if schedule.routing.needs_sessions:
        clients = replace(clients, hedge_s=None)
    tokens = schedule.draws
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape, replicas = (clients.attempts, len(tokens.arrived_s)), draw(st.integers(1, 4))
    fleet = EngineFleet(
        table=schedule.table,
        rules=schedule.rules,
        replicas=replicas,
        routing=schedule.routing,
        queue_limit=schedule.queue_limit,
        router=draw(
            st.sampled_from(
                [
                    RouterRules(servers=SERVERS),
                    RouterRules(servers=SERVERS, index="exact"),
                    RouterRules(servers=SERVERS, index=3, read_s=STEP_S),
                ]
            )
        ),
    )
    draws = AttemptDraws(
        arrived_s=tokens.arrived_s,
        service=np.zeros((0, 0)),
        routing=generator.random((*shape, 2)),
        backoff=generator.integers(0, 4, shape) / 4.0,
        lengths=tokens,
    )
    protection = Protection(
        abandoned=draw(st.sampled_from([Abandoned.SERVED, Abandoned.STOPPED])),
        ejection=draw(st.sampled_from([Ejecting.NONE, Ejecting.ENVOY])),
    )
    if sheds:
        protection = replace(protection, shedding=Shedding.NEW, new_max=draw(st.integers(1, 2)))
    return Case(fleet, draws, clients, protection, draw(faults_on(STEP_S, 40, replicas)))


def assert_same(case: Case) -> None:
    found, expected = run_kernel(*case), run_reference(*case)
    assert_alike(found, expected, has_faults=bool(case.faults))
    assert found.tokens is not None
    assert expected.tokens is not None
    np.testing.assert_array_equal(found.tokens.hit_tokens, expected.tokens.hit_tokens)


@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled())
def test_both_kinds_of_engines_give_the_same_bytes(case: Case) -> None:
    assert_same(case)


@settings(derandomize=True, max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled(sheds=True))
def test_both_kinds_of_engines_turn_the_same_sessions_away(case: Case) -> None:
    assert_same(case)


@pytest.mark.long
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled())
def test_both_kinds_of_engines_give_the_same_bytes_on_many_schedules(case: Case) -> None:
    assert_same(case)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled())
def test_every_attempt_at_a_turn_is_accounted_for(case: Case) -> None:
    outcomes = run_kernel(*case)
    gone = outcomes.served + outcomes.rejected + outcomes.crashed + outcomes.dropped
    came = ~np.isnan(outcomes.arrived_s)
    answered = ~np.isnan(outcomes.answered_s)
    stuck = int(outcomes.sent.sum()) - gone
    undecided = int((np.isinf(outcomes.ended_s) & came).sum())
    assert stuck >= undecided
    assert stuck == 0 or undecided > 0
    assert outcomes.served - outcomes.for_nobody == answered.sum()
    assert (outcomes.attempts[~came] == 0).all()
    assert (outcomes.attempts[came] >= 1).all()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled())
def test_a_turn_comes_when_the_one_before_has_its_answer_and_never_without(case: Case) -> None:
    assert case.draws.sessions is not None
    turns, outcomes = case.draws.sessions.turns, run_kernel(*case)
    later = np.flatnonzero(turns.turn > 0)
    answered_s, arrived_s = outcomes.answered_s, outcomes.arrived_s
    expected_s = np.maximum(
        arrived_s[later - 1] + turns.pace_s[later], answered_s[later - 1] + turns.think_s[later]
    )
    np.testing.assert_array_equal(arrived_s[later], expected_s)
    np.testing.assert_array_equal(arrived_s[turns.first[:-1]], case.draws.sessions.starts_s)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled())
def test_without_trouble_turns_are_served_as_they_always_are(case: Case) -> None:
    assert isinstance(case.fleet, EngineFleet)
    assert case.draws.lengths is not None
    fleet = replace(case.fleet, queue_limit=None)
    draws = replace(case.draws, routing=case.draws.routing[:1])
    tokens = replace(case.draws.lengths, routing=draws.routing[0].ravel())
    outcomes = run_kernel(fleet, draws, Clients(), Protection(), [])
    records = serve_engines(
        fleet.table, fleet.rules, fleet.replicas, fleet.routing, tokens, router=fleet.router
    )
    assert outcomes.tokens is not None
    np.testing.assert_array_equal(outcomes.arrived_s, records.arrived_s)
    np.testing.assert_array_equal(outcomes.answered_s, records.finished_s)
    np.testing.assert_array_equal(outcomes.tokens.hit_tokens, records.hit_tokens)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(troubled(), st.integers(1, 12))
def test_nothing_fails_while_replicas_restart_and_clients_wait(case: Case, steps: int) -> None:
    """All are away for a while, one after another or at once; who is away or waits begins again."""
    faults = [
        Fault(instant_s=begins * STEP_S, replica=replica, action=action)
        for replica in range(case.fleet.replicas)
        for begins, action in ((4, Action.AWAY), (4 + steps + replica % 2, Action.JOIN))
    ]
    fleet = replace(case.fleet, queue_limit=None)
    faults.sort(key=lambda one: one.instant_s)
    patient = case._replace(fleet=fleet, clients=Clients(), protection=Protection(), faults=faults)
    outcomes = run_kernel(*patient)
    assert not np.isnan(outcomes.answered_s).any()
    assert (outcomes.rejected, outcomes.crashed, outcomes.dropped) == (0, 0, 0)
    away_s = (4.0 * STEP_S, (4.0 + steps) * STEP_S)
    assert not ((outcomes.answered_s > away_s[0]) & (outcomes.answered_s <= away_s[1])).any()
    assert_same(patient)


# Schedules by hand: a pass takes 1 s, blocks have 4 tokens, and a prompt takes one pass, which brings the first token.
RULES = EngineRules(sequences_max=8, tokens_max=64, blocks=100, block_tokens=4)
SECOND = linear_table(1.0, 0.0, 0.0, 0.0, (64, 4096, 4096))
BOTH = pytest.mark.parametrize("engines", [run_reference, run_kernel], ids=["readable", "compiled"])


def by_hand(
    engines: Callable[..., Outcomes],
    starts_s: list[float],
    faults: list[Fault],
    clients: Clients | None = None,
    *,
    replicas: int = 1,
    routing: Routing = Routing.LEAST_OUTSTANDING,
    think_s: float = 1.0,
    outputs: tuple[int, ...] = (),
    new_max: int | None = None,
) -> Outcomes:
    """Sessions of two turns: 8 tokens in and 4 out, unless that is given, then 16 in or more, and 2 out."""
    sessions = len(starts_s)
    firsts = np.array(outputs or [4] * sessions)
    turns = Turns(
        first=np.arange(0, 2 * sessions + 1, 2),
        input_tokens=np.column_stack([np.full(sessions, 8), 12 + firsts]).ravel(),
        output_tokens=np.column_stack([firsts, np.full(sessions, 2)]).ravel(),
        think_s=np.tile([0.0, think_s], sessions),
        pace_s=np.zeros(2 * sessions),
        contents=np.zeros(0, dtype=np.int64),
        at=np.zeros(2 * sessions, dtype=np.int64),
        listed=np.zeros(2 * sessions, dtype=np.int64),
        private=1_000 * np.repeat(np.arange(sessions), 2),
        cut=np.zeros(sessions, dtype=bool),
    )
    count = 2 * sessions
    tokens = TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        sessions=Conversations(turns, np.array(starts_s)),
    )
    draws = AttemptDraws(
        arrived_s=tokens.arrived_s,
        service=np.zeros((0, 0)),
        routing=np.zeros((2, count, 2)),
        backoff=np.zeros((0, 0)),
        lengths=tokens,
    )
    fleet = EngineFleet(table=SECOND, rules=RULES, replicas=replicas, routing=routing)
    shedding = Shedding.NONE if new_max is None else Shedding.NEW
    protection = Protection(abandoned=Abandoned.STOPPED, shedding=shedding, new_max=new_max or 1)
    return engines(fleet, draws, clients or Clients(), protection, faults)


def at(instant_s: float, action: Action, replica: int = 0) -> Fault:
    return Fault(instant_s=instant_s, replica=replica, action=action)


def hits(outcomes: Outcomes) -> list[int]:
    assert outcomes.tokens is not None
    return [int(one) for one in outcomes.tokens.hit_tokens]


@BOTH
def test_the_second_turn_finds_what_the_first_has_left(engines: Callable[..., Outcomes]) -> None:
    """The first computes 11 tokens, which fill two blocks; it ends at 4 s, and the second comes at 5 s."""
    outcomes = by_hand(engines, [0.0], [])
    np.testing.assert_array_equal(outcomes.arrived_s, [0.0, 5.0])
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, 7.0])
    assert hits(outcomes) == [0, 8]


@BOTH
@pytest.mark.parametrize(
    "faults",
    [
        [at(4.5, Action.LEAVE), at(4.75, Action.JOIN)],
        [at(4.5, Action.CRASH), at(4.75, Action.RESTART)],
        [at(4.5, Action.AWAY), at(4.75, Action.JOIN)],
    ],
    ids=["lose", "crash", "restart"],
)
def test_a_replica_that_was_away_comes_back_with_an_empty_cache(
    engines: Callable[..., Outcomes], faults: list[Fault]
) -> None:
    outcomes = by_hand(engines, [0.0], faults)
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, 7.0])
    assert hits(outcomes) == [0, 0]


@BOTH
def test_a_failed_answer_ends_its_session_unless_the_client_tries_again(
    engines: Callable[..., Outcomes],
) -> None:
    """The crash at 2 s; the second try begins with its prompt at 2.5 s, and its next turn follows it."""
    faults = [at(2.0, Action.CRASH), at(2.0, Action.HIDE), at(2.5, Action.RESTART)]
    once = by_hand(engines, [0.0], faults)
    np.testing.assert_array_equal(once.answered_s, [np.nan, np.nan])
    np.testing.assert_array_equal(once.arrived_s, [0.0, np.nan])
    faults = [at(2.0, Action.CRASH), at(2.0, Action.RESTART)]
    twice = by_hand(engines, [0.0], faults, Clients(attempts=2))
    np.testing.assert_array_equal(twice.answered_s, [6.0, 9.0])
    assert twice.attempts.tolist() == [2, 1]


@BOTH
def test_who_runs_at_a_restart_begins_again_elsewhere_or_when_a_replica_is_back(
    engines: Callable[..., Outcomes],
) -> None:
    """One replica: away from 2.5 to 10 s. Two: the first goes, and its request moves to the other at once."""
    away = [at(2.5, Action.AWAY), at(10.0, Action.JOIN)]
    alone = by_hand(engines, [0.0, 3.0], away)
    np.testing.assert_array_equal(alone.answered_s, [14.0, 17.0, 14.0, 17.0])
    assert alone.attempts.tolist() == [1, 1, 1, 1]
    moved = by_hand(engines, [0.0], away, replicas=2)
    np.testing.assert_array_equal(moved.answered_s, [6.5, 9.5])
    assert moved.tokens is not None
    assert moved.tokens.replica.tolist() == [1, 1]


@BOTH
def test_a_prompt_that_begins_again_is_in_flight_until_its_first_token_and_not_after(
    engines: Callable[..., Outcomes],
) -> None:
    """Of equal replicas the first is chosen. Both are away from 2.5 to 10 s, then the second from 2.5 to 2.75 s.

    The first session has its first token at 1 s, begins again at the first replica, and has it again at 11 s.
    In the other run the second session moves from the second replica to the first, where it has its token at 4 s.
    """
    gone, back = ((2.5, Action.AWAY), (10.0, Action.JOIN))
    both = [at(instant_s, action, replica) for instant_s, action in (gone, back) for replica in (0, 1)]
    one = [at(2.5, Action.AWAY, 1), at(2.75, Action.JOIN, 1)]
    for starts_s, faults, replicas in (
        ([0.0, 10.5], both, [0, 1]),
        ([0.0, 12.5], both, [0, 0]),
        ([0.0, 0.5, 3.25], one, [0, 0, 1]),
        ([0.0, 0.5, 4.25], one, [0, 0, 0]),
    ):
        outcomes = by_hand(engines, starts_s, faults, replicas=2, routing=Routing.PREFIX_LLM_D)
        assert outcomes.tokens is not None
        assert outcomes.tokens.replica[::2].tolist() == replicas


@BOTH
def test_who_waits_for_replicas_may_give_up(engines: Callable[..., Outcomes]) -> None:
    """The first waits from 2.5 s on and gives up at 6 s; the second came at 5 s, and begins at 10 s."""
    away = [at(2.5, Action.AWAY), at(10.0, Action.JOIN)]
    outcomes = by_hand(engines, [0.0, 5.0], away, Clients(timeout_s=6.0))
    np.testing.assert_array_equal(outcomes.answered_s, [np.nan, np.nan, np.nan, np.nan])
    assert (outcomes.dropped, outcomes.timed_out) == (2, 2)
    outcomes = by_hand(engines, [0.0, 5.0], away, Clients(timeout_s=9.0))
    np.testing.assert_array_equal(outcomes.answered_s, [np.nan, np.nan, 14.0, 17.0])


@BOTH
def test_who_still_runs_at_a_replica_that_came_back_leaves_nothing_to_others(
    engines: Callable[..., Outcomes],
) -> None:
    """The first turn runs from 0 to 4 s; its replica leaves and is back meanwhile, and what it held is gone."""
    outcomes = by_hand(engines, [0.0], [at(1.5, Action.LEAVE), at(2.5, Action.JOIN)])
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, 7.0])
    assert hits(outcomes) == [0, 0]


@BOTH
def test_a_session_does_not_begin_where_others_wait_and_goes_on_even_so(
    engines: Callable[..., Outcomes],
) -> None:
    """Passes begin at whole seconds while some are left. The third and the fourth session find one that waits, and so does a second turn."""
    outcomes = by_hand(engines, [0.0, 0.25, 0.5, 4.5, 5.125], [], think_s=0.25, new_max=1)
    never = [np.nan, np.nan]
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, 7.0, 5.0, 8.0, *never, *never, 10.0, 12.25])
    assert outcomes.rejected == 2
    outcomes = by_hand(engines, [0.0, 0.25, 0.5], [], think_s=0.25, new_max=2)
    np.testing.assert_array_equal(outcomes.answered_s, [4.0, 7.0, 5.0, 8.0, 5.0, 8.0])


@BOTH
def test_a_turn_joins_an_engine_that_computes_long_answers_when_it_comes(
    engines: Callable[..., Outcomes],
) -> None:
    """In turn to 0, 1, 0 and 1, where a long answer has its passes from 0.25 s on: it joins the one of 5.25 s."""
    outcomes = by_hand(
        engines,
        [0.0, 0.25, 0.5],
        [],
        replicas=2,
        routing=Routing.ROUND_ROBIN,
        think_s=0.5,
        outputs=(4, 12, 9),
    )
    np.testing.assert_array_equal(outcomes.answered_s[:4], [4.0, 7.25, 12.25, 14.75])


@BOTH
def test_a_router_of_conversations_chooses_among_those_that_are_up(
    engines: Callable[..., Outcomes],
) -> None:
    """The hash sends the session to one of two replicas, and its second turn to the other while that is away."""
    (home,) = set(served_by(by_hand(engines, [0.0], [], replicas=2, routing=Routing.SESSION)))
    for actions in ((Action.LEAVE, Action.JOIN), (Action.AWAY, Action.JOIN), (Action.HIDE, Action.JOIN)):
        faults = [at(4.5, actions[0], home), at(6.0, actions[1], home)]
        moved = by_hand(engines, [0.0], faults, replicas=2, routing=Routing.SESSION)
        assert served_by(moved) == [home, 1 - home]


def served_by(outcomes: Outcomes) -> list[int]:
    assert outcomes.tokens is not None
    return [int(one) for one in outcomes.tokens.replica]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"routing": Routing.SESSION, "clients": Clients(attempts=2, hedge_s=1.0)}, "leave out --hedge"),
        ({"rules": RULES._replace(scheduler=Scheduler.LLAMA_CPP, block_tokens=1)}, "llama.cpp"),
        ({"routing": Routing.SESSION, "sessions": None}, "turns of sessions"),
    ],
)
def test_what_sessions_in_trouble_do_not_have_is_refused(changed: dict[str, Any], reason: str) -> None:
    seen: dict[str, Any] = {}

    def refused(fleet: EngineFleet, draws: AttemptDraws, *rest: Any) -> Outcomes:
        assert draws.lengths is not None
        lengths = replace(draws.lengths, sessions=changed.get("sessions", draws.lengths.sessions))
        fleet = replace(fleet, rules=changed.get("rules", RULES))
        for engines in (run_kernel, run_reference):
            with pytest.raises(DomainError, match=reason):
                engines(fleet, replace(draws, lengths=lengths), *rest)
        seen["refused"] = True
        return run_kernel(replace(fleet, rules=RULES, routing=Routing.RANDOM), draws, *rest)

    by_hand(
        refused, [0.0], [], changed.get("clients"), routing=changed.get("routing", Routing.LEAST_OUTSTANDING)
    )
    assert seen


def attempts_at_once(
    engines: Callable[..., Outcomes],
    rules: EngineRules,
    tokens: tuple[int, int],
    attempts: int,
    abandoned: Abandoned,
) -> Outcomes:
    """Attempts at one turn, of prompt and answer of this many tokens, that come to one engine at one instant."""
    none = np.zeros(1, dtype=np.int64)
    turns = Turns(
        first=np.array([0, 1]),
        input_tokens=np.array(tokens[:1]),
        output_tokens=np.array(tokens[1:]),
        think_s=np.zeros(1),
        pace_s=np.zeros(1),
        contents=none[:0],
        at=none,
        listed=none,
        private=np.array([1_000]),
        cut=np.zeros(1, dtype=bool),
    )
    drawn = TokenDraws(
        arrived_s=np.zeros(1),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=none,
        routing=np.zeros(2),
        sessions=Conversations(turns, np.zeros(1)),
    )
    draws = AttemptDraws(
        arrived_s=drawn.arrived_s,
        service=np.zeros((0, 0)),
        routing=np.zeros((attempts, 1, 2)),
        backoff=np.zeros((attempts, 1)),
        lengths=drawn,
    )
    fleet = EngineFleet(table=SECOND, rules=rules, replicas=1, routing=Routing.ROUND_ROBIN)
    clients = Clients(attempts=attempts, hedge_s=0.0)
    return engines(fleet, draws, clients, Protection(abandoned=abandoned), [])


@BOTH
def test_an_attempt_that_is_back_fills_blocks_with_its_answer_at_once(
    engines: Callable[..., Outcomes],
) -> None:
    """Three attempts at one turn, of 13 tokens and 4, have 18 blocks of one token; the first is answered at 6 s.

    The others come back with what it has left. The third is a token ahead, and so the first to fill the blocks 14
    and 15. Thrown out at 8 s, it finds its own, which are free: it needs three of them, and there are two. It waits
    for the second, which ends at 10 s, and takes the eleventh pass; it would fit at 9 s if it found those in use.
    """
    rules = RULES._replace(
        sequences_max=3, tokens_max=23, blocks=18, block_tokens=1, chunked=False, part_max=6
    )
    outcomes = attempts_at_once(engines, rules, (13, 4), 3, Abandoned.SERVED)
    assert outcomes.tokens is not None
    assert outcomes.answered_s.tolist() == [6.0]
    assert (outcomes.served, outcomes.for_nobody, outcomes.tokens.steps) == (3, 2, 11)
    assert (outcomes.tokens.thrown_out, outcomes.tokens.cached) == (40, 58)


@BOTH
def test_a_pass_composed_ahead_for_who_is_called_off_reads_what_was_accepted_since(
    engines: Callable[..., Outcomes],
) -> None:
    """Two attempts at 4 tokens and 4, with a draft that is always accepted, are a pass apart.

    The first is answered at 3 s and the second is called off; the pass that begins then was composed for its sixth
    token at 2 s, and reads seven, as two have come since.
    """
    rules = RULES._replace(tokens_max=5, ahead=True, acceptance=(1.0,))
    outcomes = attempts_at_once(engines, rules, (4, 4), 2, Abandoned.STOPPED)
    assert outcomes.tokens is not None
    assert (outcomes.answered_s.tolist(), outcomes.dropped) == ([3.0], 1)
    assert outcomes.tokens.largest == (2.0, 5.0, 7.0, 1.0)
