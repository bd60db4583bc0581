"""Batch: requests that wait, those that are served together, and what came of it."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from serve_api.backend import FloatRows, Predictions
from serve_api.deployment import Deployment
from serve_api.refusal import Reason, Refused


class Served(NamedTuple):
    """What one request got.

    Attributes:
        queue_s: from its arrival in the queue until its batch was taken; where that failed, until the one
            was taken that answered it.
        batch_s: from then until the results were back with the event loop.
        batch_size: rows of the whole batch.
    """

    labels: list[int]
    probabilities: list[list[float]]
    deployment: Deployment
    queue_s: float
    batch_s: float
    batch_size: int


class ModelRefused(Refused):
    """A refusal that a version of the model has to answer for, so that it is counted as that one's."""

    def __init__(
        self, deployment: Deployment, reason: Reason, message: str, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, message, retry_after_s=retry_after_s)
        self.deployment = deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request in the queue.

    Attributes:
        due_s: when a batch starts for it, be it full or not.
        deadline_s: when it is of no more use.
        answer: to be set once; whoever asked and left has cancelled it.
    """

    rows: FloatRows
    arrived_s: float
    due_s: float
    deadline_s: float
    answer: asyncio.Future[Served]

    def refuse(self, refused: Refused) -> None:
        """Tell who asked, if it is still there."""
        if not self.answer.done():
            self.answer.set_exception(refused)


class Blame(NamedTuple):
    """A version that left rows unanswered and works otherwise, so that it may be they that are to blame.

    Attributes:
        unanswered: rows of the batch that it did not answer.
    """

    deployment: Deployment
    unanswered: int


class Again(NamedTuple):
    """Requests of a batch that failed, to be served again.

    Attributes:
        blame: who has failed if they are answered now.
    """

    members: list[Waiting]
    blame: Blame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests that are served together by one version, oldest first.

    Attributes:
        blame: as it was with them when another version was asked; None where none was.
    """

    deployment: Deployment
    members: list[Waiting]
    size: int
    taken_s: float
    blame: Blame | None = None

    def answer(self, predictions: Predictions, now_s: float) -> None:
        """Give each member its part; a row without an answer is the refusal of its own request alone."""
        first, unanswered = 0, predictions.unanswered
        for member in self.members:
            last = first + len(member.rows)
            if unanswered and (missing := [row for row in unanswered if first <= row < last]):
                member.refuse(self._no_answer(min(missing) - first))
            elif not member.answer.done():
                member.answer.set_result(self._part(member, predictions, slice(first, last), now_s))
            first = last

    def refuse(self, refused: Refused) -> None:
        """Tell all members the same."""
        for member in self.members:
            member.refuse(refused)

    def _no_answer(self, row: int) -> ModelRefused:
        message = f"row {row}: the model has no finite answer; send numbers nearer to what it was trained on"
        return ModelRefused(self.deployment, Reason.NO_ANSWER, message)

    def _part(self, member: Waiting, all_of_it: Predictions, its: slice, now_s: float) -> Served:
        return Served(
            labels=all_of_it.labels[its],
            probabilities=all_of_it.probabilities[its],
            deployment=self.deployment,
            queue_s=self.taken_s - member.arrived_s,
            batch_s=now_s - self.taken_s,
            batch_size=self.size,
        )


class Outcome(NamedTuple):
    """What the inference thread found.

    Attributes:
        predictions: None where the batch failed.
        failure: how it did.
        works: whether the model still answers a row that it must be able to answer.
    """

    predictions: Predictions | None
    failure: str
    works: bool
    cpu_s: float
