"""Real balancers: what `capacity render` writes for HAProxy and nginx."""

from typing import Any

import capacity as cap


def rendered(target: str, replicas: int, profile: Any, **asked: Any) -> str:
    """What `render` writes of a plan of this many replicas, of which one would be enough at its rate."""
    found = cap.plan(profile=profile, survive=f"n-{replicas - 1}", precision=0.3, **asked)
    return cap.render_plan(found, target)
