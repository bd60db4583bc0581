"""Report: a verification as JSON and as tables."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from capacity.answer.documents import Document, picked, plain
from capacity.answer.sentences import demand, fleet
from capacity.measurement.sections import requests_min
from capacity.performance import Interval, format_span
from capacity.question.candidate import Verdict
from capacity.units import format_duration, format_share
from capacity.verification.quantities import Agreement, AgreementRow, Held, LimitFinding
from capacity.verification.run import LoadRun
from capacity.verification.verification import Outcome, Verification, VerifiedRun

if TYPE_CHECKING:
    from rich.console import RenderableType

LAG_QUANTILES = (0.5, 0.99, 1.0)
_P99 = 0.99
_SAID = {
    Outcome.AGREE: "prediction and measurement agree",
    Outcome.DISAGREE: "prediction and measurement disagree",
    Outcome.UNSURE: "the measurement is not precise enough to tell",
    Outcome.MISSED: "the server misses the objective",
    Outcome.INVALID: "the load test is invalid, and says nothing about the prediction or the objective",
    Outcome.INTERRUPTED: "interrupted; these are the results so far",
    Outcome.STOPPED: "a run could not be made; these are the results so far",
}
_ROW_COLUMNS = ("<", "~measured", "~predicted", "error", "verdict", "replayed", "error", "verdict")
_RUN_COLUMNS = (
    "run",
    "sent",
    "failed",
    "lag P50",
    "lag P99",
    "lag max",
    "mean",
    "P99",
    "replayed",
    "<failed with",
)


def verify_document(verification: Verification, environment: Mapping[str, Any]) -> Document:
    """Document of `capacity verify`; the environment is the sending machine, and the target."""
    subject, stop, lone = verification.subject, verification.stop, verification.lone
    return {
        "verdict": verification.outcome.value,
        "exit_code": verification.exit_code,
        **picked(subject, "plan", "workload", "objective"),
        "measured": plain(verification.measured),
        "predicted": {
            "planned_s": dict(subject.planned_s) or None,
            "is_calibrated": lone is not None,
            "stationary": plain(verification.stationary),
            "replay": plain(verification.replay.performance),
        },
        "rows": [_row_document(row) for row in verification.rows],
        "promises": [_finding_document(finding) for finding in verification.findings],
        "doubts": list(verification.doubts) if verification.is_valid else [],
        "runs": [_run_document(run) for run in verification.runs],
        "pool_faults": list(verification.pool_faults),
        "stopped_by": None if stop is None or isinstance(stop, KeyboardInterrupt) else str(stop),
        "lone_requests": lone and asdict(lone),
        "notes": list(notes(verification)),
        "environment": dict(environment),
        "seed": verification.effort.seed,
        "confidence": verification.effort.confidence,
    }


def _row_document(row: AgreementRow) -> Document:
    return {
        "quantity": row.quantity.name,
        **picked(row.quantity, "field", "quantile", "tolerance"),
        "tolerance_is_absolute": row.quantity.is_absolute,
        "measured": plain(row.measured),
        "stationary": _held_document(row.stationary),
        "replay": _held_document(row.replay),
    }


def _held_document(held: Held | None) -> Document | None:
    return None if held is None else picked(held, "predicted", "error") | {"verdict": held.agreement.value}


def _finding_document(finding: LimitFinding) -> Document:
    return {
        **picked(finding.limit, "measure", "quantile", "allowed"),
        "measured": plain(finding.found),
        "verdict": plain(finding.verdict),
    }


def _run_document(verified: VerifiedRun) -> Document:
    run = verified.run
    start_s, end_s = run.window_s
    return {
        "scheduled": run.schedule.requests,
        "sent": run.sent,
        "counted": run.counted,
        "answered": len(run.responses_s),
        "statuses": run.statuses,
        "warm_up_s": run.warm_up_s,
        "window_s": end_s - start_s,
        "cpu_share": run.cpu_share,
        "lag_s": {"max" if q == 1.0 else repr(q): lag_s for q, lag_s in lags_s(run).items()},
        "sent_by_url": np.bincount(run.replicas[run.replicas >= 0]).tolist(),
        "faults": list(verified.faults),
        **picked(verified, "measured", "replay"),
    }


def lags_s(run: LoadRun) -> dict[float, float]:
    """Lag of a run by quantile, 1 for the largest; empty if nothing counts. [s]"""
    found_s = run.lags_s()
    return {q: float(np.quantile(found_s, q)) for q in LAG_QUANTILES} if len(found_s) else {}


def notes(verification: Verification) -> Iterator[str]:
    """What is absent and why, each once."""
    reasons = (*verification.stationary.reasons, *verification.replay.reasons)
    yield from dict.fromkeys((*verification.notes, *_too_few(verification), *reasons))


def _too_few(verification: Verification) -> Iterator[str]:
    """Quantities with too few answers to measure."""
    answered = verification.answered
    for quantity in verification.quantities:
        needed = 0 if quantity.quantile is None else requests_min(quantity.quantile)
        if answered < needed:
            yield (
                f"no measured {quantity.title}: an interval needs {needed} answered requests, and there "
                f"were {answered}; raise --duration or --runs"
            )


def verify_tables(verification: Verification) -> Iterator["RenderableType"]:
    """All tables of `capacity verify`."""
    from rich.text import Text

    from capacity.render.tables import table

    yield Text(summary(verification))
    yield from (Text(f"Invalid: {fault}.") for fault in verification.faults)
    if verification.is_valid:
        yield from (Text(f"In doubt: {doubt}.") for doubt in verification.doubts)
    if verification.rows:
        yield table(_ROW_COLUMNS, map(_row, verification.rows))
    if verification.subject.planned_s:
        yield Text(_planned(verification))
    if verification.findings:
        yield table(("<objective", "measured", "<verdict"), map(_finding_row, verification.findings))
    yield table(_RUN_COLUMNS, (_run_row(*run) for run in enumerate(verification.runs, start=1)))
    yield Text(
        f"In brackets: {100.0 * verification.effort.confidence:g} % intervals; responses count requests "
        "that were answered or timed out, from the scheduled send time."
    )
    yield from (Text(f"Note: {note}.") for note in notes(verification))


def summary(verification: Verification) -> str:
    """The plan and its verdict on one line, with how many figures agree; both predictions count."""
    subject = verification.subject
    found = Counter(agreement for row in verification.rows for agreement in row.agreements)
    counts = [f"{found[name]} {name}" for name in Agreement if found[name] and name is not Agreement.VOID]
    told = f" (figures: {', '.join(counts)})" if counts else ""
    return f"{fleet(subject.plan)} {demand(subject.workload)}: {_SAID[verification.outcome]}{told}."


def _planned(verification: Verification) -> str:
    """Figures that the plan was made with, which differ from what this client's own requests predict."""
    told = ", ".join(f"{title} {format_duration(x)}" for title, x in verification.subject.planned_s.items())
    if verification.lone is None:
        return f"The plan itself predicted: {told}."
    return (
        f"The plan itself predicted: {told}. The predictions above are calibrated: they use the request "
        "overhead that this client measured at this server just before."
    )


