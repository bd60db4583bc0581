"""Replication of engines: one independent run of a language model's fleet by either engine, reduced to a sample."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from capacity.profile.llm import LlmProfile
from capacity.recovery.protection import Abandoned
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.lengths import LengthRows
from capacity.traffic.sessions.parse import AnySessions
from capacity.traffic.sessions.rows import SessionRows
from capacity.traffic.workload import Workload, is_patient
from simulations.day import Day
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.attempts import AttemptDraws, EngineFleet, Outcomes, backoff_draws, routing_draws
from simulations.draws.outages import inside
from simulations.draws.phases import PhaseStrata
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import ALWAYS, Conversations, EngineRules, Loop, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.reference.engine import run_engines
from simulations.replication import Engine, attempted, with_attempts
from simulations.statistics.sample import Length
from simulations.statistics.strata import Strata
from simulations.statistics.tally import tally_of_cells
from simulations.statistics.tokens import TokenSample, token_sample
from simulations.workers import leave_if_abandoned


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTask:
    """Inputs of one run, as a worker gets them; `strata` and `waiting_max` as in `simulations.replication.Task`."""

    scenario: TokenScenario
    length: Length
    seed: Seed
    engine: Engine = Engine.KERNEL
    strata: PhaseStrata | None = None
    waiting_max: float = math.inf


class Served(NamedTuple):
    """A run, and the time in which the requests that count have arrived, during which time is counted.

    Attributes:
        outcomes: of all requests, where clients may try again.
    """

    records: TokenRecords
    window_s: float
    outcomes: Outcomes | None = None


def rules_of(scenario: TokenScenario) -> EngineRules:
    """Rules by which the engines of a scenario compose their steps."""
    plan = scenario.plan
    return EngineRules.of(scenario.profile, plan.sequences_max, plan.batched_tokens_max)


def serve(
    scenario: TokenScenario, draws: TokenDraws, engine: Engine, window_s: tuple[float, float] = ALWAYS
) -> TokenRecords:
    """Serve requests under a plan, by either engine.

    Raises:
        DomainError: a step outside of what was measured.
    """
    run = serve_engines if engine is Engine.KERNEL else run_engines
    plan, profile = scenario.plan, scenario.profile
    records = run(
        profile.table,
        rules_of(scenario),
        plan.replicas,
        plan.routing,
        draws,
        window_s,
        plan.queue_limit,
        plan.router_told,
    )
    records.require_measured(profile.table, profile.name)
    return records


def fleet_of(scenario: TokenScenario, window_s: tuple[float, float] = ALWAYS) -> EngineFleet:
    """The engines of a scenario, in front of which clients may try again."""
    plan = scenario.plan
    return EngineFleet(
        table=scenario.profile.table,
        rules=rules_of(scenario),
        replicas=plan.replicas,
        routing=plan.routing,
        queue_limit=plan.queue_limit,
        window_s=window_s,
        router=plan.router_told,
    )


def draw_tokens(scenario: TokenScenario, requests: int, seed: Seed) -> TokenDraws:
    """The requests of one run; the same users at every rate and under every plan.

    Users in a closed loop send their first requests evenly spread over the time in which the first is served alone.
    """
    lengths = scenario.lengths
    if are_sessions(lengths):
        return turns_of(scenario, _conversations(scenario, lengths, requests, seed), seed)
    stream = Stream(scenario.workload, requests, seed)
    count = stream.requests
    if scenario.in_order:
        assert isinstance(lengths, LengthRows)  # noqa: S101  (who else has an order)
        given, got = (
            np.array(column, dtype=np.int64) for column in (lengths.input_tokens, lengths.output_tokens)
        )
    else:
        given, got = lengths.draw(seed.generator(Purpose.LENGTHS).random((count, 2)))
    loop, users = None, stream.users
    if users is not None:
        alone_s = _alone_s(scenario.profile, int(given[0]), int(got[0]))
        loop = Loop(users=users, think_s=stream.think_s(count), spread_s=alone_s)
    arrived_s = stream.arrived_s(count) if loop is None else np.zeros(count)
    drawn = _drawn(scenario, arrived_s, (given, got), stream.routing(count), seed)
    return replace(drawn, loop=loop)


def _conversations(scenario: TokenScenario, lengths: AnySessions, requests: int, seed: Seed) -> Conversations:
    """Sessions with about this many turns; each keeps its turns under every plan and at every rate."""
    block = scenario.profile.kv.block_tokens
    if scenario.in_order:
        assert isinstance(lengths, SessionRows)  # noqa: S101  (who else was recorded)
        return Conversations(*lengths.as_recorded(block))
    sessions, workload = math.ceil(requests / lengths.turns_mean), scenario.workload
    rate_rps = workload.arrival_rate_rps / lengths.turns_mean
    stream = Stream(replace(workload, arrival_rate_rps=rate_rps), sessions, seed)
    drawn = lengths.draw(sessions, partial(seed.generator, Purpose.SESSIONS), block)
    return Conversations(drawn, stream.arrived_s(sessions))


def draw_sessions(scenario: TokenScenario, lasting_s: float, seed: Seed) -> Conversations:
    """Sessions that begin one after another for at least this long; all of a recording. [s]"""
    lengths = scenario.lengths
    assert are_sessions(lengths)  # noqa: S101  (or there is nothing to draw)
    requests = math.ceil(scenario.workload.arrival_rate_rps * lasting_s)
    found = _conversations(scenario, lengths, requests, seed)
    while not scenario.in_order and found.starts_s[-1] <= lasting_s:
        requests *= 2
        found = _conversations(scenario, lengths, requests, seed)
    return found


def turns_of(scenario: TokenScenario, sessions: Conversations, seed: Seed) -> TokenDraws:
    """The turns of some sessions as the requests of one run."""
    turns = sessions.turns
    count = len(turns.input_tokens)
    routing = Stream(Workload(arrival_rate_rps=scenario.workload.arrival_rate_rps), count, seed).routing(
        count
    )
    drawn = _drawn(scenario, np.zeros(count), (turns.input_tokens, turns.output_tokens), routing, seed)
    return replace(drawn, sessions=sessions)


def _drawn(
    scenario: TokenScenario,
    arrived_s: Floats,
    lengths: tuple[Integers, Integers],
    routing: Floats,
    seed: Seed,
) -> TokenDraws:
    """Requests at given instants with given lengths."""
    given, got = lengths
    return TokenDraws(
        arrived_s=arrived_s,
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.floor(scenario.cached_share * given).astype(np.int64),
        routing=routing,
        noise_seed=int(seed.generator(Purpose.STEPS).integers(2**62)),
    )


def day_outcomes(task: TokenTask, day: Day) -> tuple[TokenDraws, Outcomes]:
    """The requests of a day, and their outcomes."""
    leave_if_abandoned()
    scenario, stream, arrived_s = task.scenario, day.stream, day.stream.all_arrived_s()
    count, lengths = len(arrived_s), scenario.lengths
    if are_sessions(lengths):
        block = scenario.profile.kv.block_tokens
        turns = lengths.draw(count, partial(day.seed.generator, Purpose.SESSIONS), block)
        draws = turns_of(scenario, Conversations(turns, arrived_s), day.seed)
    else:
        drawn = lengths.draw(day.seed.generator(Purpose.LENGTHS).random((count, 2)))
        draws = _drawn(scenario, arrived_s, drawn, stream.routing(count), day.seed)
    outcomes = _attempted(task, draws, (day.begins_s, day.ends_s), day)
    if not is_patient(scenario.workload):
        day.count_attempts(outcomes)
    return draws, outcomes


def _alone_s(profile: LlmProfile, given: int, got: int) -> float:
    """Time of a request that meets no other, its prompt in one step. [s]"""
    return profile.table.mean_s(given) + (float(profile.passes(got)) - 1.0) * profile.pass_s(
        0.0, 1.0, given + got / 2.0
    )


def overheads_s(scenario: TokenScenario, draws: TokenDraws) -> Floats:
    """Time of each request outside of its engine. [s]"""
    overhead = scenario.profile.overhead
    return np.asarray(overhead.request_s + overhead.per_input_token_s * draws.input_tokens, dtype=np.float64)


def replicate_tokens(task: TokenTask) -> TokenSample | Strata:
    """Run one replication, and reduce it to a sample; for arrivals in bursts, to one of each stratum."""
    leave_if_abandoned()
    draws = draw_tokens(task.scenario, task.length.requests, task.seed)
    part = draws.part(task.length.warm_up, task.length.cool_down)
    return reduced(task, draws, part) if task.strata is None else _by_strata(task, draws, part, task.strata)


def reduced(task: TokenTask, draws: TokenDraws, part: slice) -> TokenSample:
    """Sample of a part of the requests; quantities per time are counted while these arrive."""
    served = _served(task, draws, part)
    sample = sampler(task, draws, served.records)
    found = sample(records=served.records, part=part, window_s=served.window_s)
    return found if served.outcomes is None else with_attempts(found, served.outcomes, part)


def _by_strata(task: TokenTask, draws: TokenDraws, part: slice, strata: PhaseStrata) -> Strata:
    """Samples of the strata of these requests, each over the time that its requests take at its rate."""
    records, window_s, outcomes = _served(task, draws, part)
    parts = strata.parts(task.seed.generator(Purpose.PHASES), draws.arrived_s, part)
    samples, half, sample = [], (part.start + part.stop) // 2, sampler(task, draws, records)
    for chosen, rate_rps in zip(parts, strata.rates_rps, strict=True):
        lasting_s, middle = len(chosen) / rate_rps, int(np.searchsorted(chosen, half))
        own = records.stratum(lasting_s / window_s)
        found = sample(records=own, part=chosen, window_s=lasting_s, middle=middle)
        samples.append(found if outcomes is None else with_attempts(found, outcomes, chosen))
    return Strata(weights=strata.weights, samples=tuple(samples))


def _served(task: TokenTask, draws: TokenDraws, part: slice) -> Served:
    """A run of all requests, of which a part counts."""
    if draws.loop is not None:
        counted = replace(draws, loop=draws.loop._replace(counted=(part.start, part.stop)))
        records = serve(task.scenario, counted, task.engine)
        return Served(records, float(records.arrived_s[part.stop] - records.arrived_s[part.start]))
    window_s = draws.span_s(part)
    if is_patient(task.scenario.workload):
        return Served(serve(task.scenario, draws, task.engine, window_s), window_s[1] - window_s[0])
    outcomes = _attempted(task, draws, window_s)
    assert outcomes.tokens is not None  # noqa: S101  (which engines have)
    return Served(outcomes.tokens, window_s[1] - window_s[0], outcomes)


def _attempted(
    task: TokenTask, draws: TokenDraws, window_s: tuple[float, float], day: Day | None = None
) -> Outcomes:
    """A run whose clients give up, retry or hedge, and whose engines stop what no client waits for."""
    scenario, seed = task.scenario, task.seed
    clients, profile = scenario.workload.clients, scenario.profile
    attempts = AttemptDraws(
        arrived_s=draws.arrived_s,
        service=np.zeros((0, 0)),
        routing=routing_draws(draws.routing, clients, scenario.plan.routing, seed),
        backoff=backoff_draws(len(draws.arrived_s), clients, seed),
        lengths=draws,
    )
    overhead = profile.overhead
    outside_s = overhead.request_s + overhead.per_input_token_s * scenario.lengths.moments.input
    fleet, patience = fleet_of(scenario, window_s), inside(clients, outside_s)
    outcomes = attempted(fleet, attempts, patience, Abandoned.STOPPED, task.waiting_max, task.engine, day=day)
    assert outcomes.tokens is not None  # noqa: S101  (which engines have)
    outcomes.tokens.require_measured(profile.table, profile.name)
    return outcomes


def sampler(task: TokenTask, draws: TokenDraws, records: TokenRecords) -> Callable[..., TokenSample]:
    """`token_sample` of any part of a run."""
    return partial(
        token_sample,
        draws,
        objective=task.scenario.objective,
        overhead_s=overheads_s(task.scenario, draws),
        gaps=tally_of_cells(records.gap_counts),
        blocks=rules_of(task.scenario).blocks,
    )
