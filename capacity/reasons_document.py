"""Reasons as a document: what `capacity plan --explain --json` has under `explanation`."""

import math

from capacity.binding import Binding
from capacity.performance import Interval
from capacity.plan import Candidate
from capacity.reasons import Explanation
from capacity.report import Document, performance_document, plan_document, rejection_document
from capacity.savings import Saving
from capacity.sensitivity import Change


def explanation_document(explanation: Explanation) -> Document:
    """Everything that the sentences tell, as numbers; what is not known is null."""
    most = explanation.most_sensitive
    best = explanation.best_saving
    return {
        "binding": None if explanation.binding is None else _binding(explanation.binding),
        "one_fewer": [_candidate(one) for one in explanation.fewer],
        "neighbours": [_change(one) for one in explanation.neighbours],
        "sensitivities": [_change(one) for one in explanation.sensitivities],
        "most_sensitive": None if most is None else most.what,
        "assumptions": [
            {"what": one.what, "checked": one.checked, "how": one.how} for one in explanation.assumptions
        ],
        "savings": [_saving(one) for one in explanation.savings],
        "best_saving": None if best is None else _saving(best),
        "requests": explanation.requests,
    }


def _binding(binding: Binding) -> Document:
    burst = binding.burst
    return {
        "cause": binding.cause.value,
        "measure": binding.promise.measure.value,
        **({} if binding.promise.quantile is None else {"quantile": binding.promise.quantile}),
        "allowed": binding.promise.allowed,
        "found": _interval(binding.found),
        "share": binding.share,
        "service_floor_s": binding.floor_s,
        "lone_s": binding.lone_s,
        "wait_s": None if binding.wait is None else _interval(binding.wait),
        "without_batches": None if binding.unbatched is None else _candidate(binding.unbatched),
        "load_one_fewer": binding.load_fewer,
        "burstiness": None
        if burst is None
        else {
            "cv": burst.cv,
            "dispersion": burst.dispersion,
            "window_s": burst.window_s,
            "poisson": _candidate(burst.poisson),
            "replicas_poisson": burst.replicas,
        },
    }


def _change(change: Change) -> Document:
    unstable = change.shift == math.inf
    return {
        "what": change.what,
        **({} if change.step is None else {"step": change.step, "replicas": change.replicas}),
        "shift": None if unstable else change.shift,
        **_candidate(change.candidate),
    }


def _saving(saving: Saving) -> Document:
    return {
        "lever": saving.lever.value,
        "share": saving.share,
        "share_refused": saving.refused if saving.share is not None else None,
        "hourly_usd": saving.hourly_usd,
        **_candidate(saving.candidate),
    }


def _candidate(candidate: Candidate) -> Document:
    performance, rejection = candidate.performance, candidate.rejection
    return {
        "plan": plan_document(candidate.plan),
        "verdict": candidate.verdict.value,
        "settled": candidate.settled,
        "performance": None if performance is None else performance_document(performance),
        "rejection": None if rejection is None else rejection_document(rejection),
    }


def _interval(interval: Interval) -> Document:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
