"""Findings: results of simulated runs of a stress, each with its interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from capacity.confidence import share_interval, student_t
from capacity.performance import Interval
from capacity.recovery.fluid import Fluid
from capacity.recovery.stress import Stress


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One run by seconds, shape `(seconds,)`.

    Attributes:
        came: first tries that arrived in each second.
        succeeded: first tries of that second that were answered in time.
        sent: attempts of all requests that were sent in each second; shorter if the run was given up, as too much
            work waited to recover within the horizon.
    """

    came: tuple[int, ...]
    succeeded: tuple[int, ...]
    sent: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsCourse:
    """Sessions of one run by seconds, shape `(seconds,)`.

    Attributes:
        live: sessions that have begun and not ended at the end of each second.
        prompt_tokens, hit_tokens: prompts of the turns whose first token came in each second, and what of them was
            found in the cache.
        firsts, waited_s: turns whose first token came in each second, and the sum of their times to it. [s]
    """

    live: tuple[int, ...]
    prompt_tokens: tuple[int, ...]
    hit_tokens: tuple[int, ...]
    firsts: tuple[int, ...]
    waited_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsMean:
    """Sessions over a while, as a mean of the runs; None where no first token came.

    Attributes:
        live: sessions that are live.
        hit_share: share of prompts that was found in the cache.
        ttft_mean_s: mean time to the first token of those that came. [s]
    """

    live: float
    hit_share: float | None
    ttft_mean_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Results of one run.

    Attributes:
        recovered_s: time from the trigger's end until success is as before; None if not within the horizon. [s]
        relapsed: whether success fell again after that.
        baseline: share of first tries that succeeded before the trigger.
        goodput_during: share of first tries arriving during the trigger that succeeded.
        lost: failed requests that arrived from the trigger's beginning to the recovery or the horizon.
        response_p99_s: P99 of requests that succeeded during the trigger; None if there were too few. [s]
        sessions: their course, where requests are turns; else None.
    """

    recovered_s: float | None
    relapsed: bool
    baseline: float
    goodput_during: float
    lost: int
    response_p99_s: float | None
    course: Course
    sessions: SessionsCourse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Independent runs of one stress."""

    stress: Stress
    runs: tuple[Run, ...]
    confidence: float

    @property
    def count_recovered(self) -> int:
        """Runs that recovered."""
        return sum(run.recovered_s is not None for run in self.runs)

    @property
    def recovered(self) -> Interval:
        """Share of runs that recovered."""
        happened, count = self.count_recovered, len(self.runs)
        low, high = share_interval(happened, count, self.confidence)
        return Interval(value=happened / count, low=low, high=high)

    @property
    def recovery_s(self) -> Interval | None:
        """Mean over the runs that recovered; None if none did. [s]"""
        times_s = [run.recovered_s for run in self.runs if run.recovered_s is not None]
        if len(times_s) < 2:  # the scatter of one is unknown
            return mean_of(times_s, self.confidence) if times_s else None
        return mean_of(times_s, self.confidence, most=max(self.stress.horizon_s, *times_s))

    @property
    def baseline(self) -> float:
        """Share of first tries that succeeded before the trigger, as a mean of the runs."""
        return sum(run.baseline for run in self.runs) / len(self.runs)

    @property
    def goodput_during(self) -> Interval:
        """Share of first tries arriving during the trigger that succeeded."""
        return mean_of([run.goodput_during for run in self.runs], self.confidence, most=1.0)

    @property
    def lost(self) -> Interval:
        """Failed requests per run."""
        return mean_of([run.lost for run in self.runs], self.confidence)

    @property
    def response_p99_s(self) -> Interval | None:
        """P99 of requests that succeeded during the trigger, mean of the runs; None if one had too few. [s]"""
        values = [run.response_p99_s for run in self.runs]
        known = [value for value in values if value is not None]
        return mean_of(known, self.confidence) if len(known) == len(values) else None

    def sessions_mean(self, from_s: float, to_s: float) -> SessionsMean | None:
        """Sessions from the one instant to the other, by whole seconds; None where requests come by themselves."""
        courses = [run.sessions for run in self.runs if run.sessions is not None]
        if not courses:
            return None
        first = math.ceil(from_s)
        whole = slice(first, max(first + 1, math.floor(to_s)))
        live = [one for course in courses for one in course.live[whole]]
        prompts, hits, firsts = (
            sum(sum(getattr(course, name)[whole]) for course in courses)
            for name in ("prompt_tokens", "hit_tokens", "firsts")
        )
        waited_s = math.fsum(one for course in courses for one in course.waited_s[whole])
        return SessionsMean(
            live=sum(live) / max(1, len(live)),
            hit_share=hits / prompts if prompts else None,
            ttft_mean_s=waited_s / firsts if firsts else None,
        )

    @property
    def sessions_around(self) -> dict[str, SessionsMean | None]:
        """Sessions before the trigger, during it, and in the last stretch of the horizon, as long as the first."""
        stress = self.stress
        before_s = stress.begins_s - stress.baseline_s[0]
        return {
            "before": self.sessions_mean(stress.baseline_s[0], stress.begins_s),
            "during": self.sessions_mean(stress.begins_s, stress.ends_s),
            "after": self.sessions_mean(max(stress.ends_s, stress.until_s - before_s), stress.until_s),
        }

    @property
    def relapsed(self) -> int:
        """Runs in which success fell again after a recovery."""
        return sum(run.relapsed for run in self.runs)

    @property
    def exit_code(self) -> int:
        """0 if all runs recover, 3 if none does, 4 otherwise."""
        happened = self.count_recovered
        return 0 if happened == len(self.runs) else 3 if happened == 0 else 4


