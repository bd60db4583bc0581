"""Verify report: a verification for people and for programs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from capacity.explain import demand, fleet, format_value
from capacity.performance import Interval, Performance
from capacity.plan import Plan, Verdict
from capacity.report import (
    Document,
    interval_document,
    objective_document,
    performance_document,
    plan_document,
    workload_document,
)
from capacity.tables import table
from capacity.units import format_duration
from capacity.workload import Workload
from measurements.agreement_row import Agreement, AgreementRow, Held
from measurements.load_run import LoadRun
from measurements.prediction import Prediction
from measurements.quantities import Unit
from measurements.sections import requests_min
from measurements.verification import Outcome, PromiseFinding, Verification, VerifiedRun

_LAG_QUANTILES = (0.5, 0.99, 1.0)
_SAID = {
    Outcome.AGREE: "prediction and measurement agree",
    Outcome.DISAGREE: "prediction and measurement disagree",
    Outcome.UNSURE: "nothing is certain enough to tell; raise --duration or --runs",
    Outcome.MISSED: "the server misses what was promised",
    Outcome.INVALID: "the load test is invalid, and says nothing of prediction or promise",
    Outcome.INTERRUPTED: "interrupted; this is what there is",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which conditions a verification was made.

    Attributes:
        environment: of the machine that sent the load, and what it sent to.
    """

    plan: Plan
    workload: Workload
    seed: int
    confidence: float
    environment: Mapping[str, Any]


def verify_document(verification: Verification, setting: Setting) -> Document:
    """`capacity verify --format json`."""
    outcome, objective = verification.outcome, verification.objective
    return {
        "verdict": outcome.value,
        "exit_code": verification.exit_code,
        "plan": plan_document(setting.plan),
        "workload": workload_document(setting.workload),
        "objective": None if objective is None else objective_document(objective),
        "measured": performance_document(verification.measured),
        "predicted": {
            "stationary": _prediction_document(verification.stationary),
            "replay": _performance(verification.replay),
        },
        "rows": [_row_document(row) for row in verification.rows],
        "promises": [_finding_document(finding) for finding in verification.findings],
        "runs": [_run_document(run) for run in verification.runs],
        "notes": list(_notes(verification)),
        "environment": dict(setting.environment),
        "seed": setting.seed,
        "confidence": setting.confidence,
    }


def _performance(performance: Performance | None) -> Document | None:
    return None if performance is None else performance_document(performance)


def _prediction_document(prediction: Prediction) -> Document:
    return {"performance": _performance(prediction.performance), "reasons": list(prediction.reasons)}


def _row_document(row: AgreementRow) -> Document:
    return {
        "quantity": row.quantity.name,
        "field": row.quantity.field,
        "quantile": row.quantity.quantile,
        "tolerance": row.quantity.tolerance,
        "tolerance_is_absolute": row.quantity.is_absolute,
        "measured": interval_document(row.measured),
        "stationary": _held_document(row.stationary),
        "replay": _held_document(row.replay),
    }


def _held_document(held: Held | None) -> Document | None:
    if held is None:
        return None
    return {
        "predicted": interval_document(held.predicted),
        "error": held.error,
        "verdict": held.agreement.value,
    }


def _finding_document(finding: PromiseFinding) -> Document:
    return {
        "measure": finding.promise.measure.value,
        "quantile": finding.promise.quantile,
        "allowed": finding.promise.allowed,
        "measured": None if finding.found is None else interval_document(finding.found),
        "verdict": None if finding.verdict is None else finding.verdict.value,
    }


def _run_document(verified: VerifiedRun) -> Document:
    run = verified.run
    start_s, end_s = run.window_s
    return {
        "scheduled": run.scheduled,
        "sent": run.sent,
        "counted": run.counted,
        "answered": len(run.responses_s),
        "statuses": run.statuses,
        "warm_up_s": run.warm_up_s,
        "window_s": end_s - start_s,
        "cpu_share": verified.cpu_share,
        "lag_s": {_lag_name(q): lag_s for q, lag_s in _lags_s(run).items()},
        "sent_by_url": np.bincount(run.replicas[run.replicas >= 0]).tolist(),
        "faults": list(verified.faults),
        "measured": performance_document(verified.measured),
        "replay": _prediction_document(verified.replay),
    }


