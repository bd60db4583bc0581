"""Verifier: sends one load test after another, and holds each against what was predicted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from capacity.errors import CapacityError
from capacity.objective import LatencyObjective
from capacity.performance import Performance
from capacity.units import format_duration, format_rate
from capacity.workload import Workload
from measurements.address import Address
from measurements.load_run import Journal, LoadRun
from measurements.load_test import LoadTest
from measurements.measured import measured_performance
from measurements.prediction import Prediction, Predictor
from measurements.quantities import Quantity
from measurements.schedule import draw_schedule
from measurements.server_use import ServerUse, look
from measurements.validity import faults
from measurements.verification import Verification, VerifiedRun

_BROKEN_OFF = Prediction(performance=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and how often.

    Attributes:
        warm_up_s: at the start of each run, which counts for nothing. [s]
        duration_s: of what counts. [s]
    """

    warm_up_s: float
    duration_s: float
    runs: int
    seed: int
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """All that a verification takes.

    Attributes:
        metrics: of each replica; none where batches and utilization are not to be measured.
        report: whom to tell what is going on.
    """

    test: LoadTest
    predictor: Predictor
    workload: Workload
    course: Course
    metrics: tuple[Address, ...]
    report: Callable[[str], None]

    def verify(
        self,
        quantities: tuple[Quantity, ...],
        objective: LatencyObjective | None,
        notes: tuple[str, ...],
    ) -> Verification:
        """Predict, then measure; an interrupt ends it with what there is.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DependencyError: a server does not answer.
            KeyboardInterrupt: before there was anything.
        """
        self.report("simulating the plan")
        stationary = self.predictor.in_the_long_run(self.workload)
        runs: list[VerifiedRun] = []
        interrupt = None
        try:
            for number, seed in enumerate(np.random.SeedSequence(self.course.seed).spawn(self.course.runs)):
                self._run(number, seed, runs)
        except KeyboardInterrupt as stop:
            if not runs:
                raise
            interrupt = stop
        return Verification(
            quantities=quantities,
            runs=tuple(runs),
            stationary=stationary,
            objective=objective,
            notes=notes,
            interrupt=interrupt,
        )

    def _run(self, number: int, seed: np.random.SeedSequence, runs: list[VerifiedRun]) -> None:
        """Add a run; one that is broken off, if it is the first."""
        course = self.course
        arrivals, routing = seed.spawn(2)
        journal = Journal(
            draw_schedule(
                self.workload, course.warm_up_s + course.duration_s, np.random.default_rng(arrivals)
            )
        )
        self.report(f"run {number + 1} of {course.runs}: {self._told(journal)}")
        before = look(self.metrics)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        try:
            self.test.run(journal, routing)
        except KeyboardInterrupt:
            run = LoadRun.of(journal, course.warm_up_s)
            if not runs and run.counted:
                runs.append(VerifiedRun(run=run, measured=self._measured(run, None), replay=_BROKEN_OFF))
            raise
        cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - began_s)
        run = LoadRun.of(journal, course.warm_up_s)
        use = ServerUse.between(before, look(self.metrics)) if before else None
        verified = VerifiedRun(
            run=run,
            measured=self._measured(run, use),
            replay=_BROKEN_OFF,
            faults=tuple(faults(run, self.test.in_flight_max)),
            cpu_share=cpu_share,
        )
        runs.append(verified)
        self.report(f"run {number + 1} of {course.runs}: simulating the same requests")
        runs[-1] = replace(verified, replay=self.predictor.of(journal.schedule))

    def _told(self, journal: Journal) -> str:
        schedule, rate = journal.schedule, format_rate(self.workload.arrival_rate_rps)
        return f"{schedule.requests} requests at {rate} for {format_duration(schedule.duration_s)}"

    def _measured(self, run: LoadRun, use: ServerUse | None) -> Performance:
        predictor = self.predictor
        return measured_performance(
            run,
            predictor.quantiles,
            self.course.confidence,
            batch_size_mean=None if use is None else use.batch_size_mean,
            utilization=None
            if use is None
            else use.utilization(run.lasted_s, predictor.plan.replicas, predictor.profile.request_work_s),
        )


def why_unseen(metrics: tuple[Address, ...]) -> str | None:
    """Why metrics cannot be had; None where they can."""
    try:
        scrapes = look(metrics)
        ServerUse.between(scrapes, scrapes)
    except CapacityError as error:
        return str(error)
    return None
