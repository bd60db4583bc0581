"""Phase clock: when the bursts of MMPP arrivals begin and end, and the instants of arrivals among them."""

import numpy as np

from capacity.workload import MmppArrivals
from simulations.compiled import compiled
from simulations.records import Floats

_BLOCK = 1024  # an even number of phases, so that a block begins in the phase in which the first one did
# Where a phase begins and ends, counted in arrivals that are due on average and in time.
_DUE_FROM, _FROM, _DUE_TO, _TO = range(4)


class PhaseClock:
    """Bursts and calm stretches in a row, drawn as far as arrivals reach; begins in its steady state.

    Arrivals of a unit Poisson process, as instants of the due number, are put to where as many are due:
    the same users come at every rate, and the same bursts by the wall clock.

    Source:
        Cinlar (1975), Introduction to Stochastic Processes, sec. 4.7 (Poisson processes by change of time).
    """

    def __init__(
        self, arrivals: MmppArrivals, arrival_rate_rps: float, generator: np.random.Generator
    ) -> None:
        means = arrival_rate_rps * np.array([arrivals.burst_mean_s, arrivals.calm_mean_s])
        speeds = np.array(arrivals.rates_rps(1.0))
        in_burst = generator.random() < arrivals.burst_share
        self._means, self._speeds = (x if in_burst else x[::-1].copy() for x in (means, speeds))
        self._generator = generator
        self._phase = np.zeros(4)
        self._lengths = np.zeros(0)
        self._used = 0

    def place(self, due: Floats) -> None:
        """Replace instants of a unit Poisson process by those of arrivals at mean rate 1, in place."""
        done = 0
        while True:
            done, self._used = place(due, done, self._phase, self._lengths, self._used, self._speeds)
            if done == len(due):
                return
            drawn = self._generator.standard_exponential(_BLOCK)
            self._lengths, self._used = drawn * np.tile(self._means, _BLOCK // 2), 0


@compiled
def place(
    due: Floats, done: int, phase: Floats, lengths: Floats, used: int, speeds: Floats
) -> tuple[int, int]:
    """Go on placing from `done` until all are, or the phases are used up; how many of each."""
    while done < len(due):
        while due[done] >= phase[_DUE_TO]:
            if used == len(lengths):
                return done, used
            phase[_DUE_FROM], phase[_FROM] = phase[_DUE_TO], phase[_TO]
            phase[_DUE_TO] += lengths[used] * speeds[used % 2]
            phase[_TO] += lengths[used]
            used += 1
        speed = speeds[(used - 1) % 2]
        instant = phase[_FROM] + (due[done] - phase[_DUE_FROM]) / speed
        due[done] = min(instant, phase[_TO])  # rounding must not carry it past what comes next
        done += 1
    return done, used
