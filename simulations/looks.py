"""Looks: ever more replications of one case, until the caller knows enough or the budget ends."""

from collections.abc import Iterator

from capacity.errors import InconclusiveError
from capacity.units import format_quantile
from simulations.case import INDEPENDENT_EXCEEDANCES_MIN, REPLICATIONS_FEW, REPLICATIONS_FIRST, Case
from simulations.draws.arrivals import Seed
from simulations.statistics.path import INDEPENDENT_MIN
from simulations.statistics.pool import SECTIONS, Pool, served
from simulations.statistics.sample import Length
from simulations.statistics.verdict import Look
from simulations.workers import Mapper

# Budget of simulated requests for one plan; a count and not a time, so that no answer depends on speed.
REQUESTS_MAX = 100_000_000
# Share of those that a pool must have which need see fewer relaxation times, as a multiple of the share of these.
_EXCEEDANCES_SHARE = 2.0


def looks(
    case: Case,
    seed: Seed,
    requests_max: int,
    mapper: Mapper = map,
    requests_first: int = 0,
    care: float = 1.0,
) -> Iterator[Look]:
    """Consecutive looks, each with twice the replications of the last, until the budget ends.

    Runs in which responses still rise are given up for longer ones, however many they are: more would rise as well.

    A trace is run again with other service times, however long: the verdict is on the trace itself. Its sections, for
    traffic like it, are another matter (`look_at_sections`).

    Args:
        requests_max: most requests to simulate.
        requests_first: requests of the first look, if some are known to be needed; it has at least twenty
            replications, five under bursts and for a trace in a search, and no short runs before it.
        mapper: maps replications to their samples; the result does not depend on it.
        care: share of the relaxation times needed for valid intervals that a pool must have seen.
    """
    case.require_affordable(requests_max)
    runs, spent = case.first_runs, 0
    for probe in case.before(care) if requests_first == 0 else ():
        if spent + runs * probe.requests > requests_max:
            break
        spent += runs * probe.requests
        samples = mapper(case.replicate, case.tasks(probe, seed, range(runs)))
        pool = Pool.of(samples, case.start_error)
        yield Look(pool=pool, settled=is_enough(probe, pool, case, care), requests=spent)
    longer: Case | None = case
    while longer is not None:
        case, longer = longer, None
        for look in _full_looks(case, seed, (spent, requests_max), mapper, requests_first, care):
            yield look
            longer = _longer(case, look, requests_max, care)
            if longer is not None:
                spent = look.requests
                break


def _full_looks(
    case: Case, seed: Seed, budget: tuple[int, int], mapper: Mapper, requests_first: int, care: float
) -> Iterator[Look]:
    """Looks of full length; arguments as of `looks`, with what was spent of the budget."""
    (spent, requests_max), each = budget, case.length.requests
    pool, affordable = Pool.of((), case.start_error), (requests_max - spent) // each
    kind = {"is_path": case.is_repeated, "is_bursty": case.bursts is not None}
    for wanted in run_counts(
        affordable, requests_first // each, settling=case.runs_with(care), care=care, **kind
    ):
        tasks = case.tasks(case.length, seed, range(pool.replications, wanted))
        pool = pool.extended(mapper(case.replicate, tasks))
        if case.is_seen(pool):
            settled, requests = is_settled(pool, case, care), spent + wanted * each
            yield Look(pool=pool, settled=settled, requests=requests, given_up=spent)


def _longer(case: Case, look: Look, requests_max: int, care: float) -> Case | None:
    """The case with longer runs, if these have not forgotten their start, and others may settle within the budget."""
    longer = case.longer
    if longer is None or look.pool.replications < REPLICATIONS_FIRST or case.has_forgotten(look.pool):
        return None
    return longer if look.requests + longer.requests_settling(care) <= requests_max else None


def is_enough(probe: Length, pool: Pool, case: Case, care: float) -> bool:
    """Whether short runs are long enough for a search, whose acceptances are confirmed; not under bursts."""
    is_long = case.bursts is None and (case.length.warm_up <= probe.warm_up or not case.starts_empty)
    return care < 1.0 and is_long and is_settled(pool, case, care)


