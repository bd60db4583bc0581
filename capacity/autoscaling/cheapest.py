"""Cheapest: the autoscaler's target and bounds that hold the limit over a day for the fewest replica-hours."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from capacity.autoscaling.comparison import Progress, first_that_holds, smallest_fixed
from capacity.autoscaling.findings import COURSE_S, DayJudge, Days, ScaledScreen, worst_of
from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.performance import Interval
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.candidate import Verdict
from capacity.traffic.daily import HOUR_S

Confirm = Callable[[ScaledFleet, int], Days]
Ladder = Sequence[Target]

ANY = "any"
CONFIRMED_MAX = 10  # controllers tried before the search gives up
# An excerpt is cut this many times as hard as a hurried day, since it keeps whole what follows a change of the rate.
_CUT = 4.0
# At 95 even busy replicas are within the tolerance, and no more are ever asked for.
_PERCENTS = range(30, 95, 5)
_LEAST_CONCURRENCY, _PER_OCTAVE = 0.5, 4
_FULL_BATCHES = 4  # waiting or in service at a replica, at the highest target


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscaledPlan:
    """The cheapest controller that was confirmed, and the smallest fixed fleet on the same day.

    Attributes:
        screen: the confirmed fleet, or the one that came nearest; its exit code is the answer's.
        asked: the choice of targets: `any`, or one target.
        searched: controllers that were simulated before one was confirmed.
        passed_over: cheaper or equally cheap controllers that were not confirmed, in the order of trial.
    """

    screen: ScaledScreen
    asked: str
    searched: int
    passed_over: tuple[Days, ...]
    flags: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Met if a controller was confirmed; else missed, or inconclusive if the nearest is undecided."""
        return next(one for one in Verdict if one.exit_code == self.screen.found.exit_code)

    @property
    def chosen(self) -> Days | None:
        """Days of the controller, under random numbers of their own; None if no controller was confirmed."""
        return self.screen.found if self.screen.found.is_held else None

    @property
    def saved_share(self) -> Interval | None:
        """Share of the smallest fixed fleet's replica-hours that it saves, below 0 if it costs more."""
        fixed, hours = self.screen.smallest, self.screen.found.replica_hours
        if fixed is None:
            return None
        whole = fixed.replica_hours.value
        return Interval(
            value=1.0 - hours.value / whole, low=1.0 - hours.high / whole, high=1.0 - hours.low / whole
        )


def ladders(batch_size_max: int) -> tuple[Ladder, ...]:
    """Rising targets to choose from, for each metric: concurrency by a quarter of an octave, utilization by 5 %.

    Concurrency comes first: it says something of every server, while one that batches may always be busy.
    """
    octaves = math.log2(_FULL_BATCHES * batch_size_max / _LEAST_CONCURRENCY)
    steps = range(math.floor(_PER_OCTAVE * octaves) + 1)
    levels = [float(f"{_LEAST_CONCURRENCY * 2.0 ** (step / _PER_OCTAVE):.2g}") for step in steps]
    return (
        tuple(Target(metric=Metric.CONCURRENCY, level=level) for level in levels),
        tuple(Target(metric=Metric.UTILIZATION, level=percent / 100.0) for percent in _PERCENTS),
    )


def cheapest(
    fleet: ScaledFleet,
    choices: Sequence[Ladder],
    judge: DayJudge,
    confirm: Confirm,
    progress: Progress,
    hurry: float = 1.0,
    at_peak: Mapping[Metric, float] | None = None,
) -> tuple[ScaledScreen, int, tuple[Days, ...]]:
    """The cheapest controller that is confirmed, the number that were searched, and those passed over.

    The search assumes that with a lower target or a higher lower bound a fleet never misses a limit that it held, and
    never costs less. So the cheapest of a metric lie on a staircase: the highest target that holds with each lower
    bound; and below a target that is refused though it costs more than one that holds, there is nothing to find. What
    it finds is confirmed with fresh random numbers over the whole day, the cheapest first; one that is missed or
    undecided is passed over.

    Args:
        fleet: the lag, the start-up and the most replicas are its autoscaler's.
        choices: rising targets of each metric.
        hurry: times as fast as which the day passes where the smallest fixed fleet is looked for, if above 1; then
            controllers are looked for on an excerpt of it. Whole days confirm both.
        at_peak: what a replica of the fleet for the highest rate has of each metric, where a search begins.
    """
    confirmer = _Confirmer(confirm, progress)
    found = smallest_fixed(fleet.hurried(hurry), judge, progress)
    fixed = None if found is None else _fixed(fleet, found.fleet.replicas, confirmer)
    seen = fleet.excerpt(_CUT * hurry) if hurry > 1.0 else fleet
    search = _Search(seen, fixed, judge, progress)
    for ladder in choices:
        if fixed is None:  # then not even the most replicas, all the time, hold the limit
            search.at(ladder[0], search.most_least)
        else:
            search.along(ladder, (at_peak or {}).get(ladder[0].metric))
    found, passed_over = _confirmed(fleet, search, choices, confirmer)
    screen = ScaledScreen(
        found=found, smallest=fixed, remedies=(), worst=worst_of(found), is_searched=fixed is not None
    )
    return screen, len(search.seen), passed_over


