"""Bulk tagged: one request among exponential batches, followed from its arrival to the end of its batch."""

import math

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array

from capacity.errors import DomainError
from capacity.queues.batches.states import BulkStates, Floats

_FORGOTTEN = 1e-25  # what is left of the request, beneath which it is taken to be gone
_STEP_COST = 5_000  # in states
_WORK_MAX = 1e10  # states times steps: about a minute
_PRUNED_BELOW, _PRUNED_EVERY = 1e-45, 64  # before products get slow on numbers too small to be normal


class Tagged:
    """The request after n = 0, 1, ... events of a uniform Poisson stream, as far as was asked for.

    It waits behind m full batches as one of k in its own so far. Only a completion moves it on, and
    only an arrival makes its batch larger, up to B. So its place is that of the last of its batch,
    mB + k - 1, and its states are those of the queue behind busy servers, without longer queues.

    Args:
        waiting: what an arrival finds, by full configuration and queue; shape `(configurations, places)`.
        served_at_once: probability of an idle server.

    Source:
        Jensen (1953), Skandinavisk Aktuarietidskrift 36, 87-91 (uniformisation); what an arrival
        finds: Wolff (1982), Operations Research 30(2) (PASTA).
    """

    def __init__(self, states: BulkStates, waiting: Floats, served_at_once: float) -> None:
        self._rate = states.arrival_rate + states.servers * float(states.rates.max())
        self._waiting = waiting.ravel().copy()
        self._serving = np.zeros(states.batch_size_max)
        self._serving[0] = served_at_once
        self._moves, self._starts = _steps(states, self._rate)
        self._unfinished = 1.0 - states.rates / self._rate
        self._waits: list[float] = []  # probability after n events to wait
        self._stays: list[float] = []  # to wait or be served

    def wait_tail(self, time: float) -> float:
        """P(W > t)."""
        return self._mixture(self._waits, self._rate * time)

    def response_tail(self, time: float) -> float:
        """P(T > t)."""
        return self._mixture(self._stays, self._rate * time)

    def _mixture(self, after: list[float], events: float) -> float:
        """Sum over n of Poisson(n; events) after[n]."""
        last = events + 10.0 * math.sqrt(events) + 40.0
        self._follow(last)
        if events > 400.0 + 4.0 * len(after):  # Poisson(n) beneath e^-160 wherever anything is left
            return 0.0
        weights = _poisson(events, math.ceil(last))
        known = min(len(after), len(weights))
        return float(weights[:known] @ after[:known])

    def _follow(self, last: float) -> None:
        """Up to `last` events, or to where the request is gone."""
        while len(self._stays) <= last and not (self._stays and self._stays[-1] < _FORGOTTEN):
            if len(self._stays) * (len(self._waiting) + _STEP_COST) > _WORK_MAX:
                raise DomainError(
                    f"a request would be followed over more than {len(self._stays)} events of "
                    f"{len(self._waiting)} states; simulate, or give batch times that differ less"
                )
            self._waits.append(float(self._waiting.sum()))
            self._stays.append(self._waits[-1] + float(self._serving.sum()))
            self._serving = self._unfinished * self._serving + self._starts @ self._waiting
            self._waiting = np.asarray(self._moves @ self._waiting)
            if len(self._stays) % _PRUNED_EVERY == 0:
                self._waiting[self._waiting < _PRUNED_BELOW] = 0.0


def _poisson(mean: float, last: int) -> Floats:
    """Probabilities of 0, ..., last, beyond which next to nothing lies; by ratios from the largest one."""
    mode = int(mean)
    above = np.cumprod(mean / np.arange(mode + 1, last + 1))
    below = np.cumprod(np.arange(mode, 0, -1) / mean)[::-1] if mode else np.empty(0)
    weights = np.concatenate([below, [1.0], above])
    return np.asarray(weights / weights.sum())


def _steps(states: BulkStates, rate: float) -> tuple[csr_array, csr_array]:
    """One event's probabilities from waiting to waiting and into a batch of b, both transposed."""
    batch, first = states.batch_size_max, len(states.idle)
    place = np.tile(np.arange(states.places), len(states.full))
    who, _, completing = states.completions(states.full)
    completed = np.repeat(np.bincount(who, weights=completing), states.places)
    room = diags_array((place % batch < batch - 1).astype(float))
    onward = states.replacements()[first:, first:] + room @ states.arrivals()[first:, first:]
    staying = 1.0 - (completed + room @ np.full(len(place), states.arrival_rate)) / rate
    next_ = np.flatnonzero(place < batch)
    starts = coo_array((completed[next_] / rate, (place[next_], next_)), shape=(batch, len(place)))
    return csr_array(onward.T / rate + diags_array(staying)), csr_array(starts)
