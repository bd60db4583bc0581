"""Verifier: predicts, measures, and predicts once more for the very requests that were sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from capacity.errors import InconclusiveError
from capacity.performance import Performance
from capacity.screen import require_answerable
from capacity.workbench import Effort, Work, Workbench
from capacity.workload import DeterministicArrivals, MmppArrivals, TraceArrivals, is_trace
from measurements.load_series import LoadSeries, Measured, Series
from measurements.measured import measured_performance
from measurements.prediction import Prediction, Predictor
from measurements.quantities import QUANTILES, Quantity
from measurements.validity import drift_faults, faults, tail_faults
from measurements.verification import Verification, VerifiedRun
from measurements.verify_inputs import Subject

_NOTHING = Prediction(performance=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """All that a verification takes.

    Attributes:
        workbench: where simulations are made. Its workers are gone while requests are sent, and so is
            whatever shows their progress, since both would hold up requests.
        is_calibrated: whether this client's own request overhead takes the place of the profile's.
    """

    subject: Subject
    load: LoadSeries
    effort: Effort
    workbench: Workbench = field(repr=False)
    is_calibrated: bool = True

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Of responses: the usual ones, and those that were promised."""
        objective = self.subject.objective
        return tuple(sorted({*QUANTILES, *(() if objective is None else objective.limits)}))

    def verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """Predict and measure; an interrupt ends it with what there is, and so does a later run's error.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DependencyError: a server does not answer.
            InputError: a server refuses the requests, or they would be too many.
            KeyboardInterrupt: before anything was measured.
        """
        self._check()
        notes = (*notes, *self._schedule_notes())
        if not self.is_calibrated:
            return self._verify(quantities, notes)
        profile = self.subject.profile
        try:
            lone = self.load.lone_requests(self.effort.confidence)
        except InconclusiveError as error:
            return self._verify(quantities, (*notes, f"the request overhead is the profile's: {error}"))
        seen = replace(self, subject=replace(self.subject, profile=lone.seen_by(profile)))
        return replace(seen._verify(quantities, (*notes, *lone.notes(profile))), lone=lone)

    def _check(self) -> None:
        """Refuse before anything is sent what cannot be routed to, or is not stable; a trace need not be."""
        self.load.check(is_calibrated=self.is_calibrated)
        if not is_trace(self.load.workload):
            require_answerable(self.subject.profile, self.load.workload, self.subject.plan)

    def _schedule_notes(self) -> tuple[str, ...]:
        """What runs have in common that leave nothing to chance."""
        workload, runs = self.load.workload, self.load.course.runs
        if runs == 1 or not (is_trace(workload) or isinstance(workload.arrivals, DeterministicArrivals)):
            return ()
        return (
            f"the {runs} runs sent requests at the same instants: they tell more of chance at the server, "
            "and nothing of other arrivals",
        )

    def _verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """The long run, the load tests, and their replays."""
        with self.workbench(self.effort) as work:
            work.report("simulating the plan")
            stationary = self._predictor(work).in_the_long_run(self.load.workload)
        series = self.load.measure()
        replays, replay = self._replays(series)
        runs = [one.run for one in series.runs]
        return Verification(
            quantities=quantities,
            runs=tuple(self._verified(*pair) for pair in zip(series.runs, replays, strict=True)),
            measured=self._performance(series.runs),
            stationary=stationary,
            replay=replay,
            objective=self.subject.objective,
            planned_s=self.subject.planned_s,
            pool_faults=tuple(tail_faults(runs, self.quantiles)),
            notes=(*notes, *(one.unseen for one in series.runs if one.unseen is not None)),
            interrupt=series.interrupt,
            stop=series.stop,
        )

    def _predictor(self, work: Work) -> Predictor:
        return Predictor(
            profile=self.subject.profile,
            plan=self.subject.plan,
            quantiles=self.quantiles,
            simulator=work.simulate,
        )

    def _replays(self, series: Series) -> tuple[list[Prediction], Prediction]:
        """A prediction for each run, and one for all together; none where an interrupt asks to hurry."""
        warm_up_s = self.load.course.warm_up_s
        schedules = [one.run.schedule for one in series.runs]
        try:
            if series.interrupt is None:
                with self.workbench(self.effort) as work:
                    work.report("simulating the requests that were sent")
                    predictor = self._predictor(work)
                    each = [predictor.of([schedule], warm_up_s) for schedule in schedules]
                    return each, each[0] if len(each) == 1 else predictor.of(schedules, warm_up_s)
        except KeyboardInterrupt as stop:
            series.interrupt = stop
        return [_NOTHING for _ in series.runs], _NOTHING

    def _verified(self, measured: Measured, replay: Prediction) -> VerifiedRun:
        return VerifiedRun(
            run=measured.run,
            measured=self._performance([measured]),
            replay=replay,
            faults=tuple(self._faults(measured)),
            cpu_share=measured.cpu_share,
        )

    def _faults(self, measured: Measured) -> Iterator[str]:
        """What makes a run invalid; a steady state is expected of arrivals that have one alone."""
        run = measured.run
        yield from faults(run, self.load.test.in_flight_max, measured.cpu_share)
        arrivals = self.load.workload.arrivals
        if run.is_complete and not isinstance(arrivals, MmppArrivals | TraceArrivals):
            yield from drift_faults(run)

    def _performance(self, measured: Sequence[Measured]) -> Performance:
        return measured_performance(
            [one.run for one in measured],
            self.quantiles,
            self.effort.confidence,
            uses=[use for one in measured for use in one.uses],
            replicas=self.subject.plan.replicas,
        )
