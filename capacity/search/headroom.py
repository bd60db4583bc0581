"""Headroom: how far the arrival rate may rise before a plan misses its objective, for any kind of server."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from capacity.performance import Performance
from capacity.profile.sampling import reach
from capacity.question.candidate import Candidate, Doubt, Judge, Reason, Rejection, Verdict
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.search.exact import judge_exactly, theory_of
from capacity.search.recommendation import DECIDED, Headroom, HeadroomEffort, one_answer
from capacity.traffic.workload import Workload
from capacity.units import format_rate

# Shares of the rate here are of one whose growth is small; of others they are larger, by `Ends.slack`.
_RESOLUTION = 0.01  # to within which either end is found
# Shares of the rate by which a rate is tried below and above where the limit is guessed to be reached: together they
# are one answer. And how far a rate must lie from what was tried.
_BELOW, _ABOVE, _APART = 0.011, 0.008, 0.005
_FARTHER = 1.5  # growth of the distance from a guess, for a rate that would be next to one in doubt
_ONE_ANSWER = 0.98  # share of the distance within which two ends are one answer, for the second one
_AIMED_WITHIN = 0.04  # farthest share of a guess that an end is off it, if the guess is right
_AIMS_MAX = 8  # after which rates are halved in
_AIMED = 8  # times as long as usual that an aimed trial may be
# Brief looks for a first guess, and most requests of each: enough for the shortest runs that refuse anything.
_GLANCES_MAX, _GLANCE_REQUESTS = 3, 1 << 17
# How many times as long as usual a trial may be where shorter ones leave the ends apart.
_LONGER = (4, 16)
# Share of what is left that a trial of a rate which probes accept may take, so that a rate above is tried too.
_CONFIRMED_SHARE = 0.6
# Multiple of the rate at which probes end that a trial refuses soon.
_CLEARLY_ABOVE = 1.2
# Error of the straight line, as a share of the squared distance to the limit in logarithms: far from it the line bends.
_BEND = 0.2
# Share of the quantity by which runs that have not settled may be wrong, and least error of any trial.
_UNSETTLED, _ERROR_MIN = 0.1, 1e-4
_ALIKE = (1.0, 1.0)  # ends over a value whose samples leave nothing open
_RESAMPLED = 0.02  # error of a long trial, whose interval has that of the profile's samples


class Seen(NamedTuple):
    """A size that was tried: what binds there over its limit, and the relative error of that.

    Attributes:
        ends: of its interval over its value, if they have the error of the profile's samples, which is alike at each
            size and no part of `error`; else None.
    """

    size: float
    pressure: float
    error: float
    ends: tuple[float, float] | None = None

    @property
    def weight(self) -> float:
        """How much it says of where the limit is reached."""
        return 1.0 / (self.error**2 + (_BEND * math.log(self.pressure) ** 2) ** 2)


def seen_at(size: float, candidate: Any, objective: Objective) -> Seen | None:
    """What a trial has seen; None if it has nothing that is limited."""
    if candidate.performance is None:
        return None
    found = objective.binding(candidate.performance).pressure(candidate.performance)
    if found is None or not 0.0 < found.value < math.inf:
        return None
    if candidate.is_resampled:
        return Seen(size, found.value, _RESAMPLED, (found.low / found.value, reach(found) / found.value))
    if candidate.requests_resampled > 0:
        return Seen(size, found.value, _RESAMPLED)
    width = found.half_width / found.value
    error = max(_ERROR_MIN, width if math.isfinite(width) else 1.0, 0.0 if candidate.settled else _UNSETTLED)
    return Seen(size, found.value, error)


def ends_of(tried: Sequence[Seen]) -> tuple[list[Seen], list[Seen]]:
    """The lower and the upper ends of what was seen, with the error of the profile's samples if it is known of any."""
    lower, upper = (_end_of(tried, side) for side in (0, 1))

    def moved(end: float) -> Iterator[Seen]:
        for one in tried:
            if 0.0 < (pressure := one.pressure * end) < math.inf:
                yield one._replace(pressure=pressure)

    return list(moved(lower)), list(moved(upper))


