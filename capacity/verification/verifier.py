"""Verifier: predicts, measures, and predicts once more for the very requests that were sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from capacity.errors import InconclusiveError
from capacity.performance import Performance
from capacity.screen import require_answerable
from capacity.verification.load_test import LoadTest, Stop
from capacity.verification.measured import measured_performance
from capacity.verification.prediction import Prediction, Predictor
from capacity.verification.quantities import QUANTILES, Quantity
from capacity.verification.run import LoadRun
from capacity.verification.subject import Subject
from capacity.verification.validity import faults, tail_faults
from capacity.verification.verification import Verification, VerifiedRun
from capacity.workbench import Effort, Work, Workbench
from capacity.workload import MmppArrivals, TraceArrivals, is_trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """All that a verification takes."""

    subject: Subject
    load: LoadTest
    effort: Effort
    # where simulations are made. Its workers are gone while requests are sent, and so is whatever shows their
    # progress, since both would hold up requests
    workbench: Workbench = field(repr=False)

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Of responses: the usual ones, and those that were promised."""
        objective = self.subject.objective
        return tuple(sorted({*QUANTILES, *(() if objective is None else objective.limits)}))

    def verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """Predict and measure; an interrupt ends it with what there is, and so does a later run's error.

        Where it is calibrated, this client's own request overhead takes the place of the profile's.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DependencyError: a server does not answer.
            InputError: a server refuses the requests, or they would be too many.
            KeyboardInterrupt: before anything was measured.
        """
        _ = self.load.schedules  # refuses what may not be sent
        if not is_trace(self.load.workload):
            require_answerable(self.subject.profile, self.load.workload, self.subject.plan)
        if not self.load.is_calibrated:
            return self._verify(quantities, notes)
        profile = self.subject.profile
        try:
            lone = self.load.lone_requests(self.effort.confidence)
        except InconclusiveError as error:
            return self._verify(quantities, (*notes, f"the request overhead is the profile's: {error}"))
        seen = replace(self, subject=replace(self.subject, profile=lone.seen_by(profile)))
        return replace(seen._verify(quantities, (*notes, *lone.notes(profile))), lone=lone)

    def _verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """The long run, the load tests, and their replays."""
        with self.workbench(self.effort) as work:
            stationary = self._predictor(work).in_the_long_run(self.load.workload)
        runs, stop = self.load.measure()
        replays, replay, stop = self._replays(runs, stop)
        is_steady = not isinstance(self.load.workload.arrivals, MmppArrivals | TraceArrivals)
        verified = [
            VerifiedRun(
                run=run,
                measured=self._performance([run]),
                replay=replayed,
                faults=tuple(faults(run, self.load.in_flight_max, is_steady=is_steady)),
            )
            for run, replayed in zip(runs, replays, strict=True)
        ]
        return Verification(
            subject=self.subject,
            effort=self.effort,
            quantities=quantities,
            runs=tuple(verified),
            measured=self._performance(runs),
            stationary=stationary,
            replay=replay,
            pool_faults=tuple(tail_faults(runs, self.quantiles)),
            notes=(*notes, *(run.unseen for run in runs if run.unseen is not None)),
            stop=stop,
        )

    def _predictor(self, work: Work) -> Predictor:
        return Predictor(
            profile=self.subject.profile,
            plan=self.subject.plan,
            quantiles=self.quantiles,
            simulator=work.simulate,
        )

    def _replays(
        self, runs: Sequence[LoadRun], stop: Stop | None
    ) -> tuple[list[Prediction], Prediction, Stop | None]:
        """A prediction for each run, and one for all together; none where an interrupt asks to hurry."""
        nothing = [Prediction() for _ in runs], Prediction()
        if isinstance(stop, KeyboardInterrupt):
            return *nothing, stop
        try:
            with self.workbench(self.effort) as work:
                work.report("simulating the requests that were sent")
                predictor = self._predictor(work)
                each = [predictor.of([run]) for run in runs]
                return each, each[0] if len(each) == 1 else predictor.of(runs), stop
        except KeyboardInterrupt as interrupt:
            return *nothing, interrupt

    def _performance(self, runs: Sequence[LoadRun]) -> Performance:
        return measured_performance(
            runs, self.quantiles, self.effort.confidence, replicas=self.subject.plan.replicas
        )
