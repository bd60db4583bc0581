"""Arrivals and the other random numbers of a run: one named stream for each purpose and replication."""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np

from capacity.errors import DomainError, InputError
from capacity.profile.profile import Spells
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    ModulatedArrivals,
    PoissonArrivals,
    SplitArrivals,
    SurgingArrivals,
    TraceArrivals,
    Workload,
)
from simulations.compiled import compiled
from simulations.draws.kept import Kept
from simulations.draws.phases import PhaseClock
from simulations.draws.records import Floats, Integers
from simulations.draws.spells import SpellDraws
from simulations.draws.start import Start, Underway

# Runs of at most this many requests keep their numbers for others that draw the same, as long as all fit in memory.
_KEPT_REQUESTS = 32_000
_KEPT = Kept(bytes_max=64 << 20)
Draw = Callable[[np.random.Generator, int], Floats]
_Random = PoissonArrivals | GammaArrivals | SplitArrivals


# Gamma gaps with at most this many exponential phases are drawn phase by phase; a nearly whole shape counts as whole.
_PHASES_MAX, _WHOLE = 6, 1e-12
# A think time this much shorter than a batch's time changes no turns; and the share of the settling after which users
# have their own think times.
_FROZEN, _HURRIED_SHARE = 20.0, 0.75


class Purpose(IntEnum):
    """Purposes of random numbers, each with a stream of its own."""

    ARRIVALS = 0
    SERVICE = 1
    ROUTING = 2
    PROFILE = 3
    THINK = 4
    PHASES = 5
    SPELLS = 6
    LENGTHS = 7
    STEPS = 8
    BACKOFF = 9
    FAULTS = 10
    START = 11
    SESSIONS = 12


class Stage(IntEnum):
    """Stages of a command; candidates of one search share their streams, a confirmation has its own."""

    SEARCH = 0
    CERTIFY = 1
    HEADROOM = 2
    AGREEMENT = 3
    COMPARE = 4
    VERIFY = 5
    PROBE = 6
    STRESS = 7
    AUTOSCALE = 8
    AUTOSCALE_CERTIFY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """The seed of a command, narrowed to one stage and one replication."""

    value: int
    stage: Stage = Stage.CERTIFY
    replication: int = 0

    def generator(self, purpose: Purpose, *part: int) -> np.random.Generator:
        """The stream for one purpose, or one part of it, independent of all others."""
        key = (self.stage, self.replication, purpose, *part)
        return np.random.default_rng(np.random.SeedSequence(self.value, spawn_key=key))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """The input of one run, from which another engine can simulate the same requests.

    Random numbers belong to requests, not to replicas or batches, so that every plan and every rate sees the same
    users (common random numbers) and either engine the same draws.

    Attributes:
        arrived_s: instants from 0 on, in order, shape `(requests,)`. [s]
        service: uniforms in [0, 1), shape `(requests,)`; a batch uses that of its oldest request.
        routing: uniforms in [0, 1), shape `(2 * requests,)`; two for each request.
        underway: batches that are served at the start; None for an empty fleet.
    """

    arrived_s: Floats
    service: Floats
    routing: Floats
    underway: Underway | None = None

    def __post_init__(self) -> None:
        arrived_s = self.arrived_s
        if not (np.isfinite(arrived_s).all() and (np.diff(arrived_s, prepend=0.0) >= 0.0).all()):
            raise DomainError("instants of arrival must be finite, not negative, and must not fall")
        _require_uniforms(self.service, self.routing, len(arrived_s))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClosedDraws:
    """The input of one run of a closed population, whose requests arrive after their users' think times.

    Attributes:
        think_s: think time after each request, by request in order of arrival, shape `(requests,)`. [s]
        service, routing: as in `Draws`.
    """

    users: int
    think_s: Floats
    service: Floats
    routing: Floats

    def __post_init__(self) -> None:
        if not (np.isfinite(self.think_s).all() and (self.think_s >= 0.0).all()):
            raise DomainError("think times must be finite and not negative")
        if self.users < 1:
            raise DomainError(f"a population has at least one user, got {self.users}")
        _require_uniforms(self.service, self.routing, len(self.think_s))


