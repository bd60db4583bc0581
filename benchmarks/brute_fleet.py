"""Brute fleet: brute_fleet.c from Python, and the closed forms that it is checked against.

    python benchmarks/brute_fleet.py

It is compared with closed forms (M/M/c, M/D/1, loss, bulk service, batch timers, routers, ...), and exits with 1 if
one is more than four standard errors off. It imports nothing from the project, which it is here to check. It needs a
C compiler (cc, gcc or clang).
"""

import ctypes
import functools
import itertools
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from scipy.stats import poisson

Floats = NDArray[np.float64]

SOURCE = Path(__file__).with_name("brute_fleet.c")
FLAGS = ("-O3", "-shared", "-fPIC")
ROUTINGS = ("round-robin", "random", "least-outstanding", "power-of-two", "shared-queue")
TIMERS = ("oldest", "open")


# ---- service ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law of the time of a batch of one size: a quantile function, by `kind`.

    Attributes:
        kind: "steps", x_s[i] for the i-th of equal shares; "lines", straight from (u[i], x_s[i]) to the next;
            "exponential" with mean x_s[0].
    """

    kind: str
    x_s: tuple[float, ...]
    u: tuple[float, ...] = ()

    @property
    def mean_s(self) -> float:
        if self.kind == "lines":
            return float(np.trapezoid(self.x_s, self.u))
        return math.fsum(self.x_s) / len(self.x_s)

    def quantile_s(self, probability: float) -> float:
        """Quantile for 0 < probability < 1; of samples the smallest that this share stays within."""
        if self.kind == "lines":
            return float(np.interp(probability, self.u, self.x_s))
        return self.x_s[math.ceil(probability * len(self.x_s)) - 1]


def samples(times_s: Sequence[float]) -> Law:
    """The law in which each of the samples is equally likely."""
    return Law(kind="steps", x_s=tuple(sorted(times_s)))


def constant(time_s: float) -> Law:
    return Law(kind="steps", x_s=(time_s,))


def exponential(mean_s: float) -> Law:
    return Law(kind="exponential", x_s=(mean_s,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Laws of the measured batch sizes; between two of them the law is their mean, quantile by quantile."""

    laws: dict[int, Law]
    batch_work_s: float = 0.0
    request_work_s: float = 0.0
    wake_s: float = 0.0
    overhead_s: float = 0.0

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted(self.laws))

    def place(self, size: int) -> tuple[int, float]:
        """Index of the measured size at or below this one, and the weight of the next."""
        sizes = self.sizes
        at = max(i for i, one in enumerate(sizes) if one <= size)
        if sizes[at] == size:
            return at, 0.0
        return at, (size - sizes[at]) / (sizes[at + 1] - sizes[at])

    def mean_s(self, size: int) -> float:
        """Mean time that a batch of this size occupies its replica."""
        at, weight = self.place(size)
        low = self.laws[self.sizes[at]].mean_s
        high = self.laws[self.sizes[at + 1]].mean_s if weight else 0.0
        return (1.0 - weight) * low + weight * high + self.batch_work_s + size * self.request_work_s

    def throughput_rps(self, size_max: int) -> float:
        """Largest rate of one replica with batches up to this size."""
        return max(size / self.mean_s(size) for size in range(1, size_max + 1))


