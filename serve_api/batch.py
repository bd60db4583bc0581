"""Batch: requests that wait, those that are served together, and what came of it."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from serve_api.backend import FloatRows, Predictions
from serve_api.deployment import Deployment


class Served(NamedTuple):
    """What one request got.

    Attributes:
        queue_s: from its arrival in the queue until its batch was taken.
        batch_s: from then until the results were back with the event loop.
        batch_size: rows of the whole batch.
    """

    labels: list[int]
    probabilities: list[list[float]]
    deployment: Deployment
    queue_s: float
    batch_s: float
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request in the queue."""

    rows: FloatRows
    arrived_s: float
    deadline_s: float
    answer: asyncio.Future[Served]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Requests that are served together by one version, oldest first."""

    deployment: Deployment
    members: list[Waiting]
    size: int
    taken_s: float


class Outcome(NamedTuple):
    """What the inference thread found; without predictions it failed."""

    predictions: Predictions | None
    failure: str
    cpu_s: float
