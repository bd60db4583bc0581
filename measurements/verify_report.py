"""Verify report: a verification for people."""

import math
from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.explain import demand, fleet
from capacity.performance import Interval
from capacity.plan import Verdict
from capacity.tables import table
from capacity.units import format_duration
from measurements.agreement_row import Agreement, AgreementRow, Held
from measurements.promise_finding import PromiseFinding
from measurements.quantities import Unit
from measurements.verification import Outcome, Verification, VerifiedRun
from measurements.verify_document import LAG_QUANTILES, Setting, lags_s, notes

_P99 = 0.99
_SAID = {
    Outcome.AGREE: "prediction and measurement agree",
    Outcome.DISAGREE: "prediction and measurement disagree",
    Outcome.UNSURE: "it cannot be told",
    Outcome.MISSED: "the server misses what was promised",
    Outcome.INVALID: "the load test is invalid, and says nothing of prediction or promise",
    Outcome.INTERRUPTED: "interrupted; this is what there is",
    Outcome.STOPPED: "a run could not be made; this is what there is",
}


def verify_tables(verification: Verification, setting: Setting) -> Iterator[RenderableType]:
    """All that `capacity verify` shows."""
    yield Text(summary(verification, setting))
    yield from (Text(f"Invalid: {fault}.") for fault in verification.faults)
    if verification.is_valid:
        yield from (Text(f"In doubt: {doubt}.") for doubt in verification.doubts)
    if verification.rows:
        yield _rows_table(verification)
    if verification.planned_s:
        yield Text(_planned(verification))
    if verification.findings:
        yield table(("<promise", "measured", "<verdict"), map(_finding_row, verification.findings))
    yield _runs_table(verification)
    yield Text(
        f"In brackets: {100.0 * setting.confidence:g} % intervals; responses are those of requests that were "
        "answered or given up, from the instant at which each was meant to be sent."
    )
    yield from (Text(f"Note: {note}.") for note in notes(verification))


def summary(verification: Verification, setting: Setting) -> str:
    """The plan and what became of it in one line."""
    said = _SAID[verification.outcome]
    return f"{fleet(setting.plan)} {demand(setting.workload)}: {said}{_counts(verification)}."


def _planned(verification: Verification) -> str:
    """What the plan was made with, which is not what this client's own requests predict."""
    told = ", ".join(f"{title} {format_duration(x)}" for title, x in verification.planned_s.items())
    if verification.lone is None:
        return f"The plan itself predicted: {told}."
    return (
        f"The plan itself predicted: {told}. The predictions above are calibrated: they have the request "
        "overhead that this client found at this server just before."
    )


def _counts(verification: Verification) -> str:
    """How many figures agree, and how many do not, where any of them says something.

    Both predictions of a quantity count.
    """
    found = Counter(agreement for row in verification.rows for agreement in row.agreements)
    del found[Agreement.VOID]
    told = [f"{count} {name}" for name in Agreement if (count := found[name])]
    return f" (figures: {', '.join(told)})" if told else ""


def _rows_table(verification: Verification) -> Table:
    columns = ("<", "~measured", "~predicted", "error", "verdict", "replayed", "error", "verdict")
    return table(columns, (_row(row) for row in verification.rows))


def _row(row: AgreementRow) -> tuple[str, ...]:
    unit = row.quantity.unit
    return (
        row.quantity.title,
        _interval(unit, row.measured),
        *_held_cells(row, row.stationary),
        *_held_cells(row, row.replay),
    )


def _held_cells(row: AgreementRow, held: Held | None) -> tuple[str, str, str]:
    if held is None:
        return "", "", ""
    points = " pp" if row.quantity.is_absolute else " %"
    error = "" if held.error is None else f"{100.0 * held.error:+.1f}{points}"
    return _interval(row.quantity.unit, held.predicted), error, held.agreement.value


def _interval(unit: Unit, interval: Interval) -> str:
    """A value with its ends, the unit once where all have the same.

    >>> _interval(Unit.DURATION, Interval(value=0.0483, low=0.046, high=0.0507))
    '48.3 (46 to 50.7) ms'
    """
    if interval.high == math.inf:
        return f"at least {unit.shown(interval.low)}"
    value, low, high = (unit.shown(x) for x in (interval.value, interval.low, interval.high))
    if low == high:
        return value
    name = value.partition(" ")[2]
    if {low.partition(" ")[2], high.partition(" ")[2]} != {name}:
        return f"{value} ({low} to {high})"
    bare = [x.partition(" ")[0] for x in (value, low, high)]
    return f"{bare[0]} ({bare[1]} to {bare[2]}) {name}".rstrip()


def _finding_row(finding: PromiseFinding) -> tuple[str, str, str]:
    if finding.found is None:
        return str(finding.promise), "", "not measured"
    told = "in doubt" if finding.verdict is Verdict.INCONCLUSIVE else str(finding.verdict)
    unit = Unit.DURATION if finding.promise.measure.is_duration else Unit.SHARE
    return str(finding.promise), _interval(unit, finding.found), told


def _runs_table(verification: Verification) -> Table:
    columns = ("run", "sent", "lost", "lag P50", "lag P99", "lag max", "mean", "P99", "replayed", "<lost by")
    return table(columns, (_run_row(number, run) for number, run in enumerate(verification.runs, start=1)))


def _run_row(number: int, verified: VerifiedRun) -> tuple[str, ...]:
    run, lags, measured = verified.run, lags_s(verified.run), verified.measured
    replayed = verified.replay.performance
    p99 = None if replayed is None else replayed.response_quantiles_s.get(_P99)
    return (
        str(number),
        str(run.sent),
        str(int(run.losses.sum() + run.given_up.sum())),
        *(format_duration(lags[q]) if q in lags else "" for q in LAG_QUANTILES),
        "" if measured.response_mean_s is None else format_duration(measured.response_mean_s),
        _told(measured.response_quantiles_s.get(_P99)),
        "" if p99 is None else format_duration(p99.value),
        ", ".join(f"{name}: {count}" for name, count in run.statuses.items() if name != "200"),
    )


def _told(interval: Interval | None) -> str:
    return "" if interval is None else _interval(Unit.DURATION, interval)