# ---- fleet ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A plan under its arrivals. `gap_cv` 1 is Poisson, 0 equal gaps, any other gamma.

    `bursts` has the rate in a burst over that between them, and how long both last on average. [s]
    """

    service: Service
    rate_rps: float
    replicas: int = 1
    batch_size_max: int = 1
    batch_wait_max_s: float = 0.0
    routing: str = "round-robin"
    timer: str = "oldest"
    queue_limit: int | None = None
    gap_cv: float = 1.0
    bursts: tuple[float, float, float] | None = None

    @property
    def phase_rps(self) -> tuple[float, float]:
        """Arrival rates in a burst, and between bursts."""
        if self.bursts is None:
            return self.rate_rps, self.rate_rps
        ratio, burst_s, calm_s = self.bursts
        calm_rps = self.rate_rps * (burst_s + calm_s) / (ratio * burst_s + calm_s)
        return ratio * calm_rps, calm_rps

    @property
    def is_stable(self) -> bool:
        """Whether full batches keep up with the arrivals."""
        full_rps = self.batch_size_max / self.service.mean_s(self.batch_size_max)
        return self.rate_rps < self.replicas * full_rps


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over independent runs, with its standard error."""

    value: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Counts of independent runs of one fleet, a row each; shape of `…_beyond` `(runs, thresholds)`."""

    arrived: Floats
    lost: Floats
    responses_beyond: Floats
    waits_beyond: Floats
    response_thresholds_s: Floats
    wait_thresholds_s: Floats
    response_mean_s: Estimate
    wait_mean_s: Estimate
    utilization: Estimate
    batch_size_mean: Estimate

    @property
    def loss(self) -> Estimate:
        return ratio(self.lost, self.arrived)

    def response_beyond(self, threshold_s: float) -> Estimate:
        """Share of the served requests that took longer."""
        return ratio(self._beyond(threshold_s), self.arrived - self.lost)

    def late(self, threshold_s: float) -> Estimate:
        """Share of all requests that took longer or were lost."""
        return ratio(self._beyond(threshold_s) + self.lost, self.arrived)

    def wait_beyond(self, threshold_s: float) -> Estimate:
        """Share of the served requests that waited longer before their batch began."""
        place = int(np.searchsorted(self.wait_thresholds_s, threshold_s))
        return ratio(self.waits_beyond[:, place], self.arrived - self.lost)

    def _beyond(self, threshold_s: float) -> Floats:
        return self.responses_beyond[:, int(np.searchsorted(self.response_thresholds_s, threshold_s))]


def ratio(parts: Floats, wholes: Floats) -> Estimate:
    """A share by independent runs, each with its own whole (Cochran 1977, sec. 6.3)."""
    share = float(parts.sum() / wholes.sum())
    residuals = parts - share * wholes
    error = math.sqrt(float((residuals**2).sum()) / (len(parts) - 1) / len(parts)) / float(wholes.mean())
    return Estimate(value=share, error=error)


# ---- the compiled loop ----


class _CFleet(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("replicas", "batch_size_max", "routing", "timer")),
        ("queue_limit", ctypes.c_int64),
        ("batch_wait_max_s", ctypes.c_double),
        ("arrivals", ctypes.c_int32),
        ("rate_rps", ctypes.c_double),
        ("gap_cv", ctypes.c_double),
        ("phase_rps", ctypes.c_double * 2),
        ("phase_mean_s", ctypes.c_double * 2),
        ("law_kind", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("law_begin", "u", "x_s", "place", "weight")),
        *((name, ctypes.c_double) for name in ("batch_work_s", "request_work_s", "wake_s", "overhead_s")),
    )


class _CCounts(ctypes.Structure):
    _fields_ = (
        ("arrived", ctypes.c_int64),
        ("lost", ctypes.c_int64),
        *(
            (name, ctypes.c_double)
            for name in ("batches", "response_sum_s", "wait_sum_s", "busy_s", "window_s")
        ),
    )


class _CHistogram(ctypes.Structure):
    _fields_ = (
        ("thresholds", ctypes.c_int32),
        ("thresholds_s", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
    )


def has_compiler() -> bool:
    return _compiler() is not None


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@functools.cache
def _library() -> ctypes.CDLL:
    command = _compiler()
    if command is None:
        raise SystemExit("no C compiler: install one (cc, gcc or clang) to run the brute-force check")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "brute_fleet.so"
        build = [command, *FLAGS, str(SOURCE), "-o", str(built), "-lm"]
        if subprocess.run([*build, "-march=native"], check=False, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(build, check=True)
        return ctypes.CDLL(str(built))


@dataclass(slots=True)
class _Arrays:
    """The arrays that a C fleet points to, kept alive."""

    fleet: _CFleet
    held: list[NDArray[np.generic]] = field(default_factory=list)

    @classmethod
    def of(cls, fleet: Fleet) -> "_Arrays":
        service, arrays = fleet.service, cls(fleet=_CFleet())
        laws = [service.laws[size] for size in service.sizes]
        places = [(0, 0.0), *(service.place(size) for size in range(1, fleet.batch_size_max + 1))]
        values = {
            "replicas": fleet.replicas,
            "batch_size_max": fleet.batch_size_max,
            "routing": ROUTINGS.index(fleet.routing),
            "timer": TIMERS.index(fleet.timer),
            "queue_limit": -1 if fleet.queue_limit is None else fleet.queue_limit,
            "batch_wait_max_s": fleet.batch_wait_max_s,
            "arrivals": {1.0: 0, 0.0: 2}.get(fleet.gap_cv, 1) if fleet.bursts is None else 3,
            "rate_rps": fleet.rate_rps,
            "gap_cv": fleet.gap_cv,
            "phase_rps": fleet.phase_rps,
            "phase_mean_s": (1.0, 1.0) if fleet.bursts is None else fleet.bursts[1:],
            "law_kind": ("steps", "lines", "exponential").index(laws[0].kind),
            "law_begin": arrays.at(np.cumsum([0, *(len(law.x_s) for law in laws)]), np.int64),
            "u": arrays.at([u for law in laws for u in law.u], np.float64),
            "x_s": arrays.at([x_s for law in laws for x_s in law.x_s], np.float64),
            "place": arrays.at([place for place, _ in places], np.int32),
            "weight": arrays.at([weight for _, weight in places], np.float64),
            **{
                name: getattr(service, name)
                for name in ("batch_work_s", "request_work_s", "wake_s", "overhead_s")
            },
        }
        for name, value in values.items():
            setattr(arrays.fleet, name, value)
        return arrays

    def at(self, values: object, kind: type[np.generic]) -> int:
        self.held.append(np.ascontiguousarray(values, dtype=kind))
        return self.held[-1].ctypes.data


class _Histogram:
    def __init__(self, thresholds_s: Floats) -> None:
        self.thresholds_s = thresholds_s
        self.counts = np.zeros(len(thresholds_s) + 1, dtype=np.int64)
        self.c = _CHistogram(len(thresholds_s), thresholds_s.ctypes.data, self.counts.ctypes.data)

    def beyond(self) -> Floats:
        """Counts above each threshold, which are then reset."""
        above = self.counts[::-1].cumsum()[::-1][1:].astype(float)
        self.counts[:] = 0
        return above


def simulate(
    fleet: Fleet,
    *,
    seed: int,
    runs: int,
    counted: int,
    warm_up: int,
    response_thresholds_s: Sequence[float] = (),
    wait_thresholds_s: Sequence[float] = (),
) -> Runs:
    """Independent runs, each of `counted` requests after `warm_up` others at an empty fleet."""
    arrays, library = _Arrays.of(fleet), _library()
    responses, waits = (
        _Histogram(np.unique(np.array(times_s, dtype=float)))
        for times_s in (response_thresholds_s, wait_thresholds_s)
    )
    rows, late, waited = [], [], []
    for child in np.random.SeedSequence(seed).spawn(runs):
        counts, seeds = _CCounts(), child.generate_state(3, dtype=np.uint64)
        done = library.fleet_run(
            ctypes.byref(arrays.fleet), ctypes.c_void_p(seeds.ctypes.data), ctypes.c_int64(warm_up),
            ctypes.c_int64(counted), ctypes.byref(counts), ctypes.byref(responses.c), ctypes.byref(waits.c),
        )  # fmt: skip
        if not done:
            raise MemoryError(f"no memory for {fleet}")
        rows.append([float(getattr(counts, name)) for name, _ in _CCounts._fields_])
        late.append(responses.beyond())
        waited.append(waits.beyond())
    arrived, lost, batches, response_sum_s, wait_sum_s, busy_s, window_s = np.array(rows).T
    served = np.maximum(arrived - lost, 1.0)
    return Runs(
        arrived=arrived,
        lost=lost,
        responses_beyond=np.array(late),
        waits_beyond=np.array(waited),
        response_thresholds_s=responses.thresholds_s,
        wait_thresholds_s=waits.thresholds_s,
        response_mean_s=ratio(response_sum_s, served),
        wait_mean_s=ratio(wait_sum_s, served),
        utilization=ratio(busy_s, window_s * fleet.replicas),
        batch_size_mean=ratio(served, batches),
    )


# ---- against closed forms ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A figure of one fleet that theory knows."""

    name: str
    fleet: Fleet
    figure: Callable[[Runs], Estimate]
    exact: float
    response_s: float | None = None
    wait_s: float | None = None

    def measured(self, *, seed: int, counted: int) -> Estimate:
        runs = simulate(
            self.fleet,
            seed=seed, runs=40, counted=counted, warm_up=counted // 4,
            response_thresholds_s=[] if self.response_s is None else [self.response_s],
            wait_thresholds_s=[] if self.wait_s is None else [self.wait_s],
        )  # fmt: skip
        return self.figure(runs)


