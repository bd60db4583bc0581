"""Capacity planning for inference serving: how many replicas, what batching, at what cost, and how sure.

>>> import capacity as cap
>>> answer = cap.plan("resnet50-t4-fp16", rate="300rps", slo_p99="50ms", batch_wait="0ms")
>>> answer.plan.replicas
1
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Where each name of the public face lives; imported when it is asked for, since help must not wait for numpy.
_PLACES = {
    **dict.fromkeys(
        ("plan", "simulate", "max_rate", "compare", "check", "explain", "sweep", "describe_workload"),
        "capacity.api",
    ),
    "load_profile": "capacity.profile.load",
    "ServiceProfile": "capacity.profile.profile",
    "BatchTiming": "capacity.profile.profile",
    "Workload": "capacity.traffic.workload",
    "ClosedPopulation": "capacity.traffic.workload",
    "LatencyObjective": "capacity.question.objective",
    "Plan": "capacity.question.plan",
    "Routing": "capacity.question.plan",
    "Performance": "capacity.performance",
    "Interval": "capacity.performance",
    "CapacityError": "capacity.errors",
    "curves": "capacity.queues.curves",
}

if TYPE_CHECKING:
    from capacity.api import (
        check as check,
    )
    from capacity.api import (
        compare as compare,
    )
    from capacity.api import (
        describe_workload as describe_workload,
    )
    from capacity.api import (
        explain as explain,
    )
    from capacity.api import (
        max_rate as max_rate,
    )
    from capacity.api import (
        plan as plan,
    )
    from capacity.api import (
        simulate as simulate,
    )
    from capacity.api import (
        sweep as sweep,
    )
    from capacity.errors import CapacityError as CapacityError
    from capacity.performance import Interval as Interval
    from capacity.performance import Performance as Performance
    from capacity.profile.load import load_profile as load_profile
    from capacity.profile.profile import BatchTiming as BatchTiming
    from capacity.profile.profile import ServiceProfile as ServiceProfile
    from capacity.question.objective import LatencyObjective as LatencyObjective
    from capacity.question.plan import Plan as Plan
    from capacity.question.plan import Routing as Routing
    from capacity.queues.curves import curves as curves
    from capacity.traffic.workload import ClosedPopulation as ClosedPopulation
    from capacity.traffic.workload import Workload as Workload


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name == "queues":
        return import_module("capacity.queues")
    raise AttributeError(f"module 'capacity' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES, "queues"])
