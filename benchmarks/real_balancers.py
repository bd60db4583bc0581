"""Real balancers: what `capacity render` writes for HAProxy, nginx and Envoy."""

from typing import Any

import capacity as cap


def rendered(target: str, replicas: int, profile: Any, **asked: Any) -> str:
    """What `render` writes of a plan of this many replicas, of which one would be enough at its rate.

    Envoy's is for clients that retry: these have one attempt, and the patience of the plan's objective.
    """
    if target == "envoy":
        patient = {"timeout": asked["slo_p99"], "attempts": 1}
        asked |= {"recover_within": "60s", "trigger": "lose:1,1s", **patient}
    found = cap.plan(profile=profile, survive=f"n-{replicas - 1}", precision=0.3, **asked)
    return cap.render_plan(found, target)