class _Confirmer:
    """Confirmation of fleets with fresh random numbers, each stricter than the one before."""

    def __init__(self, confirm: Confirm, progress: Progress) -> None:
        self._confirm, self._progress = confirm, progress
        self._attempt = 0

    def __call__(self, fleet: ScaledFleet, name: str) -> Days:
        self._attempt += 1
        self._progress(f"confirming {name}")
        return self._confirm(fleet, self._attempt)


def _fixed(fleet: ScaledFleet, least: int, confirm: _Confirmer) -> Days | None:
    """The smallest fixed fleet from `least` on whose limit is confirmed; None if none of the first few is."""
    for replicas in range(least, min(least + CONFIRMED_MAX, fleet.replicas + 1)):
        again = confirm(fleet.fixed(replicas), f"{replicas} replicas all the time")
        if again.is_held:
            return again
    return None


class _Search:
    """Controllers that were simulated, each once, under the same users.

    Attributes:
        seen: days by target and lower bound.
        most_least: highest lower bound worth trying, which is the size of the fixed fleet.
    """

    def __init__(self, fleet: ScaledFleet, fixed: Days | None, judge: DayJudge, progress: Progress) -> None:
        assert fleet.autoscaler is not None  # noqa: S101  (it is the question)
        self._fleet, self._scaler = fleet, fleet.autoscaler
        self._judge, self._progress = judge, progress
        self.most_least = self._scaler.replicas_max if fixed is None else fixed.fleet.replicas
        self.seen: dict[tuple[Target, int], Days] = {}

    @property
    def is_excerpt(self) -> bool:
        """Whether controllers see an excerpt of the day, so that no other figures are theirs."""
        return bool(self._fleet.stands_for)

    @property
    def held(self) -> list[Days]:
        """Controllers that hold the limit, the cheapest first, and of equal ones the farthest from the limit."""
        held = (one for one in self.seen.values() if one.is_held)
        return sorted(held, key=lambda one: (_hours(one), one.pressure.high))

    def in_doubt_below(self, hours: float) -> list[Days]:
        """Controllers that an excerpt leaves undecided and that take fewer replica-hours, the cheapest first."""
        open_ones = (one for one in self.seen.values() if not one.is_held and not one.is_missed)
        return sorted((one for one in open_ones if self.is_excerpt and _hours(one) < hours), key=_hours)

    @property
    def _best(self) -> float:
        """Replica-hours of the cheapest controller that holds the limit. [h]"""
        return min(map(_hours, self.held), default=math.inf)

    def at(self, target: Target, least: int) -> Days:
        """Days of the fleet with a target and a lower bound."""
        if (target, least) not in self.seen:
            self._progress(f"the autoscaler at {target} with {least} replicas at least")
            scaler = replace(self._scaler, target=target, replicas_min=least)
            self.seen[target, least] = self._judge(self._fleet.scaled(scaler))
        return self.seen[target, least]

    def along(self, ladder: Ladder, at_peak: float | None) -> None:
        """Try ever higher targets of a metric, each with the lowest bound that it needs."""
        least = max(1, self._scaler.replicas_min, self._fleet.scenario.gone + 1)
        for target in ladder[self._first_refused(ladder, least, at_peak) :]:
            if least > self.most_least or least * self._fleet.whole_s / HOUR_S >= self._best:
                return
            least = self._raised(target, least)

    def _first_refused(self, ladder: Ladder, least: int, at_peak: float | None) -> int:
        """Place of the lowest target that needs a higher bound, or below which all cost more than another metric's.

        The search begins at the level that a replica has at the highest rate, rises or falls by doubled steps, at once
        to the highest from one that costs more than another metric's, and halves what it passed.
        """
        levels, held, refused, step = [one.level for one in ladder], -1, len(ladder), 1
        place = len(ladder) // 2 if at_peak is None else min(bisect_left(levels, at_peak), len(ladder) - 1)
        while refused - held > 1:
            found = self.at(ladder[place], least)
            is_costly = _hours(found) > self._best
            if found.is_held:
                held, step = place, len(ladder) if is_costly else step
            elif is_costly and held < 0:
                return place
            else:
                refused = place
            if held < 0:
                place = max(0, place - step)
            else:
                place = min(place + step, refused - 1) if refused == len(ladder) else (held + refused) // 2
            step *= 2
        return refused

    def _raised(self, target: Target, least: int) -> int:
        """Lower bound to continue with at higher targets: the lowest that holds at this one, or above the refused."""
        found = self.at(target, least)
        if found.is_held:
            return least
        most = self._affordable(found, least)
        if most <= least:
            return least + 1
        best = first_that_holds(lambda bound: self.at(target, bound), least + 1, most)
        return most + 1 if best is None else _scaler(best).replicas_min

    def _affordable(self, found: Days, least: int) -> int:
        """Highest lower bound with which the same target would still cost less than the best so far.

        With a higher bound the controller asks for as many replicas as before, or for the bound.
        """
        best = self._best
        bounds = range(least, self.most_least + 1)
        return max((one for one in bounds if _hours_with(found, one) < best), default=least)