def _end_of(tried: Sequence[Seen], side: int) -> float:
    """An end over the value, as the trial found it whose own end is nearest to the limit; 1 if none has ends.

    Queues that grow spread the ends, so those of a trial elsewhere would aim too short. Today's, which may be far from
    the limit, counts only until another trial has some.
    """

    def off(one: Seen) -> float:
        assert one.ends is not None  # noqa: S101  (see below)
        end = one.pressure * one.ends[side]
        return abs(math.log(end)) if 0.0 < end < math.inf else math.inf

    known = [one for one in tried[1:] if one.ends is not None] or [one for one in tried[:1] if one.ends]
    nearest = min(known, key=off, default=None)
    return 1.0 if nearest is None or nearest.ends is None else nearest.ends[side]


def likely_ends(tried: Sequence[Seen]) -> tuple[float, float]:
    """The ends over the value that the error of the profile's samples is likely to give; 1 and 1 if it is not known.

    They are the closest that any trial found, as others have more of the error of their simulation; those of the first,
    which is today's and may be far from the limit, only until another has some.
    """
    first, *others = [one.ends for one in tried] or [None]
    known = [ends for ends in others if ends is not None] or [first or _ALIKE]
    return min(known, key=lambda ends: ends[1] - ends[0])


def crossing(tried: Iterable[Seen], wall: float) -> float | None:
    """The size at which the limited quantity would reach its limit; None if what was tried does not tell.

    Near saturation a response grows like 1/(1 - load), and before it more slowly, as batches grow instead: a straight
    line in the root of 1/(1 - size / wall) is drawn through what was tried, by least squares that weigh most what is
    near the limit and well known. A single size is taken to be proportional to it.

    Args:
        wall: the size at which queues grow for ever.

    Source:
        Kingman (1962), On queues in heavy traffic, J. R. Stat. Soc. B 24(2), for the growth.
    """
    within = [one for one in tried if one.size < wall]
    if not within:
        return None
    total = math.fsum(one.weight for one in within)
    places = [1.0 / math.sqrt(1.0 - one.size / wall) for one in within]
    shares = [one.weight / total for one in within]
    x = math.fsum(share * place for share, place in zip(shares, places, strict=True))
    y = math.fsum(share * one.pressure for share, one in zip(shares, within, strict=True))
    spread = math.fsum(share * (place - x) ** 2 for share, place in zip(shares, places, strict=True))
    slope = y / x
    if spread > 0.0:
        rises = ((place - x) * (one.pressure - y) for place, one in zip(places, within, strict=True))
        slope = math.fsum(share * rise for share, rise in zip(shares, rises, strict=True)) / spread
    if not slope > 0.0:
        return None
    place = x + (1.0 - y) / slope
    size = wall * (1.0 - 1.0 / place**2) if place > 1.0 else wall
    return size if size < wall else None  # at the wall itself for a quantity that hardly rises


class Trial(Protocol):
    """Result at one rate."""

    @property
    def performance(self) -> Performance | None: ...  # noqa: D102  (their names say it all)

    @property
    def settled(self) -> bool: ...  # noqa: D102

    @property
    def verdict(self) -> Verdict: ...  # noqa: D102

    @property
    def doubt(self) -> Doubt | None: ...  # noqa: D102

    @property
    def requests(self) -> int: ...  # noqa: D102

    @property
    def rejection(self) -> Rejection | None: ...  # noqa: D102


