"""Phases: bursts and calm stretches in a row, and which of them each arrival falls into."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from capacity.traffic.workload import ModulatedArrivals
from simulations.compiled import compiled
from simulations.draws.records import Floats, Integers

_BLOCK = 1024  # an even number of phases, so that a block begins in the phase in which the first one did
# Where a phase begins and ends, in the mean number of arrivals that are due by then, and in time.
_DUE_FROM, _FROM, _DUE_TO, _TO = range(4)
BURST, CALM = range(2)


class PhaseClock:
    """Bursts and calm stretches in a row, drawn as far as arrivals reach; begins in its steady state.

    The arrivals of a process of rate 1 are moved to the instants at which as many are due: the same users
    come at every rate, and the same bursts by the wall clock. Instants are in units of the mean gap.

    Source:
        Cinlar (1975), Introduction to Stochastic Processes, sec. 4.7 (Poisson processes by change of time).
    """

    def __init__(
        self, arrivals: ModulatedArrivals, arrival_rate_rps: float, generator: np.random.Generator
    ) -> None:
        bursts = arrivals.bursts
        means = arrival_rate_rps * np.array([bursts.burst_mean_s, bursts.calm_mean_s])
        ends = arrival_rate_rps * np.array(arrivals.spells_max_s)
        speeds = np.array(bursts.rates_rps(1.0))
        lasting = means * -np.expm1(-ends / means)
        self.first = BURST if generator.random() < lasting[BURST] / lasting.sum() else CALM
        order = slice(None) if self.first == BURST else slice(None, None, -1)
        self._means, self._ends, self._speeds = (x[order].copy() for x in (means, ends, speeds))
        self._age = self._first_age(generator)
        self._generator = generator
        self._phase = np.zeros(4)
        self._lengths = np.zeros(0)
        self._used = 0
        self._is_new = True
        self._starts, self._starts_from = np.array([-self._age]), 0

    def _first_age(self, generator: np.random.Generator) -> float:
        """How long the first phase has lasted at instant 0; it does not matter where none is cut."""
        mean, end = self._means[0], self._ends[0]
        if math.isinf(end):
            return 0.0
        return float(-mean * math.log1p(generator.random() * math.expm1(-end / mean)))

    def _draw(self) -> Floats:
        """The lengths of the next phases."""
        repeats = _BLOCK // 2
        drawn = self._generator.standard_exponential(_BLOCK) * np.tile(self._means, repeats)
        ends = np.tile(self._ends, repeats)
        if self._is_new:
            ends[0] -= self._age
            self._is_new = False
        lengths: Floats = np.minimum(drawn, ends)
        return lengths

    def place(self, due: Floats) -> None:
        """Replace instants of arrivals of rate 1 by those of arrivals at mean rate 1, in place."""
        done = 0
        while True:
            done, self._used = place(due, done, self._phase, self._lengths, self._used, self._speeds)
            if done == len(due):
                return
            self._lengths, self._used = self._draw(), 0

    def strata(self, instants: Floats, ages: Sequence[Floats]) -> Integers:
        """Stratum of each instant: by phase, and by the number of the phase's ages that it has reached.

        Args:
            instants: not falling, nor below those asked for before, shape `(requests,)`.
            ages: rising, of a burst and of a calm stretch.
        """
        known = int(np.searchsorted(self._starts, instants[0], side="right")) - 1
        self._starts, self._starts_from = self._starts[known:], (self._starts_from + known) % 2
        while self._starts[-1] <= instants[-1]:
            begins = self._starts[-1] + (self._age if self._is_new else 0.0)
            self._starts = np.concatenate([self._starts, begins + np.cumsum(self._draw())])
        phases = (self.first + self._starts_from + np.arange(len(self._starts) - 1)) % 2
        columns = max(map(len, ages)) + 1
        begins, labels = np.zeros((2, columns)), np.arange(columns) + np.array([[0], [len(ages[BURST]) + 1]])
        for phase, own in enumerate(ages):
            begins[phase, 1:] = np.concatenate([own, np.full(columns - 1 - len(own), np.inf)])
        edges = np.minimum(self._starts[:-1, None] + begins[phases], self._starts[1:, None])
        places = np.append(np.searchsorted(instants, edges.ravel()), len(instants))
        return np.repeat(labels[phases].ravel(), np.diff(places))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStrata:
    """Strata of the requests: in a burst or in a calm stretch, and by how long that has lasted.

    Attributes:
        arrival_rate_rps: of `arrivals`, mean of the process whose spells are not cut.
        ages_s: how long a burst and a calm stretch have lasted where a further stratum begins, rising. [s]
    """

    arrivals: ModulatedArrivals
    arrival_rate_rps: float
    ages_s: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def weights(self) -> tuple[tuple[float, ...], ...]:
        """Share of the requests of each stratum, by phase, if no spell were cut: spells are exponential."""
        bursts = self.arrivals.bursts
        burst_rps, _ = bursts.rates_rps(self.arrival_rate_rps)
        in_bursts = bursts.burst_share * burst_rps / self.arrival_rate_rps
        means_s = bursts.burst_mean_s, bursts.calm_mean_s
        return tuple(
            tuple(
                share * (a - b) for a, b in pairwise([1.0, *(math.exp(-age / mean_s) for age in ages_s), 0.0])
            )
            for share, ages_s, mean_s in zip((in_bursts, 1.0 - in_bursts), self.ages_s, means_s, strict=True)
        )

    @property
    def rates_rps(self) -> tuple[float, ...]:
        """Arrival rate within each stratum."""
        rates_rps = self.arrivals.bursts.rates_rps(self.arrival_rate_rps)
        return tuple(
            rate for rate, ages_s in zip(rates_rps, self.ages_s, strict=True) for _ in range(len(ages_s) + 1)
        )

    def clock(self, generator: np.random.Generator) -> PhaseClock:
        """A clock with the phases of the arrivals, if it draws from the same numbers."""
        return PhaseClock(self.arrivals, self.arrival_rate_rps, generator)

    def labels(self, clock: PhaseClock, arrived_s: Floats) -> Integers:
        """The stratum of each request, by a clock with the same phases as that of the arrivals."""
        rate_rps = self.arrival_rate_rps
        return clock.strata(arrived_s * rate_rps, [rate_rps * np.array(ages_s) for ages_s in self.ages_s])

    def parts(self, generator: np.random.Generator, arrived_s: Floats, counted: slice) -> list[Integers]:
        """Numbers of the counted requests of each stratum, of a whole run.

        Args:
            generator: of the phases of the arrivals.
        """
        labels = self.labels(self.clock(generator), arrived_s)
        labels[: counted.start] = labels[counted.stop :] = -1
        return [np.flatnonzero(labels == label) for label in range(len(self.rates_rps))]


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
