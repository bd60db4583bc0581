"""Waiting line: the requests that wait for a batch, oldest first, and when one has to start for them."""

import math
from collections import deque
from collections.abc import Iterable

from serve_api.batch import Waiting
from serve_api.refusal import Reason, Refused


class WaitingLine:
    """First come, first served. Who is late is told so; neither they nor those who left are computed.

    Attributes:
        rows: of all that wait.
        late_s: when it has to be looked through; no deadline of theirs passes before it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._due_s: float | None = math.inf  # None where it has to be looked for
        self.rows = 0
        self.late_s = math.inf

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def append(self, waiting: Waiting) -> None:
        """One more, behind all others."""
        self._waiting.append(waiting)
        self.rows += len(waiting.rows)
        if self._due_s is not None and waiting.due_s < self._due_s:
            self._due_s = waiting.due_s
        if waiting.deadline_s < self.late_s:
            self.late_s = waiting.deadline_s

    def due_s(self) -> float:
        """When a batch starts, full or not: as a rule for the oldest, else for who has least time."""
        if self._due_s is None:
            self._due_s = min((waiting.due_s for waiting in self._waiting), default=math.inf)
        return self._due_s

    def take(self, rows_max: int, requests_max: int) -> list[Waiting]:
        """The oldest that fit; none is split and none overtakes."""
        taken: list[Waiting] = []
        waiting, room = self._waiting, rows_max
        while waiting and len(waiting[0].rows) <= room and len(taken) < requests_max:
            oldest = waiting.popleft()
            self.rows -= len(oldest.rows)
            if oldest.answer.done():
                continue
            taken.append(oldest)
            room -= len(oldest.rows)
        self._due_s = None
        return taken

    def left(self) -> None:
        """Somebody has left, and is to be dropped before the next batch is taken."""
        self.late_s = -math.inf

    def drop_late(self, now_s: float) -> None:
        """Refuse those whose deadline has passed, and forget those who left."""
        staying = self.staying(self._waiting, now_s)
        if len(staying) < len(self._waiting):
            self._waiting = deque(staying)
            self.rows = sum(len(waiting.rows) for waiting in staying)
            self._due_s = None
        self.late_s = min((waiting.deadline_s for waiting in staying), default=math.inf)

    def staying(self, those: Iterable[Waiting], now_s: float) -> list[Waiting]:
        """Who of them is still to be answered; the late are told."""
        staying: list[Waiting] = []
        for waiting in those:
            if waiting.answer.done():
                continue
            if waiting.deadline_s <= now_s:
                waiting.refuse(Refused(Reason.DEADLINE, "its deadline passed while it waited"))
            else:
                staying.append(waiting)
        return staying

    def refuse_all(self, refused: Refused) -> None:
        """Send all away."""
        for waiting in self._waiting:
            waiting.refuse(refused)
        self._waiting.clear()
        self.rows, self._due_s, self.late_s = 0, math.inf, math.inf
