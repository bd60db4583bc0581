"""Faults of the recovery kernel: what a fault is to any server, before the server itself suffers it."""

from simulations.compiled import borrowing
from simulations.kernel.recovery.state import (
    CRASH,
    HANG,
    HIDE,
    JOIN,
    LEAVE,
    PAUSE,
    RESTART,
    RESUME,
    SLOW,
    World,
)


@borrowing
def strike(w: World, number: int) -> None:
    """Whether a replica starts work, is seen by the router, is dead, pauses, and how slow it is, from a fault on."""
    fault = w.faults[number]
    action, replica = fault.action, w.replicas[fault.replica]
    if action in (CRASH, HANG):
        replica.is_up = False
    if action in (LEAVE, HIDE):
        replica.is_visible = False
    if action == CRASH:
        replica.is_dead = True
    if action in (JOIN, RESTART):
        replica.is_up = True
        replica.is_visible = True
        replica.is_dead = False
    if action == SLOW:
        replica.slow = fault.value
    if action in (PAUSE, RESUME):
        replica.is_paused = action == PAUSE
