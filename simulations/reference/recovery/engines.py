"""Engines: one run of engines of a language model that fail, and clients that try again."""

from collections.abc import Sequence

from capacity.recovery.clients import Clients
from capacity.recovery.faults import Fault
from capacity.recovery.protection import Protection
from simulations.draws.attempts import AttemptDraws, EngineFleet, Outcomes, check_engines
from simulations.draws.tokens import TokenDraws
from simulations.reference.recovery.counts import Counts
from simulations.reference.recovery.faulty_engine import FaultyEngine
from simulations.reference.recovery.fleet import Fleet, balancer_for, follow, require_replicas
from simulations.reference.recovery.population import Population
from simulations.reference.replica import Clock


def run_engines(
    fleet: EngineFleet,
    tokens: TokenDraws,
    draws: AttemptDraws,
    clients: Clients,
    protection: Protection,
    faults: Sequence[Fault],
) -> Outcomes:
    """Follow every request until it is decided, and every attempt until it is served, called off, lost or stuck.

    Args:
        tokens: lengths of the requests and the seed of the passes' noise; its routing is not used.
        draws: of the attempts; engines use no service draws.

    Raises:
        DomainError: what the model does not have; see `check_engines`.
    """
    check_engines(fleet, tokens, draws, protection)
    require_replicas(faults, fleet.replicas)

    def build(clock: Clock, population: Population, counts: Counts) -> Fleet:
        engines = [
            FaultyEngine(index, clock, fleet, tokens, population, counts) for index in range(fleet.replicas)
        ]
        balancer = balancer_for(clock, fleet.routing, engines, draws, clients, protection, counts)
        return Fleet(engines, balancer, population)

    return follow(build, draws, clients, protection, faults)