def known() -> Iterator[Known]:
    """Figures from Kleinrock (1975), Queueing Systems vol. 1, unless another source is given."""
    yield from _single_requests()
    yield from _losses()
    yield from _batches()
    yield from _arrivals()
    yield from _routings()
    yield from _services()


MM1 = Fleet(service=Service(laws={1: exponential(1.0)}), rate_rps=0.8)


def _single_requests() -> Iterator[Known]:
    yield _response("M/M/1", MM1, 10.0, math.exp(-2.0))
    yield Known(name="M/M/1, utilization", fleet=MM1, figure=lambda runs: runs.utilization, exact=0.8)
    for servers, rate_rps in ((3, 2.4), (8, 6.4)):
        fleet = replace(MM1, rate_rps=rate_rps, replicas=servers, routing="shared-queue")
        waits = _erlang_c(servers, rate_rps) * math.exp(-0.5 * (servers - rate_rps))
        yield _wait(f"M/M/{servers}", fleet, 0.5, waits)
    fleet = replace(MM1, service=Service(laws={1: constant(1.0)}))
    for time_s in (0.5, 4.5):
        yield _wait("M/D/1", fleet, time_s, 1.0 - _crommelin(0.8, time_s))


def _losses() -> Iterator[Known]:
    for servers, places, rate_rps in ((1, 4, 0.9), (1, 0, 0.9), (1, 4, 1.2), (3, 5, 2.7), (3, 0, 2.7)):
        fleet = replace(MM1, rate_rps=rate_rps, replicas=servers, queue_limit=places, routing="shared-queue")
        yield _lost(f"M/M/{servers}/{servers + places}", fleet, _mmck_loss(rate_rps, servers, places))
    for places in (0, 2, 5):
        fleet = replace(_bulk(exponential, size=4, rate_rps=3.0), queue_limit=places)
        yield _lost(f"M/M^[1,4]/1, {places} may wait", fleet, _bulk_loss(3.0, 4, places))


