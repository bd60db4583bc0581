"""Verification: what was predicted of a plan beside what load tests of a real server found."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from capacity.guarded import Terminated
from capacity.objective import LatencyObjective, Promise
from capacity.performance import Interval, Performance
from capacity.plan import Verdict
from measurements.agreement_row import Agreement, AgreementRow, Held, hold
from measurements.load_run import LoadRun
from measurements.lone_requests import LoneRequests
from measurements.measured import median_performance
from measurements.prediction import Prediction
from measurements.quantities import Quantity


class Outcome(StrEnum):
    """What became of a verification."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    MISSED = "missed"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """What the command line ends with, unless a signal ends it."""
        return {Outcome.AGREE: 0, Outcome.MISSED: 3}.get(self, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """One load test with what it showed.

    Attributes:
        replay: prediction for its own schedule.
        faults: what makes it invalid, if anything.
        cpu_share: of one core, that sending took.
    """

    run: LoadRun
    measured: Performance
    replay: Prediction
    faults: tuple[str, ...] = ()
    cpu_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseFinding:
    """A promise and what was measured of it; None where it cannot be measured from outside."""

    promise: Promise
    found: Interval | None
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All runs of one plan, with both predictions.

    Attributes:
        quantities: with their tolerances.
        stationary: prediction for the long run.
        objective: what the plan was to keep; None where nothing was promised.
        notes: what was left out, and why.
        lone: requests one at a time before the load; None where the server did not tell of them.
        interrupt: what ended it early, to be raised again when all is told; None where nothing did.
    """

    quantities: tuple[Quantity, ...]
    runs: tuple[VerifiedRun, ...]
    stationary: Prediction
    objective: LatencyObjective | None = None
    notes: tuple[str, ...] = ()
    lone: LoneRequests | None = None
    interrupt: KeyboardInterrupt | None = None

    @cached_property
    def measured(self) -> Performance:
        """The median over runs."""
        return median_performance([run.measured for run in self.runs])

    @cached_property
    def replay(self) -> Performance | None:
        """The median of the predictions over runs; None where one has none."""
        found = [run.replay.performance for run in self.runs]
        known = [performance for performance in found if performance is not None]
        return median_performance(known) if known and len(known) == len(found) else None

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
                    stationary=self._held(quantity, self.stationary.performance, measured),
                    replay=self._held(quantity, self.replay, measured),
                )

    def _held(self, quantity: Quantity, performance: Performance | None, measured: Interval) -> Held | None:
        predicted = quantity.found(performance)
        if predicted is None:
            return None
        held = hold(quantity, predicted, measured)
        return held if self.is_valid else replace(held, agreement=Agreement.VOID)

    @cached_property
    def findings(self) -> tuple[PromiseFinding, ...]:
        """Each promise against what was measured."""
        promises = () if self.objective is None else self.objective.promises
        return tuple(_finding(promise, self.measured) for promise in promises)

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes runs invalid."""
        return tuple(fault for run in self.runs for fault in run.faults)

    @property
    def is_valid(self) -> bool:
        """Whether the load tests were those that were meant, to their end."""
        return self.interrupt is None and not self.faults

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self.interrupt is None:
            return self.outcome.exit_code
        return 128 + (signal.SIGTERM if isinstance(self.interrupt, Terminated) else signal.SIGINT)

    @property
    def outcome(self) -> Outcome:
        """Of invalid runs nothing is said; a promise that is missed counts more than a model that errs."""
        if self.interrupt is not None:
            return Outcome.INTERRUPTED
        if self.faults:
            return Outcome.INVALID
        if any(finding.verdict is Verdict.MISSED for finding in self.findings):
            return Outcome.MISSED
        agreements = [agreement for row in self.rows for agreement in row.agreements]
        if Agreement.DISAGREE in agreements:
            return Outcome.DISAGREE
        return Outcome.AGREE if Agreement.AGREE in agreements else Outcome.UNSURE


def _finding(promise: Promise, measured: Performance) -> PromiseFinding:
    """Kept or missed where the interval lies wholly on one side of the limit."""
    found = promise.found(measured)
    verdict = None
    if found is not None:
        verdict = Verdict.INCONCLUSIVE
        if found.high <= promise.allowed:
            verdict = Verdict.MET
        elif found.low > promise.allowed:
            verdict = Verdict.MISSED
    return PromiseFinding(promise=promise, found=found, verdict=verdict)
