"""LoadSeries: load tests of one workload one after another, each with arrivals of its own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from capacity.errors import DependencyError, InputError
from capacity.units import format_duration, format_rate
from capacity.workload import Workload
from measurements.address import Address
from measurements.load_run import Journal, LoadRun
from measurements.load_test import LoadTest
from measurements.lone_requests import LoneRequests, lone_requests
from measurements.metrics_text import Scrape
from measurements.schedule import Schedule, draw_schedule
from measurements.server_use import ServerUse, look

DURATION_MAX_S, RUNS_MAX = 3600.0, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and how often.

    Attributes:
        warm_up_s: at the start of each run, which counts for nothing. [s]
        duration_s: of what counts. [s]

    Raises:
        InputError: beyond all measure.
    """

    warm_up_s: float
    duration_s: float
    runs: int
    seed: int

    def __post_init__(self) -> None:
        if not 0.0 < self.duration_s <= DURATION_MAX_S:
            raise InputError(
                f"--duration must be above 0 and at most {DURATION_MAX_S:g}s, got {self.duration_s:g}s"
            )
        if not 0.0 <= self.warm_up_s <= DURATION_MAX_S:
            raise InputError(f"--warm-up must be at most {DURATION_MAX_S:g}s, got {self.warm_up_s:g}s")
        if not 1 <= self.runs <= RUNS_MAX:
            raise InputError(f"--runs must be from 1 to {RUNS_MAX}, got {self.runs}")

    @property
    def run_s(self) -> float:
        """Of a whole run. [s]"""
        return self.warm_up_s + self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one load test gave.

    Attributes:
        use: of the server meanwhile; None where its metrics were not looked at, or could not be.
        unseen: why they could not.
        cpu_share: of one core, that sending took.
    """

    run: LoadRun
    use: ServerUse | None = None
    unseen: str | None = None
    cpu_share: float = 0.0


@dataclass(slots=True, kw_only=True)
class Series:
    """The load tests so far.

    Attributes:
        interrupt: what ended them early, to be raised again when all is told; None where nothing did.
    """

    runs: list[Measured] = field(default_factory=list)
    interrupt: KeyboardInterrupt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSeries:
    """All that load tests take.

    Attributes:
        metrics: of each replica; none where they are not to be looked at.
        report: whom to tell what is going on; nothing is told while requests are sent.
    """

    test: LoadTest
    workload: Workload
    course: Course
    metrics: tuple[Address, ...]
    report: Callable[[str], None] = field(repr=False)

    def check(self) -> None:
        """Before anything is sent.

        Raises:
            InputError: urls that cannot be routed to as asked.
        """
        self.test.balancer(np.random.SeedSequence(self.course.seed))

    def lone_requests(self, confidence: float) -> LoneRequests | None:
        """Some requests one at a time, before the load; None where the server does not tell of them."""
        rate_rps = self.workload.arrival_rate_rps
        return lone_requests(self.test.target, rate_rps, self.course.seed, confidence)

    def measure(self) -> Series:
        """Send all; an interrupt ends them with what there is.

        Raises:
            DependencyError: a server does not answer.
            InputError: a server refuses the requests.
            KeyboardInterrupt: before there was anything.
        """
        series = Series()
        try:
            for number, seed in enumerate(np.random.SeedSequence(self.course.seed).spawn(self.course.runs)):
                self._measure(number, seed, series)
        except KeyboardInterrupt as stop:
            if not series.runs:
                raise
            series.interrupt = stop
        return series

    def _measure(self, number: int, seed: np.random.SeedSequence, series: Series) -> None:
        """One run more; one that is broken off only if it is the first."""
        arrivals, routing = seed.spawn(2)
        schedule = draw_schedule(self.workload, self.course.run_s, np.random.default_rng(arrivals))
        self._check(schedule)
        self.report(
            f"run {number + 1} of {self.course.runs}: {schedule.requests} requests at "
            f"{format_rate(self.workload.arrival_rate_rps)} for {format_duration(schedule.duration_s)}"
        )
        journal = Journal(schedule)
        before = look(self.metrics)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            self.test.run(journal, routing)
        except KeyboardInterrupt:
            run = LoadRun.of(journal, self.course.warm_up_s)
            if not series.runs and run.counted:
                series.runs.append(Measured(run=run))
            raise
        cpu_share = (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
        use, unseen = self._use(before)
        run = LoadRun.of(journal, self.course.warm_up_s)
        series.runs.append(Measured(run=run, use=use, unseen=unseen, cpu_share=cpu_share))

    def _check(self, schedule: Schedule) -> None:
        """Refuse a trace of which nothing would count."""
        if schedule.instants_s[-1] <= self.course.warm_up_s:
            raise InputError(
                f"the arrivals end after {format_duration(schedule.duration_s)}, within the warm-up; shorten "
                "--warm-up, or lower --rate"
            )

    def _use(self, before: Sequence[Scrape]) -> tuple[ServerUse | None, str | None]:
        """What the servers did; a server that is gone by now does not cost what was measured."""
        if not before:
            return None, None
        try:
            return ServerUse.between(before, look(self.metrics)), None
        except DependencyError as error:
            return None, f"mean batch and utilization were lost: {error}"