def run_counts(
    affordable: int,
    first: int = 0,
    *,
    settling: int = REPLICATIONS_FIRST,
    care: float = 1.0,
    is_path: bool = False,
    is_bursty: bool = False,
) -> Iterator[int]:
    """Numbers of runs of consecutive looks: about twice as many each time, as long as they are affordable.

    Args:
        first: number of the first look, if some are known to be needed; at least twenty.
        settling: the fewest that may settle, which is one of them.
        care: as in `looks`.
        is_path: whether each run is a recorded path or a day, which cannot be shorter: it is run at least five times,
            and in a search no more at first.
        is_bursty: whether each run sees many bursts, so that five are enough for a clear refusal.
    """
    is_few = care < 1.0 if is_path else is_bursty
    wanted = least = REPLICATIONS_FEW if is_few else REPLICATIONS_FIRST
    if is_path:
        affordable = max(affordable, REPLICATIONS_FEW)
        wanted = least = min(least, affordable)
    if first > 0:
        wanted = max(least, min(first, affordable))
    elif not (is_path or is_bursty):
        *earlier, wanted = _halved(settling)
        yield from (count for count in earlier if count <= affordable)
    while wanted <= affordable:
        yield wanted
        ended, wanted = wanted, 2 * wanted
        if ended < settling <= affordable < wanted and not is_path:
            wanted = settling


