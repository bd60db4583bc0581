"""Surge of batches: a jump in their arrivals, which the fleet serves until new replicas are ready."""

from dataclasses import replace
from typing import TYPE_CHECKING

from capacity.errors import InputError
from capacity.question.resilience import Spike
from capacity.traffic.workload import ClosedPopulation, RenewalArrivals, SurgingArrivals, Workload
from simulations.case import one_for_all
from simulations.statistics.sample import Length

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# Warm-up of a surge, as a multiple of that of a steady state: for two replicas with large batches behind least-
# outstanding, P99 of a spike was 6 % too low after ten relaxation times, and right after twenty.
_COUPLED = 4


def surge_of(case: "BatchCase", spike: Spike) -> "tuple[BatchCase, Length]":
    """The case with a jump in its arrivals, of one replica if it represents all, and the length of its runs."""
    workload = case.scenario.workload
    if isinstance(workload, ClosedPopulation) or not isinstance(workload.arrivals, RenewalArrivals):
        raise InputError(
            "a spike multiplies a steady rate: use it with poisson, gamma or deterministic arrivals"
        )
    steady = (case if case.level is None else replace(case, is_whole=True)).length  # which starts empty
    seen, plan = one_for_all(workload, case.scenario.plan, len(case.slowdowns))
    assert isinstance(seen, Workload)  # noqa: S101  (a rate stays a rate)
    assert isinstance(seen.arrivals, RenewalArrivals)  # noqa: S101  (what one replica sees of renewals)
    during = max(2, round(seen.arrival_rate_rps * spike.factor * spike.startup_time_s))
    # The phases of replicas that influence each other take longer to be forgotten than their queues.
    warm_up = steady.warm_up * (1 if plan.replicas == 1 else _COUPLED)
    surging = SurgingArrivals(base=seen.arrivals, before=warm_up, factor=spike.factor)
    length = Length(warm_up=warm_up, measured=during, cool_down=steady.cool_down)
    scenario = replace(case.scenario, workload=replace(seen, arrivals=surging), plan=plan)
    return replace(case, scenario=scenario), length