def _batches() -> Iterator[Known]:
    root = brentq(lambda r: r**5 - 4.0 * r + 3.0, 0.0, 0.99)
    at_rest = (1.0 - root) / (1.0 - root + 3.0)
    waits = (1.0 - at_rest) * math.exp(-2.0 * (1.0 - root**4))
    yield _wait("M/M^[1,4]/1", _bulk(exponential, size=4, rate_rps=3.0), 2.0, waits)
    pairs = replace(
        _bulk(constant, size=2, rate_rps=1.0), batch_wait_max_s=1.5, replicas=40, routing="shared-queue"
    )
    for timer in TIMERS:  # the first of a pair waits for the other, 1.5 s at most; the other does not
        waits = math.exp(-0.8) / (2.0 - math.exp(-1.5))
        yield _wait(f"pairs, timer {timer}", replace(pairs, timer=timer), 0.8, waits)
    # A request always waits at the end of a batch, so waits are uniform between two starts.
    crowd = replace(_bulk(constant, size=200, rate_rps=20.0), batch_wait_max_s=0.5)
    yield _wait("crowd, timer oldest", crowd, 0.7, 0.3)
    yield _wait("crowd, timer open", replace(crowd, timer="open"), 1.2, 0.2)


def _arrivals() -> Iterator[Known]:
    for cv in (2.0, 0.5):
        sigma = _root(lambda s, scv=cv * cv: (1.0 + scv * (1.0 - s) / 0.8) ** (-1.0 / scv))
        yield _response(f"gamma/M/1, cv {cv}", replace(MM1, gap_cv=cv), 5.0, math.exp(-5.0 * (1.0 - sigma)))
    sigma = _root(lambda s: math.exp(-(1.0 - s) / 0.8))
    yield _response("D/M/1", replace(MM1, gap_cv=0.0), 3.0, math.exp(-3.0 * (1.0 - sigma)))
    yield _response(
        "bursts/M/1", replace(MM1, rate_rps=0.6, bursts=(2.0, 400.0, 400.0)), 10.0, _in_bursts(10.0)
    )


