"""PhaseQueue: queues with arrivals and services in phases, whatever the phases mean."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from capacity.errors import DomainError
from capacity.queues.durations import Duration, Family
from capacity.queues.law import LawInServices, settle
from capacity.queues.numerics.chains import Absorption, inverse, stationary
from capacity.queues.numerics.tail import quantile_of
from capacity.units import require_count

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhaseService:
    """A service of phase type in its own unit of time, the mean service.

    Attributes:
        start: probabilities of the first phase, `(phases,)`.
        moves: rates between phases, `(phases, phases)`; the diagonal is not read.
        exits: rates of ending, `(phases,)`.
    """

    start: Floats
    moves: Floats
    exits: Floats

    @staticmethod
    def count(duration: Duration) -> int:
        """Number of phases of a duration; a family that is not of phase type is refused."""
        match duration.family:
            case Family.EXPONENTIAL | Family.ERLANG:
                return duration.stages
            case Family.HYPEREXPONENTIAL:
                return 2
            case _:
                raise DomainError(
                    f"service must be exponential, erlang or hyperexponential, got {duration.family}; "
                    "use erlang or hyperexponential of the same mean and scv, or simulate"
                )

    @classmethod
    def of(cls, duration: Duration) -> Self:
        """The phases of a duration, scaled to mean 1."""
        unit = Duration(family=duration.family, mean_s=1.0, scv=duration.scv)
        start, generator = unit.phases()
        moves = generator.copy()
        np.fill_diagonal(moves, 0.0)
        return cls(start=start, moves=moves, exits=-generator.sum(axis=1))

    @property
    def shares(self) -> Floats:
        """Share of a service that each phase takes."""
        times = self.start @ inverse(self.moves, self.exits)
        return np.asarray(times / times.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """A sparse matrix in batches of entries, in each of which no row and no column occurs twice."""

    shape: tuple[int, int]
    batches: tuple[tuple[Indices, Indices, Floats], ...]

    def times(self, matrices: Floats) -> Floats:
        """This matrix times each `(..., columns, k)`: `(..., rows, k)`."""
        result = np.zeros((*matrices.shape[:-2], self.shape[0], matrices.shape[-1]))
        for rows, columns, entries in self.batches:
            result[..., rows, :] += entries[:, None] * matrices[..., columns, :]
        return result

    def after(self, vectors: Floats) -> Floats:
        """Each row vector `(..., rows)` times this matrix: `(..., columns)`."""
        result = np.zeros((*vectors.shape[:-1], self.shape[1]))
        for rows, columns, entries in self.batches:
            result[..., columns] += vectors[..., rows] * entries
        return result


class Occupancies:
    """The ways in which `busy` servers can be spread over the phases of a service.

    The last one has all servers in the first phase: each family here comes back to that one.
    """

    def __init__(self, service: PhaseService, busy: int) -> None:
        self.service, self.busy = service, busy
        self.states = _spread(busy, len(service.start))
        self.index = {state: i for i, state in enumerate(self.states)}

    def __len__(self) -> int:
        return len(self.states)

    @property
    def moves(self) -> Floats:
        """Rates of a server's move to another phase within its service."""
        matrix = np.zeros((len(self), len(self)))
        for source, target in zip(*np.nonzero(self.service.moves), strict=True):
            rate = float(self.service.moves[source, target])
            for i, state in enumerate(self.states):
                if state[source]:
                    j = self.index[_moved(_moved(state, source, -1), target, 1)]
                    matrix[i, j] += state[source] * rate
        return matrix

    def ends(self, fewer: "Occupancies") -> Steps:
        """Rates to the occupancies of one server fewer."""
        return self._steps(fewer, -1, lambda busy, phase: busy * float(self.service.exits[phase]))

    def starts(self, more: "Occupancies") -> Steps:
        """Probabilities of the occupancies after one more service has begun."""
        return self._steps(more, 1, lambda _, phase: float(self.service.start[phase]))

    def _steps(self, other: "Occupancies", step: int, rate: Callable[[int, int], float]) -> Steps:
        """Rates, by how many servers are in a phase and by the phase, at which it loses or gains one."""
        batches = []
        for phase in range(len(self.service.start)):
            found = [(i, state, rate(state[phase], phase)) for i, state in enumerate(self.states)]
            found = [entry for entry in found if entry[2] > 0.0]
            sources = np.array([i for i, _, _ in found], dtype=np.intp)
            targets = [other.index[_moved(state, phase, step)] for _, state, _ in found]
            rates = np.array([weight for _, _, weight in found])
            batches.append((sources, np.array(targets, dtype=np.intp), rates))
        return Steps(shape=(len(self), len(other)), batches=tuple(batches))

    def stationary(self) -> Floats:
        """Law while no server is ever idle: multinomial, with the shares of a service for each server."""
        shares = [float(share) for share in self.service.shares]
        return np.array([_multinomial(state, shares) for state in self.states])


