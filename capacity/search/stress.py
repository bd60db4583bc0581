"""Stress: does a fleet come back, what is the smallest change that makes it, and what does it survive?"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial

from capacity.errors import InconclusiveError, UnstableError
from capacity.performance import Interval
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.plan import Routing
from capacity.recovery.findings import OneRun, Remedy, Run, Runs, Screen, SpikeSurvived, StressJudge
from capacity.recovery.fluid import amplification, fluid, patience_s, spike_survived_s
from capacity.recovery.protection import Abandoned, Ejecting, Shedding, lacks_weights
from capacity.recovery.stress import TOLERANCE, Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.search.caveats import outage_caveats
from capacity.search.exact import theory_of
from capacity.traffic.clients import BudgetKind, RetryBudget
from capacity.units import format_duration

BUDGET = 0.1  # retries a first try, which is what is recommended most
SLOW_START_S = 30  # as it is often set
# Seconds after the trigger within which a change must have worked, before it gets the whole horizon.
_SOON_S = 120.0
_FEW = 2  # runs that tell most fleets that do not recover
_SPIKE_HORIZON_S = 60.0
SPIKES = (2.0, 1.6)
_OVERLOADS, _OVERLOAD_MIN = (
    (1.6, 1.28),
    1.1,
)  # times the capacity, where these are no overload; and what is one
_MAP = (0.9, 1.1, 1.5, 2.0, 3.0)  # times the smaller of these
_SPIKE_MIN_S, _SPIKE_MAX_S = 1e-3, 120.0
_SPIKE_PRECISION = 0.1  # of a run's own boundary, by which two spikes may differ
Report = Callable[[str], None]


def screen(
    stress: Stress,
    judge: StressJudge,
    report: Report,
    *,
    replicas_max: int,
    only_verdict: bool = False,
    is_map: bool = False,
) -> Screen:
    """The whole of `capacity stress`.

    Args:
        replicas_max: of the smallest fleet that is looked for.
        only_verdict: whether this fleet recovers, and nothing else.
        is_map: spikes of seven heights in place of two.

    Raises:
        UnstableError: the fleet cannot sustain the arrival rate without any trouble.
        InconclusiveError: most requests fail before the trigger.
    """
    if stress.load >= stress.up_share:
        enough = math.floor(stress.load / stress.up_share * stress.plan.replicas) + 1
        served = f"{stress.up_share * stress.capacity_rps:.4g} rps"
        served += "" if stress.breakdowns is None else " on average, as they break down,"
        count = stress.plan.replicas
        fleet = "1 replica serves" if count == 1 else f"{count} replicas serve"
        raise UnstableError(
            f"{fleet} at most {served} and "
            f"{stress.rate_rps:.4g} rps arrive, so that they fall without any trouble; give {enough} or more"
        )
    count = stress.plan.replicas
    report(f"{count} replica{'' if count == 1 else 's'} in trouble, {judge.runs} runs")
    found, law = judge(stress), fluid(stress)
    if only_verdict:
        return Screen(found=found, fluid=law)
    smallest, smaller = smallest_fleet(found, judge, report, replicas_max)
    remedies = () if is_unharmed(found) else tuple(_try(stress, judge, report))
    spikes = tuple(_spikes(stress, judge, report, is_map=is_map))
    return Screen(
        found=found, fluid=law, smallest=smallest, smaller=smaller, remedies=remedies, spikes=spikes
    )


def stress_caveats(stress: Stress) -> Iterator[Caveat]:
    """What the figures behind a fleet in trouble leave open."""
    yield from outage_caveats([stress.outage], "figures, and the smallest fleet,")
    yield from theory_of(stress.profile).trouble_caveats(stress)
    yield Caveat(
        code=CaveatCode.PROFILE_ERROR_LEFT_OUT,
        message="intervals leave out the error of the profile: with "
        f"{stress.server.step} that take 1 % longer, a fleet that was overloaded may take some 10 % longer to recover",
    )


def is_unharmed(found: Runs) -> bool:
    """Whether the trigger does no harm that could be seen."""
    return found.exit_code == 0 and found.goodput_during.value >= found.baseline - TOLERANCE


def remedies(stress: Stress) -> Iterator[tuple[str, Stress]]:
    """Single settings that often help, as a flag, of those that are not set yet."""
    patience = patience_s(stress.clients)
    yield from _slow_starts(stress)
    if stress.clients.attempts > 1 and stress.clients.budget.kind is BudgetKind.NONE:
        budget = RetryBudget(kind=BudgetKind.FIRST_TRIES, ratio=BUDGET)
        yield f"--retry-budget {BUDGET:g}", replace(stress, clients=replace(stress.clients, budget=budget))
    if stress.caches is not None and stress.protection.shedding is Shedding.NONE:
        new_max = stress.caches.new_max
        limits = replace(stress.protection, shedding=Shedding.NEW, new_max=new_max)
        yield f"--shed new:{new_max}", replace(stress, protection=limits)
    if patience is None:
        return
    sheds = stress.server.sheds and stress.protection.shedding is Shedding.NONE
    margin_s = stress.server.late_margin_s(stress.plan)
    if sheds and margin_s < patience:
        late = replace(stress.protection, shedding=Shedding.LATE, late_margin_s=margin_s)
        yield f"--shed late:{_typed(margin_s)}", replace(stress, protection=late)
    if stress.limit is None and patience > stress.served_s:
        limit = limit_to_recover(stress, patience)
        yield f"--queue-limit {limit}", stress.with_limit(limit)
    if sheds and stress.server.reorders(stress.plan):
        newest_first = replace(stress.protection, shedding=Shedding.LIFO)
        yield "--shed lifo", replace(stress, protection=newest_first)
    if stress.server.stops and stress.protection.abandoned is Abandoned.SERVED:
        stopped = replace(stress.protection, abandoned=Abandoned.STOPPED)
        yield f"--abandoned {Abandoned.STOPPED}", replace(stress, protection=stopped)


def _slow_starts(stress: Stress) -> Iterator[tuple[str, Stress]]:
    """A slow start where replicas that come back are cold, and a balancer can prefer others that were there."""
    trigger, replicas = stress.trigger, stress.plan.replicas
    away = 1 if trigger.kind is TriggerKind.ROLLOUT else trigger.hit(replicas)
    is_cold = stress.cold is not None or stress.caches is not None
    is_set = stress.protection.slow_start_s > 0
    has_weights = (
        lacks_weights(stress.plan.routing) is None and stress.protection.ejection is not Ejecting.NGINX
    )
    if is_cold and not is_set and 0 < away < replicas and has_weights:
        slowly = replace(stress.protection, slow_start_s=SLOW_START_S)
        yield f"--slow-start {SLOW_START_S}s", replace(stress, protection=slowly)


def limit_to_recover(stress: Stress, patience: float) -> int:
    """Half of what the fleet begins within a timeout and can still end in time, at each queue."""
    queues = 1 if stress.plan.routing is Routing.SHARED_QUEUE else stress.plan.replicas
    return max(1, math.floor(0.5 * (patience - stress.served_s) * stress.capacity_rps / queues))


def _typed(seconds: float) -> str:
    """A duration as it is typed."""
    return format_duration(seconds).replace(" ", "").replace("µ", "u")


def _try(stress: Stress, judge: StressJudge, report: Report) -> Iterator[Remedy]:
    for setting, changed in remedies(stress):
        report(f"trying {setting}")
        with suppress(InconclusiveError):  # with this setting most requests fail before the trigger
            yield Remedy(setting=setting, found=_soon_or_late(changed, judge))


def _soon_or_late(stress: Stress, judge: StressJudge) -> Runs:
    """The runs within two minutes if these are enough, else within the whole horizon."""
    soon_s = max(_SOON_S, 2.0 * stress.steady_s, stress.steady_s + 4.0 * stress.window_s)
    if soon_s < stress.horizon_s:
        soon = replace(stress, horizon_s=soon_s)
        is_likely = judge.runs <= _FEW or judge.with_runs(_FEW)(soon).exit_code == 0
        if is_likely and (found := judge(soon)).exit_code == 0:
            return found
    return judge(stress)


def smallest_fleet(
    found: Runs, judge: StressJudge, report: Report, replicas_max: int
) -> tuple[Runs | None, Runs | None]:
    """The fewest replicas that recover in all runs, and one fewer; None where there is no such fleet.

    One run that does not recover is enough to tell, so the search is done in few runs first. From the fleet that it
    finds, which cannot be too large, it goes on in all of them.
    """
    fleets = _Fleets(found=found, judge=judge, report=report)
    too_few, replicas = 0, found.stress.plan.replicas
    replicas_max = max(replicas_max, replicas)
    for runs in sorted({min(_FEW, judge.runs), judge.runs}):
        too_few, enough = _edge(replicas, partial(fleets.recovers, runs=runs), replicas_max)
        if enough is None:
            return None, None
        replicas = enough
    return fleets.runs(replicas, judge.runs), fleets.runs(too_few, judge.runs) if too_few > 0 else None


@dataclass(frozen=True, kw_only=True)
class _Fleets:
    """Fleets of all sizes under the same stress, each of which is simulated once."""

    found: Runs
    judge: StressJudge
    report: Report
    tried: dict[tuple[int, int], Runs | None] = field(default_factory=dict)

    def recovers(self, replicas: int, *, runs: int) -> bool:
        """Whether it recovers in this number of runs, and something of it is left meanwhile."""
        seen = self.runs(replicas, runs)
        if seen is None or seen.exit_code != 0 or not seen.stress.trigger.waits(replicas):
            return False
        # Failed turns end their sessions, so that a fleet that is too small sheds load until it copes.
        least = self.found.baseline - TOLERANCE if self.found.stress.server.has_sessions else 0.0
        return seen.baseline >= least

    def runs(self, replicas: int, count: int) -> Runs | None:
        """Runs of a fleet, few of them if one of these does not recover; None if it falls by itself."""
        if replicas == self.found.stress.plan.replicas:
            return self.found
        if count > _FEW and ((few := self.runs(replicas, _FEW)) is None or few.exit_code != 0):
            return few
        if (replicas, count) not in self.tried:
            self.report(f"trying {replicas} replicas")
            self.tried[replicas, count] = self._simulated(replicas, count)
        return self.tried[replicas, count]

    def _simulated(self, replicas: int, count: int) -> Runs | None:
        changed = self.found.stress.with_replicas(replicas)
        # A fleet of which nothing is left has no queue to recover from.
        if not changed.trigger.waits(replicas) or changed.load >= changed.up_share:
            return None
        try:
            return _soon_or_late(
                changed, self.judge if count == self.judge.runs else self.judge.with_runs(count)
            )
        except InconclusiveError:  # it fails before the trigger
            return None


def _edge(replicas: int, recovers: Callable[[int], bool], most: int) -> tuple[int, int | None]:
    """The most replicas that are too few, and one more; None where none up to `most` are enough."""
    low, high = _bracket(replicas, recovers, most)
    while high is not None and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if recovers(middle) else (middle, high)
    return low, high


def _bracket(replicas: int, recovers: Callable[[int], bool], most: int) -> tuple[int, int | None]:
    """Replicas that are too few, and some that are enough; None where none up to `most` are."""
    step = 1
    if recovers(replicas):
        while replicas - step > 0 and recovers(replicas - step):
            step *= 2
        return max(0, replicas - step), replicas - step // 2 if step > 1 else replicas
    while replicas + step < most and not recovers(replicas + step):
        step *= 2
    enough = min(replicas + step, most)
    if enough <= replicas or not recovers(enough):
        return 0, None
    return replicas + step // 2 if step > 1 else replicas, enough


def _spikes(stress: Stress, judge: StressJudge, report: Report, *, is_map: bool) -> Iterator[SpikeSurvived]:
    """How long a spike is survived, for two factors that overload the fleet, or for a map of them."""
    asked = spike_factors(stress.load)
    if is_map:
        least = min(asked)
        asked += [factor for factor in (round(least * more, 2) for more in _MAP) if factor not in asked]
    for factor in asked:
        report(f"looking for the longest spike of {factor:g}x that is survived")
        yield spike_survived(stress, factor, judge)


def spike_factors(load: float) -> list[float]:
    """Two spikes that overload a fleet at a load: those that are usual, or multiples of the capacity in their place."""
    usual = [factor for factor in SPIKES if factor * load > _OVERLOAD_MIN]
    instead = _OVERLOADS[: len(SPIKES) - len(usual)]
    return [*usual, *(math.ceil(10.0 * overload / load) / 10.0 for overload in instead)]


def spike_survived(stress: Stress, factor: float, judge: StressJudge) -> SpikeSurvived:
    """The longest spike of a factor that half of the runs recover from.

    A fleet that serves more than would come if all attempts failed is not held down by any spike.

    Each run has a boundary of its own, by bisection with the same users; the median of these is where half of
    all runs recover, and its interval is that of order statistics, as wide as the bisection leaves it at least.

    Source:
        David & Nagaraja (2003), Order Statistics, sec. 7.1 (intervals of quantiles).
    """
    tries = amplification(stress.clients, stress.rate_rps)
    if tries * stress.load < stress.up_share or patience_s(stress.clients) is None:
        return SpikeSurvived(factor=factor, lasting_s=None, searched_s=math.inf)
    guess_s = min(spike_survived_s(stress, factor), _SPIKE_MAX_S)
    # The boundaries of runs differ less from each other than from the fluid law, so the first ones lead the others.
    few = judge.with_runs(min(_FEW, judge.runs)).each(lambda run: _boundary(stress, factor, guess_s, run))
    near_s = sorted(low for low, high in few if low > 0.0 and math.isfinite(high))
    guess_s = near_s[0] if near_s else guess_s
    found = judge.each(lambda run: _boundary(stress, factor, guess_s, run))
    lows, highs = sorted(low for low, _ in found), sorted(high for _, high in found)
    count = len(found)
    rank = _median_rank(count, judge.confidence)
    low, high = (0.0, math.inf) if rank is None else (lows[rank], highs[-1 - rank])
    middle = (lows[(count - 1) // 2] + lows[count // 2] + highs[(count - 1) // 2] + highs[count // 2]) / 4.0
    lasting_s = None if math.isinf(middle) else Interval(value=middle, low=low, high=high)
    return SpikeSurvived(factor=factor, lasting_s=lasting_s, searched_s=_SPIKE_MAX_S)


def _boundary(stress: Stress, factor: float, guess_s: float, run: OneRun) -> tuple[float, float]:
    """A spike that one run survives and one, little longer, that it does not. [s]

    The first is 0 where even the shortest is too long, and the second infinite where none is.
    """
    horizon_s = max(_SPIKE_HORIZON_S, 2.0 * stress.steady_s, stress.steady_s + 4.0 * stress.window_s)

    @cache
    def survives(lasting_s: float) -> bool:
        spike = Trigger(kind=TriggerKind.SPIKE, factor=factor, lasting_s=lasting_s)
        seen: Run = run(replace(stress, trigger=spike, horizon_s=horizon_s))
        return seen.recovered_s is not None

    low, high, step = guess_s, guess_s, 1.0 + _SPIKE_PRECISION
    while survives(high):
        if high >= _SPIKE_MAX_S:
            return high, math.inf
        low, high, step = high, min(step * high, _SPIKE_MAX_S), step**2
    step = 1.0 + _SPIKE_PRECISION
    while low > 0.0 and not survives(low):
        shorter = max(low / step, _SPIKE_MIN_S) if low > _SPIKE_MIN_S else 0.0
        low, high, step = shorter, low, step**2
    while 0.0 < low < high / (1.0 + 1.001 * _SPIKE_PRECISION):  # a step, but for its rounding
        middle = math.sqrt(low * high)
        low, high = (middle, high) if survives(middle) else (low, middle)
    return low, high


def _median_rank(count: int, confidence: float) -> int | None:
    """How many order statistics lie outside the interval of the median, at each end; None if all are too few."""
    tail, rank = (1.0 - confidence) / 2.0, 0
    below = 0.5**count
    while below <= tail and rank < (count - 1) // 2:
        rank += 1
        below += math.comb(count, rank) * 0.5**count
    return rank - 1 if rank else None
