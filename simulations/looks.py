"""Looks: ever more replications of one case, until the caller knows enough or the budget ends."""

from collections.abc import Iterator

from capacity.errors import InconclusiveError
from capacity.units import format_quantile
from simulations.case import REPLICATIONS_FEW, REPLICATIONS_FIRST, Case
from simulations.draws.arrivals import Seed
from simulations.statistics.decision import Look
from simulations.statistics.path import INDEPENDENT_MIN
from simulations.statistics.pool import SECTIONS, SERVED, Pool
from simulations.workers import Mapper

# Budget of simulated requests for one plan; a count and not a time, so that no answer depends on speed.
REQUESTS_MAX = 100_000_000
# Independent durations beyond the quantile without which a pool has seen too few bursts for an interval.
INDEPENDENT_EXCEEDANCES_MIN = 50


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
    case.require_affordable(requests_max)
    length, runs, spent = case.length, case.first_runs, 0
    for probe in case.probes if requests_first == 0 else ():
        if spent + runs * probe.requests > requests_max:
            break
        spent += runs * probe.requests
        samples = mapper(case.replicate, case.tasks(probe, seed, range(runs)))
        yield Look(pool=Pool.of(samples), settled=False, requests=spent)
    pool = Pool.of(())
    affordable, first = (requests_max - spent) // length.requests, requests_first // length.requests
    is_bursty = case.bursts is not None
    for wanted in run_counts(affordable, first, care=care, is_path=case.is_path, is_bursty=is_bursty):
        tasks = case.tasks(length, seed, range(pool.replications, wanted))
        pool = pool.extended(mapper(case.replicate, tasks))
        if case.is_seen(pool):
            settled = is_settled(pool, case, care)
            yield Look(pool=pool, settled=settled, requests=spent + wanted * length.requests)


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


def is_settled(pool: Pool, case: Case, care: float = 1.0) -> bool:
    """Whether intervals of a pool are valid: no trace of the start, and enough bursts.

    The relaxation time mostly decides in advance how long is long enough: a rule that looks only at the
    durations is met soonest by the runs that happened to be calm.
    """
    seen = pool.independent_exceedances(case.scenario.quantile_max, case.deciding)
    is_level = case.is_path or (pool.is_level and has_runs(pool, care))
    return seen >= INDEPENDENT_EXCEEDANCES_MIN and is_level and pool.counted >= case.counted_min(care)


def has_runs(pool: Pool, care: float) -> bool:
    """Whether a pool has as many runs as it takes to accept for good."""
    return care < 1.0 or pool.replications >= REPLICATIONS_FIRST


def precise_look(
    case: Case, seed: Seed, requests_max: int, precision: float, confidence: float, mapper: Mapper = map
) -> Look:
    """The first settled look whose intervals at the highest quantile are narrow enough, else the last.

    Raises:
        InconclusiveError: no look within the budget has settled.
    """
    settled, last = None, None
    for last in looks(case, seed, requests_max, mapper):
        settled = last if last.settled else None
        if settled is not None and is_precise(case, last.pool, precision, confidence):
            break
    if settled is None:
        raise InconclusiveError(why_unsettled(case, last, requests_max))
    return settled


def is_precise(case: Case, pool: Pool, precision: float, confidence: float) -> bool:
    """Whether the intervals of served requests at the highest quantile are narrow, the profile's error left out."""
    highest = (pool.quantile(case.scenario.quantile_max, SERVED[one]) for one in case.narrowed)
    return all(one.simulated(confidence).relative_half_width <= precision for one in highest)


def why_unsettled(case: Case, last: Look | None, requests_max: int) -> str:
    """What is missing for an interval, with numbers and the fix."""
    quantile, (batches, smaller) = format_quantile(case.scenario.quantile_max), case.of_batches
    busy = "" if case.load is None else f" at load {case.load:.3f}"
    if last is None or (not case.is_path and last.requests < case.requests_to_settle):
        return (
            f"an interval for {quantile}{busy}{batches} takes {case.requests_to_settle} requests or more, and "
            f"{requests_max} are allowed; raise --requests-max, or ask for a lower quantile{smaller} or a lower rate"
        )
    mend = f"raise --requests-max ({requests_max} now), or ask for a lower quantile or a lower rate"
    needed = INDEPENDENT_EXCEEDANCES_MIN
    if last.pool.is_path:
        mend, needed = "record for longer, or ask for a lower percentile", INDEPENDENT_MIN
    elif not case.is_path and not last.pool.is_level:
        return f"after {last.requests} requests{busy} responses still rise within the runs; {mend}"
    seen = last.pool.independent_exceedances(case.scenario.quantile_max, case.deciding)
    return (
        f"{last.requests} requests{busy} are worth {seen:.0f} independent responses beyond {quantile}, from "
        f"few busy periods, and an interval needs {needed}; {mend}"
    )


def look_at_sections(case: Case, seed: Seed) -> Look | None:
    """One run of a recorded path, cut into consecutive sections: what traffic like it would do.

    None if all requests of a section are rejected, so that it says nothing.

    Raises:
        InconclusiveError: a path that is too short for the quantile.
    """
    case.require_affordable(REQUESTS_MAX)
    parts = case.sections(seed)
    if parts is None:
        return None
    pool = Pool.of_path(parts)
    settled = pool.independent_exceedances(case.scenario.quantile_max, case.deciding) >= INDEPENDENT_MIN
    return Look(pool=pool, settled=settled, requests=case.length.requests)


def surge_looks(case: Case, seed: Seed, requests_max: int, mapper: Mapper = map) -> Iterator[Look]:
    """Look after look, each at twice as many spikes as the one before; ends with the budget.

    Each replication is one spike: ten relaxation times at today's rate, then the multiple of it from the
    arrival of a request on, for as long as new replicas take to be ready. As many requests count as arrive
    within that time on average, and are served by the existing fleet to the end.

    Raises:
        InputError: arrivals that have no rate to multiply.
    """
    assert case.surge is not None  # noqa: S101  (who asks, has one)
    surging, length = case.surge
    affordable = requests_max // length.requests
    pool, wanted = Pool.of(()), SECTIONS
    while wanted <= affordable:
        tasks = surging.tasks(length, seed, range(pool.replications, wanted))
        pool = pool.extended(mapper(surging.replicate, tasks))
        # A spike that overwhelms the fleet is alike each time, and its late requests come as one burst each.
        enough = pool.independent_exceedances(case.scenario.quantile_max) >= INDEPENDENT_EXCEEDANCES_MIN
        yield Look(pool=pool, settled=enough, requests=wanted * length.requests)
        wanted *= 2