@dataclass(kw_only=True)
class Ends:
    """The largest rate accepted, the smallest refused above it, and rates in doubt between them.

    Attributes:
        judged: what becomes of a rate, by a trial this many times as long as usual.
        requests_max: to simulate in all.
        ceiling_rps: the highest rate that shorter trials left in doubt.
        held_rps: rates that were accepted, in the order in which they were tried.
        seen: what binds at the rates that were tried.
        see: what a trial at a rate tells of that; None if nothing.
        wall_rps: the rate at which queues grow for ever.
        only_rises: whether what is limited only rises with the rate.
        today_rps: the rate from which growth counts, of which the ends need not know an eighth; infinite if none does.
    """

    accepted_rps: float
    refused_rps: float
    judged: Callable[[float, int], Trial]
    requests_max: int
    today_rps: float = math.inf
    see: Callable[[float, Trial], Seen | None] = lambda rate_rps, trial: None
    seen: list[Seen] = field(default_factory=list)
    wall_rps: float = math.inf
    only_rises: bool = False
    in_doubt: dict[float, Doubt | None] = field(default_factory=dict)
    ceiling_rps: float = math.inf
    held_rps: list[float] = field(default_factory=list)
    requests: int = 0

    def accepts(self, rate_rps: float, effort: int = 1) -> bool:
        """Try a rate, and note what becomes of it.

        One that is accepted above one that was not tells nothing unless what is limited only rises: with a batch wait
        a plan may be refused, accepted and refused again as the rate rises.
        """
        left = self.requests_left
        trial = self.judged(rate_rps, effort)
        if (seen := self.see(rate_rps, trial)) is not None:
            self.seen.append(seen)
        self.requests += left if _is_beyond(trial, left) else trial.requests
        if trial.verdict is Verdict.MISSED:
            self._refuse(rate_rps)
        elif trial.verdict is Verdict.MET and (self.only_rises or rate_rps < self.open_rps):
            self.accepted_rps = max(self.accepted_rps, rate_rps)
            self.in_doubt = {rate: why for rate, why in self.in_doubt.items() if rate > rate_rps}
            self.held_rps.append(rate_rps)
        else:
            is_open = trial.verdict is Verdict.INCONCLUSIVE
            self.in_doubt[rate_rps] = (trial.doubt or Doubt.REQUESTS) if is_open else None
        return trial.verdict is Verdict.MET

    def _refuse(self, rate_rps: float) -> None:
        """Note a refusal, above which nothing is open."""
        self.refused_rps = min(self.refused_rps, rate_rps)
        self.in_doubt = {rate: why for rate, why in self.in_doubt.items() if rate < self.refused_rps}

    @property
    def requests_left(self) -> int:
        """Requests that may still be simulated."""
        return max(0, self.requests_max - self.requests)

    @property
    def is_spent(self) -> bool:
        """Whether as many requests have been simulated as may be."""
        return self.requests_left == 0

    @property
    def open_rps(self) -> float:
        """The smallest rate tried that is not accepted."""
        return min([*self.in_doubt, self.ceiling_rps, self.refused_rps])

    @property
    def doubt(self) -> Doubt | None:
        """Why rates between the ends are in doubt: what no budget settles, if any; None if none is."""
        doubts = [why for why in self.in_doubt.values() if why is not None]
        if self.accepted_rps < self.ceiling_rps < self.refused_rps:  # by shorter trials, and the budget ended
            doubts.append(Doubt.REQUESTS)
        return max(doubts, key=lambda why: why is Doubt.PROFILE, default=None)

    def slack(self, rate_rps: float) -> float:
        """How many times as far apart as usual the ends may be next to a rate; laws find them as usual."""
        return 1.0 if self.requests == 0 else one_answer(rate_rps, self.today_rps) / DECIDED

    def rise(self, today_rps: float, step: float) -> None:
        """Try rates by doubled steps from today's on, up to the first that is not accepted."""
        while not self.is_spent and (rate_rps := today_rps * (1.0 + step)) < self.refused_rps:
            if not self.accepts(rate_rps):
                break
            step = 2.0 * step

    def halve_in(self, resolution: float) -> None:
        """Try rates below the first that is not accepted, as far as one resolution below it."""
        while not self.is_spent and self._is_apart(self.accepted_rps, self.open_rps, resolution):
            self.accepts((self.accepted_rps + self.open_rps) / 2.0)

    def _is_apart(self, low_rps: float, high_rps: float, share: float) -> bool:
        """Whether more lies between two rates than this share, which growth makes larger."""
        return high_rps > low_rps * (1.0 + share * self.slack(high_rps))

    def climb(self, today_rps: float, step: float, brief: Callable[[float], Trial]) -> None:
        """Look briefly at rates by doubled steps from today's on, up to the first that is not accepted.

        One that the look leaves in doubt is tried as long as usual.
        """
        while not self.is_spent and (rate_rps := today_rps * (1.0 + step)) < self.refused_rps:
            verdict = self._look(rate_rps, brief(rate_rps))
            is_open = verdict is Verdict.INCONCLUSIVE
            if verdict is Verdict.MISSED or (is_open and not self.accepts(rate_rps)):
                return
            step = 2.0 * step

    def _look(self, rate_rps: float, trial: Trial) -> Verdict:
        """Note what a brief look has seen of a rate; it refuses at best."""
        self.requests += trial.requests
        if trial.verdict is Verdict.MISSED:
            self._refuse(rate_rps)
        if (seen := self.see(rate_rps, trial)) is not None:
            self.seen.append(seen)
        return trial.verdict

    def leap(self, brief: Callable[[float], Trial]) -> None:
        """Find the ends without the rates on the way to them, by aims; halve what these leave apart, or laws may."""
        self.glance(brief)
        self.aim(_AIMED)
        if self.requests == 0 or not self.is_aimed:
            self.close_in()
        elif not (self.is_decided or self.in_doubt or self.is_spent):
            self.accepts((self.accepted_rps + self.refused_rps) / 2.0)  # for the cause

    def glance(self, brief: Callable[[float], Trial]) -> None:
        """Look briefly at rates where the limit is guessed to be reached: for a better guess, or a refusal at best."""
        for _ in range(_GLANCES_MAX):
            guess_rps = crossing(self.seen, self.wall_rps)
            if guess_rps is None or self._is_seen(guess_rps):
                return
            known = len(self.seen)
            self._look(guess_rps, brief(guess_rps))
            if len(self.seen) == known:
                return

    def lower(self, brief: Callable[[float], Trial]) -> None:
        """Look briefly between what is open and what is refused, as long as that is far apart and a look refuses.

        It may where no trial that might accept fits in what is left, as under bursts that overload a plan.
        """
        for _ in range(_GLANCES_MAX):
            is_in_doubt = self.doubt is Doubt.REQUESTS and self.headroom(self.today_rps).is_in_doubt
            shorter = [self.ceiling_rps] if self.ceiling_rps < self.refused_rps else []
            open_rps = max([*self.in_doubt, *shorter, self.accepted_rps])
            if not (is_in_doubt and self._is_apart(open_rps, self.refused_rps, DECIDED)):
                return
            rate_rps = (open_rps + self.refused_rps) / 2.0
            if self._look(rate_rps, brief(rate_rps)) is not Verdict.MISSED:
                return

    def _is_seen(self, guess_rps: float) -> bool:
        """Whether a rate so close was tried that another look would tell nothing."""
        close = _BELOW * self.slack(guess_rps)
        return any(abs(one.size / guess_rps - 1.0) < close for one in self.seen)

    def aim(self, effort: int) -> None:
        """Try rates just below and above where the limit is guessed to be reached, each as long as it may tell.

        What a trial has seen makes the next guess better, also if it leaves its rate in doubt.
        """
        for _ in range(_AIMS_MAX):
            rate_rps = None if self.is_spent or (self.is_decided and self.requests > 0) else self._aimed()
            if rate_rps is None:
                return
            self.accepts(rate_rps, effort)

    @property
    def is_aimed(self) -> bool:
        """Whether both ends are as close to where the limit is guessed to be reached as aims bring them."""
        met_rps, missed_rps = self._guessed()
        if met_rps is None or missed_rps is None:
            return False
        off = max(abs(self.accepted_rps / met_rps - 1.0), abs(self.refused_rps / missed_rps - 1.0))
        return self._aimed() is None and off < _AIMED_WITHIN * self.slack(met_rps)

    def _guessed(self) -> tuple[float | None, float | None]:
        """Where the limit is guessed to be met no more, and missed: where samples leave more in doubt, two rates."""
        lower, upper = ends_of(self.seen)
        return crossing(upper, self.wall_rps), crossing(lower, self.wall_rps)

    def _aimed(self) -> float | None:
        """The rate to try next: the lower end first; None if both have come close, or nothing tells where to aim."""
        met_rps, missed_rps = self._guessed()
        if met_rps is None or missed_rps is None:
            return None
        slack = self.slack(met_rps)
        below, above, apart = (slack * share for share in (_BELOW, _ABOVE, _ONE_ANSWER * DECIDED))
        low_rps, high_rps = self.refused_rps / (1.0 + apart), self.accepted_rps * (1.0 + apart)
        if low_rps > met_rps * (1.0 - below / 2.0) or self._is_in_doubt(low_rps):
            low_rps = self._off(met_rps, -below)
        if high_rps < missed_rps * (1.0 + above / 2.0) or self._is_in_doubt(high_rps):
            high_rps = self._off(missed_rps, above)
        close = slack * _APART
        if low_rps > self.accepted_rps * (1.0 + close) and (self.only_rises or low_rps < self.open_rps):
            return low_rps
        return high_rps if high_rps < self.refused_rps * (1.0 - close) else None

    def _is_in_doubt(self, rate_rps: float) -> bool:
        """Whether a rate next to it was left in doubt."""
        return any(abs(rate / rate_rps - 1.0) < _APART for rate in self.in_doubt)

    def _off(self, guess_rps: float, share: float) -> float:
        """A rate off a guess, and farther off for each rate in doubt that it meets."""
        while self._is_in_doubt(guess_rps * (1.0 + share)):
            share *= _FARTHER
        return guess_rps * (1.0 + share)

    def headroom(self, today_rps: float) -> Headroom:
        """What was found."""
        return Headroom(
            today_rps=today_rps,
            accepted_rps=self.accepted_rps,
            refused_rps=self.refused_rps,
            doubt=self.doubt,
        )

    def close_in(self) -> None:
        """Bisect on both sides of what is in doubt, half as far and by longer trials where the ends stay apart.

        Where no request would settle what is in doubt, trials stay as long as usual.
        """
        self._bisect(1, _RESOLUTION)
        for level, effort in enumerate(_LONGER, start=1):
            if not self.is_decided and not self.is_left_open:
                self._bisect(effort if self._forget() else 1, _RESOLUTION / 2**level)

    def _forget(self) -> bool:
        """Forget what more requests may settle, but for up to which rate that was: nothing is accepted beyond."""
        open_ones = [rate for rate, why in self.in_doubt.items() if why in (Doubt.REQUESTS, Doubt.MARGIN)]
        self.ceiling_rps = min(self.ceiling_rps, max(open_ones, default=math.inf))
        for rate_rps in open_ones:
            del self.in_doubt[rate_rps]
        return bool(open_ones)

    @property
    def is_decided(self) -> bool:
        """Whether the ends are close enough to be one answer."""
        return not self._is_apart(self.accepted_rps, self.refused_rps, DECIDED)

    @property
    def is_left_open(self) -> bool:
        """Whether so much is in doubt by what no budget settles that the ends cannot come close enough."""
        open_ones = [rate for rate, why in self.in_doubt.items() if why is Doubt.PROFILE]
        return bool(open_ones) and self._is_apart(min(open_ones), max(open_ones), DECIDED)

    def _bisect(self, effort: int, resolution: float) -> None:
        """Try rates until either side is as narrow as the resolution, or what is simulated is one answer."""
        self.aim(effort)
        while not self.is_spent and not (self.is_decided and self.requests > 0):
            low_rps = max(self.in_doubt, default=self.accepted_rps)
            if self._is_apart(self.accepted_rps, self.open_rps, resolution):
                rate_rps = (self.accepted_rps + self.open_rps) / 2.0
            elif self._is_apart(low_rps, self.refused_rps, resolution):
                rate_rps = (low_rps + self.refused_rps) / 2.0
            else:
                return
            self.accepts(rate_rps, effort)


