"""Scaled: fleets of batches on a day, as tests of autoscalers have them."""

from dataclasses import replace
from typing import Any

from capacity.autoscaling.scaled_fleet import ScaledFleet
from capacity.profile.profile import ServiceProfile
from capacity.question.autoscaler import Autoscaler
from capacity.question.objective import Objective
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.stability import sustainable_rate_rps
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ArrivalProcess, PoissonArrivals, Workload


def scaled_fleet(
    profile: ServiceProfile,
    plan: BatchPlan,
    day: DailyCurve,
    scaler: Autoscaler | None = None,
    *,
    arrivals: ArrivalProcess | None = None,
    limit_s: float = 0.5,
) -> ScaledFleet:
    """A fleet on its day, with a limit on its P99."""
    workload = Workload(arrival_rate_rps=day.peak_rate_rps, arrivals=arrivals or PoissonArrivals(), day=day)
    scenario = Scenario(
        profile=profile,
        plan=plan,
        workload=workload,
        objective=Objective.of(response={0.99: limit_s}),
        autoscaler=scaler,
    )
    return ScaledFleet(
        scenario=scenario,
        replica_rps=sustainable_rate_rps(profile, replace(plan, replicas=1)),
        floor_s=profile.service_floor_s(0.99, plan.batch_size_max),
    )


def changed(fleet: ScaledFleet, **changes: Any) -> ScaledFleet:
    """The fleet with other arguments of `scaled_fleet`, or another part of its day."""
    part = {name: changes.pop(name) for name in ("begins_s", "ends_s") if name in changes}
    usual: dict[str, Any] = {
        "profile": fleet.profile, "plan": fleet.plan, "day": fleet.curve, "scaler": fleet.autoscaler,
        "arrivals": fleet.arrivals, "limit_s": fleet.limit_s,
    }  # fmt: skip
    given = usual | changes
    return scaled_fleet(**given | {"day": replace(given["day"], **part)})