def _lags_s(run: LoadRun) -> dict[float, float]:
    if len(run.lags_s) == 0:
        return {}
    return {q: float(np.quantile(run.lags_s, q)) for q in _LAG_QUANTILES}


def _lag_name(quantile: float) -> str:
    return "max" if quantile == 1.0 else repr(quantile)


def verify_tables(verification: Verification, setting: Setting) -> Iterator[RenderableType]:
    """All that `capacity verify` shows."""
    yield Text(summary(verification, setting))
    yield from (Text(f"Invalid: {fault}.") for fault in verification.faults)
    if verification.rows:
        yield _rows_table(verification)
    if verification.findings:
        yield table(("<promise", "measured", "<verdict"), map(_finding_row, verification.findings))
    yield _runs_table(verification)
    yield Text(
        f"In brackets: {100.0 * setting.confidence:g} % intervals; responses are those of answered requests, "
        "from the instant at which each was meant to be sent."
    )
    yield from (Text(f"Note: {note}.") for note in _notes(verification))


def summary(verification: Verification, setting: Setting) -> str:
    """The plan and what became of it in one line."""
    said = _SAID[verification.outcome]
    return f"{fleet(setting.plan)} {demand(setting.workload)}: {said}{_counts(verification)}."


def _counts(verification: Verification) -> str:
    """How many figures agree, and how many do not, where any of them says something.

    Both predictions of a quantity count.
    """
    found = Counter(agreement for row in verification.rows for agreement in row.agreements)
    del found[Agreement.VOID]
    told = [f"{count} {name}" for name in Agreement if (count := found[name])]
    return f" (figures: {', '.join(told)})" if told else ""


def _notes(verification: Verification) -> Iterator[str]:
    """What is absent and why, each once."""
    replays = [reason for run in verification.runs for reason in run.replay.reasons]
    yield from dict.fromkeys(
        [*verification.notes, *_too_few(verification), *verification.stationary.reasons, *replays]
    )


def _too_few(verification: Verification) -> Iterator[str]:
    """What could not be measured for want of answers."""
    fewest = min(len(run.run.responses_s) for run in verification.runs)
    for quantity in verification.quantities:
        needed = 0 if quantity.quantile is None else requests_min(quantity.quantile)
        if fewest < needed:
            yield (
                f"no measured {quantity.title}: an interval takes {needed} answered requests in each run, "
                f"and there were {fewest}; raise --duration"
            )


def _rows_table(verification: Verification) -> Table:
    columns = ("<", "measured", "predicted", "error", "verdict", "replayed", "error", "verdict")
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
    return str(finding.promise), format_value(finding.promise, finding.found), told


def _runs_table(verification: Verification) -> Table:
    columns = ("run", "sent", "lost", "lag P50", "lag P99", "lag max", "P99", "replayed", "<not answered by")
    return table(columns, (_run_row(number, run) for number, run in enumerate(verification.runs, start=1)))


def _run_row(number: int, verified: VerifiedRun) -> tuple[str, ...]:
    run, lags_s = verified.run, _lags_s(verified.run)
    replayed = verified.replay.performance
    return (
        str(number),
        str(run.sent),
        str(int(run.losses.sum())),
        *(format_duration(lags_s[q]) if q in lags_s else "" for q in _LAG_QUANTILES),
        _p99(verified.measured),
        "" if replayed is None else _p99(replayed),
        ", ".join(f"{name}: {count}" for name, count in run.statuses.items() if name != "200"),
    )


def _p99(performance: Performance) -> str:
    found = performance.response_quantiles_s.get(0.99)
    return "" if found is None else _interval(Unit.DURATION, found)
