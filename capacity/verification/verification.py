"""Verification: predictions for a plan, compared with load tests of a real server."""

import math
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from capacity.errors import CapacityError, InconclusiveError
from capacity.performance import Interval, Performance
from capacity.question.budget import Effort, Work, Workbench
from capacity.question.candidate import Verdict
from capacity.question.objective import Measure
from capacity.traffic.workload import MmppArrivals, TraceArrivals
from capacity.units import format_duration
from capacity.verification.calibrate import LoneRequests
from capacity.verification.kinds import kind_of
from capacity.verification.load_test import LoadTest, Stop
from capacity.verification.measured import measured_performance
from capacity.verification.prediction import Prediction, Predictor
from capacity.verification.quantities import (
    QUANTILES,
    Agreement,
    AgreementRow,
    Held,
    LimitFinding,
    Quantity,
    hold,
    limit_finding,
)
from capacity.verification.run import LoadRun
from capacity.verification.subject import Subject
from capacity.verification.validity import faults, tail_faults, untold


class Outcome(StrEnum):
    """Result of a verification."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    MISSED = "missed"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """One load test and what it showed."""

    run: LoadRun
    measured: Performance  # of this run alone
    replay: Prediction  # for its own schedule
    faults: tuple[str, ...] = ()  # what makes it invalid, if anything


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All runs of one plan, with both predictions."""

    subject: Subject
    effort: Effort
    quantities: tuple[Quantity, ...]  # with their tolerances
    runs: tuple[VerifiedRun, ...]
    measured: Performance  # from the answers of all runs
    stationary: Prediction  # for the long run
    replay: Prediction  # for the schedules of all runs
    pool_faults: tuple[str, ...] = ()  # what makes the runs invalid together
    notes: tuple[str, ...] = ()  # what was left out, and why
    # requests one at a time before the load, which calibrate predictions; None if the server did not report them
    lone: LoneRequests | None = None
    # interrupt or error that ended it early, to be raised after the report; None without one
    stop: Stop | None = None

    @cached_property
    def rows(self) -> tuple[AgreementRow, ...]:
        """One row for each measured quantity."""
        return tuple(self._rows())

    def _rows(self) -> Iterator[AgreementRow]:
        for quantity in self.quantities:
            measured = quantity.found(self.measured)
            if measured is not None:
                yield AgreementRow(
                    quantity=quantity,
                    measured=measured,
                    stationary=self._held(quantity, self.stationary, measured),
                    replay=self._held(quantity, self.replay, measured),
                )

    def _held(self, quantity: Quantity, prediction: Prediction, measured: Interval) -> Held | None:
        predicted = quantity.predicted(prediction.performance)
        if predicted is None:
            return None
        held = hold(quantity, predicted, measured)
        if not self.is_valid:
            return replace(held, agreement=Agreement.VOID)
        if not quantity.has_interval(self.measured):
            return replace(held, agreement=Agreement.NO_INTERVAL)
        return held

    @cached_property
    def findings(self) -> tuple[LimitFinding, ...]:
        """Each limit and its measured value."""
        objective = self.subject.objective
        limits = () if objective is None else objective.limits
        return tuple(limit_finding(limit, self.measured) for limit in limits)

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes runs invalid."""
        return (*(fault for run in self.runs for fault in run.faults), *self.pool_faults)

    @property
    def is_valid(self) -> bool:
        """Whether the load tests ran as intended, to their end."""
        return not self.faults and not isinstance(self.stop, KeyboardInterrupt)

    @property
    def answered(self) -> int:
        """Number of counted requests of all runs that were answered well or given up."""
        return sum(len(run.run.endured_s()) for run in self.runs)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why the result is unclear, each with what would settle it; empty if it is clear."""
        doubts = (finding.doubt(self.answered) for finding in self.findings)
        found = [self._with_mend(*doubt) for doubt in doubts if doubt is not None]
        # Throughput and loss agree for any server that is up.
        responses = [row for row in self.rows if row.quantity.shown is format_duration]
        agreements = {one for row in responses for one in row.agreements}
        if not agreements & {Agreement.AGREE, Agreement.DISAGREE}:
            found.append("no response is known precisely enough to compare; raise --duration or --runs")
        return tuple(found)

    def _with_mend(self, doubt: str, times: float) -> str:
        """A doubt with the load test that would settle it."""
        if not math.isfinite(times):
            return doubt
        runs = len(self.runs)
        windows_s = [end_s - start_s for start_s, end_s in (one.run.window_s for one in self.runs)]
        longer_s = math.ceil(times * sum(windows_s) / runs - 1e-9)
        return f"{doubt}; --duration {longer_s}s or --runs {math.ceil(times * runs - 1e-9)} may tell"

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if isinstance(self.stop, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(self.stop, CapacityError):
            return self.stop.exit_code
        return {Outcome.AGREE: 0, Outcome.MISSED: 3}.get(self.outcome, 4)

    @property
    def outcome(self) -> Outcome:
        """The outcome: invalid runs come first; a missed limit counts more than a wrong model.

        Prediction and measurement agree if every limit is proven to be met, some response agrees, and nothing
        disagrees.
        """
        if isinstance(self.stop, KeyboardInterrupt):
            return Outcome.INTERRUPTED
        if self.faults:
            return Outcome.INVALID
        if self.stop is not None:
            return Outcome.STOPPED
        if any(finding.verdict is Verdict.MISSED for finding in self.findings):
            return Outcome.MISSED
        if any(Agreement.DISAGREE in row.agreements for row in self.rows):
            return Outcome.DISAGREE
        return Outcome.UNSURE if self.doubts else Outcome.AGREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Everything that a verification needs."""

    subject: Subject
    load: LoadTest
    effort: Effort
    # context of the simulations; its workers and its progress display are gone while requests are sent, since both
    # would delay requests
    workbench: Workbench

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Quantiles of responses: the usual ones, and those with limits."""
        objective = self.subject.objective
        limits = () if objective is None else objective.limits
        limited = {one.quantile for one in limits if one.quantile and one.measure is not Measure.WAIT}
        return tuple(sorted({*QUANTILES, *limited}))

    def verify(self, quantities: tuple[Quantity, ...], notes: tuple[str, ...]) -> Verification:
        """Predict and measure; an interrupt, or an error in a later run, ends it with what there is.

        If it is calibrated, this client's own request overhead replaces the profile's.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DependencyError: a server does not answer.
            InputError: a server refuses the requests, or they would be too many.
            KeyboardInterrupt: an interrupt before anything was measured.
        """
        _ = self.load.schedules  # refuses what may not be sent
        kind_of(self.subject.profile).require_answerable(self.subject)
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
        """The long-run prediction, the load tests, and their replays."""
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
            notes=(*notes, *(run.unseen for run in runs if run.unseen is not None), *untold(runs)),
            stop=stop,
        )

    def _predictor(self, work: Work) -> Predictor:
        return Predictor(
            profile=self.subject.profile,
            plan=self.subject.plan,
            quantiles=self.quantiles,
            simulator=work.simulate,
            requests=self.subject.requests,
            replays=work.replays,
        )

    def _replays(
        self, runs: Sequence[LoadRun], stop: Stop | None
    ) -> tuple[list[Prediction], Prediction, Stop | None]:
        """A prediction for each run, and one for all together; none if an interrupt asks to hurry."""
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
            runs,
            self.quantiles,
            self.effort.confidence,
            replicas=self.subject.plan.replicas,
            objective=self.subject.objective,
        )