def mean_of(values: Sequence[float], confidence: float, *, most: float = math.inf) -> Interval:
    """Mean of independent values from 0 to `most`, with Student's interval; of one value, the whole range."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1 or min(values) == max(values):
        half = 0.0 if count > 1 else math.inf
    else:
        variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
        half = student_t(confidence, count - 1) * math.sqrt(variance / count)
    return Interval(value=mean, low=max(0.0, mean - half), high=min(most, mean + half))


# One run of a stress with the users of a given number.
OneRun = Callable[[Stress], Run]
Found = TypeVar("Found")


class StressJudge(Protocol):
    """Simulation of a stress; every stress has the same users in the run of the same number.

    Attributes:
        runs: number of independent runs of a stress.
        confidence: confidence of the intervals.
    """

    @property
    def runs(self) -> int: ...  # noqa: D102  (see above)

    @property
    def confidence(self) -> float: ...  # noqa: D102

    def __call__(self, stress: Stress) -> Runs:
        """Results of the independent runs."""

    def with_runs(self, runs: int) -> "StressJudge":
        """The same judge with this number of runs, the first ones."""

    def each(self, ask: Callable[[OneRun], Found]) -> list[Found]:
        """Results of `ask` with the users of each run, in the order of their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One changed setting, as a flag, and its results."""

    setting: str
    found: Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeSurvived:
    """The longest spike of a factor after which half of all runs recover.

    Attributes:
        lasting_s: boundary, with its interval; None if half of the runs survive every spike up to `searched_s`. [s]
        searched_s: longest spike that was tried; infinite if by the fluid law any spike is survived in the end, as
            fewer attempts come than are served even if all fail. [s]
    """

    factor: float
    lasting_s: Interval | None
    searched_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Results that `capacity stress` shows.

    Attributes:
        smallest: the smallest fleet that recovers in all runs; None if none up to the limit does, or it was not
            searched.
        smaller: the fleet with one replica fewer, in as few runs as show that it fails; None if there is none.
    """

    found: Runs
    fluid: Fluid
    remedies: tuple[Remedy, ...] = ()
    smallest: Runs | None = None
    smaller: Runs | None = None
    spikes: tuple[SpikeSurvived, ...] = ()
