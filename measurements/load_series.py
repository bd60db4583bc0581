"""LoadSeries: load tests of one workload one after another, all drawn before the first of them begins."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.units import format_duration, format_rate
from capacity.workload import Workload
from measurements.address import Address
from measurements.load_run import Journal, LoadRun
from measurements.load_test import LoadTest
from measurements.lone_requests import LoneRequests, lone_requests, lone_requests_max
from measurements.metrics_watch import MetricsWatch, look_instants_s
from measurements.schedule import Schedule, check_expected, check_requests, draw_schedule
from measurements.server_use import ServerUse, uses

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
        uses: of the servers in consecutive sections of what counts; none where their metrics were not looked
            at, or could not be.
        unseen: why they could not.
        cpu_share: of one core, that sending took.
    """

    run: LoadRun
    uses: tuple[ServerUse, ...] = ()
    unseen: str | None = None
    cpu_share: float = 0.0


@dataclass(slots=True, kw_only=True)
class Series:
    """The load tests so far.

    Attributes:
        interrupt: what ended them early, to be raised again when all is told; None where nothing did.
        stop: an error that ended them early, likewise.
    """

    runs: list[Measured] = field(default_factory=list)
    interrupt: KeyboardInterrupt | None = None
    stop: CapacityError | None = None


@dataclass(frozen=True, kw_only=True)
class LoadSeries:
    """All that load tests take.

    Attributes:
        metrics: of each replica; none where they are not to be looked at.
        report: whom to tell what is going on; nothing is told while requests are sent.
        requests_max: that may be sent in all.
    """

    test: LoadTest
    workload: Workload
    course: Course
    metrics: tuple[Address, ...]
    report: Callable[[str], None] = field(repr=False)
    requests_max: int = 1_000_000

    @cached_property
    def _drawn(self) -> tuple[tuple[Schedule, np.random.SeedSequence], ...]:
        """Of each run its requests, and the seed of what its balancer leaves to chance."""
        drawn = []
        left = self.requests_max
        for seed in np.random.SeedSequence(self.course.seed).spawn(self.course.runs):
            arrivals, routing = seed.spawn(2)
            generator = np.random.default_rng(arrivals)
            schedule = draw_schedule(self.workload, self.course.run_s, generator, left)
            left -= schedule.requests
            drawn.append((schedule, routing))
        return tuple(drawn)

    def check(self, *, is_calibrated: bool = False) -> None:
        """Before anything is sent.

        Args:
            is_calibrated: lone requests are sent, too.

        Raises:
            InputError: urls that cannot be routed to as asked, too many requests, or a run of which nothing
                would count.
        """
        self.test.balancer(np.random.SeedSequence(self.course.seed))
        check_expected(self.workload, self.course.run_s, self.course.runs, self.requests_max)
        schedules = [schedule for schedule, _ in self._drawn]
        before = len(schedules) * len(self.test.target.urls)  # one to each url before each run
        if is_calibrated:
            before += lone_requests_max(self.workload.arrival_rate_rps)
        check_requests(schedules, before, self.requests_max)
        for schedule in schedules:
            self._check(schedule)

    def _check(self, schedule: Schedule) -> None:
        """Refuse a trace of which nothing would count."""
        if schedule.instants_s[-1] <= self.course.warm_up_s:
            raise InputError(
                f"the arrivals end after {format_duration(schedule.duration_s)}, within the warm-up; shorten "
                "--warm-up, or lower --rate"
            )

    def lone_requests(self, confidence: float) -> LoneRequests:
        """Some requests one at a time, and at the rate, before the load.

        Raises:
            InconclusiveError: the server does not tell of them, or not in time.
        """
        rate_rps = self.workload.arrival_rate_rps
        self.report(
            f"before the load: up to {lone_requests_max(rate_rps)} requests, to see what this client adds"
        )
        return lone_requests(
            self.test.target,
            rate_rps,
            self.course.seed,
            confidence,
            in_flight_max=self.test.in_flight_max,
        )

    def measure(self) -> Series:
        """Send all; an interrupt or an error ends them with what there is.

        Raises:
            DependencyError: a server does not answer, before there was anything; likewise:
            InputError: a server refuses the requests.
            KeyboardInterrupt: by the user.
        """
        series = Series()
        try:
            for number, (schedule, routing) in enumerate(self._drawn, start=1):
                self._measure(number, schedule, routing, series)
        except KeyboardInterrupt as stop:
            if not series.runs:
                raise
            series.interrupt = stop
        except CapacityError as stop:
            if not series.runs:
                raise
            series.stop = stop
        return series

    def _measure(
        self, number: int, schedule: Schedule, routing: np.random.SeedSequence, series: Series
    ) -> None:
        """One run more; one that is broken off only if it is the first."""
        self.report(
            f"run {number} of {self.course.runs}: {schedule.requests} requests at "
            f"{format_rate(self.workload.arrival_rate_rps)} for {format_duration(schedule.duration_s)}"
        )
        journal, watch = Journal(schedule), self._watch(schedule)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            self.test.run(journal, routing, watch)
        finally:  # what was measured is kept, whatever comes then
            cpu_share = (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
            run = LoadRun.of(journal, self.course.warm_up_s, self.test.target.timeout_s)
            if run.is_complete or (run.counted and not series.runs):
                measured = Measured(run=run, cpu_share=cpu_share)
                series.runs.append(measured if watch is None else _with_use(measured, watch))

    def _watch(self, schedule: Schedule) -> MetricsWatch | None:
        if not self.metrics:
            return None
        return MetricsWatch(self.metrics, look_instants_s(self.course.warm_up_s, schedule.duration_s))


def _with_use(measured: Measured, watch: MetricsWatch) -> Measured:
    """What the servers did, too; one that was gone by then does not cost what was measured."""
    try:
        return replace(measured, uses=uses(watch.looks))
    except DependencyError as error:
        return replace(measured, unseen=f"mean batch and utilization were lost: {watch.failure or error}")