def _require_uniforms(service: Floats, routing: Floats, requests: int) -> None:
    """Check what compiled code relies on, as it checks nothing itself."""
    for uniforms, count in ((service, requests), (routing, 2 * requests)):
        if len(uniforms) != count or not ((uniforms >= 0.0) & (uniforms < 1.0)).all():
            raise DomainError(f"{requests} requests need {count} uniform numbers from 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlingUsers(ClosedPopulation):
    """Users whose think times are long at first and shrink step by step to their own.

    A user who thinks for less time than a batch takes is served with the same others again and again; the start
    decides with which. If think times shrink gradually, any turns are as likely as in the long run.

    Attributes:
        settling: number of requests over which think times shrink.
        slow_s: mean think time at the beginning. [s]

    Source:
        Kirkpatrick, Gelatt & Vecchi (1983), Science 220(4598), 671-680, simulated annealing.
    """

    settling: int
    slow_s: float

    def think_means_s(self, number: Integers) -> Floats:
        """Mean think time after each request, by its number from 0. [s]

        The rate of returning rises evenly, to what is needed or to where no user changes turns any more.
        """
        fast_s = max(self.think_time_s, self.slow_s / _FROZEN)
        part = np.minimum(1.0, number / (_HURRIED_SHARE * self.settling))
        means_s = 1.0 / ((1.0 - part) / self.slow_s + part / fast_s)
        return np.where(part < 1.0, means_s, self.think_time_s)


class Stream:
    """The input of one run, drawn on demand, with the same numbers in blocks of any size.

    Each purpose has its own stream, and an unused stream costs nothing.

    Attributes:
        requests: total number of requests.
        users: a closed population, whose requests arrive after their users' think times; else None.
        underway: batches that are served at the start; None for an empty fleet.
    """

    def __init__(
        self,
        demand: Demand,
        requests: int,
        seed: Seed,
        spells: Spells | None = None,
        start: Start | None = None,
    ) -> None:
        self.requests = requests
        self.underway: Underway | None = None
        self._at_once = 0
        if start is not None:
            self.underway = start.underway(seed.generator(Purpose.START))
            self._at_once = len(self.underway.placed)
        self.users = demand.users if isinstance(demand, ClosedPopulation) else None
        if isinstance(demand, Workload) and isinstance(demand.arrivals, TraceArrivals):
            self.requests = len(demand.arrivals.instants_s)
        self._demand = demand
        self._seed = seed
        self._generators: dict[Purpose, np.random.Generator] = {}
        self._drawn: Counter[Purpose] = Counter()
        self._arrived = self._thought = 0
        self._unit_instant = 0.0
        self._surge_from = math.inf
        self._phases: PhaseClock | None = None
        self._spells = spells
        self._spell_draws: SpellDraws | None = None
        self._instants_s = np.zeros(0)  # of the last requested ones, for spells

    def arrived_s(self, count: int, out: Floats | None = None) -> Floats:
        """Rising instants, shape `(count,)`, into `out` if given; gaps of rate 1 scaled to the rate. [s]

        Raises:
            InputError: the rate and the length of the run overflow.
        """
        if isinstance(self._demand, ClosedPopulation):
            raise DomainError("users ask when they have thought, and not at instants of their own")
        rate_rps, at_once = self._demand.arrival_rate_rps, min(count, self._at_once)
        self._at_once -= at_once
        unit_instants = self._unit_rate_instants(self._demand.arrivals, count - at_once)
        if at_once > 0:
            unit_instants = np.concatenate([np.zeros(at_once), unit_instants])
        instants_s = np.divide(unit_instants, rate_rps, out=unit_instants if out is None else out)
        self._arrived += count - at_once
        if not np.isfinite(instants_s[-1]):
            raise InputError(f"a run of {self.requests} requests at {rate_rps:g} rps lasts too long")
        if self._spells is not None:
            self._instants_s = instants_s.copy()
        return instants_s

    def think_s(self, count: int) -> Floats:
        """Think time after each request, by request in order of arrival, shape `(count,)`. [s]"""
        if isinstance(self._demand, Workload):
            raise DomainError("arrivals at a rate do not think")
        thoughts = self._next(Purpose.THINK, count, np.random.Generator.standard_exponential)
        if not isinstance(self._demand, SettlingUsers):
            return self._demand.think_time_s * thoughts
        number = np.arange(self._thought, self._thought + count)
        self._thought += count
        return self._demand.think_means_s(number) * thoughts

    def service(self, count: int) -> Floats:
        """Uniforms in [0, 1), shape `(count,)`; a batch uses that of its oldest request.

        In spells they depend on the instants of arrival, which must be drawn first; closed users have none before
        they are served, so their batches' times are independent.
        """
        if self._spells is None or self.users is not None:
            return self._next(Purpose.SERVICE, count, np.random.Generator.random)
        if len(self._instants_s) != count:
            raise DomainError(
                "service in spells is drawn for the very requests whose instants were drawn last"
            )
        if self._spell_draws is None:
            self._spell_draws = SpellDraws(
                self._spells, self._generator(Purpose.SPELLS), self._generator(Purpose.SERVICE)
            )
        return self._spell_draws.uniforms(self._instants_s)

    def routing(self, count: int) -> Floats:
        """Uniforms in [0, 1), shape `(2 * count,)`; two for each request."""
        return self._next(Purpose.ROUTING, 2 * count, np.random.Generator.random, of_each=2)

    def _next(
        self, purpose: Purpose, count: int, draw: Draw, law: Hashable = None, *, of_each: int = 1
    ) -> Floats:
        """The next numbers of a purpose, shape `(count,)`, shared with other short runs that draw them.

        Args:
            draw: numbers from a generator, of which fewer are the first of more.
            law: of the numbers, if a purpose has several.
            of_each: how many a request has.
        """
        if self.requests > _KEPT_REQUESTS:
            return draw(self._generator(purpose), count)
        place = self._drawn[purpose]
        self._drawn[purpose] += count
        first = _KEPT.first(
            (self._seed, purpose, law),
            max(place + count, of_each * self.requests),
            lambda wanted: draw(self._seed.generator(purpose), wanted),
        )
        return first[place : place + count].copy()

    def _generator(self, purpose: Purpose) -> np.random.Generator:
        if purpose not in self._generators:
            self._generators[purpose] = self._seed.generator(purpose)
        return self._generators[purpose]

    def _unit_rate_instants(self, arrivals: ArrivalProcess, count: int) -> Floats:
        match arrivals:
            case PoissonArrivals() | GammaArrivals() | SplitArrivals():
                return self._renewals(arrivals, count)
            case MmppArrivals():
                return self._unit_rate_instants(ModulatedArrivals(bursts=arrivals), count)
            case ModulatedArrivals(base=base) as modulated:
                instants = self._unit_rate_instants(base, count)
                self._phase_clock(modulated).place(instants)
                return instants
            case DeterministicArrivals():
                return np.arange(self._arrived + 1.0, self._arrived + count + 1.0)
            case TraceArrivals(instants_s=instants_s) as trace:
                part = np.asarray(instants_s[self._arrived : self._arrived + count])
                return (part - instants_s[0]) * trace.rate_rps
            case SurgingArrivals(base=base) as surging:
                return self._surged(self._unit_rate_instants(base, count), surging)

    def _surged(self, instants: Floats, surging: SurgingArrivals) -> Floats:
        """Instants with shorter gaps from the arrival that begins the surge."""
        last = surging.before - 1 - self._arrived  # index of the arrival that begins it
        if 0 <= last < len(instants):
            self._surge_from = float(instants[last])
        within = slice(max(0, last + 1), None)
        instants[within] = self._surge_from + (instants[within] - self._surge_from) / surging.factor
        return instants

    def _phase_clock(self, arrivals: ModulatedArrivals) -> PhaseClock:
        if self._phases is None:
            assert isinstance(self._demand, Workload)  # noqa: S101  (who else has arrivals)
            rate_rps = self._demand.arrival_rate_rps
            self._phases = PhaseClock(arrivals, rate_rps, self._generator(Purpose.PHASES))
        return self._phases

    def _renewals(self, arrivals: _Random, count: int) -> Floats:
        """Instants of independent gaps, block by block, as if all had been summed at once."""
        if self.requests <= _KEPT_REQUESTS:
            return self._next(Purpose.ARRIVALS, count, partial(_instants, arrivals), arrivals)
        gaps = _gaps(arrivals, self._generator(Purpose.ARRIVALS), count)
        self._unit_instant = add_up(gaps, self._unit_instant)
        return gaps


def _instants(arrivals: _Random, generator: np.random.Generator, count: int) -> Floats:
    """The first instants of independent gaps of mean 1."""
    gaps = _gaps(arrivals, generator, count)
    add_up(gaps, 0.0)
    return gaps


def _gaps(arrivals: _Random, generator: np.random.Generator, count: int) -> Floats:
    """Independent gaps of mean 1."""
    if isinstance(arrivals, PoissonArrivals):
        return generator.standard_exponential(count)
    if isinstance(arrivals, SplitArrivals):
        shape = math.inf if arrivals.base_cv == 0.0 else 1.0 / arrivals.base_cv**2
        return _split_gaps(generator, shape, 1.0 / arrivals.count, count)
    return _gamma_gaps(generator, 1.0 / arrivals.cv**2, count)


def _gamma_gaps(generator: np.random.Generator, shape: float, count: int) -> Floats:
    """Gaps of mean 1, by phases if these are few."""
    phases = round(shape)
    if phases <= _PHASES_MAX and abs(shape - phases) < _WHOLE * shape:
        return grouped(generator.standard_exponential(count * phases), phases)
    return generator.standard_gamma(shape, count) / shape


@compiled
def _split_gaps(generator: np.random.Generator, shape: float, share: float, count: int) -> Floats:
    """Gaps of mean 1, each a geometric number of gamma gaps of mean `share`."""
    gaps, stay = np.empty(count), math.log1p(-share)
    for place in range(count):
        number = 1.0 + math.floor(math.log1p(-generator.random()) / stay)
        mean = number if shape == math.inf else generator.standard_gamma(shape * number) / shape
        gaps[place] = share * mean
    return gaps


@compiled
def grouped(exponentials: Floats, phases: int) -> Floats:
    """Erlang gaps of mean 1, each the mean of several exponentials, in half the time of gamma draws."""
    gaps = np.empty(len(exponentials) // phases)
    for place in range(len(gaps)):
        total = 0.0
        for phase in range(place * phases, (place + 1) * phases):
            total += exponentials[phase]
        gaps[place] = total / phases
    return gaps


@compiled
def add_up(gaps: Floats, start: float) -> float:
    """Replace gaps with their sums from a start; return the last. It takes a third of `numpy.cumsum`'s time."""
    for place in range(len(gaps)):
        start += gaps[place]
        gaps[place] = start
    return start


def draw(
    demand: Demand,
    requests: int,
    seed: Seed,
    spells: Spells | None = None,
    start: Start | None = None,
) -> Draws | ClosedDraws:
    """All draws of a stream at once: the first `requests` requests; a trace has its own number."""
    stream = Stream(demand, requests, seed, spells, start)
    count = stream.requests
    if stream.users is not None:
        return ClosedDraws(
            users=stream.users,
            think_s=stream.think_s(count),
            service=stream.service(count),
            routing=stream.routing(count),
        )
    return Draws(
        arrived_s=stream.arrived_s(count),
        service=stream.service(count),
        routing=stream.routing(count),
        underway=stream.underway,
    )


class RepeatedStream(Stream):
    """A stream that keeps what is drawn, so that several runs have the same requests and draw them once."""

    def __init__(
        self,
        demand: Demand,
        requests: int,
        seed: Seed,
        spells: Spells | None = None,
        start: Start | None = None,
    ) -> None:
        super().__init__(demand, requests, seed, spells, start)
        self._blocks: dict[str, list[Floats]] = {}
        self._places: Counter[str] = Counter()

    def rewind(self) -> None:
        """Begin again with the first request."""
        self._places.clear()

    def arrived_s(self, count: int, out: Floats | None = None) -> Floats:
        """Rising instants, shape `(count,)`, into `out` if given. [s]"""
        instants_s = self._again("arrived_s", count, super().arrived_s)
        return instants_s if out is None else np.add(instants_s, 0.0, out=out)

    def think_s(self, count: int) -> Floats:
        """Think times, shape `(count,)`. [s]"""
        return self._again("think_s", count, super().think_s)

    def service(self, count: int) -> Floats:
        """Uniforms, shape `(count,)`."""
        return self._again("service", count, super().service)

    def routing(self, count: int) -> Floats:
        """Uniforms, shape `(2 * count,)`."""
        return self._again("routing", count, super().routing)

    def _again(self, name: str, count: int, draw_next: Callable[[int], Floats]) -> Floats:
        """A copy of the next numbers; every run asks for as many at a time as the first."""
        place, blocks = self._places[name], self._blocks.setdefault(name, [])
        self._places[name] += 1
        if place == len(blocks):
            blocks.append(draw_next(count))
        return blocks[place].copy()


class Replay:
    """Existing draws as a stream, in place of `Stream`."""

    def __init__(self, draws: Draws | ClosedDraws) -> None:
        self.requests = len(draws.service)
        self.users = draws.users if isinstance(draws, ClosedDraws) else None
        self.underway = None if isinstance(draws, ClosedDraws) else draws.underway
        self._draws = draws
        self._given: dict[str, int] = {}

    def arrived_s(self, count: int, out: Floats | None = None) -> Floats:
        """Rising instants, shape `(count,)`. [s]"""
        instants_s = self._next("arrived_s", count)
        return instants_s if out is None else np.add(instants_s, 0.0, out=out)

    def think_s(self, count: int) -> Floats:
        """Think times, shape `(count,)`. [s]"""
        return self._next("think_s", count)

    def service(self, count: int) -> Floats:
        """Uniforms, shape `(count,)`."""
        return self._next("service", count)

    def routing(self, count: int) -> Floats:
        """Uniforms, shape `(2 * count,)`."""
        return self._next("routing", 2 * count)

    def _next(self, name: str, count: int) -> Floats:
        start = self._given.get(name, 0)
        self._given[name] = start + count
        values: Floats = getattr(self._draws, name)
        return values[start : start + count].copy()
