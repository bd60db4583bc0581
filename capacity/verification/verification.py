"""Verification: what was predicted of a plan beside what load tests of a real server found."""

import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from capacity.errors import CapacityError
from capacity.performance import Interval, Performance
from capacity.plan import Verdict
from capacity.units import format_duration
from capacity.verification.calibrate import LoneRequests
from capacity.verification.load_test import Stop
from capacity.verification.prediction import Prediction
from capacity.verification.promises import PromiseFinding, promise_finding
from capacity.verification.quantities import Agreement, AgreementRow, Held, Quantity, hold
from capacity.verification.run import LoadRun
from capacity.verification.subject import Subject
from capacity.workbench import Effort


class Outcome(StrEnum):
    """What became of a verification."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    MISSED = "missed"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """One load test with what it showed."""

    run: LoadRun
    measured: Performance  # of this run alone
    replay: Prediction  # prediction for its own schedule
    faults: tuple[str, ...] = ()  # what makes it invalid, if anything


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All runs of one plan, with both predictions."""

    subject: Subject
    effort: Effort
    quantities: tuple[Quantity, ...]  # with their tolerances
    runs: tuple[VerifiedRun, ...]
    measured: Performance  # from the answers of all runs
    stationary: Prediction  # prediction for the long run
    replay: Prediction  # prediction for the schedules of all runs
    pool_faults: tuple[str, ...] = ()  # what makes the runs invalid together
    notes: tuple[str, ...] = ()  # what was left out, and why
    # requests one at a time before the load, by which predictions are calibrated; None where the server did
    # not tell of them
    lone: LoneRequests | None = None
    # interrupt or error that ended it early, to be raised again when all is told; None without one
    stop: Stop | None = None

    @cached_property
    def rows(self) -> tuple[AgreementRow, ...]:
        """One for each quantity that was measured."""
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
    def findings(self) -> tuple[PromiseFinding, ...]:
        """Each promise against what was measured."""
        objective = self.subject.objective
        promises = () if objective is None else objective.promises
        return tuple(promise_finding(promise, self.measured) for promise in promises)

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes runs invalid."""
        return (*(fault for run in self.runs for fault in run.faults), *self.pool_faults)

    @property
    def is_valid(self) -> bool:
        """Whether the load tests were those that were meant, to their end."""
        return not self.faults and not isinstance(self.stop, KeyboardInterrupt)

    @property
    def answered(self) -> int:
        """Requests of all runs that count, and were answered well or given up."""
        return sum(len(run.run.endured_s()) for run in self.runs)

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """Why nothing can be said for certain, each with what would tell; none where it can."""
        doubts = (finding.doubt(self.answered) for finding in self.findings)
        found = [self._with_mend(*doubt) for doubt in doubts if doubt is not None]
        # Throughput and loss agree of any server that is up.
        responses = [row for row in self.rows if row.quantity.shown is format_duration]
        agreements = {one for row in responses for one in row.agreements}
        if not agreements & {Agreement.AGREE, Agreement.DISAGREE}:
            found.append("no response is certain enough to agree with; raise --duration or --runs")
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
        """What the command ends with."""
        if isinstance(self.stop, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(self.stop, CapacityError):
            return self.stop.exit_code
        return {Outcome.AGREE: 0, Outcome.MISSED: 3}.get(self.outcome, 4)

    @property
    def outcome(self) -> Outcome:
        """Of invalid runs nothing is said; a promise that is missed counts more than a model that errs.

        Prediction and measurement agree where every promise is proven, some response agrees, and nothing
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