def _hours(found: Days) -> float:
    return found.replica_hours.value


def _hours_with(found: Days, least: int) -> float:
    """Replica-hours of a course if its lower bound were raised."""
    counts = [max(count, float(least)) for count in found.course.wanted]
    minutes = found.fleet.stands_for or (1,) * len(counts)
    return math.fsum(count * each for count, each in zip(counts, minutes, strict=True)) * COURSE_S / HOUR_S


def _scaler(found: Days) -> Autoscaler:
    scaler = found.fleet.autoscaler
    assert scaler is not None  # noqa: S101  (no fixed fleet is asked for by a target)
    return scaler


def _confirmed(
    fleet: ScaledFleet, search: _Search, choices: Sequence[Ladder], confirm: _Confirmer
) -> tuple[Days, tuple[Days, ...]]:
    """The cheapest controller that is confirmed, else the one that came nearest; and those passed over."""
    passed_over: list[Days] = []
    tried: set[Autoscaler] = set()
    for _ in range(CONFIRMED_MAX):
        candidate = next((one for one in search.held if _scaler(one) not in tried), None)
        if candidate is None and search.is_excerpt and not tried:
            candidate = _nearest(search.seen.values())  # its own figures are not those of the day
        if candidate is None:
            break
        tried.add(_scaler(candidate))
        bounded = _bounded(candidate)
        name = f"{bounded.target} with {bounded.replicas_min} to {bounded.replicas_max} replicas"
        found = confirm(fleet.scaled(bounded), name)
        if found.is_held:
            return found, (*passed_over, *search.in_doubt_below(_hours(candidate)))
        passed_over.append(found)
        for target, least in _safer(_scaler(candidate), choices):
            search.at(target, min(least, search.most_least))
    return _nearest(passed_over or search.seen.values()), tuple(passed_over)


def _nearest(refused: Iterable[Days]) -> Days:
    """The controller that came nearest to holding the limit."""
    return min(refused, key=lambda one: (one.is_missed, one.pressure.low))


def _bounded(found: Days) -> Autoscaler:
    """The controller, limited to the most replicas that it ever asked for."""
    scaler = _scaler(found)
    return replace(scaler, replicas_max=max(found.replicas_most, scaler.replicas_min))


def _safer(scaler: Autoscaler, choices: Sequence[Ladder]) -> Iterator[tuple[Target, int]]:
    """The controllers with the next higher lower bound and with the next lower target."""
    yield scaler.target, scaler.replicas_min + 1
    for ladder in choices:
        place = ladder.index(scaler.target) if scaler.target in ladder else 0
        if place > 0:
            yield ladder[place - 1], scaler.replicas_min
