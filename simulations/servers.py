"""Servers: the simulation of each kind of server; the one file here that names the kinds.

The reference for fleets in trouble and its compiled form are registered by the kind of fleet, in
`reference/recovery/fleet.py` and in `kernel/recovery/run.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, singledispatch
from typing import Any, NamedTuple

import numpy as np

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.recovery.stress import Stress
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.server import TokenEngine
from capacity.server.server import Server
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import is_patient
from simulations.case import Case
from simulations.cases.batch import BatchCase
from simulations.cases.clients import ClientCase
from simulations.cases.controlled import ControlledCase
from simulations.draws.arrivals import Purpose, Seed
from simulations.draws.attempts import AttemptDraws, BatchFleet, Fleet
from simulations.draws.outages import attempt_draws, service_draws
from simulations.draws.records import Floats
from simulations.draws.service import ProfileTimes, ServiceTimes, slowdowns_of
from simulations.draws.tokens import Conversations, TokenDraws
from simulations.replication import Engine


def case_of(scenario: Any, engine: Engine = Engine.KERNEL, *, is_whole: bool = False) -> Case:
    """The case of a scenario, by the kind of its server.

    Args:
        is_whole: whether all replicas are simulated, even if one could represent them.
    """
    kind: type[Case] = _case_type(scenario.profile)
    if scenario.autoscaler is not None:
        return controlled(scenario, engine)
    if is_patient(scenario.workload):
        return kind(scenario=scenario, engine=engine, is_whole=is_whole)
    whole = kind(scenario=scenario, engine=engine, is_whole=True).uncut
    return ClientCase(scenario=scenario, engine=engine, is_whole=True, whole=whole)


def controlled(scenario: Any, engine: Engine = Engine.KERNEL) -> ControlledCase:
    """The case of a fleet that an autoscaler sizes over the day of its workload.

    Raises:
        InputError: there is no day, or the arrivals cannot follow a rate that changes.
        DomainError: a day has too many requests.
    """
    whole = case_of(replace(scenario, autoscaler=None), engine, is_whole=True)
    fleet = ScaledFleet(scenario=scenario, replica_rps=whole.replica_rps, spells=whole.spells)
    if is_patient(scenario.workload):  # else another attempt may be quicker
        fleet = replace(fleet, floors_s={limit: whole.floor_s(limit) for limit in fleet.limits})
    return ControlledCase(scenario=scenario, engine=engine, is_whole=True, whole=whole, fleet=fleet)


def require_sound(profile: Any, report: Callable[[str], None] | None = None) -> None:
    """Refuse a profile that misses what was measured of it, where that is known.

    Args:
        report: function that reports what takes time.

    Raises:
        InputError: the steps of a language model's profile miss the throughput of its saturated run.
    """
    if isinstance(profile, LlmProfile):
        from simulations.saturation import require_check

        if report is not None:
            report("finding where an engine saturates")
        require_check(profile)


@singledispatch
def _case_type(profile: Any) -> type[Case]:
    raise TypeError(f"no server of this kind is simulated: {type(profile).__name__}")


@_case_type.register
def _batch_case(profile: ServiceProfile) -> type[Case]:
    return BatchCase


@_case_type.register
def _engine_case(profile: LlmProfile) -> type[Case]:
    from simulations.cases.engine import EngineCase

    return EngineCase


class Simulated(NamedTuple):
    """A fleet to simulate, and the function that draws the random numbers of what arrives at given instants.

    Every fleet has the same users, and the first of many users are those of a few.

    Attributes:
        requests_each: how many requests an arrival from outside stands for on average: turns of a session, or one.
    """

    fleet: Fleet
    draw: Callable[[Floats], AttemptDraws]
    requests_each: float = 1.0


def simulated(stress: Stress, seed: Seed, service_times: ServiceTimes | None = None) -> Simulated:
    """The fleet of a stress and its users.

    Args:
        service_times: service times of batches, in place of those of the profile.
    """
    return _simulated(stress.server, stress, seed, service_times)


@singledispatch
def _simulated(server: Server, stress: Stress, seed: Seed, service_times: ServiceTimes | None) -> Simulated:
    raise TypeError(f"no simulation of {type(server).__name__}")


@_simulated.register
def _batches(
    server: BatchServer, stress: Stress[BatchPlan], seed: Seed, service_times: ServiceTimes | None
) -> Simulated:
    fleet = BatchFleet(
        plan=stress.plan,
        service_times=service_times or ProfileTimes(server.profile),
        cold=stress.cold,
        slowdowns=slowdowns_of(server.profile, stress.plan.replicas),
    )

    def draw(arrived_s: Floats) -> AttemptDraws:
        draws = attempt_draws(stress.clients, stress.plan.routing, seed, arrived_s)
        return replace(draws, service=service_draws(seed, stress.clients.attempts, len(arrived_s)))

    return Simulated(fleet, draw)


@_simulated.register
def _engines(
    server: TokenEngine, stress: Stress[TokenPlan], seed: Seed, service_times: ServiceTimes | None
) -> Simulated:
    from simulations.engine_replication import fleet_of

    fleet = fleet_of(server.scenario(stress.workload, stress.plan))

    def draw(arrived_s: Floats) -> AttemptDraws:
        lengths = _lengths(server, seed, arrived_s)
        draws = attempt_draws(stress.clients, stress.plan.routing, seed, lengths.arrived_s)
        return replace(draws, lengths=lengths)

    turns = server.lengths.turns_mean if are_sessions(server.lengths) else 1.0
    return Simulated(fleet, draw, turns)


def _lengths(server: TokenEngine, seed: Seed, arrived_s: Floats) -> TokenDraws:
    """Lengths by the number of the request, or turns of sessions that begin at some instants."""
    lengths, sessions = server.lengths, None
    if are_sessions(lengths):
        turns = lengths.draw(
            len(arrived_s), partial(seed.generator, Purpose.SESSIONS), server.profile.kv.block_tokens
        )
        sessions, arrived_s = Conversations(turns, arrived_s), np.zeros(len(turns.input_tokens))
        given, got = turns.input_tokens, turns.output_tokens
    else:
        given, got = lengths.draw(seed.generator(Purpose.LENGTHS).random((len(arrived_s), 2)))
    count = len(arrived_s)
    return TokenDraws(
        arrived_s=arrived_s,
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.floor(server.cached_share * given).astype(np.int64),
        routing=np.zeros(2 * count),
        noise_seed=int(seed.generator(Purpose.STEPS).integers(2**62)),
        sessions=sessions,
    )
