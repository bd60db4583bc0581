"""Inferences: how many a request of the client carries, where a tool counts them and does not say."""

import math

from capacity.formats.load_test import LoadRun

_CLOSE = 0.01  # a random ratio is this close to a power of two one time in 35
_BATCH_MAX = 512


def in_flight(run: LoadRun) -> float | None:
    """Requests in flight by Little's law: throughput x mean response; None where one is not known."""
    mean_s = answered_mean_s(run)
    return None if run.throughput_rps is None or mean_s is None else run.throughput_rps * mean_s


def answered_mean_s(run: LoadRun) -> float | None:
    """Mean of all responses that the throughput counts, those of failed requests included. [s]"""
    if run.answered is not None and len(run.answered.response_s):
        return float(run.answered.response_s.mean())
    return run.mean_s if run.answered_mean_s is None else run.answered_mean_s


def implied_batch(run: LoadRun) -> int | None:
    """Inferences that each request must carry for the figures to obey Little's law; None without a sign of any.

    Only tools that count inferences leave this open. Client batches are taken to be powers of two, as others could
    not be told from chance.
    """
    count = in_flight(run)
    if not run.counts_inferences or not run.users or not count or run.batch_size > 1:
        return None
    share = count / run.users
    batch = 2 ** round(math.log2(share))
    is_close = 2 <= batch <= _BATCH_MAX and abs(share / batch - 1.0) <= _CLOSE
    return batch if is_close else None
