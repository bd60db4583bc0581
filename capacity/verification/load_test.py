"""Load test: runs of one workload one after another, all drawn before the first of them begins."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.measurement.http import Address
from capacity.plan import Routing
from capacity.units import format_duration, format_rate
from capacity.verification.calibrate import LoneRequests, lone_requests, lone_requests_max
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.run import FEWER, Draw, LoadRun, Schedule, draw_schedule
from capacity.verification.send import LEAD_S, Balancer, Target, check_reachable, connected, send_all
from capacity.verification.watch import MetricsWatch, look_instants_s, uses
from capacity.workload import Workload

DURATION_MAX_S, RUNS_MAX = 3600.0, 100
# `select` takes 1024 file descriptors, some of which are open already.
IN_FLIGHT_MAX, _OTHER_FILES = 900, 64

Stop = KeyboardInterrupt | CapacityError


def connections_max() -> int:
    """Connections that may be open at once, of as many files as this process may have."""
    try:
        import resource
    except ImportError:  # elsewhere than on Unix
        return IN_FLIGHT_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return IN_FLIGHT_MAX
    return max(1, min(IN_FLIGHT_MAX, files - _OTHER_FILES))


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """All that load tests take.

    Attributes:
        draw: the arrivals of a run, as the simulator draws them.
        warm_up_s: at the start of each run, which counts for nothing. [s]
        duration_s: of what counts. [s]
        seed: of what is left to chance beside the arrivals.
        report: whom to tell what is going on; nothing is told while requests are sent.
        routing: which url a request goes to, where there are several.
        metrics: of each replica; none where they are not to be looked at.
        requests_max: that may be sent in all.
        in_flight_max: more requests at once end a run.
        is_calibrated: whether requests before the load tell this client's own request overhead.

    Raises:
        InputError: a number out of range.
    """

    target: Target
    workload: Workload
    draw: Draw = field(repr=False)
    warm_up_s: float
    duration_s: float
    runs: int
    seed: int
    report: Callable[[str], None] = field(repr=False)
    routing: Routing = Routing.ROUND_ROBIN
    metrics: tuple[Address, ...] = ()
    requests_max: int = 1_000_000
    in_flight_max: int = field(default_factory=connections_max)
    is_calibrated: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.duration_s <= DURATION_MAX_S:
            raise InputError(
                f"--duration must be above 0 and at most {DURATION_MAX_S:g}s, got {self.duration_s:g}s"
            )
        if not 0.0 <= self.warm_up_s <= DURATION_MAX_S:
            raise InputError(f"--warm-up must be at most {DURATION_MAX_S:g}s, got {self.warm_up_s:g}s")
        if not 1 <= self.runs <= RUNS_MAX:
            raise InputError(f"--runs must be from 1 to {RUNS_MAX}, got {self.runs}")

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The requests of each run, drawn before anything is sent.

        Raises:
            InputError: more than may be sent, or a run of which nothing would count.
        """
        self._balancer(0)  # refuses what cannot be routed to
        before = self.runs * len(self.target.urls)  # one to each url before each run
        if self.is_calibrated:
            before += lone_requests_max(self.workload.arrival_rate_rps)
        left, drawn = self.requests_max - before, []
        if left < 0:
            raise InputError(f"{before} requests before the load are more than {self.requests_max}; {FEWER}")
        for number in range(self.runs):
            schedule = draw_schedule(
                self.draw(self.workload, number), self.workload, self.warm_up_s + self.duration_s, left
            )
            if schedule.instants_s[-1] <= self.warm_up_s:
                raise InputError(
                    f"the arrivals end after {format_duration(schedule.duration_s)}, within the warm-up; "
                    "shorten --warm-up, or lower --rate"
                )
            left -= schedule.requests
            drawn.append(schedule)
        return tuple(drawn)

    def _balancer(self, number: int) -> Balancer:
        """A fresh one, with no request outstanding."""
        generator = np.random.default_rng([self.seed, number])
        return Balancer(self.routing, len(self.target.urls), generator)

    def lone_requests(self, confidence: float) -> LoneRequests:
        """Some requests one at a time, and at the rate, before the load.

        Raises:
            InconclusiveError: the server does not tell of them, or not in time.
        """
        rate_rps = self.workload.arrival_rate_rps
        self.report(
            f"before the load: up to {lone_requests_max(rate_rps)} requests, to see what this client adds"
        )
        return lone_requests(self.target, rate_rps, self.seed, confidence, in_flight_max=self.in_flight_max)

    def measure(self) -> tuple[list[LoadRun], Stop | None]:
        """Send all; the runs, and what ended them early, to be raised when all is told.

        Raises:
            DependencyError: a server does not answer, before there was anything; likewise:
            InputError: a server refuses the requests.
            KeyboardInterrupt: by the user.
        """
        runs: list[LoadRun] = []
        try:
            for number, schedule in enumerate(self.schedules):
                rate, lasting = self.workload.arrival_rate_rps, format_duration(schedule.duration_s)
                of = f"run {number + 1} of {self.runs}"
                self.report(f"{of}: {schedule.requests} requests at {format_rate(rate)} for {lasting}")
                self._measure(number, schedule, runs)
        except (KeyboardInterrupt, CapacityError) as stop:
            if not runs:
                raise
            return runs, stop
        return runs, None

    def _measure(self, number: int, schedule: Schedule, runs: list[LoadRun]) -> None:
        """One run more; one that is broken off only if it is the first."""
        run = LoadRun.blank(schedule, self.warm_up_s, self.target.timeout_s)
        watch = MetricsWatch(self.metrics, look_instants_s(self.warm_up_s, schedule.duration_s))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            self.send(run, self._balancer(number), watch)
        finally:  # what was measured is kept, whatever comes then
            run.cpu_share = (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
            if run.is_complete or (run.counted and not runs):
                runs.append(run)
                if self.metrics:
                    _add_uses(run, watch)

    def send(self, run: LoadRun, balancer: Balancer, watch: MetricsWatch) -> None:
        """Send one run; an interrupt leaves in it what there is.

        Raises:
            DependencyError: the server does not answer.
            InputError: the server refuses the request.
        """
        with precise_runner() as runner:
            runner.run(self._send(run, balancer, watch))

    async def _send(self, run: LoadRun, balancer: Balancer, watch: MetricsWatch) -> None:
        async with connected(self.target) as send:
            await check_reachable(send, self.target)
            clock = WallClock()
            looking = None
            if self.metrics:
                looking = asyncio.create_task(watch.run(clock, clock.now_s() + LEAD_S))
            try:
                await send_all(run, send, balancer, clock, self.in_flight_max)
                if looking is not None and not run.is_overflowed:
                    await looking
            finally:
                if looking is not None:
                    looking.cancel()


def _add_uses(run: LoadRun, watch: MetricsWatch) -> None:
    """What the servers did, too; one that was gone by then does not cost what was measured."""
    try:
        run.uses = uses(watch.looks)
    except DependencyError as error:
        run.unseen = f"mean batch and utilization were lost: {watch.failure or error}"
