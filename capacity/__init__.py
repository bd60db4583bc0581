"""Capacity planning for inference serving: how many replicas, what batching, at what cost, and how sure.

>>> import capacity as cap
>>> answer = cap.plan("resnet50-t4-fp16", rate="300rps", slo_p99="50ms", batch_wait="0ms")
>>> answer.plan.replicas
1
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Modules of the public names; imported when they are used, since help must not wait for numpy.
_NAMES = {
    "capacity.api.plan": ("plan",),
    "capacity.api.simulate": ("simulate", "predict", "simulate_law", "agreement", "sampling_intervals"),
    "capacity.api.rates": ("max_rate", "curve"),
    "capacity.api.sweep": ("sweep",),
    "capacity.api.compare": ("compare",),
    "capacity.api.saved": ("check", "explain", "render_plan", "verify"),
    "capacity.api.report": ("report",),
    "capacity.api.stress": ("stress",),
    "capacity.api.autoscale": ("autoscale",),
    "capacity.api.workload": ("describe_workload",),
    "capacity.api.imports": ("import_file",),
    "capacity.api.audit": ("audit",),
    "capacity.api.profile": ("measure_profile",),
    "capacity.answer.schema": ("schema",),
    "capacity.profile.load": ("load_profile", "bundled_names"),
    "capacity.profile.profile": ("ServiceProfile", "BatchTiming"),
    "capacity.profile.contention": ("Contention",),
    "capacity.profile.quantization": ("quantize", "load_measured_quantization"),
    "capacity.profile.scalability": ("UniversalScalability", "fit_scalability"),
    "capacity.traffic.workload": (
        "Workload",
        "ClosedPopulation",
        "PoissonArrivals",
        "DeterministicArrivals",
        "GammaArrivals",
        "MmppArrivals",
    ),
    "capacity.question.objective": ("Objective",),
    "capacity.question.plan": ("Routing",),
    "capacity.server.batch.batching": ("BatchTimer",),
    "capacity.server.batch.plan": ("Plan",),
    "capacity.question.candidate": ("Verdict",),
    "capacity.performance": ("Performance", "Interval", "format_interval"),
    "capacity.errors": ("CapacityError", "InputError", "DomainError", "UnstableError", "InconclusiveError"),
    "capacity.queues.curves": ("curves",),
    "capacity.render.plot": ("new_plot", "new_panels", "PALETTE"),
    "capacity.units": ("format_duration", "format_rate"),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}


_GONE = {"load_curve": "curve", "write_report": "report", "Objective": "Objective"}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name == "queues":
        return import_module("capacity.queues")
    now = f"; it is now cap.{_GONE[name]}" if name in _GONE else ""
    raise AttributeError(f"module 'capacity' has no attribute {name!r}{now}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES, "queues"])
