"""Probes of batches: short runs that may refuse a fleet before the first of full length."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from capacity.traffic.workload import ClosedPopulation
from simulations.cases.batch_users import pace
from simulations.statistics.bursts import CYCLES_A_RUN, CYCLES_WARM_UP
from simulations.statistics.sample import Length

if TYPE_CHECKING:
    from simulations.cases.batch import BatchCase

# First run of a case whose full runs are much longer.
_PROBE = Length(warm_up=10_000, measured=10_000, cool_down=500)
_PROBE_GROWTHS, _PROBE_MARGIN = (4, 16), 4
# And before it where an acceptance is not for good.
BRIEF = Length(warm_up=2_500, measured=2_500, cool_down=125)
_BURSTS_MARGIN = 2  # margin of a run that has seen as many bursts as it must


def probes_of(case: "BatchCase") -> Iterator[Length]:
    """Short runs, the shortest first."""
    length = case.length
    if case.is_path or case.level is not None:
        return
    if isinstance(case.scenario.workload, ClosedPopulation):
        users = case.scenario.workload.users
        often = math.ceil(4 * users * pace(case))
        probe = Length(warm_up=often, measured=max(1_000, often), cool_down=min(often // 4, 100))
        if _PROBE_MARGIN * probe.requests <= length.requests:
            yield probe
        return
    first = _PROBE
    if (bursts := case.simulated.bursts) is not None:  # each run must see every stratum
        cycles = [math.ceil(n * bursts.cycle_requests) for n in (CYCLES_WARM_UP, CYCLES_A_RUN)]
        first = Length(
            warm_up=max(cycles[0], _PROBE.warm_up // 4),
            measured=max(cycles[1], _PROBE.measured),
            cool_down=_PROBE.cool_down,
        )
    if first.requests < (length.requests if first is _PROBE else length.requests // _BURSTS_MARGIN):
        yield first
    for growth in _PROBE_GROWTHS:
        probe = Length(
            warm_up=growth * first.warm_up, measured=growth * first.measured, cool_down=first.cool_down
        )
        if _PROBE_MARGIN * probe.requests <= length.requests:
            yield probe
