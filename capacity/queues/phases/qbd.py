"""QBD: MAP/PH/c, the queue whose arrivals and services have phases, level by level without a subtraction."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.numerics.absorption import Absorption
from capacity.numerics.mmatrix import inverse, stationary
from capacity.queues.phases.occupancy import Occupancies, PhaseService, occupancy_count

Floats = NDArray[np.float64]
STATES_MAX = 1000  # of a full system: some seconds, and twice as many take eight times as long
_DOUBLINGS_MAX = 1100  # until even the least spare capacity that a double can hold shows
_UNSEEN = 1e-200  # share of arrivals at an occupancy that is left out of waits, lest it underflow
_LEFT_OUT = 1e-18  # probability of the passages that further doublings would add


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkovArrivals:
    """Arrivals whose rate goes with the phase of a chain (a Markovian arrival process, MAP).

    Attributes:
        hidden: rates of a change of phase without an arrival, `(phases, phases)`; diagonal not read.
        marked: rates of an arrival by the phase before and the phase after it, `(phases, phases)`.

    Source:
        Lucantoni, Meier-Hellstern & Neuts (1990), Advances in Applied Probability 22(3), 676-705.
    """

    hidden: Floats
    marked: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waits:
    """What arrivals meet, in mean services.

    Attributes:
        ready_probability: P(W = 0), from the states in which a server rests.
        wait_probability: P(W > 0), from those in which none does: not one less the other.
        wait_mean: of all arrivals, those that do not wait included.
        empty_probability: share of time with nobody in the system.
        response: phases of the wait, then of the service, then its end.
        wait_phases: how many of these are phases of the wait.
    """

    ready_probability: float
    wait_probability: float
    wait_mean: float
    empty_probability: float
    response: Absorption
    wait_phases: int

    def wait_tail(self, time: float) -> float:
        """P(W > t)."""
        return min(1.0, float(self.response.at(time)[: self.wait_phases].sum()))

    def response_tail(self, time: float) -> float:
        """P(T > t)."""
        return min(1.0, float(self.response.at(time)[:-1].sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Full:
    """The levels at which all servers are busy: rates up, within and down a level, and where it is left."""

    arrivals: MarkovArrivals
    occupancies: Occupancies
    up: Floats
    within: Floats
    down: Floats
    passage: Floats


def require_states(arrival_phases: int, service_phases: int, servers: int) -> None:
    """Refuse a queue with more states at one level than can be computed with."""
    states = arrival_phases * occupancy_count(servers, service_phases)
    if states > STATES_MAX:
        raise DomainError(
            f"states of {servers} busy servers must be <= {STATES_MAX}, got {min(states, 10**18)} "
            f"({arrival_phases} arrival x {service_phases} service phases); use fewer phases (an scv "
            "nearer 1) or servers, the approximation ggc, or simulate"
        )


def solve(arrivals: MarkovArrivals, service: PhaseService, servers: int, spare: float) -> Waits:
    """Steady state of MAP/PH/c as its arrivals meet it.

    Args:
        arrivals: in arrivals per mean service.
        service: of mean 1.
        servers: c.
        spare: c less the mean rate of arrivals, > 0; given, because the difference would lose digits.

    Source:
        Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, ch. 3.

    >>> poisson = MarkovArrivals(hidden=np.zeros((1, 1)), marked=np.array([[0.75]]))
    >>> service = PhaseService(start=np.ones(1), moves=np.zeros((1, 1)), exits=np.ones(1))
    >>> mm1 = solve(poisson, service, servers=1, spare=0.25)
    >>> mm1.wait_probability, mm1.ready_probability, mm1.empty_probability, mm1.wait_mean
    (0.75, 0.25, 0.25, 3.0)
    """
    full = _full(arrivals, service, servers)
    law, (resting, ready, empty), exponent = _boundary(full, service)
    rate = float(stationary(arrivals.hidden + arrivals.marked) @ arrivals.marked.sum(axis=1))
    met, ages, times = _ages(full, spare)
    leaving = full.down.sum(axis=1)[met]
    lasting = times @ leaving  # by which the law of the age becomes a chain that loses no probability
    # the mean number of resting servers, a sum over the levels below c, is known: the spare capacity
    first = (law @ full.up)[met] * math.ldexp(spare / resting, -exponent) / rate
    chain = _wait_then_service(ages * lasting / lasting[:, None], leaving / lasting, service)
    ready_probability = ready / resting * spare / rate
    return Waits(
        ready_probability=ready_probability,
        wait_probability=min(1.0, float(first @ lasting)),
        wait_mean=float(first @ times @ lasting),
        empty_probability=min(1.0, empty / resting * spare),
        response=Absorption(
            chain, np.concatenate((first * lasting, ready_probability * service.start, [0.0]))
        ),
        wait_phases=len(lasting),
    )


def first_passage(up: Floats, within: Floats, down: Floats) -> Floats:
    """G: the law of the state in which a level is first left downwards, by the state in it before.

    Logarithmic reduction: after k rounds it has all passages that climb less than 2^k levels.

    Args:
        up: rates to the level above, `(n, n)`.
        within: rates within the level; the diagonal is not read.
        down: rates to the level below.

    Source:
        Latouche & Ramaswami (1993), Journal of Applied Probability 30(3), 650-674; without
        subtractions: Ye (2002), Stochastic Models 18(3), 449-467.

    >>> first_passage(np.array([[1.0]]), np.zeros((1, 1)), np.array([[2.0]]))
    array([[1.]])
    """
    times = inverse(within, up.sum(axis=1) + down.sum(axis=1))
    climb, fall = times @ up, times @ down
    passage, climbing = fall, climb
    for _ in range(_DOUBLINGS_MAX):
        climbs, falls = climb @ climb, fall @ fall
        times = inverse(climb @ fall + fall @ climb, climbs.sum(axis=1) + falls.sum(axis=1))
        climb, fall = times @ climbs, times @ falls
        passage = passage + climbing @ fall
        climbing = climbing @ climb
        if climbing.sum(axis=1).max() <= _LEFT_OUT:
            break
    return passage


def _full(arrivals: MarkovArrivals, service: PhaseService, servers: int) -> _Full:
    full, fewer = Occupancies(service, servers), Occupancies(service, servers - 1)
    size, next_service = len(full), fewer.starts(full).after(full.ends(fewer).times(np.eye(len(fewer))))
    up = _product(arrivals.marked, np.eye(size))
    within = _either(arrivals.hidden, full.moves)
    down = _product(np.eye(len(arrivals.hidden)), next_service)
    passage = first_passage(up, within, down)
    return _Full(arrivals=arrivals, occupancies=full, up=up, within=within, down=down, passage=passage)


def _boundary(full: _Full, service: PhaseService) -> tuple[Floats, tuple[float, float, float], int]:
    """Level c's law, and resting servers, arrivals and emptiness below it, per 2^exponent of level c.

    Levels are left out from the lowest up; only sums over them are kept, with an exponent of their
    own: at low load level 0 has more than 1e308 times the probability of level c.

    Source:
        Gaver, Jacobs & Latouche (1984), Advances in Applied Probability 16(4), 715-731.
    """
    hidden, marked = full.arrivals.hidden, full.arrivals.marked
    servers, phases = full.occupancies.busy, len(hidden)
    here, detours = Occupancies(service, 0), np.zeros((phases, phases))
    sums, exponent = np.zeros((phases, 3)), 0
    for busy in range(servers):
        above = Occupancies(service, busy + 1)
        arriving = np.repeat(marked.sum(axis=1), len(here))
        own = np.column_stack(
            (np.full(len(arriving), servers - busy), arriving, np.full(len(arriving), busy == 0))
        )
        sums, exponent = _scaled(sums + np.ldexp(own, -exponent), exponent)
        times = inverse(_either(hidden, here.moves) + detours, arriving)
        size = phases * len(above)
        back = above.ends(here).times(times.reshape(phases, len(here), -1)).reshape(size, -1)
        begun = here.starts(above).after(back.reshape(size, phases, len(here)))
        detours = np.einsum("nij,ik->nkj", begun, marked).reshape(size, size)
        sums, here = back @ sums, above
    law = stationary(full.within + full.up @ full.passage + detours)
    resting, ready, empty = (float(total) for total in law @ sums)
    return law, (resting, ready, empty), exponent


def _scaled(sums: Floats, exponent: int) -> tuple[Floats, int]:
    """The same numbers, the largest within 1/2 and 1."""
    shift = math.frexp(float(sums.max()))[1]
    return np.ldexp(sums, -shift), exponent + shift


def _ages(full: _Full, spare: float) -> tuple[NDArray[np.intp], Floats, Floats]:
    """The age of the oldest request that waits: its states, its rates off the diagonal, its mean times.

    Its density falls as e^(Tx) with T = I x S + G (D x I): G leads from one oldest request's start
    of service to the next ones'. T's mean times come from the left: the flows of the ever-busy
    system give x (-T) = (spare capacity) y (D x I), and so T has no small difference in it.

    Source:
        Sengupta (1989), Advances in Applied Probability 21(1), 159-180; Asmussen & Moller (2001),
        Queueing Systems 37, 9-29.
    """
    hidden, marked = full.arrivals.hidden, full.arrivals.marked
    size = len(full.occupancies)
    flow = np.kron(stationary(hidden + marked) @ marked, full.occupancies.stationary())
    met = np.flatnonzero(flow > _UNSEEN * flow.max())
    kept = np.ix_(met, met)
    ages = (_either(np.zeros_like(hidden), full.occupancies.moves) + full.passage @ full.up)[kept]
    falling = stationary(_either(hidden, np.zeros((size, size))) + full.up @ full.passage)
    inflow = flow[met]
    times = inverse((inflow[:, None] * ages).T, spare * (falling @ full.up)[met]).T * inflow
    return met, ages, times


def _wait_then_service(waiting: Floats, leaving: Floats, service: PhaseService) -> Floats:
    """Rates of the chain through the phases of a wait and of a service to its end."""
    waits, total = len(leaving), len(leaving) + len(service.start) + 1
    rates = np.zeros((total, total))
    rates[:waits, :waits] = waiting
    rates[:waits, waits:-1] = np.outer(leaving, service.start)
    rates[waits:-1, waits:-1] = service.moves
    rates[waits:-1, -1] = service.exits
    return rates


def _either(first: Floats, second: Floats) -> Floats:
    """Rates of two independent chains, of which one moves at a time (a Kronecker sum)."""
    return _product(first, np.eye(len(second))) + _product(np.eye(len(first)), second)


def _product(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.kron(first, second), dtype=np.float64)
