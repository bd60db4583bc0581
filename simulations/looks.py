"""Estimate: looks at ever more replications of one case, until the caller knows enough or the budget ends."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from capacity.errors import InconclusiveError, InputError
from capacity.question.resilience import Spike
from capacity.traffic.workload import (
    ClosedPopulation,
    RenewalArrivals,
    SurgingArrivals,
    Workload,
)
from capacity.units import format_quantile
from simulations.case import Case, counted_min, one_for_all, run_length, tasks
from simulations.draws.arrivals import Seed
from simulations.replication import replicate, replicate_in_parts
from simulations.statistics.bursts import CYCLES_A_RUN, CYCLES_WARM_UP
from simulations.statistics.path import INDEPENDENT_MIN, require_enough, sections_of
from simulations.statistics.pool import SECTIONS, Pool
from simulations.statistics.sample import Length
from simulations.workers import Mapper

# Budget of simulated requests for one plan; a count and not a time, so that no answer depends on speed.
REQUESTS_MAX = 100_000_000
# Independent responses beyond the quantile without which a pool has seen too few bursts for an interval.
INDEPENDENT_EXCEEDANCES_MIN = 50
# A case that takes longer runs than this to settle is first looked at with short ones.
_PROBE = Length(warm_up=10_000, measured=10_000, cool_down=500)
_PROBE_GROWTHS, _PROBE_MARGIN = (4, 16), 4
_BURSTS_MARGIN = 2  # of one that has seen as many bursts as a run must
# Last digit of a clock, and how large a share of a service time it may be.
_CLOCK_DIGITS, _CLOCK_SHARE = 2.0**-52, 1e-4
# Replications, and so sections, of a first look; and of one whose runs are long, which may refuse by so few what is
# clear.
REPLICATIONS_FIRST, REPLICATIONS_FEW = SECTIONS, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known after some replications.

    Attributes:
        settled: the runs were long enough to forget their start, are level after it, and contain
            enough independent responses beyond the highest quantile.
        requests: simulated so far, for this look and those before it.
    """

    pool: Pool
    settled: bool
    requests: int