def _spread(busy: int, phases: int) -> list[Counts]:
    """All counts with sum `busy` in ascending order: where phases - 1 bars may stand among the servers."""
    places = busy + phases - 1
    bars = ((-1, *found, places) for found in combinations(range(places), phases - 1))
    return [tuple(right - left - 1 for left, right in pairwise(row)) for row in bars]


def _moved(state: Counts, phase: int, step: int) -> Counts:
    return (*state[:phase], state[phase] + step, *state[phase + 1 :])


def _multinomial(state: Counts, shares: list[float]) -> float:
    law, left = 1.0, sum(state)
    for count, share in zip(state, shares, strict=True):
        law *= math.comb(left, count) * share**count
        left -= count
    return law


STATES_MAX = 1000  # states of a full system: takes some seconds, and twice as many take eight times as long
_DOUBLINGS_MAX = 1100  # until even the smallest spare capacity that a double can hold shows
_UNSEEN = 1e-200  # share of arrivals at an occupancy left out of waits, so that nothing underflows
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
    """State of the queue as arrivals meet it, in mean services.

    Attributes:
        ready_probability: P(W = 0), from the states in which a server is idle.
        wait_probability: P(W > 0), from the states in which no server is idle: not 1 minus the other.
        wait_mean: mean over all arrivals, including those that do not wait.
        empty_probability: share of time with no request in the system.
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


def solve(arrivals: MarkovArrivals, service: PhaseService, servers: int, spare: float) -> Waits:
    """Steady state of MAP/PH/c as its arrivals meet it.

    Args:
        arrivals: rates in arrivals per mean service.
        service: service of mean 1.
        servers: c.
        spare: c minus the mean rate of arrivals, > 0; given, because the difference would lose digits.

    Source:
        Neuts (1981), Matrix-Geometric Solutions in Stochastic Models, ch. 3.
    """
    full = _full(arrivals, service, servers)
    law, (resting, ready, empty), exponent = _boundary(full, service)
    rate = float(stationary(arrivals.hidden + arrivals.marked) @ arrivals.marked.sum(axis=1))
    met, ages, times = _ages(full, spare)
    leaving = full.down.sum(axis=1)[met]
    lasting = times @ leaving  # by which the law of the age becomes a chain that loses no probability
    # the mean number of idle servers, a sum over the levels below c, is known: the spare capacity
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

    Logarithmic reduction: after k rounds it includes all passages that climb less than 2^k levels.

    Args:
        up, within, down: rates to the level above, within it and to the one below, `(n, n)`; diagonals not
        read.

    Source:
        Latouche & Ramaswami (1993), Journal of Applied Probability 30(3), 650-674; without
        subtractions: Ye (2002), Stochastic Models 18(3), 449-467.
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
    """Level c's law, and idle servers, arrivals and emptiness below it, per 2^exponent of level c.

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
    """The same numbers, scaled so that the largest is between 1/2 and 1."""
    shift = math.frexp(float(sums.max()))[1]
    return np.ldexp(sums, -shift), exponent + shift


