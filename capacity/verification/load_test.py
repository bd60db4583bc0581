"""Load test: consecutive runs of one workload, all drawn before the first of them begins."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.measurement.http import Address
from capacity.question.plan import Routing
from capacity.traffic.lengths import Pairs
from capacity.traffic.workload import Workload
from capacity.units import format_duration, format_rate
from capacity.verification.calibrate import LoneRequests, lone_requests, lone_requests_max
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.conversations import ConversationSchedule
from capacity.verification.run import Draw, LoadRun, Schedule, draw_schedule
from capacity.verification.send import LEAD_S, Balancer, Target, check_reachable, connected, send_all
from capacity.verification.watch import MetricsWatch, look_instants_s, uses

DURATION_MAX_S, RUNS_MAX = 3600.0, 100
IN_FLIGHT_MAX = 900  # `select` takes 1024 file descriptors, some of which are open already

Stop = KeyboardInterrupt | CapacityError


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """Settings of load tests.

    Raises InputError: a number out of range.
    """

    target: Target
    workload: Workload
    draw: Draw  # the arrivals of a run, as the simulator draws them
    warm_up_s: float  # start of each run that is in no statistic
    duration_s: float  # of the counted part
    runs: int
    seed: int  # seed of what is random besides the arrivals
    # called with progress; never while requests are sent
    report: Callable[[str], None]
    routing: Routing = Routing.ROUND_ROBIN  # rule that picks an address, if there are several
    metrics: tuple[Address, ...] = ()  # of each replica; empty if they are not read
    requests_max: int = 1_000_000  # largest number to send in all
    in_flight_max: int = IN_FLIGHT_MAX  # more requests at once end a run
    # input and output tokens of this many requests of a run, by its number; None if requests have no lengths
    lengths: Callable[[int, int], Pairs] | None = None
    # the sessions of a run by its number, which begin within that time and a little later; None if there are none
    sessions: Callable[[int, float], ConversationSchedule] | None = None
    is_calibrated: bool = False  # whether requests before the load measure this client's own request overhead

    def __post_init__(self) -> None:
        if not 0.0 < self.duration_s <= DURATION_MAX_S:
            limits = f"above 0 and at most {DURATION_MAX_S:g}s"
            raise InputError(f"--duration must be {limits}, got {self.duration_s:g}s")
        if not 0.0 <= self.warm_up_s <= DURATION_MAX_S:
            raise InputError(f"--warm-up must be at most {DURATION_MAX_S:g}s, got {self.warm_up_s:g}s")
        if not 1 <= self.runs <= RUNS_MAX:
            raise InputError(f"--runs must be from 1 to {RUNS_MAX}, got {self.runs}")

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """The requests of each run, drawn before anything is sent.

        Raises InputError: more than may be sent, or a run of which nothing would count.
        """
        self._balancer(0)  # refuses what cannot be routed to
        rate_rps, run_s = self.workload.arrival_rate_rps, self.warm_up_s + self.duration_s
        before = self.runs * len(self.target.addresses)  # one to each before each run
        before += lone_requests_max(rate_rps) if self.is_calibrated else 0
        left, drawn = self.requests_max - before, []
        for number in range(self.runs):
            schedule = self._schedule(number, run_s, max(0, left))
            if schedule.ends_s <= self.warm_up_s:
                raise InputError(
                    f"the arrivals end after {format_duration(schedule.ends_s)}, within the warm-up; "
                    "shorten --warm-up, or lower --rate"
                )
            left -= schedule.requests
            drawn.append(schedule)
        return tuple(drawn)

    def _schedule(self, number: int, run_s: float, most: float) -> Schedule:
        """The requests of one run, of which there may be no more than that."""
        if self.sessions is not None:
            acted = self.sessions(number, run_s)
            acted.require_at_most(most)
            return acted
        drawn = draw_schedule(self.draw(self.workload, number), self.workload, run_s, most)
        if self.lengths is None:
            return drawn
        return replace(drawn, lengths=self.lengths(number, drawn.requests))

    def _balancer(self, number: int) -> Balancer:
        generator = np.random.default_rng([self.seed, number])
        return Balancer(self.routing, len(self.target.addresses), generator)

    def lone_requests(self, confidence: float) -> LoneRequests:
        """Send some requests one at a time, and then at the rate, before the load; raises as `calibrate` does."""
        rate_rps = self.workload.arrival_rate_rps
        most = lone_requests_max(rate_rps)
        self.report(f"before the load: up to {most} requests, to measure what this client adds")
        return lone_requests(self.target, rate_rps, self.seed, confidence, in_flight_max=self.in_flight_max)

    def measure(self) -> tuple[list[LoadRun], Stop | None]:
        """Send all runs; returns them, and what ended them early, to be raised after the report.

        Raises:
            DependencyError: a server does not answer before anything was measured; likewise:
            InputError: a server refuses the requests.
            KeyboardInterrupt: by the user.
        """
        runs: list[LoadRun] = []
        rate = format_rate(self.workload.arrival_rate_rps)
        try:
            for number, schedule in enumerate(self.schedules):
                lasting = format_duration(schedule.duration_s)
                self.report(f"run {number + 1} of {self.runs}: {schedule} at {rate} for {lasting}")
                self._measure(number, schedule, runs)
        except (KeyboardInterrupt, CapacityError) as stop:
            if not runs:
                raise
            return runs, stop
        return runs, None

    def _measure(self, number: int, schedule: Schedule, runs: list[LoadRun]) -> None:
        """Send one more run; a broken one is dropped unless it is the first."""
        run = LoadRun.blank(schedule, self.warm_up_s, self.target.timeout_s, drafts=self.target.drafts)
        watch = MetricsWatch(self.metrics, look_instants_s(self.warm_up_s, schedule.duration_s))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        try:
            with precise_runner() as runner:
                runner.run(self._send(run, self._balancer(number), watch))
        finally:  # what was measured is kept, whatever comes then
            run.cpu_share = (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
            if run.is_complete or (run.counted and not runs):
                runs.append(run)
                try:  # a server that was gone by then does not cost what was measured
                    run.uses = uses(watch.looks) if self.metrics else ()
                except DependencyError as error:
                    run.unseen = f"mean batch and utilization are not known: {watch.failure or error}"

    async def _send(self, run: LoadRun, balancer: Balancer, watch: MetricsWatch) -> None:
        async with connected(self.target) as send:
            await check_reachable(send, self.target)
            clock = WallClock()
            looking = asyncio.create_task(watch.run(clock, clock.now_s() + LEAD_S))
            try:
                await send_all(run, send, balancer, clock, self.in_flight_max)
                if self.metrics and not run.is_overflowed:
                    await looking
            finally:
                looking.cancel()