def _in_bursts(time_s: float) -> float:
    """P(T > t) of M/M/1 at 0.8 and at 0.4 for 400 s each in turn, from its chain of 400 places.

    A request that finds n others takes n + 1 exponential services; what it finds is weighted by the rates.
    """
    rates, places, switch = (0.8, 0.4), 400, 1.0 / 400.0
    chain = lil_matrix((2 * places, 2 * places))
    for phase in (0, 1):
        for n in range(places):
            here = 2 * n + phase
            out = {2 * n + 1 - phase: switch}
            if n + 1 < places:
                out[here + 2] = rates[phase]
            if n > 0:
                out[here - 2] = 1.0
            for there, rate in out.items():
                chain[there, here] += rate
                chain[here, here] -= rate
    chain[0, :] = 1.0
    right = np.zeros(2 * places)
    right[0] = 1.0
    share = spsolve(chain.tocsc(), right).reshape(places, 2) @ np.array(rates) / 0.6
    later = np.cumsum(poisson.pmf(np.arange(places), time_s))  # fewer than n + 1 services within t
    return float(share @ later)


def _routings() -> Iterator[Known]:
    four = replace(MM1, rate_rps=3.2, replicas=4)
    yield _response("4 x M/M/1, random", replace(four, routing="random"), 10.0, math.exp(-2.0))
    sigma = _root(lambda s: (3.2 / (3.2 + 1.0 - s)) ** 4)
    yield _response("4 x M/M/1, round-robin", four, 5.0, math.exp(-5.0 * (1.0 - sigma)))
    three = replace(MM1, rate_rps=1.8, replicas=3)
    for routing, choices in (("least-outstanding", 3), ("power-of-two", 2)):
        mean_s = _shortest_of(choices, rate_rps=1.8, room=10) / 1.8
        yield _mean(f"3 x M/M/1, {routing}", replace(three, routing=routing), mean_s)


def _services() -> Iterator[Known]:
    """Figures of services; for wakes by Welch (1964), Operations Research 12(5), 736-752."""
    service = Service(laws={1: constant(1.0)}, wake_s=0.5, overhead_s=0.25)
    at_rest = 0.4 / (0.4 + 0.6 * 1.5)
    mean_s = 0.6 / (2.0 * 0.4) + 0.6 * (2.25 - 1.0) / (2.0 * (0.4 + 0.9)) + 1.0 + 0.5 * at_rest + 0.25
    yield _mean("M/D/1 with wakes", Fleet(service=service, rate_rps=0.6), mean_s)
    # Straight lines with a mean of 1.125 s and 0.15 s of work: E S^2 / 2 of Pollaczek and Khinchine.
    lines = Law(kind="lines", u=(0.0, 0.5, 1.0), x_s=(0.5, 1.0, 2.0))
    service = Service(laws={1: lines}, batch_work_s=0.1, request_work_s=0.05)
    square = (0.5 * (1.75 + 7.0)) / 3.0 + 2.0 * 0.15 * 1.125 + 0.15**2
    mean_s = 0.5 * square / (2.0 * (1.0 - 0.5 * 1.275)) + 1.275
    yield _mean("M/G/1 of straight lines, with work", Fleet(service=service, rate_rps=0.5), mean_s)
    # Batches of three take 0.75, 1 or 3 s; their first waits for two others, their second for one.
    service = Service(laws={1: constant(1.0), 2: samples([0.5, 0.5, 2.0]), 4: samples([1.0, 1.5, 4.0])})
    fleet = Fleet(
        service=service,
        rate_rps=3.0,
        replicas=40,
        batch_size_max=3,
        batch_wait_max_s=1e9,
        routing="shared-queue",
    )
    waits = [math.exp(-3.0 * t) * (2.0 + 3.0 * t) / 3.0 for t in (0.75, 0.5)]
    yield _response("batches between two measured sizes", fleet, 1.5, (1.0 + sum(waits)) / 3.0)


def _response(name: str, fleet: Fleet, time_s: float, beyond: float) -> Known:
    figure = functools.partial(Runs.response_beyond, threshold_s=time_s)
    name = f"{name}, P(response > {time_s} s)"
    return Known(name=name, fleet=fleet, figure=figure, exact=beyond, response_s=time_s)


def _wait(name: str, fleet: Fleet, time_s: float, beyond: float) -> Known:
    figure = functools.partial(Runs.wait_beyond, threshold_s=time_s)
    return Known(
        name=f"{name}, P(wait > {time_s} s)", fleet=fleet, figure=figure, exact=beyond, wait_s=time_s
    )


def _lost(name: str, fleet: Fleet, loss: float) -> Known:
    return Known(name=f"{name}, loss", fleet=fleet, figure=lambda runs: runs.loss, exact=loss)