def _ages(full: _Full, spare: float) -> tuple[NDArray[np.intp], Floats, Floats]:
    """The age of the oldest request that waits: its states, its rates off the diagonal, its mean times.

    Its density falls as e^(Tx) with T = I x S + G (D x I): G leads from one oldest request's start of service to the
    next ones'. T's mean times come from the left, where the flows of the ever-busy system leave no small difference:
    x (-T) = (spare capacity) y (D x I). Sources: see `PhaseQueue`.
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


RATIO_MAX = 1e100  # of a rate to the service rate and back: products of two fit a double
SERVERS_MAX = 10_000  # some seconds for one phase of service; the states limit more phases before


def require_servers(servers: int) -> None:
    """Refuse numbers of servers with too many levels to go through."""
    require_count("servers", servers, most=SERVERS_MAX)


def require_phases(arrival_phases: int, service: Duration, servers: int) -> None:
    """Refuse services without phases and queues with too many of them."""
    if not isinstance(service, Duration):
        raise DomainError(f"service must be a Duration, got {service!r}")
    if service.variability > RATIO_MAX:
        raise DomainError(f"scv must be <= {RATIO_MAX:g}, got {service.variability!r}")
    service_phases = PhaseService.count(service)
    states = arrival_phases * math.comb(servers + service_phases - 1, service_phases - 1)
    if states > STATES_MAX:
        raise DomainError(
            f"states of {servers} busy servers must be <= {STATES_MAX}, got {min(states, 10**18)} "
            f"({arrival_phases} arrival x {service_phases} service phases); use fewer phases (an scv "
            "nearer 1) or servers, the approximation ggc, or simulate"
        )


def per_service(rate: float, service_rate: Fraction) -> float:
    """A rate in the unit of the service rate."""
    ratio = Fraction(rate) / service_rate
    if ratio != 0 and not 1 / Fraction(RATIO_MAX) <= ratio <= RATIO_MAX:
        raise DomainError(
            f"rates must be within a factor {RATIO_MAX:g} of the service rate, got {rate!r} "
            f"on {float(service_rate):g} per s"
        )
    return float(ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseQueue(LawInServices):
    """Steady state of a queue that its subclass has put into phases.

    Probabilities of a wait are as arrivals meet the queue; `empty_probability` and the mean numbers are over
    time. The two differ if arrivals are not Poisson. The wait is of phase type: the age of the oldest
    request that waits, seen at its start of service; the phases of its own service follow.

    Source:
        Sengupta (1989), Advances in Applied Probability 21(1), 159-180; Asmussen & Moller (2001),
        Queueing Systems 37, 9-29; Neuts (1981), Matrix-Geometric Solutions in Stochastic Models,
        theorem 2.2.2.
    """

    offered_load: float = field(init=False, repr=False, compare=False)
    utilization: float = field(init=False, repr=False, compare=False)
    throughput_rps: float = field(init=False, repr=False, compare=False)
    _service_mean_s: float = field(init=False, repr=False, compare=False)
    _waits: Waits = field(init=False, repr=False, compare=False)

    def _settle(
        self, arrivals: MarkovArrivals, service: Duration, servers: int, load: Fraction, rate_rps: float
    ) -> None:
        """Solve the queue once, with c - a rounded once: 1 - rho would cost digits near 1."""
        settle(
            self,
            offered_load=float(load),
            utilization=float(load / servers),
            throughput_rps=rate_rps,
            _service_mean_s=service.mean_s,
            _waits=solve(arrivals, PhaseService.of(service), servers, float(servers - load)),
        )

    @property
    def wait_probability(self) -> float:
        """P(W > 0), as arrivals meet it."""
        return self._waits.wait_probability

    @property
    def empty_probability(self) -> float:
        """P(N = 0), as a share of time."""
        return self._waits.empty_probability

    @property
    def _wait_mean(self) -> float:
        return self._waits.wait_mean

    def _wait_tail(self, time: float) -> float:
        return self._waits.wait_tail(time)

    def _response_tail(self, time: float) -> float:
        return self._waits.response_tail(time)

    def _wait_quantile(self, quantile: float) -> float:
        return quantile_of(self._waits.wait_tail, quantile, 1.0)

    def _response_quantile(self, quantile: float) -> float:
        return quantile_of(self._waits.response_tail, quantile, 1.0)
