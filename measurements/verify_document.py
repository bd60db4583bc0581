"""Verify document: what `capacity verify --json` prints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from capacity.performance import Performance
from capacity.plan import Plan
from capacity.report import (
    Document,
    interval_document,
    objective_document,
    performance_document,
    plan_document,
    workload_document,
)
from capacity.workload import Workload
from measurements.agreement_row import AgreementRow, Held
from measurements.load_run import LoadRun
from measurements.lone_requests import LoneRequests
from measurements.prediction import Prediction
from measurements.promise_finding import PromiseFinding
from measurements.sections import requests_min
from measurements.verification import Verification, VerifiedRun

LAG_QUANTILES = (0.5, 0.99, 1.0)


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
            "planned_s": dict(verification.planned_s) or None,
            "is_calibrated": verification.lone is not None,
            "stationary": _prediction_document(verification.stationary),
            "replay": _performance(verification.replay.performance),
        },
        "rows": [_row_document(row) for row in verification.rows],
        "promises": [_finding_document(finding) for finding in verification.findings],
        "doubts": list(verification.doubts) if verification.is_valid else [],
        "runs": [_run_document(run) for run in verification.runs],
        "pool_faults": list(verification.pool_faults),
        "stopped_by": None if verification.stop is None else str(verification.stop),
        "lone_requests": _lone_document(verification.lone),
        "notes": list(notes(verification)),
        "environment": dict(setting.environment),
        "seed": setting.seed,
        "confidence": setting.confidence,
    }


def _performance(performance: Performance | None) -> Document | None:
    return None if performance is None else performance_document(performance)


def _prediction_document(prediction: Prediction) -> Document:
    return {"performance": _performance(prediction.performance), "reasons": list(prediction.reasons)}


def _lone_document(lone: LoneRequests | None) -> Document | None:
    if lone is None:
        return None
    return {"beside_s": lone.beside_s, "batch_s": interval_document(lone.batch), "silent": lone.silent}


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
        "lag_s": {_lag_name(q): lag_s for q, lag_s in lags_s(run).items()},
        "sent_by_url": np.bincount(run.replicas[run.replicas >= 0]).tolist(),
        "faults": list(verified.faults),
        "measured": performance_document(verified.measured),
        "replay": _prediction_document(verified.replay),
    }


def lags_s(run: LoadRun) -> dict[float, float]:
    """Lag of a run by quantile, of which 1 is the largest; nothing where nothing counts. [s]"""
    if len(run.lags_s) == 0:
        return {}
    return {q: float(np.quantile(run.lags_s, q)) for q in LAG_QUANTILES}


def _lag_name(quantile: float) -> str:
    return "max" if quantile == 1.0 else repr(quantile)


def notes(verification: Verification) -> Iterator[str]:
    """What is absent and why, each once."""
    yield from dict.fromkeys(
        [
            *verification.notes,
            *_too_few(verification),
            *verification.stationary.reasons,
            *verification.replay.reasons,
        ]
    )


def _too_few(verification: Verification) -> Iterator[str]:
    """What could not be measured for want of answers."""
    answered = verification.answered
    for quantity in verification.quantities:
        needed = 0 if quantity.quantile is None else requests_min(quantity.quantile)
        if answered < needed:
            yield (
                f"no measured {quantity.title}: an interval takes {needed} answered requests, and there were "
                f"{answered}; raise --duration or --runs"
            )
