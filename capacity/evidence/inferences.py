"""Inferences: what the figures of a run imply by Little's law, if its file does not say it."""

import math

from capacity.formats.load_test import LoadRun

_CLOSE = 0.01  # chance that a random ratio is this close to a power of two: 1 in 35
_BATCH_MAX = 512
_AT_REST = 0.1  # share of the time that users are idle, from which that is their think time


def in_flight(run: LoadRun) -> float | None:
    """Requests in flight by Little's law, throughput x mean response; None if either is unknown."""
    mean_s = answered_mean_s(run)
    return None if run.throughput_rps is None or mean_s is None else run.throughput_rps * mean_s


def answered_mean_s(run: LoadRun) -> float | None:
    """Mean of all responses that the throughput counts, including those of failed requests. [s]"""
    if run.answered is not None and len(run.answered.response_s):
        return float(run.answered.response_s.mean())
    return run.mean_s if run.answered_mean_s is None else run.answered_mean_s


def implied_batch(run: LoadRun) -> int | None:
    """Inferences in each request that make the figures obey Little's law; None if nothing suggests any.

    Only tools that count inferences leave this open. Client batches are assumed to be powers of two; any other number
    could be chance.
    """
    count = in_flight(run)
    if not run.counts_inferences or not run.users or not count or run.batch_size > 1:
        return None
    share = count / run.users
    batch = 2 ** round(math.log2(share))
    is_close = 2 <= batch <= _BATCH_MAX and abs(share / batch - 1.0) <= _CLOSE
    return batch if is_close else None


def think_time_s(run: LoadRun) -> float:
    """Time between an answer and the next request of a user: as set, else what Little's law leaves. [s]"""
    if run.think_time_s is not None:
        return run.think_time_s
    if not run.throughput_rps or run.mean_s is None or not run.users:
        return 0.0
    mean_s = answered_mean_s(run) or run.mean_s
    rest_s = run.users / run.throughput_rps - mean_s
    return rest_s if rest_s > _AT_REST * mean_s else 0.0