def _halved(runs: int) -> list[int]:
    """Numbers of runs up to this one, rising, about twice as many each time, of as many in each section."""
    groups = [runs // REPLICATIONS_FIRST]
    while groups[0] > 1:
        groups.insert(0, -(-groups[0] // 2))
    return [REPLICATIONS_FIRST * group for group in groups]


def is_settled(pool: Pool, case: Case, care: float = 1.0) -> bool:
    """Whether intervals of a pool are valid: no trace of the start, and enough bursts.

    The relaxation time mostly decides in advance how many requests are enough: a rule that depends on the durations
    alone is met soonest by runs that happen to be calm. Days are whole, and independent.
    """
    if case.is_day:
        return pool.counted + pool.whole.lost >= case.counted_min(care)
    seen = pool.independent_exceedances(case.scenario.quantile_max, case.deciding)
    is_level = case.is_path or (case.has_forgotten(pool) and has_runs(pool, care))
    enough = case.exceedances_min * min(1.0, _EXCEEDANCES_SHARE * care)
    return seen >= enough and is_level and pool.counted >= case.counted_min(care)


def has_runs(pool: Pool, care: float) -> bool:
    """Whether a pool has enough runs to accept for good."""
    return care < 1.0 or pool.replications >= REPLICATIONS_FIRST


def precise_look(
    case: Case, seed: Seed, requests_max: int, precision: float, confidence: float, mapper: Mapper = map
) -> Look:
    """The first settled look whose intervals at the highest quantile are narrow enough, else the last settled one.

    How many runs may settle is known beforehand. Fewer mostly tell nothing, so that these begin, or none at all if the
    budget is too small for them.

    Raises:
        InconclusiveError: no look within the budget has settled.
    """
    settled, last, requests_max = None, None, case.affordable(requests_max)
    first = 0 if _tells_early(case) else requests_needed(case)
    if first > requests_max:
        raise InconclusiveError(why_unsettled(case, last, requests_max))
    for last in looks(case, seed, requests_max, mapper, first):
        case.require_lasting(last.pool)
        settled = last if last.settled else None
        is_enough = last.requests >= case.narrowing(requests_max) and case.is_costly
        if settled is not None and (is_enough or is_precise(case, last.pool, precision, confidence)):
            break
    if settled is None:
        raise InconclusiveError(why_unsettled(case, last, requests_max))
    return settled


def _tells_early(case: Case) -> bool:
    """Whether fewer runs than may settle tell anything: of a path or a day, of a retry storm, or that all is lost."""
    return case.is_repeated or case.may_fall or (case.load or 0.0) >= 1.0


def requests_needed(case: Case) -> int:
    """Requests until the first look that may settle, as is known before any are simulated."""
    return case.requests_to_settle if _tells_early(case) else case.requests_settling(1.0)


def is_precise(case: Case, pool: Pool, precision: float, confidence: float) -> bool:
    """Whether the intervals of served requests at the highest quantile are narrow, without the profile's error."""
    highest = (pool.quantile(case.scenario.quantile_max, served(one)) for one in case.narrowed)
    return all(one.simulated(confidence).relative_half_width <= precision for one in highest)


def why_unsettled(case: Case, last: Look | None, requests_max: int) -> str:
    """Reason why there is no interval, with numbers and a remedy."""
    if case.is_costly and last is not None:
        return (
            f"not settled after {last.requests} turns: live sessions, or what waits, still grow, or the caches still "
            "change; add replicas, or ask for a lower rate"
        )
    quantile, (batches, smaller) = format_quantile(case.scenario.quantile_max), case.of_batches
    busy = "" if case.load is None else f" at load {case.load:.3f}"
    needed = requests_needed(case)
    if last is None or (not case.is_path and last.requests < needed):
        return (
            f"an interval for {quantile}{busy}{batches} takes {needed} requests or more, and "
            f"{requests_max} are allowed; raise --requests-max, or ask for a lower quantile{smaller} or a lower rate"
        )
    mend = f"raise --requests-max ({requests_max} now), or ask for a lower quantile or a lower rate"
    worth = case.exceedances_min
    if last.pool.is_path:
        mend, worth = "record for longer, or ask for a lower percentile", INDEPENDENT_MIN
    elif not case.is_path and not case.has_forgotten(last.pool):
        moves = "rise" if case.starts_empty else "drift"
        return f"after {last.requests} requests{busy} responses still {moves} within the runs; {mend}"
    seen = last.pool.independent_exceedances(case.scenario.quantile_max, case.deciding)
    return (
        f"{last.requests} requests{busy} are worth {seen:.0f} independent responses beyond {quantile}, from "
        f"few busy periods, and an interval needs {worth:.0f}; {mend}"
    )


def look_at_sections(case: Case, seed: Seed) -> Look | None:
    """One run of a recorded path, cut into consecutive sections, which stand for traffic like it.

    It is None if all requests of a section are rejected.

    Raises:
        InconclusiveError: the path is too short for the quantile.
    """
    case.require_affordable(REQUESTS_MAX)
    parts = case.sections(seed)
    if parts is None:
        return None
    pool = Pool.of_path(parts)
    settled = pool.independent_exceedances(case.scenario.quantile_max, case.deciding) >= INDEPENDENT_MIN
    return Look(pool=pool, settled=settled, requests=case.length.requests)


def surge_looks(case: Case, seed: Seed, requests_max: int, mapper: Mapper = map) -> Iterator[Look]:
    """Consecutive looks, each with twice as many spikes as the last, until the budget ends.

    Each replication is one spike: ten relaxation times at today's rate, then the multiple of it from the arrival of a
    request on, until new replicas are ready. The number of requests that arrive within that time on average counts,
    and the existing fleet serves them to the end.

    Raises:
        InputError: the arrivals have no rate to multiply.
    """
    assert case.surge is not None  # noqa: S101  (who asks, has one)
    surging, length = case.surge
    affordable = requests_max // length.requests
    pool, wanted = Pool.of(()), SECTIONS
    while wanted <= affordable:
        tasks = surging.tasks(length, seed, range(pool.replications, wanted))
        pool = pool.extended(mapper(surging.replicate, tasks))
        # Spikes that overwhelm the fleet are alike, and the late requests of each come as one burst.
        enough = pool.independent_exceedances(case.scenario.quantile_max) >= INDEPENDENT_EXCEEDANCES_MIN
        yield Look(pool=pool, settled=enough, requests=wanted * length.requests)
        wanted *= 2