def _is_beyond(trial: Trial, requests_left: int) -> bool:
    """Whether a trial simulated nothing, since what is left of the budget is too little for one run."""
    why = trial.rejection
    is_open = why is not None and why.reason is Reason.BUDGET and why.allowed >= requests_left
    return is_open and trial.requests == 0


def find_headroom(
    scenario: Scenario, judge: Judge, progress: Callable[[str], None], today: Performance | None = None
) -> Headroom:
    """Upper end of the rates, from today's on, at which the plan is still accepted.

    Rates are tried next to where the limited quantity is guessed to reach its limit. Unless it only rises with the
    rate, brief looks come first, by doubled steps to a rate that is not accepted: with a batch wait a plan may be
    refused, accepted and refused again as the rate rises; a refused stretch narrower than the step over it is not seen.
    What is in doubt is closed in from both sides, with longer trials if that is much.

    Where a trial takes long, probes find the end; only that is judged with care, by random numbers that had no part in
    finding it, and what is in doubt about it by longer trials.

    Args:
        today: at today's rate; None if it is not known.
    """
    workload, effort = scenario.workload, theory_of(scenario.profile).headroom_effort(scenario)
    assert isinstance(workload, Workload)  # noqa: S101  (a closed population has no rate)
    today_rps = workload.arrival_rate_rps
    ends = _ends_from(today_rps, scenario, judge, progress, today, effort)
    if effort.probes_max is None:
        if not effort.leaps:
            ends.climb(today_rps, effort.first_step, lambda rate_rps: judge.probe(scenario.at_rate(rate_rps)))
        ends.leap(lambda rate_rps: _briefly(scenario.at_rate(rate_rps), judge))
        if not effort.leaps:
            ends.lower(lambda rate_rps: judge.probe(scenario.at_rate(rate_rps), effort.requests_max))
    else:
        probes = _probed(scenario, judge, progress, ends.refused_rps)
        _confirm_probed(
            ends,
            probes,
            lambda rate_rps: judge.requests_to_settle(scenario.at_rate(rate_rps)),
            leaves_last=effort.leaves_last,
        )
    return ends.headroom(today_rps)


