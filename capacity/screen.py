"""Screen: what theory refuses at once, before anything is simulated."""

from capacity.errors import DomainError
from capacity.plan import Limit, Plan, Rejection
from capacity.profile import ServiceProfile
from capacity.stability import load
from capacity.workload import LatencyObjective


def refuse_batch_size(
    profile: ServiceProfile, objective: LatencyObjective, batch_size_max: int
) -> Rejection | None:
    """Why no number of replicas could keep the objective with batches up to this size."""
    if batch_size_max > profile.batch_size_max:
        return Rejection(limit=Limit.PROFILE_RANGE, allowed=profile.batch_size_max, needed=batch_size_max)
    floors = {q: profile.service_floor_s(q, batch_size_max) for q in objective.limits}
    worst = max(floors, key=lambda q: floors[q] / objective.limits[q])
    if floors[worst] <= objective.limits[worst]:
        return None
    return Rejection(
        limit=Limit.SERVICE_FLOOR,
        allowed=objective.limits[worst],
        needed=floors[worst],
        quantile=worst,
    )


def refuse_load(profile: ServiceProfile, arrival_rate_rps: float, plan: Plan) -> Rejection | None:
    """Why the queues of this plan would grow for ever."""
    rho = load(profile, arrival_rate_rps, plan)
    return Rejection(limit=Limit.STABILITY, allowed=1.0, needed=rho) if rho >= 1.0 else None


def require_batch_of_one(profile: ServiceProfile) -> None:
    """A request may find an idle replica and be served alone, so the profile must know that batch.

    Raises:
        DomainError: the smallest measured batch is larger.
    """
    if profile.batch_size_min > 1:
        raise DomainError(
            f"profile {profile.name} starts at batch size {profile.batch_size_min}, but a request that finds "
            "an idle replica is served alone; measure batch size 1 too"
        )
