"""Verifier: predicts, measures, and predicts once more for the very requests that were sent."""

from dataclasses import dataclass, field, replace

from capacity.performance import Performance
from capacity.screen import require_answerable
from capacity.workbench import Effort, Work, Workbench
from capacity.workload import is_trace
from measurements.load_series import LoadSeries, Measured, Series
from measurements.measured import measured_performance
from measurements.prediction import Prediction, Predictor
from measurements.quantities import QUANTILES, Quantity
from measurements.validity import faults
from measurements.verification import Verification, VerifiedRun
from measurements.verify_inputs import Subject


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

    def verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """Predict and measure; an interrupt ends it with what there is.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DependencyError: a server does not answer.
            InputError: a server refuses the requests.
            KeyboardInterrupt: before anything was measured.
        """
        self._check()
        profile = self.subject.profile
        lone = self.load.lone_requests(self.effort.confidence) if self.is_calibrated else None
        if lone is None:
            return self._verify(quantities, notes)
        seen = replace(self, subject=replace(self.subject, profile=lone.seen_by(profile)))
        return replace(seen._verify(quantities, (*notes, *lone.notes(profile))), lone=lone)

    def _check(self) -> None:
        """Refuse before anything is sent what cannot be routed to, or is not stable; a trace need not be."""
        self.load.check()
        if not is_trace(self.load.workload):
            require_answerable(self.subject.profile, self.load.workload, self.subject.plan)

    def _verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """The long run, the load tests, and their replays."""
        with self.workbench(self.effort) as work:
            work.report("simulating the plan")
            stationary = self._predictor(work).in_the_long_run(self.load.workload)
        series = self.load.measure()
        replays = self._replays(series)
        return Verification(
            quantities=quantities,
            runs=tuple(self._verified(*pair) for pair in zip(series.runs, replays, strict=True)),
            stationary=stationary,
            objective=self.subject.objective,
            notes=(*notes, *(one.unseen for one in series.runs if one.unseen is not None)),
            interrupt=series.interrupt,
        )

    def _predictor(self, work: Work) -> Predictor:
        return Predictor(
            profile=self.subject.profile, plan=self.subject.plan, quantiles=QUANTILES, simulator=work.simulate
        )

    def _replays(self, series: Series) -> list[Prediction]:
        """A prediction for each run; none where an interrupt asks to hurry."""
        try:
            if series.interrupt is None:
                with self.workbench(self.effort) as work:
                    work.report("simulating the requests that were sent")
                    return [
                        self._predictor(work).of(one.run.schedule, one.run.warm_up_s) for one in series.runs
                    ]
        except KeyboardInterrupt as stop:
            series.interrupt = stop
        return [Prediction(performance=None) for _ in series.runs]

    def _verified(self, measured: Measured, replay: Prediction) -> VerifiedRun:
        return VerifiedRun(
            run=measured.run,
            measured=self._performance(measured),
            replay=replay,
            faults=tuple(faults(measured.run, self.load.test.in_flight_max)),
            cpu_share=measured.cpu_share,
        )

    def _performance(self, measured: Measured) -> Performance:
        run, use, subject = measured.run, measured.use, self.subject
        if use is None:
            return measured_performance(run, QUANTILES, self.effort.confidence)
        return measured_performance(
            run,
            QUANTILES,
            self.effort.confidence,
            batch_size_mean=use.batch_size_mean,
            utilization=use.utilization(run.lasted_s, subject.plan.replicas),
        )