def looks(
    case: Case,
    seed: Seed,
    requests_max: int,
    mapper: Mapper = map,
    requests_first: int = 0,
    care: float = 1.0,
) -> Iterator[Look]:
    """Look after look, each with twice the replications of the one before; ends with the budget.

    A trace is run again and again with other service times, however long: what it says of itself is judged. What
    its sections say of traffic like it is another matter (`look_at_sections`).

    Args:
        requests_max: requests to simulate at most.
        requests_first: requests that the first look should have, where some are known to be needed;
            it has twenty replications at least, five under bursts and of a trace in a search, and no short runs
            come before it.
        mapper: how replications are mapped to their samples; the result does not depend on it.
        care: share of the relaxation times needed for valid intervals that a pool must have seen.
    """
    _require_resolvable(case, requests_max // REPLICATIONS_FIRST)
    require_enough(case.scenario.workload, case.scenario.quantile_max)
    length, runs = run_length(case), _probe_runs(case)
    spent = 0
    for probe in _probes(case, length) if requests_first == 0 else ():
        if spent + runs * probe.requests > requests_max:
            break
        spent += runs * probe.requests
        samples = mapper(replicate, tasks(case, probe, seed, range(runs)))
        yield Look(pool=Pool.of(samples), settled=False, requests=spent)
    pool = Pool.of(())
    affordable, first = (requests_max - spent) // length.requests, requests_first // length.requests
    is_bursty = case.bursts is not None
    for wanted in run_counts(affordable, first, care=care, is_path=case.is_path, is_bursty=is_bursty):
        pool = pool.extended(mapper(replicate, tasks(case, length, seed, range(pool.replications, wanted))))
        yield Look(pool=pool, settled=is_settled(pool, case, care), requests=spent + wanted * length.requests)


def run_counts(
    affordable: int, first: int = 0, *, care: float = 1.0, is_path: bool = False, is_bursty: bool = False
) -> Iterator[int]:
    """How many runs look after look has: twice as many each time, as long as they are affordable.

    Args:
        first: of the first look, where some number is known to be needed; twenty at least.
        care: as of `looks`.
        is_path: a recorded path cannot be made shorter: it is run five times at least, and in a search no more
            than that at first.
        is_bursty: each run sees many bursts, so that five may refuse what is clear.
    """
    is_few = care < 1.0 if is_path else is_bursty
    least = REPLICATIONS_FEW if is_few else REPLICATIONS_FIRST
    if is_path:
        affordable = max(affordable, REPLICATIONS_FEW)
        least = min(least, affordable)
    wanted = max(least, min(first, affordable))
    while wanted <= affordable:
        yield wanted
        wanted *= 2


def _require_resolvable(case: Case, requests_max: int) -> None:
    """Refuse a run so long that its clock cannot tell a service time: a unit of the rate is likely wrong.

    Args:
        requests_max: of one run; one beyond the budget is never made.
    """
    workload, shortest_s = case.scenario.workload, case.scenario.profile.law(1).durations_s[0]
    requests = min(run_length(case).requests, requests_max)
    if isinstance(workload, ClosedPopulation):
        run_s = max(1.0, requests / workload.users) * workload.think_time_s
        slow, what = f"with a think time of {workload.think_time_s:g} s", "think time"
    else:
        run_s = requests / workload.arrival_rate_rps
        slow, what = f"at {workload.arrival_rate_rps:g} rps", "rate"
    if run_s * _CLOCK_DIGITS > _CLOCK_SHARE * shortest_s:
        raise InputError(
            f"{slow} a run lasts {run_s:.3g} s, in which the clock cannot tell a service of "
            f"{shortest_s:g} s; is the unit of the {what} right?"
        )


def is_settled(pool: Pool, case: Case, care: float = 1.0) -> bool:
    """Whether intervals of a pool are valid: no trace of the start, and enough bursts.

    The relaxation time mostly decides in advance how long is long enough: a rule that looks only at the
    responses is met soonest by the runs that happened to be calm.
    """
    enough = pool.independent_exceedances(case.scenario.quantile_max) >= INDEPENDENT_EXCEEDANCES_MIN
    is_level = case.is_path or (pool.is_level and has_runs(pool, care))
    return enough and is_level and pool.counted >= care * counted_min(case)


def has_runs(pool: Pool, care: float) -> bool:
    """Whether a pool has as many runs as it takes to accept for good."""
    return care < 1.0 or pool.replications >= REPLICATIONS_FIRST


def precise_look(
    case: Case, seed: Seed, requests_max: int, precision: float, confidence: float, mapper: Mapper = map
) -> Look:
    """The first settled look whose interval of the highest quantile is narrow enough, else the last.

    Raises:
        InconclusiveError: no look within the budget has settled.
    """
    settled, last = None, None
    for last in looks(case, seed, requests_max, mapper):
        settled = last if last.settled else None
        if settled is not None:
            width = last.pool.response_quantile(case.scenario.quantile_max).interval(confidence)
            if width.relative_half_width <= precision:
                break
    if settled is None:
        raise InconclusiveError(why_unsettled(case, last, requests_max))
    return settled


def why_unsettled(case: Case, last: Look | None, requests_max: int) -> str:
    """What is missing for an interval, with numbers and the fix."""
    quantile = format_quantile(case.scenario.quantile_max)
    busy = "" if case.scenario.load is None else f" at load {case.scenario.load:.3f}"
    if last is None or (not case.is_path and last.requests < requests_to_settle(case)):
        return (
            f"an interval for {quantile}{busy} with batches up to {case.scenario.plan.batch_size_max} takes "
            f"{requests_to_settle(case)} requests or more, and {requests_max} are allowed; raise "
            "--requests-max, or ask for a lower quantile, a smaller batch or a lower rate"
        )
    mend = f"raise --requests-max ({requests_max} now), or ask for a lower quantile or a lower rate"
    needed = INDEPENDENT_EXCEEDANCES_MIN
    if last.pool.is_path:
        mend, needed = "record for longer, or ask for a lower percentile", INDEPENDENT_MIN
    elif not case.is_path and not last.pool.is_level:
        return f"after {last.requests} requests{busy} responses still rise within the runs; {mend}"
    seen = last.pool.independent_exceedances(case.scenario.quantile_max)
    return (
        f"{last.requests} requests{busy} are worth {seen:.0f} independent responses beyond {quantile}, from "
        f"few busy periods, and an interval needs {needed}; {mend}"
    )


def requests_to_settle(case: Case) -> int:
    """Requests of the first look that may settle, the short ones before it included."""
    length, replications = run_length(case), REPLICATIONS_FIRST
    if case.is_path:
        return replications * length.requests
    while replications * length.measured < counted_min(case):
        replications *= 2
    probes = sum(probe.requests for probe in _probes(case, length))
    return _probe_runs(case) * probes + replications * length.requests


def _probe_runs(case: Case) -> int:
    """How many short runs go before those of full length."""
    return REPLICATIONS_FIRST if case.bursts is None else REPLICATIONS_FEW


def _probes(case: Case, length: Length) -> Iterator[Length]:
    """Short runs that may refuse before the first of full length: each four times as long as the one before.

    They cost at most a third of what follows, and are few: near saturation nothing would follow.
    A closed population has one, after each of its users, who all come at the start, has come back often. A path
    has none: it is as long as it is.
    """
    if case.is_path:
        return
    if isinstance(case.scenario.workload, ClosedPopulation):
        users = case.scenario.workload.users
        probe = Length(warm_up=4 * users, measured=max(1_000, 4 * users), cool_down=min(users, 100))
        if _PROBE_MARGIN * probe.requests <= length.requests:
            yield probe
        return
    first = _PROBE
    if (bursts := case.simulated.bursts) is not None:  # in which each run must see every stratum
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


def look_at_sections(case: Case, seed: Seed) -> Look | None:
    """One run of a recorded path, cut into consecutive sections: what traffic like it would do.

    None if all requests of a section are rejected, so that it says nothing.

    Raises:
        InconclusiveError: a path that is too short for the quantile.
    """
    require_enough(case.scenario.workload, case.scenario.quantile_max)
    length, quantile = run_length(case), case.scenario.quantile_max
    (task,) = tasks(case, length, seed, range(1))
    try:
        pool = Pool.of_path(replicate_in_parts(task, sections_of(length.measured, quantile)))
    except InputError:
        return None
    settled = pool.independent_exceedances(quantile) >= INDEPENDENT_MIN
    return Look(pool=pool, settled=settled, requests=length.requests)


# Times the warm-up of a steady state: of two replicas with large batches behind least-outstanding, P99 of a
# spike came out 6 % low after ten relaxation times, and right after twenty.
_COUPLED = 4


def spike_looks(
    case: Case, spike: Spike, seed: Seed, requests_max: int, mapper: Mapper = map
) -> Iterator[Look]:
    """Look after look, each at twice as many spikes as the one before; ends with the budget.

    Each replication is one spike: ten relaxation times at today's rate, then the multiple of it from the
    arrival of a request on, for as long as new replicas take to be ready. As many requests count as arrive
    within that time on average, and are served by the existing fleet to the end.

    Raises:
        InputError: arrivals that have no rate to multiply.
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
    """The case with the jump in its arrivals, with one replica where it represents all, and its runs."""
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
