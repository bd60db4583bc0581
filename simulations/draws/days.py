"""Days: requests at rates that change from time to time, drawn in blocks."""

import math
from collections.abc import Sequence

import numpy as np

from capacity.profile.profile import Spells
from capacity.traffic.workload import ArrivalProcess, GammaArrivals, Workload
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.records import Floats
from simulations.draws.spells import SpellDraws

_ENDLESS = 2**62  # more requests than any day has
_ERRORS, _FEW = 12.0, 1_000.0  # standard errors that chance never makes up for, beside a few


class DayStream:
    """The random numbers of one run, drawn on demand, with the same numbers in blocks of any size.

    Arrivals at rate 1 are moved to the instants at which as many are due, so that the same users come whatever the
    rates are.

    Args:
        steps: begin, end and rate of each step, without gaps, from 0 on.
        spells: spells of service times, which all replicas share.

    Source:
        Cinlar (1975), Introduction to Stochastic Processes, sec. 4.7 (Poisson processes by change of time).
    """

    def __init__(
        self,
        steps: Sequence[tuple[float, float, float]],
        arrivals: ArrivalProcess,
        seed: Seed,
        spells: Spells | None = None,
    ) -> None:
        self._edges_s = np.array([0.0, *[to_s for _, to_s, _ in steps]])
        self._due = np.concatenate(
            [[0.0], np.cumsum([(to_s - from_s) * rate for from_s, to_s, rate in steps])]
        )
        self._burstiness = arrivals.cv if isinstance(arrivals, GammaArrivals) else 1.0
        self._stream = Stream(Workload(arrival_rate_rps=1.0, arrivals=arrivals), _ENDLESS, seed)
        self._service, self._routing = seed.generator(Purpose.SERVICE), seed.generator(Purpose.ROUTING)
        self._spells = None
        if spells is not None:
            self._spells = SpellDraws(spells, seed.generator(Purpose.SPELLS), self._service)
        self._before = 0  # requests before those drawn last
        self._last_s = np.zeros(0)
        self._is_over = False

    def arrived_s(self, count: int) -> Floats:
        """Rising instants of the next requests, as many as asked for until the day ends. [s]"""
        self._before += len(self._last_s)
        unit = np.zeros(0) if self._is_over else self._stream.arrived_s(count)
        within = unit[: np.searchsorted(unit, self._due[-1])]
        self._is_over = len(within) < count
        self._last_s = np.interp(within, self._due, self._edges_s)
        return self._last_s

    def all_arrived_s(self) -> Floats:
        """Instants of all requests at once, where none were drawn before. [s]"""
        due = float(self._due[-1])
        most = due + _ERRORS * max(1.0, self._burstiness) * math.sqrt(due) + _FEW
        found = self.arrived_s(math.ceil(most))
        assert self._is_over  # noqa: S101  (chance never makes up for so much)
        return found

    def arrived_by(self, now_s: float) -> int:
        """Number of requests that have arrived by an instant, which is not before those drawn last."""
        return self._before + int(np.searchsorted(self._last_s, now_s, side="right"))

    def service(self, count: int) -> Floats:
        """Uniforms in [0, 1), shape `(count,)`; a batch uses that of its oldest request.

        In spells they are those of the requests that were drawn last.
        """
        return self._service.random(count) if self._spells is None else self._spells.uniforms(self._last_s)

    def routing(self, count: int) -> Floats:
        """Uniforms in [0, 1), shape `(2 * count,)`; two for each request."""
        return self._routing.random(2 * count)