def _ends_from(
    today_rps: float,
    scenario: Scenario,
    judge: Judge,
    progress: Callable[[str], None],
    today: Performance | None,
    effort: HeadroomEffort,
) -> Ends:
    """Today's rate, which is accepted, and the one at which queues would grow; with what a trial between them is."""
    theory = theory_of(scenario.profile)

    def judged(rate_rps: float, times: int) -> Candidate:
        trial = scenario.at_rate(rate_rps)
        if theory.refuse_load(trial) is not None:
            return Candidate(plan=trial.plan, verdict=Verdict.MISSED)
        progress(f"headroom: trying {format_rate(rate_rps)}")
        if (exact := judge_exactly(trial)) is not None:
            return exact
        return judge.accepts(trial, times, ends.requests_left, likely_ends(ends.seen))

    see = partial(seen_at, objective=scenario.objective)
    served_max_rps = max(today_rps, theory.served_max_rps(scenario, judge))
    confirmed = Candidate(
        plan=scenario.plan, verdict=Verdict.MET, performance=today, is_resampled=effort.is_resampled
    )
    ends = Ends(
        accepted_rps=today_rps,
        refused_rps=served_max_rps,
        judged=judged,
        requests_max=effort.requests_max,
        today_rps=today_rps,
        see=see,
        seen=[one for one in [see(today_rps, confirmed)] if one is not None],
        wall_rps=served_max_rps,
        only_rises=effort.leaps,
    )
    return ends