def _mean(name: str, fleet: Fleet, mean_s: float) -> Known:
    return Known(
        name=f"{name}, mean response", fleet=fleet, figure=lambda runs: runs.response_mean_s, exact=mean_s
    )


def _bulk(law: Callable[[float], Law], *, size: int, rate_rps: float) -> Fleet:
    """One replica whose batches take 1 s on average, whatever their size."""
    return Fleet(service=Service(laws={1: law(1.0), size: law(1.0)}), rate_rps=rate_rps, batch_size_max=size)


def _root(transform: Callable[[float], float]) -> float:
    """The share sigma of GI/M/1 with service of mean 1."""
    return float(brentq(lambda s: transform(s) - s, 0.0, 0.999))


def _erlang_c(servers: int, offered: float) -> float:
    below = sum(offered**k / math.factorial(k) for k in range(servers))
    top = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return top / (below + top)


def _crommelin(load: float, time_s: float) -> float:
    """P(wait <= t) of M/D/1 with service of 1 s (Crommelin 1932)."""
    terms = (
        (load * (k - time_s)) ** k / math.factorial(k) * math.exp(-load * (k - time_s))
        for k in range(math.floor(time_s) + 1)
    )
    return (1.0 - load) * math.fsum(terms)


def _mmck_loss(offered: float, servers: int, places: int) -> float:
    weights = [1.0]
    for k in range(1, servers + places + 1):
        weights.append(weights[-1] * offered / min(k, servers))
    return weights[-1] / math.fsum(weights)


def _bulk_loss(rate_rps: float, size: int, places: int) -> float:
    """Share of time that all places are taken at M/M^[1,size]/1: state 0 is rest, 1 + n that n wait."""
    states = places + 2
    rates = np.zeros((states, states))
    for state in range(states):
        if state < states - 1:
            rates[state, state + 1] += rate_rps
        if state > 0:
            waiting = state - 1
            rates[state, 1 + max(waiting - size, 0) if waiting else 0] += 1.0
    return float(_steady(lil_matrix(rates))[-1])


def _shortest_of(choices: int, *, rate_rps: float, room: int) -> float:
    """Mean number in system of three exponential servers; arrivals join the shortest of some at random.

    Each queue holds up to `room`; an arrival beyond it, which is too rare to see, is rejected.
    """
    shape = (room + 1,) * 3
    rates = lil_matrix((math.prod(shape), math.prod(shape)))
    picks = list(itertools.combinations(range(3), choices))
    for state in np.ndindex(shape):
        here = np.ravel_multi_index(state, shape)
        for pick in picks:
            joined = min(pick, key=lambda server, lengths=state: lengths[server])
            if state[joined] < room:
                rates[here, np.ravel_multi_index(_moved(state, joined, 1), shape)] += rate_rps / len(picks)
        for server in range(3):
            if state[server] > 0:
                rates[here, np.ravel_multi_index(_moved(state, server, -1), shape)] += 1.0
    shares = _steady(rates)
    return math.fsum(share * sum(state) for share, state in zip(shares, np.ndindex(shape), strict=True))


def _moved(state: tuple[int, ...], server: int, by: int) -> tuple[int, ...]:
    return tuple(length + by * (i == server) for i, length in enumerate(state))


def _steady(rates: lil_matrix) -> Floats:
    """Shares of time of a Markov chain, from its rates between different states."""
    balance = rates.T.tolil()
    balance.setdiag(balance.diagonal() - np.asarray(rates.sum(axis=1)).ravel())
    balance[0, :] = 1.0
    return np.asarray(spsolve(balance.tocsc(), np.eye(1, rates.shape[0]).ravel()))


def self_test(*, counted: int, error_max: float, seed: int = 0) -> list[str]:
    """A line for each figure; wrong or uncertain ones are marked."""
    lines = []
    for number, one in enumerate(known()):
        found = one.measured(seed=seed + number, counted=counted)
        off = (found.value - one.exact) / found.error
        good = abs(off) <= 4.0 and found.error <= error_max * one.exact
        verdict = "good" if good else "WRONG"
        lines.append(
            f"{verdict:5} {one.name:60} exact {one.exact:.6f}, found {found.value:.6f}, {off:+.1f} SE"
        )
    return lines


def main() -> None:
    lines = self_test(counted=100_000, error_max=0.02)
    print(*lines, sep="\n")
    sys.exit(any(line.startswith("WRONG") for line in lines))


if __name__ == "__main__":
    main()