def _row(row: AgreementRow) -> tuple[str, ...]:
    cells = [row.quantity.title, _interval(row.quantity.shown, row.measured)]
    points = " pp" if row.quantity.is_absolute else " %"
    for held in (row.stationary, row.replay):
        if held is None:
            cells += ["", "", ""]
            continue
        error = "" if held.error is None else f"{100.0 * held.error:+.1f}{points}"
        cells += [_interval(row.quantity.shown, held.predicted), error, held.agreement.value]
    return tuple(cells)


def _interval(shown: Callable[[float], str], interval: Interval) -> str:
    """A value with its ends, the unit only once if all share it.

    >>> _interval(format_duration, Interval(value=0.0483, low=0.046, high=0.0507))
    '48.3 (46 to 50.7) ms'
    """
    if interval.high == math.inf:
        return f"at least {shown(interval.low)}"
    if shown(interval.low) == shown(interval.high):
        return shown(interval.value)
    return format_span(shown, interval)


def _finding_row(finding: LimitFinding) -> tuple[str, str, str]:
    if finding.found is None:
        return str(finding.limit), "", "not measured"
    told = "in doubt" if finding.verdict is Verdict.INCONCLUSIVE else str(finding.verdict)
    shown = format_duration if finding.limit.measure.is_duration else format_share
    return str(finding.limit), _interval(shown, finding.found), told


def _run_row(number: int, verified: VerifiedRun) -> tuple[str, ...]:
    run, lags, measured = verified.run, lags_s(verified.run), verified.measured
    p99, replayed = measured.response_quantiles_s.get(_P99), verified.replay.performance
    replayed_p99 = None if replayed is None else replayed.response_quantiles_s.get(_P99)
    return (
        str(number),
        str(run.sent),
        str(int(run.losses.sum() + run.given_up.sum())),
        *(format_duration(lags[q]) if q in lags else "" for q in LAG_QUANTILES),
        "" if measured.response_mean_s is None else format_duration(measured.response_mean_s),
        "" if p99 is None else _interval(format_duration, p99),
        "" if replayed_p99 is None else format_duration(replayed_p99.value),
        ", ".join(f"{name}: {count}" for name, count in run.statuses.items() if name != "200"),
    )