def _briefly(trial: Scenario, judge: Judge) -> Candidate:
    """What the shortest runs tell of a rate."""
    return judge_exactly(trial) or judge.probe(trial, _GLANCE_REQUESTS)


def _probed(scenario: Scenario, judge: Judge, progress: Callable[[str], None], refused_rps: float) -> Ends:
    """The ends that probes find, and the rates that they accept."""
    workload, effort = scenario.workload, theory_of(scenario.profile).headroom_effort(scenario)
    assert isinstance(workload, Workload)  # noqa: S101  (see above)
    today_rps = workload.arrival_rate_rps

    def judged(rate_rps: float, times: int) -> Candidate:
        progress(f"headroom: probing {format_rate(rate_rps)}")
        return judge.probe(scenario.at_rate(rate_rps), probes.requests_left)

    probes = Ends(
        accepted_rps=today_rps,
        refused_rps=refused_rps,
        judged=judged,
        requests_max=effort.probes_max or 0,
        today_rps=today_rps,
    )
    probes.rise(today_rps, effort.first_step)
    probes.halve_in(effort.probed_to)
    return probes


def _confirm_probed(
    ends: Ends, probes: Ends, requests_to_settle: Callable[[float], float], *, leaves_last: bool
) -> None:
    """Try with care the highest rates that probes accept, up to one that is accepted, and settle what is in doubt.

    Where trials near the end may take the whole budget, a rate clearly above it is refused before them; and a rate
    whose trial would leave too little for another is passed over, unless it is the last.
    """
    ends.refused_rps = min(ends.refused_rps, probes.refused_rps)
    held_rps = probes.held_rps
    if leaves_last:
        held_rps = held_rps[: max(1, len(held_rps) - 1)]
        if (rate_rps := _CLEARLY_ABOVE * probes.open_rps) < ends.refused_rps:
            ends.accepts(rate_rps)
    for rate_rps in reversed(held_rps):  # today's is confirmed
        takes = requests_to_settle(rate_rps)
        if rate_rps > held_rps[0] and takes > _CONFIRMED_SHARE * ends.requests_left:
            continue
        if ends.is_spent or ends.accepts(rate_rps):
            break
    if not ends.is_decided:
        ends.close_in()
