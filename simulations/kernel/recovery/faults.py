"""Faults of the recovery kernel: what a fault is to any server, before the server itself suffers it."""

from simulations.compiled import callee
from simulations.kernel.recovery.balancer import come_back, count
from simulations.kernel.recovery.room import call_room
from simulations.kernel.recovery.state import (
    AWAY,
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


@callee
def strike(w: World, number: int, now_s: float) -> None:
    """Whether a replica starts work, is seen by the router, is dead, pauses, and how slow it is, from a fault on."""
    fault = w.faults[number]
    action, replica = fault.action, w.replicas[fault.replica]
    if action in (CRASH, HANG, AWAY):
        replica.is_up = False
    if action in (LEAVE, HIDE, AWAY):
        replica.is_visible = False
    if action == CRASH:
        replica.is_dead = True
    if action in (JOIN, RESTART):
        come_back(w, fault.replica, now_s)
        replica.is_up = True
        replica.is_visible = True
        replica.is_dead = False
        count(w, fault.replica, 0)
    if action in (JOIN, RESTART, AWAY):
        replica.is_away = action == AWAY
        call_room(w, now_s)
    if action == SLOW:
        replica.slow = fault.value
    if action in (PAUSE, RESUME):
        replica.is_paused = action == PAUSE
