"""Room of the recovery kernel: where attempts wait for replicas that have gone away and will be back."""

from simulations.compiled import callee
from simulations.kernel.recovery.clients import leave_memory
from simulations.kernel.recovery.events import push
from simulations.kernel.recovery.state import (
    ARRIVAL,
    BEFORE_ARRIVALS,
    CALL_ROOM,
    FREE,
    IN_ROOM,
    NO_ONE,
    World,
)


@callee
def will_be_back(w: World) -> bool:
    """Whether any replica has gone away and will be back."""
    is_any = False
    for r in range(len(w.replicas)):
        is_any = is_any or w.replicas[r].is_away
    return bool(is_any)


@callee
def keep(w: World, a: int) -> None:
    """An attempt waits in the room, at no replica."""
    attempts, state = w.attempts, w.state
    attempts[a].replica, attempts[a].where = NO_ONE, IN_ROOM
    attempts[a].ahead, attempts[a].behind = state[0].room_tail, NO_ONE
    if state[0].room_head == NO_ONE:
        state[0].room_head = a
    else:
        attempts[state[0].room_tail].behind = a
    state[0].room_tail = a


@callee
def leave_room(w: World, a: int) -> None:
    """An attempt leaves the room."""
    attempts, state = w.attempts, w.state
    ahead, behind = attempts[a].ahead, attempts[a].behind
    if ahead == NO_ONE:
        state[0].room_head = behind
    else:
        attempts[ahead].behind = behind
    if behind == NO_ONE:
        state[0].room_tail = ahead
    else:
        attempts[behind].ahead = ahead
    attempts[a].where = FREE


@callee
def drop_from_room(w: World, a: int) -> None:
    """An attempt that is called off leaves the room."""
    leave_room(w, a)
    w.state[0].dropped += 1
    leave_memory(w, a)


@callee
def call_room(w: World, now_s: float) -> None:
    """Attempts that wait in the room are routed before any that arrive at this instant."""
    push(w, now_s, ARRIVAL, BEFORE_ARRIVALS, CALL_ROOM)
