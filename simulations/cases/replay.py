"""Replay: exactly the requests that came, served from an empty fleet of engines."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from capacity.errors import DomainError
from capacity.performance import QUANTILE_FIELDS, Interval, Kind, Performance, Share
from capacity.question.budget import Replayed
from capacity.server.engine.plan import TokenScenario
from simulations.draws.arrivals import Seed
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import Conversations, TokenDraws, TokenRecords
from simulations.engine_replication import draw_tokens, overheads_s, rules_of, serve, turns_of
from simulations.replication import Engine
from simulations.saturation import token_load
from simulations.statistics.performances import engine_performance
from simulations.statistics.pool import Pool
from simulations.statistics.tally import tally_of_cells
from simulations.statistics.tokens import Part, TokenSample, token_sample

# Replays of one load test, each with other noise of steps, and other replicas where these are picked at random.
_COPIES = 20


def replay(
    scenario: TokenScenario, quantiles: Sequence[float], engine: Engine = Engine.KERNEL
) -> tuple[TokenDraws, TokenRecords, Performance]:
    """Result of exactly the requests of a trace, served from an empty fleet; quantiles have no interval."""
    draws = draw_tokens(scenario, 0, Seed(value=0))
    records = serve(scenario, draws, engine)
    span_s = float(np.nanmax(records.finished_s) - draws.arrived_s[0])
    sample = _sample(scenario, draws, records, part=slice(0, len(draws.arrived_s)), window_s=span_s)
    return draws, records, _performance(scenario, [sample], quantiles)


def replays(
    parts: Sequence[Replayed], quantiles: Sequence[float], engine: Engine = Engine.KERNEL
) -> Performance:
    """Performance over the counted requests of load tests of one plan, each from an empty fleet; values only.

    Intervals would speak of other arrivals, and the load tests had these.
    """
    samples = []
    for part in parts:
        for number in range(_COPIES):
            draws = _drawn(part, Seed(value=number))
            until_s = np.inf if part.sessions is None else part.to_s  # later turns of sessions were not sent
            records = serve(part.scenario, draws, engine, (part.from_s, until_s))
            samples.append(
                _sample(
                    part.scenario,
                    draws,
                    records,
                    part=_counted(part, records.arrived_s),
                    window_s=part.to_s - part.from_s,
                )
            )
    found = _performance(parts[0].scenario, samples, quantiles)
    exact: dict[str, Any] = {
        name: {q: Interval.exact(one.value) for q, one in getattr(found, name).items()}
        for name in QUANTILE_FIELDS
    }
    if found.hit_share is not None:
        exact["hit_share"] = Share.of(Interval.exact(found.hit_share.mean))
    return replace(found, intervals={}, **exact)


def _drawn(part: Replayed, seed: Seed) -> TokenDraws:
    """The requests of a load test, with other noise for each seed."""
    if part.sessions is None:
        return draw_tokens(part.scenario, 0, seed)
    return turns_of(part.scenario, Conversations(*part.sessions), seed)


def _counted(part: Replayed, arrived_s: Floats) -> Integers:
    """The requests of a load test that count, by their numbers, in order of their arrivals."""
    counted = np.flatnonzero((arrived_s >= part.from_s) & (arrived_s <= part.to_s))
    return np.asarray(counted[np.argsort(arrived_s[counted], kind="stable")])


def _sample(
    scenario: TokenScenario, draws: TokenDraws, records: TokenRecords, *, part: Part, window_s: float
) -> TokenSample:
    """The sample of some requests of a replay."""
    return token_sample(
        draws,
        records,
        scenario.objective,
        overhead_s=overheads_s(scenario, draws),
        gaps=tally_of_cells(records.gap_counts),
        part=part,
        window_s=window_s,
        blocks=rules_of(scenario).blocks,
    )


def _performance(
    scenario: TokenScenario, samples: Sequence[TokenSample], quantiles: Sequence[float]
) -> Performance:
    return engine_performance(
        Pool.of(samples),
        load=_load_of_replay(scenario),
        replicas=scenario.plan.replicas,
        simulated=scenario.plan.replicas,
        quantiles=quantiles,
        confidence=0.95,
        has_limits=bool(scenario.objective.together),
        may_lose=scenario.plan.queue_limit is not None,
        kind=Kind.REPLAY,
    )


def _load_of_replay(scenario: TokenScenario) -> float | None:
    """Rate of the trace over the rate at which the fleet saturates; None if that is outside of what was measured."""
    try:
        return token_load(scenario)
    except DomainError:
        return None
