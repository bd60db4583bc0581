"""Interleaved times: models timed by turns on the same rows, so that a slow minute is slow for all."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.performance import Interval
from serve_api.dataset import Rows
from serve_api.onnx_session import OnnxSession

ROUNDS_MIN, ROUNDS_MAX = 10, 10_000
_CONFIDENCE = 0.95

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTime:
    """One model at one batch size, beside the model that it is held against.

    Attributes:
        median_s: of its batches.
        speedup: median over rounds of the other's time over its own, with a 95 % interval.
    """

    name: str
    batch_size: int
    median_s: float
    speedup: Interval


def batch_times(
    models: Mapping[str, OnnxSession], rows: Rows, batch_sizes: Sequence[int], rounds: int
) -> list[BatchTime]:
    """Times of each model at each batch size; the first model is what the others are held against.

    Raises:
        DomainError: so few rounds that a median would have no interval, or too many.
    """
    if not ROUNDS_MIN <= rounds <= ROUNDS_MAX:
        raise DomainError(f"rounds must be {ROUNDS_MIN} to {ROUNDS_MAX}, got {rounds}")
    found = []
    for batch_size in batch_sizes:
        batch = np.resize(rows, (batch_size, rows.shape[1]))
        times_s = {name: np.empty(rounds) for name in models}
        for turn in range(rounds):
            for name, session in models.items():
                times_s[name][turn] = _time_s(session, batch)
        against_s = next(iter(times_s.values()))
        found += [_batch_time(name, batch_size, own_s, against_s) for name, own_s in times_s.items()]
    return found


def _time_s(session: OnnxSession, batch: Rows) -> float:
    """The second of two calls: the first has weights to fetch that other models pushed out of the cache."""
    session.predict(batch)
    began_s = time.perf_counter()
    session.predict(batch)
    return time.perf_counter() - began_s


def _batch_time(name: str, batch_size: int, own_s: Times, against_s: Times) -> BatchTime:
    from scipy.stats import quantile_test

    ratios = against_s / own_s
    interval: Any = quantile_test(ratios, p=0.5).confidence_interval(_CONFIDENCE)
    return BatchTime(
        name=name,
        batch_size=batch_size,
        median_s=float(np.median(own_s)),
        speedup=Interval(value=float(np.median(ratios)), low=float(interval.low), high=float(interval.high)),
    )
