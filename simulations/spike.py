"""Spike: a fleet in its steady state whose traffic jumps, and the responses until new replicas are ready."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.errors import InputError
from capacity.survival import Spike
from capacity.workload import (
    ClosedPopulation,
    RenewalArrivals,
    SurgingArrivals,
    Workload,
)
from simulations.arrivals import Seed
from simulations.case import Case, run_length, tasks
from simulations.estimate import INDEPENDENT_EXCEEDANCES_MIN, Look
from simulations.pool import SECTIONS, Pool
from simulations.reduction import one_for_all
from simulations.replication import replicate
from simulations.sample import Length
from simulations.workers import Mapper

# Times the warm-up of a steady state: of two replicas with large batches behind least-outstanding, P99 of a
# spike came out 6 % low after ten relaxation times, and right after twenty.
_COUPLED = 4


def spike_looks(
    case: Case, spike: Spike, seed: Seed, requests_max: int, mapper: Mapper = map
) -> Iterator[Look]:
    """Look after look, each at twice as many spikes as the one before; ends with the budget.

    Each replication is one spike: ten relaxation times at today's rate, then the multiple of it from the
    arrival of a request on, for as long as new replicas take to be ready. As many requests count as arrive
    within that time on average, and are served by the standing fleet to the end.

    Raises:
        InputError: arrivals that have no rate to be multiplied.
    """
    surging, length = surge(case, spike)
    affordable = requests_max // length.requests
    pool, wanted = Pool.of(()), SECTIONS
    while wanted <= affordable:
        pool = pool.extended(
            mapper(replicate, tasks(surging, length, seed, range(pool.replications, wanted)))
        )
        # A spike that overwhelms the fleet is alike each time, and its late requests come as one burst each.
        enough = pool.independent_exceedances(case.scenario.quantile_max) >= INDEPENDENT_EXCEEDANCES_MIN
        yield Look(pool=pool, settled=enough, requests=wanted * length.requests)
        wanted *= 2


def surge(case: Case, spike: Spike) -> tuple[Case, Length]:
    """The case with the jump in its arrivals, by one replica where it stands for all, and its runs."""
    workload = case.scenario.workload
    if isinstance(workload, ClosedPopulation) or not isinstance(workload.arrivals, RenewalArrivals):
        raise InputError(
            "a spike multiplies a steady rate: use it with poisson, gamma or deterministic arrivals"
        )
    steady = run_length(case)
    seen, plan = one_for_all(workload, case.scenario.plan, len(case.slowdowns))
    assert isinstance(seen, Workload)  # noqa: S101  (a rate stays a rate)
    assert isinstance(seen.arrivals, RenewalArrivals)  # noqa: S101  (what one replica sees of renewals)
    during = max(2, round(seen.arrival_rate_rps * spike.factor * spike.startup_time_s))
    # The phases of replicas that influence each other take longer to forget than their queues do.
    warm_up = steady.warm_up * (1 if plan.replicas == 1 else _COUPLED)
    surging = SurgingArrivals(base=seen.arrivals, before=warm_up, factor=spike.factor)
    length = Length(warm_up=warm_up, measured=during, cool_down=steady.cool_down)
    scenario = replace(case.scenario, workload=replace(seen, arrivals=surging), plan=plan)
    return replace(case, scenario=scenario), length
