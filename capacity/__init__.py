"""Capacity planning for inference serving: how many replicas, what batching, at what cost, and how sure.

>>> import capacity as cap
>>> answer = cap.plan("resnet50-t4-fp16", rate="300rps", slo_p99="50ms", batch_wait="0ms")
>>> answer.plan.replicas
1
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where the names of the public face live; imported when asked for, since help must not wait for numpy.
_NAMES = {
    "capacity.api": (
        "plan",
        "simulate",
        "audit",
        "predict",
        "simulate_law",
        "max_rate",
        "compare",
        "check",
        "explain",
        "sweep",
        "load_curve",
        "describe_workload",
        "import_file",
        "sampling_intervals",
        "write_report",
        "render_plan",
    ),
    "capacity.api_recovery": ("stress",),
    "capacity.api_autoscale": ("autoscale",),
    "capacity.profile.load": (
        "load_profile",
        "bundled_names",
    ),
    "capacity.profile.profile": (
        "ServiceProfile",
        "BatchTiming",
    ),
    "capacity.profile.contention": ("Contention",),
    "capacity.profile.quantization": (
        "quantize",
        "load_measured_quantization",
    ),
    "capacity.profile.scalability": (
        "UniversalScalability",
        "fit_scalability",
    ),
    "capacity.traffic.workload": (
        "Workload",
        "ClosedPopulation",
        "PoissonArrivals",
        "DeterministicArrivals",
        "GammaArrivals",
        "MmppArrivals",
    ),
    "capacity.question.objective": ("LatencyObjective",),
    "capacity.question.plan": (
        "Plan",
        "Routing",
        "BatchTimer",
    ),
    "capacity.question.candidate": ("Verdict",),
    "capacity.performance": (
        "Performance",
        "Interval",
        "format_interval",
    ),
    "capacity.errors": (
        "CapacityError",
        "InputError",
        "DomainError",
        "UnstableError",
        "InconclusiveError",
    ),
    "capacity.queues.curves": ("curves",),
    "capacity.render.plot": (
        "new_plot",
        "new_panels",
        "PALETTE",
    ),
    "capacity.units": (
        "format_duration",
        "format_rate",
    ),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}

if TYPE_CHECKING:
    from capacity.api import audit as audit
    from capacity.api import check as check
    from capacity.api import compare as compare
    from capacity.api import describe_workload as describe_workload
    from capacity.api import explain as explain
    from capacity.api import import_file as import_file
    from capacity.api import max_rate as max_rate
    from capacity.api import plan as plan
    from capacity.api import predict as predict
    from capacity.api import sampling_intervals as sampling_intervals
    from capacity.api import simulate as simulate
    from capacity.api import simulate_law as simulate_law
    from capacity.api import sweep as sweep
    from capacity.api import write_report as write_report
    from capacity.api_autoscale import autoscale as autoscale
    from capacity.api_recovery import stress as stress
    from capacity.errors import CapacityError as CapacityError
    from capacity.errors import DomainError as DomainError
    from capacity.errors import InconclusiveError as InconclusiveError
    from capacity.errors import InputError as InputError
    from capacity.errors import UnstableError as UnstableError
    from capacity.performance import Interval as Interval
    from capacity.performance import Performance as Performance
    from capacity.performance import format_interval as format_interval
    from capacity.profile.contention import Contention as Contention
    from capacity.profile.load import bundled_names as bundled_names
    from capacity.profile.load import load_profile as load_profile
    from capacity.profile.profile import BatchTiming as BatchTiming
    from capacity.profile.profile import ServiceProfile as ServiceProfile
    from capacity.profile.quantization import load_measured_quantization as load_measured_quantization
    from capacity.profile.quantization import quantize as quantize
    from capacity.profile.scalability import UniversalScalability as UniversalScalability
    from capacity.profile.scalability import fit_scalability as fit_scalability
    from capacity.question.candidate import Verdict as Verdict
    from capacity.question.objective import LatencyObjective as LatencyObjective
    from capacity.question.plan import BatchTimer as BatchTimer
    from capacity.question.plan import Plan as Plan
    from capacity.question.plan import Routing as Routing
    from capacity.queues.curves import curves as curves
    from capacity.render.plot import PALETTE as PALETTE
    from capacity.render.plot import new_panels as new_panels
    from capacity.render.plot import new_plot as new_plot
    from capacity.traffic.workload import ClosedPopulation as ClosedPopulation
    from capacity.traffic.workload import DeterministicArrivals as DeterministicArrivals
    from capacity.traffic.workload import GammaArrivals as GammaArrivals
    from capacity.traffic.workload import MmppArrivals as MmppArrivals
    from capacity.traffic.workload import PoissonArrivals as PoissonArrivals
    from capacity.traffic.workload import Workload as Workload
    from capacity.units import format_duration as format_duration
    from capacity.units import format_rate as format_rate


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name == "queues":
        return import_module("capacity.queues")
    raise AttributeError(f"module 'capacity' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES, "queues"])
