"""What the laws of queues have in common, a row a law: units, inverses, Little, more load, the answer, refusals."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.by_size import BulkCTMC
from capacity.queues.batch.chain import exact_batch_load
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.batch.gamma import BulkJitter
from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc import Formula, GGc
from capacity.queues.general.gimc import GIMc
from capacity.queues.general.mdc import MDc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.general.mphc import MPHc
from capacity.queues.law import Law
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.erlang import MGcc
from capacity.queues.markov.erlang_a import ErlangA
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.queues.markov.mminf import MMInf
from capacity.queues.markov.priority import Priority
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.queues.routing import RandomSplit, RoundRobin
from capacity.queues.shortest_queue import ShortestQueue

Shape = Any  # what else a law has: patience, places to wait, the law of gaps or of services
OFTEN_USED = st.floats(1e-6, 0.999999)
ANY_LOAD = (
    st.floats(-6, 3).map(lambda power: 10.0**power)
    | st.floats(-12, -1).map(lambda power: 1.0 + 10.0**power)
    | st.floats(-12, -1).map(lambda power: 1.0 - 10.0**power)
    | st.just(1.0)
)
NO_SHAPE = st.none()
MANY = st.integers(1, 12) | st.integers(1, 300)
NOTHING = 1e-280  # what is smaller loses digits, or is 0
GAPS = [
    (Family.DETERMINISTIC, None), (Family.EXPONENTIAL, None), (Family.ERLANG, 0.25), (Family.ERLANG, 0.01),
    (Family.GAMMA, 0.01), (Family.GAMMA, 1e-9), (Family.GAMMA, 2.0), (Family.GAMMA, 100.0),
    (Family.HYPEREXPONENTIAL, 1.0), (Family.HYPEREXPONENTIAL, 2.25), (Family.HYPEREXPONENTIAL, 100.0),
]  # fmt: skip
SERVICES = [
    (Family.DETERMINISTIC, None), (Family.EXPONENTIAL, None), (Family.HYPEREXPONENTIAL, 6.0), (Family.ERLANG, 0.25),
    (Family.GAMMA, 0.03), (Family.GAMMA, 0.6), (Family.GAMMA, 20.0),
    (Family.LOGNORMAL, 0.05), (Family.LOGNORMAL, 1.5), (Family.LOGNORMAL, 50.0),
]  # fmt: skip
PHASES = (
    st.just((Family.EXPONENTIAL, None))
    | st.integers(1, 5).map(lambda stages: (Family.ERLANG, 1.0 / stages))
    | st.floats(1.0, 500.0).map(lambda scv: (Family.HYPEREXPONENTIAL, scv))
)
SCVS = st.just(0.0) | st.just(1.0) | st.floats(0.01, 100.0)
TIMES = st.lists(st.floats(0.2, 3.0), min_size=1, max_size=4).map(tuple)
FIGURES = [
    "load", "utilization", "offered_load", "throughput_rps", "batch_size_mean", "wait_probability",
    "queue_length_mean", "in_system_mean", "wait_mean_s", "response_mean_s", "loss_probability",
    "abandon_probability", "empty_probability",
]  # fmt: skip
MAY_BE_ABSENT = {"batch_size_mean", "loss_probability", "abandon_probability"}


def duration(mean_s: float, family: Family, scv: float | None = None) -> Duration:
    return Duration(family=family, mean_s=mean_s, scv=scv)


def gamma(mean_s: float, scv: float) -> Duration:
    return duration(mean_s, {0.0: Family.DETERMINISTIC, 1.0: Family.EXPONENTIAL}.get(scv, Family.GAMMA), scv)


def at_rate(kind: Callable[..., Law], servers: str = "servers", shape: str = "") -> Callable[..., Law]:
    """Makes laws that are given by the two rates, with the servers and the shape under these names."""

    def make(arrival: float, count: int, given: Shape, k: float) -> Law:
        named = {servers: count, shape: given / k if shape.endswith("_s") else given}
        named = {name: value for name, value in named.items() if name}
        return kind(arrival_rate_rps=arrival * k, service_rate_rps=k, **named)

    return make


def mmck(arrival: float, servers: int, room: int, k: float) -> MMcK:
    return MMcK(arrival_rate_rps=arrival * k, service_rate_rps=k, servers=servers, capacity=servers + room)


def mmpp(arrival: float, servers: int, shape: Shape, k: float) -> MMPPMc:
    """Phase 2 has `calm` times the arrivals of phase 1."""
    calm, (out, back) = shape
    busy = arrival / ((back + calm * out) / (out + back))
    rates = {"arrival_rates_rps": (k * busy, k * calm * busy), "switch_rates_per_s": (k * out, k * back)}
    return MMPPMc(**rates, service_rate_rps=k, servers=servers)


def ggc(arrival: float, servers: int, shape: Shape, k: float) -> GGc:
    gap_scv, scv, formula = shape
    return GGc(
        arrival=gamma(1.0 / arrival / k, gap_scv),
        service=gamma(1.0 / k, scv),
        servers=servers,
        formula=formula,
    )


def by_size(arrival: float, servers: int, times: tuple[float, ...], k: float) -> BulkCTMC:
    times_s = tuple(time / k for time in times)
    return BulkCTMC(
        arrival_rate_rps=arrival * len(times) / times_s[-1], batch_times_s=times_s, servers=servers
    )


def jitter(arrival: float, _: int, shape: Shape, k: float) -> BulkJitter:
    times, cv = shape
    times_s = tuple(time / k for time in times)
    return BulkJitter(
        arrival_rate_rps=arrival * len(times) / times_s[-1], batch_times_s=times_s, service_cv=cv
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A law: `make(arrivals per mean service, servers, shape, k)`, where k multiplies all rates."""

    make: Callable[[float, int, Shape, float], Law]
    example: tuple[float, int, Shape]  # utilization, servers, shape
    loads: st.SearchStrategy[float] = OFTEN_USED
    servers: st.SearchStrategy[int] = MANY
    shapes: st.SearchStrategy[Shape] = NO_SHAPE
    most: int = 60  # cases to try
    powers: int = 100  # of two, by which rates are multiplied
    kind: Kind = Kind.EXACT
    units: float = 0.0  # relative error where the unit of time is another
    inverse: float | None = 1e-12  # of tails at their quantiles; None: responses have atoms
    wait_is_served: bool = True  # the mean wait is of those that are served
    slower: str = "load servers"  # what makes the queue slower: more of the first, less of the second
    absent: frozenset[str] = frozenset(MAY_BE_ABSENT)  # figures that the law has not

    def law(self, load: float, servers: int, shape: Shape, k: float = 1.0) -> Law:
        return self.make(load * servers, servers, shape, k)


def without(*names: str) -> frozenset[str]:
    return frozenset(MAY_BE_ABSENT | set(names))


def having(name: str) -> frozenset[str]:
    return frozenset(MAY_BE_ABSENT - {name})


FEW = st.integers(1, 6)
FORMULAS = st.sampled_from((Formula.ALLEN_CUNNEEN, Formula.WHITT))
POWERS = st.floats(-6.0, 3.0).map(lambda power: 10.0**power)
ROWS = {
    "M/M/1": Row(make=lambda arrival, _, __, k: MM1(arrival_rate_rps=arrival * k, service_rate_rps=k),
        servers=st.just(1), most=100, powers=300, example=(0.25, 1, None), slower="load"),
    "M/M/c": Row(make=at_rate(MMc), most=100, powers=300, example=(0.9, 2, None)),
    "M/M/inf": Row(powers=40, make=lambda arrival, _, __, k: MMInf(arrival_rate_rps=arrival * k, service_rate_rps=k),
        loads=POWERS, example=(3.0, 1, None), slower="", absent=without("load", "utilization")),
    "M/M/c/K": Row(powers=40, make=mmck, loads=ANY_LOAD, shapes=st.integers(0, 6) | st.sampled_from([40, 300]),
        example=(1.25, 2, 3), inverse=1e-10, slower="", absent=having("loss_probability")),
    "M/M/c+M": Row(powers=40, make=at_rate(ErlangA, shape="patience_mean_s"), loads=ANY_LOAD, shapes=POWERS,
        example=(0.9, 2, 3.0), inverse=1e-9, wait_is_served=False, slower="", absent=having("abandon_probability")),
    "M/D/c": Row(make=lambda arrival, servers, _, k: MDc(
        arrival_rate_rps=arrival * k, service_time_s=1.0 / k, servers=servers),
        servers=MANY | st.integers(1, 2000), example=(0.8, 8, None), inverse=None),
    "GI/M/c": Row(most=80, powers=300, make=lambda arrival, servers, shape, k: GIMc(
        arrival=duration(1.0 / arrival / k, *shape), service_rate_rps=k, servers=servers),
        loads=st.floats(1e-6, 0.9999), shapes=st.sampled_from(GAPS), example=(0.9, 4, (Family.ERLANG, 0.25)),
        inverse=1e-10, absent=without("empty_probability")),
    "M/PH/c": Row(make=lambda arrival, servers, shape, k: MPHc(
        arrival_rate_rps=arrival * k, service=duration(1.0 / k, *shape), servers=servers),
        loads=st.floats(1e-6, 0.999), servers=FEW, shapes=PHASES, most=12,
        example=(0.9, 2, (Family.HYPEREXPONENTIAL, 4.0)), inverse=1e-11),
    "M/G/1": Row(make=lambda arrival, _, shape, k: MG1(
        arrival_rate_rps=arrival * k, service=duration(1.0 / k, *shape)),
        loads=st.floats(1e-6, 0.999), servers=st.just(1), shapes=st.sampled_from(SERVICES), most=15,
        example=(0.3, 1, (Family.GAMMA, 0.6)), units=1e-9, inverse=None, slower=""),
    "G/G/c": Row(most=40, make=ggc, loads=st.floats(1e-3, 0.999), servers=st.integers(1, 40),
        shapes=st.tuples(SCVS, SCVS, FORMULAS), example=(0.8, 4, (1.0, 2.0, Formula.WHITT)), units=1e-9,
        kind=Kind.APPROXIMATION, inverse=None, slower="", absent=without("empty_probability")),
    "MMPP/M/c": Row(make=mmpp, loads=st.floats(1e-3, 0.999), servers=FEW,
        shapes=st.tuples(st.just(0.0) | st.floats(1e-6, 0.9), st.tuples(POWERS, POWERS)), most=40,
        example=(0.75, 1, (0.2, (0.01, 0.01))), inverse=1e-10),
    "M/M(b)/c": Row(most=100, powers=300, make=lambda arrival, servers, batch, k: BulkMarkov(
        arrival_rate_rps=arrival * batch * k, service_time_s=1.0 / k, batch_size_max=batch, servers=servers),
        servers=st.integers(1, 60), shapes=st.integers(1, 200), example=(0.75, 2, 2), inverse=1e-11,
        absent=having("batch_size_mean"), slower=""),
    "batches by size": Row(make=by_size, loads=st.floats(1e-4, 0.9), servers=st.integers(1, 3), shapes=TIMES, most=25, slower="", example=(0.75, 2, (0.8, 1.0)), inverse=1e-11,
        absent=having("batch_size_mean") | {"offered_load"}),
    "batches with jitter": Row(powers=40, make=jitter, loads=st.floats(1e-4, 0.97),
        servers=st.just(1), shapes=st.tuples(TIMES, st.floats(0.05, 1.3)), most=5, example=(0.7, 1, ((1.0, 1.3), 0.3)), units=1e-12,
        inverse=1e-10, slower="", absent=having("batch_size_mean") | {"offered_load"}),
    "random split": Row(make=at_rate(RandomSplit, "replicas"), servers=st.integers(2, 500), example=(0.8, 4, None),
        inverse=1e-10, slower="load"),
    "in turn": Row(make=at_rate(RoundRobin, "replicas"), servers=st.integers(2, 500), example=(0.8, 4, None),
        inverse=1e-10, slower="load", absent=without("empty_probability")),
    "two choices": Row(make=at_rate(PowerOfChoices, "replicas"), servers=st.integers(2, 500), example=(0.8, 4, None),
        inverse=1e-10, kind=Kind.APPROXIMATION, slower="load", absent=without("empty_probability")),
    "shorter queue": Row(make=at_rate(ShortestQueue, "replicas"), servers=st.just(2), example=(0.8, 2, None),
        inverse=1e-10, slower="load"),
}  # fmt: skip
by_law = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
OTHERS = {
    "closed": Closed(users=6, think_time_s=20.0, service_time_s=2.0, servers=1),
    "closed with batches": BulkClosed(users=6, think_time_s=3.0, batch_times_s=(1.0, 1.2, 1.5)),
    "batches in fixed times": Bulk(arrival_rate_rps=0.8, batch_times_s=(1.0, 1.3)),
}
OTHERS_ABSENT = {
    "closed": without("load", "offered_load"),
    "closed with batches": having("batch_size_mean") | {"load", "offered_load"},
    "batches in fixed times": having("batch_size_mean") | {"offered_load"},
}
EXAMPLES = {name: row.law(*row.example) for name, row in ROWS.items()} | OTHERS
by_example = pytest.mark.parametrize("law", EXAMPLES.values(), ids=EXAMPLES)


def tried(test: Callable[[Row, float, int, Shape, float, float], None], row: Row) -> None:
    """Runs a test on cases of a row: load, servers, shape, quantile, and a power of two for another unit."""
    quantiles = st.floats(0.01, 0.9999) | st.sampled_from([0.5, 0.9, 0.99])
    cases = given(
        row.loads,
        row.servers,
        row.shapes,
        quantiles,
        st.integers(-row.powers, row.powers).map(lambda power: 2.0**power),
    )
    settings(derandomize=True, deadline=None, max_examples=row.most)(
        cases(lambda load, servers, shape, quantile, k: test(row, load, servers, shape, quantile, k))
    )()


@by_law
def test_rates_times_k_divide_durations_by_k(row: Row) -> None:
    def same(row: Row, load: float, servers: int, shape: Shape, quantile: float, k: float) -> None:
        plain, fast = row.law(load, servers, shape), row.law(load, servers, shape, k)
        here, there = plain.performance((quantile,)), fast.performance((quantile,))
        for name in set(FIGURES) - row.absent:
            unit = 1.0 / k if name.endswith("_s") else k if name.endswith("_rps") else 1.0
            expected = getattr(here, name) * unit
            assert getattr(there, name) == pytest.approx(expected, rel=row.units, abs=1e-300), name
        for name in ("wait_quantiles_s", "response_quantiles_s"):
            expected = getattr(here, name)[quantile].value / k
            assert getattr(there, name)[quantile].value == pytest.approx(
                expected, rel=row.units, abs=1e-14 / k * row.units
            )
        for time in (0.3, 1.5):
            assert fast.wait_tail(time / k) == pytest.approx(
                plain.wait_tail(time), rel=row.units, abs=row.units * 1e-5
            )
            expected = plain.response_tail(time)
            assert fast.response_tail(time / k) == pytest.approx(
                expected, rel=row.units, abs=row.units * 1e-5
            )

    tried(same, row)


@by_law
def test_the_tail_at_a_quantile_is_the_rest(row: Row) -> None:
    def inverse(row: Row, load: float, servers: int, shape: Shape, quantile: float, k: float) -> None:
        law, rest = row.law(load, servers, shape, k), 1.0 - quantile
        wait_s, response_s = law.wait_quantile_s(quantile), law.response_quantile_s(quantile)
        assert wait_s <= response_s * (1.0 + 1e-12)
        if wait_s > 0.0:
            assert law.wait_tail(wait_s) == pytest.approx(rest, rel=row.inverse or 1e-9)
        else:
            assert law.wait_tail(0.0) <= rest * (1.0 + 1e-9)
        if row.inverse:
            assert law.response_tail(response_s) == pytest.approx(rest, rel=row.inverse)
        assert law.response_tail(response_s) <= rest * (1.0 + 1e-9)
        assert law.response_tail(response_s * (1.0 - 1e-9)) >= rest * (1.0 - 1e-6)

    tried(inverse, row)


@by_law
def test_littles_law(row: Row) -> None:
    """Little's law holds for all arrivals or for all that are served, in the queue and in the system."""

    def little(row: Row, load: float, servers: int, shape: Shape, quantile: float, k: float) -> None:
        law = row.law(load, servers, shape, k)
        waiting_rps = law.throughput_rps if row.wait_is_served else law.arrival_rate_rps
        assert law.queue_length_mean == pytest.approx(waiting_rps * law.wait_mean_s, rel=1e-11, abs=NOTHING)
        if row.wait_is_served:
            assert law.in_system_mean == pytest.approx(law.throughput_rps * law.response_mean_s, rel=1e-11)
            assert 0.0 <= law.wait_mean_s <= law.response_mean_s
        if servers == 1 and not {"empty_probability", "utilization"} & row.absent:
            assert law.empty_probability == pytest.approx(1.0 - law.utilization, rel=1e-9, abs=1e-13)
        if "batch_size_mean" not in row.absent:
            assert law.batch_size_mean >= 1.0 - 1e-12

    tried(little, row)


@by_law
def test_more_load_and_fewer_servers_are_slower(row: Row) -> None:
    def slower(row: Row, load: float, servers: int, shape: Shape, quantile: float, k: float) -> None:
        here = row.law(load, servers, shape)
        others = [row.law(load * 0.99, servers, shape)] if "load" in row.slower else []
        others += [row.make(load * servers, servers + 1, shape, 1.0)] if "servers" in row.slower else []
        for other in others:
            if here.wait_mean_s > NOTHING:
                assert other.wait_probability < here.wait_probability
                assert other.wait_mean_s < here.wait_mean_s
            assert other.wait_quantile_s(quantile) <= here.wait_quantile_s(quantile) * (1.0 + 1e-10)
            assert other.response_quantile_s(quantile) <= here.response_quantile_s(quantile) * (1.0 + 1e-10)

    tried(slower, row)


# Laws that are M/M/c where all gaps and services are exponential and requests are served alone.
PLAIN = [
    ("M/M/1", None), *(("GI/M/c", (family, 1.0)) for family in (Family.EXPONENTIAL, Family.GAMMA, Family.HYPEREXPONENTIAL, Family.ERLANG)),
    ("M/PH/c", (Family.EXPONENTIAL, None)), ("M/PH/c", (Family.HYPEREXPONENTIAL, 1.0)), ("M/G/1", (Family.EXPONENTIAL, None)),
    *(("M/G/1", (family, 1.0)) for family in (Family.ERLANG, Family.GAMMA, Family.HYPEREXPONENTIAL)),
    ("G/G/c", (1.0, 1.0, Formula.ALLEN_CUNNEEN)), ("G/G/c", (1.0, 1.0, Formula.WHITT)), ("MMPP/M/c", (1.0, (0.01, 3.0))),
    ("M/M(b)/c", 1), ("batches by size", (1.0,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), PLAIN)
def test_with_exponential_times_and_without_batches_it_is_m_m_c(name: str, shape: Shape) -> None:
    def same(row: Row, load: float, servers: int, _: Shape, quantile: float, k: float) -> None:
        law, known = row.law(load, servers, shape, k), ROWS["M/M/c"].law(load, servers, None, k)
        close = functools.partial(pytest.approx, rel=1e-11 + 1e-15 / (1.0 - load), abs=NOTHING)
        for figure in set(FIGURES) - row.absent - ROWS["M/M/c"].absent:
            assert getattr(law, figure) == close(getattr(known, figure)), figure
        response_s, wait_s = known.response_quantile_s(quantile), known.wait_quantile_s(quantile)
        assert law.response_quantile_s(quantile) == close(response_s)
        assert law.wait_quantile_s(quantile) == close(wait_s, abs=1e-10 * response_s)
        for time_s in (0.1 / k, response_s):
            assert law.response_tail(time_s) == close(known.response_tail(time_s))
            assert law.wait_tail(time_s) == close(known.wait_tail(time_s), abs=1e-18)

    tried(same, ROWS[name])


NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
KNOTTED = {"M/D/c", "M/G/1", "G/G/c", "batches with jitter"}  # tails with knots have integrals of their own


@pytest.mark.parametrize("name", sorted(set(ROWS) - KNOTTED))
def test_the_area_under_a_tail_is_the_mean(name: str) -> None:
    law = EXAMPLES[name]
    ends = [0.0, *(law.response_mean_s * 2.0**power for power in range(-6, 8))]
    tails = [(law.response_tail, law.response_mean_s), (law.wait_tail, law.wait_mean_s)]
    for tail, mean_s in tails if ROWS[name].wait_is_served else tails[:1]:
        panels = [
            (high - low) / 2.0 * weight * tail((low + high) / 2.0 + (high - low) / 2.0 * node)
            for low, high in pairwise(ends)
            for node, weight in zip(NODES, WEIGHTS, strict=True)
        ]
        assert math.fsum(panels) == pytest.approx(mean_s, rel=1e-9)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_answer_says_the_same(name: str) -> None:
    law, row = EXAMPLES[name], ROWS.get(name)
    absent = row.absent if row else OTHERS_ABSENT[name]
    answer = law.performance((0.5, 0.999))
    assert answer.kind is (row.kind if row else Kind.EXACT)
    assert bool(answer.relative_error_max) == (answer.kind is Kind.APPROXIMATION)
    assert {figure for figure in FIGURES if getattr(answer, figure) is None} == absent
    for figure in set(FIGURES) - absent:
        assert getattr(answer, figure) == getattr(law, figure), figure
    assert list(answer.wait_quantiles_s) == list(answer.response_quantiles_s) == [0.5, 0.999]
    assert answer.response_quantiles_s[0.999].value == law.response_quantile_s(0.999)
    assert answer.wait_quantiles_s[0.5].low == answer.wait_quantiles_s[0.5].high == law.wait_quantile_s(0.5)
    assert list(law.performance().response_quantiles_s) == [0.5, 0.9, 0.95, 0.99]


@by_example
def test_atom_and_ends_of_time(law: Law) -> None:
    atom = 1.0 - law.wait_tail(0.0)
    assert law.wait_tail(-1e-300) == law.response_tail(-1.0) == 1.0
    assert law.response_tail(0.0) == pytest.approx(1.0, rel=1e-12)
    assert law.wait_tail(math.inf) == law.response_tail(math.inf) == law.response_tail(1e300) == 0.0
    assert law.wait_tail(1e300) == 0.0
    assert law.wait_quantile_s(atom - 1e-9) == 0.0
    if atom < 1.0:
        assert 0.0 < law.wait_quantile_s(atom + 1e-9) < 1e-6
    if not isinstance(law, ErlangA):  # whose P(W > 0) is of all, and whose tail of those served
        assert atom == pytest.approx(1.0 - law.wait_probability, rel=1e-11)


@by_example
def test_quantiles_and_times_that_are_none(law: Law) -> None:
    for ask in (
        law.wait_quantile_s,
        law.response_quantile_s,
        getattr(law, "design_effect", law.wait_quantile_s),
    ):
        for bad in (math.nan, 0.0, 1.0, -0.1, 99.0, True):
            with pytest.raises(DomainError, match=r"quantile must be in \(0, 1\)"):
                ask(bad)
    for tail in (law.wait_tail, law.response_tail):
        with pytest.raises(DomainError, match="time_s must be a number"):
            tail(math.nan)


ENDLESS = (math.nan, math.inf, -1.0, True)
RATES = (*ENDLESS, 0.0)
COUNTS = (0, -1, 2.0, True, "2")
EXPONENTIAL = duration(1.0, Family.EXPONENTIAL)
TWO_RATES = {"arrival_rate_rps": 0.1, "service_rate_rps": 1.0}
# A law, arguments that it takes, and what each may not be, in place of these.
BAD: list[tuple[Callable[..., Law], Mapping[str, object], Mapping[str, Sequence[object]]]] = [
    (MM1, TWO_RATES, dict.fromkeys(TWO_RATES, RATES)),
    (MMInf, TWO_RATES, dict.fromkeys(TWO_RATES, RATES)),
    (MMc, TWO_RATES | {"servers": 2}, {**dict.fromkeys(TWO_RATES, RATES),
        "servers": (0, -1, -0.5, True, math.nan, "2", 10**10, 10**400)}),
    (MMcK, TWO_RATES | {"servers": 1, "capacity": 10}, {**dict.fromkeys(TWO_RATES, RATES),
        "servers": (*COUNTS, math.nan, 10**10), "capacity": (*COUNTS, math.nan, 10**10)}),
    (ErlangA, TWO_RATES | {"servers": 2, "patience_mean_s": 1.0}, {**dict.fromkeys(TWO_RATES, RATES),
        "patience_mean_s": (*RATES, 1e-31, 1e31), "servers": (*COUNTS, math.nan, 10**10)}),
    (MGcc, {"offered_load": 1.0, "servers": 1.0}, {"offered_load": RATES, "servers": (*RATES, 1e10)}),
    (MDc, {"arrival_rate_rps": 0.1, "service_time_s": 1.0, "servers": 2}, {
        "arrival_rate_rps": RATES, "service_time_s": RATES, "servers": (*COUNTS, 20_001)}),
    (MG1, {"arrival_rate_rps": 0.5, "service": EXPONENTIAL}, {
        "arrival_rate_rps": RATES, "service": (None, 1.0, "exponential")}),
    (GIMc, {"arrival": duration(1.0, Family.DETERMINISTIC), "service_rate_rps": 2.0, "servers": 2}, {
        "service_rate_rps": RATES, "servers": (*COUNTS, 100_001)}),
    (MPHc, {"arrival_rate_rps": 0.1, "service": EXPONENTIAL, "servers": 2}, {
        "arrival_rate_rps": RATES, "servers": (*COUNTS[:-1], math.nan, 10_001), "service": (2.0,)}),
    (GGc, {"arrival": duration(100.0, Family.EXPONENTIAL), "service": EXPONENTIAL, "servers": 2}, {
        "servers": (*COUNTS[:-1], 2.5, 10**9 + 1)}),
    (BulkMarkov, {"arrival_rate_rps": 1.0, "service_time_s": 1.0, "batch_size_max": 8, "servers": 2}, {
        "arrival_rate_rps": RATES, "service_time_s": RATES, "batch_size_max": (*COUNTS[:-1], 1.5, 10**10),
        "servers": (*COUNTS[:-1], 1.5, 10**10)}),
    (BulkCTMC, {"arrival_rate_rps": 0.1, "batch_times_s": (1.0,), "servers": 1}, {
        "arrival_rate_rps": RATES, "servers": COUNTS[:-1], "batch_times_s": ((), [1.0], *((1.0, bad) for bad in RATES))}),
    (BulkJitter, {"arrival_rate_rps": 0.5, "batch_times_s": (1.0,), "service_cv": 0.5}, {
        "arrival_rate_rps": RATES, "service_cv": (*RATES, 0.0099, 3.1),
        "batch_times_s": ((), [1.0], *((1.0, bad) for bad in RATES))}),
    (BulkClosed, {"users": 2, "think_time_s": 1.0, "batch_times_s": (1.0,)}, {
        "users": (*COUNTS[:-1], 2001), "think_time_s": ENDLESS, "batch_times_s": ((), *((1.0, bad) for bad in RATES))}),
    (Closed, {"users": 1, "think_time_s": 1.0, "service_time_s": 1.0, "servers": 1}, {
        "users": (*COUNTS, math.nan, 10**10), "servers": (*COUNTS, math.nan, 10**10),
        "think_time_s": ENDLESS, "service_time_s": RATES}),
    (Priority, {"arrival_rates_rps": (0.1, 0.1), "service_rate_rps": 1.0, "servers": 1}, {
        "arrival_rates_rps": tuple((0.1, bad) for bad in RATES), "service_rate_rps": RATES,
        "servers": (*COUNTS, math.nan, 10**10)}),
    (MMPPMc, {"arrival_rates_rps": (1.0, 0.5), "switch_rates_per_s": (1.0, 1.0), "service_rate_rps": 1.0, "servers": 2}, {
        "arrival_rates_rps": (1.0, (1.0,), (1.0, 2.0, 3.0), "ab", (0.0, 0.0), *((bad, 1.0) for bad in ENDLESS),
            *((1.0, bad) for bad in ENDLESS)),
        "switch_rates_per_s": (1.0, (1.0,), (1.0, 2.0, 3.0), "ab", *((bad, 1.0) for bad in RATES),
            *((1.0, bad) for bad in RATES)),
        "service_rate_rps": RATES, "servers": (*COUNTS[:-1], 10_001)}),
    *((kind, TWO_RATES | {"replicas": 2}, {**dict.fromkeys(TWO_RATES, RATES), "replicas": COUNTS})
        for kind in (RandomSplit, RoundRobin, PowerOfChoices, ShortestQueue)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad"), BAD, ids=[row[0].__name__ for row in BAD])
def test_arguments_that_no_law_takes_are_named(kind, good, bad) -> None:
    assert kind(**good)
    for name, values in bad.items():
        for value in values:
            with pytest.raises(DomainError, match=rf"^{name}\S*( of a batch of 2)? must "):
                kind(**{**good, name: value})


def in_full_batches(rate_rps: float, servers: int = 3) -> BulkMarkov:
    return BulkMarkov(arrival_rate_rps=rate_rps, service_time_s=1.0, batch_size_max=8, servers=servers)


FULL = r"unstable queue: utilization {} >= 1 \({}\); use at least {} servers$"
UNSTABLE: list[tuple[Callable[[], Law], str, int]] = [
    (lambda: MM1(arrival_rate_rps=3.0, service_rate_rps=3.0), FULL.format("1.000", "3 rps on 1 x 3 rps", 2), 2),
    (lambda: MM1(arrival_rate_rps=12.0, service_rate_rps=3.0), FULL.format("4.000", "12 rps on 1 x 3 rps", 5), 5),
    (lambda: MMc(arrival_rate_rps=12.0, service_rate_rps=3.0, servers=4), FULL.format("1.000", "12 rps on 4 x 3 rps", 5), 5),
    (lambda: MMc(arrival_rate_rps=30.0, service_rate_rps=3.0, servers=4), FULL.format("2.500", "30 rps on 4 x 3 rps", 11), 11),
    (lambda: MMc(arrival_rate_rps=0.3, service_rate_rps=0.1, servers=3), FULL.format("1.000", "0.3 rps on 3 x 0.1 rps", 4), 4),
    (lambda: MDc(arrival_rate_rps=12.0, service_time_s=0.5, servers=6), "use at least 7 servers", 7),
    (lambda: MDc(arrival_rate_rps=8.0, service_time_s=1.0, servers=3), "use at least 9 servers", 9),
    (lambda: MDc(arrival_rate_rps=0.3, service_time_s=10.0, servers=3), "use at least 4 servers", 4),
    (lambda: ROWS["GI/M/c"].law(1.0, 4, (Family.DETERMINISTIC, None)), "use at least 5", 5),
    (lambda: ROWS["GI/M/c"].law(1.5, 4, (Family.DETERMINISTIC, None)), "use at least 7", 7),
    (lambda: ROWS["M/PH/c"].law(1.0, 2, (Family.ERLANG, 0.5)), r"utilization 1\.000 >= 1 .*use at least 3 servers", 3),
    (lambda: MPHc(arrival_rate_rps=0.3, service=duration(10.0, Family.ERLANG, 0.5), servers=3), "use at least 4", 4),
    (lambda: MG1(arrival_rate_rps=10.0, service=duration(0.1, Family.GAMMA, 2.0)), "use at least 2 servers", 2),
    (lambda: MG1(arrival_rate_rps=12.0, service=duration(0.1, Family.GAMMA, 2.0)), "use at least 2 servers", 2),
    (lambda: MG1(arrival_rate_rps=10.0 * (1.0 - 2**-53), service=duration(0.1, Family.GAMMA, 2.0)), "use at least 2", 2),
    (lambda: ROWS["G/G/c"].law(1.0, 2, (2.0, 2.0, Formula.WHITT)), r"utilization 1\.000 >= 1 .*use at least 3 servers", 3),
    (lambda: ROWS["MMPP/M/c"].law(1.0, 2, (1 / 3, (0.1, 0.1))),
        r"utilization 1\.000 >= 1 \(2 rps on 2 x 1 rps\).*at least 3", 3),
    *((lambda rates=rates: Priority(arrival_rates_rps=rates, service_rate_rps=1.0, servers=1),
        "unstable queue: utilization 1", 2) for rates in ((0.6, 0.4), (0.3, 0.3, 0.5), (1.0,))),
    (lambda: in_full_batches(8.0, 1), r"load 1 >= 1 \(8 rps on 1 x 8 requests per 1 s\); use at least 2", 2),
    (lambda: in_full_batches(100.0), "use at least 13", 13),
    (lambda: BulkMarkov(arrival_rate_rps=1e300, service_time_s=1e300, batch_size_max=1, servers=1), "use at least", 0),
    (lambda: BulkMarkov(arrival_rate_rps=math.nextafter(4.0, 0.0), service_time_s=1.0, batch_size_max=2, servers=2),
        "use at least 3", 3),  # full but for rounding
    (lambda: BulkCTMC(arrival_rate_rps=2.0, batch_times_s=(0.1, 1.0), servers=1),
        r"2 rps on 1 x 2 requests per 1 s\); use at least 2", 2),
    (lambda: BulkJitter(arrival_rate_rps=4.0, batch_times_s=(1.0, 0.5), service_cv=0.3), r"load 1 >= 1", 2),
    *((lambda kind=kind: kind(arrival_rate_rps=2.0, service_rate_rps=1.0, replicas=2), "use at least 3 servers", 3)
        for kind in (RandomSplit, RoundRobin, PowerOfChoices, ShortestQueue)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words", "servers_min"), UNSTABLE)
def test_an_unstable_queue_is_refused_with_its_mend(make, words, servers_min) -> None:
    with pytest.raises(UnstableError, match=words) as caught:
        make()
    if servers_min:
        assert caught.value.servers_min == servers_min


def test_the_last_load_below_capacity_is_stable() -> None:
    nearly = 1.0 - 2**-50
    assert in_full_batches(100.0, 13).load < 1.0
    assert in_full_batches(24.0 * nearly).wait_probability == pytest.approx(1.0, abs=1e-14)
    assert ROWS["GI/M/c"].law(1.0 - 1e-13, 4, (Family.GAMMA, 2.0)).utilization < 1.0
    assert ROWS["M/PH/c"].law(nearly, 2, (Family.ERLANG, 0.5)).wait_mean_s == pytest.approx(
        0.375 * 2**50, rel=1e-9
    )
    assert ROWS["M/M/1"].law(0.99999999, 1, None).response_mean_s == pytest.approx(1e8)
    assert (
        BulkJitter(arrival_rate_rps=4.0 * (1.0 - 1e-9), batch_times_s=(1.0, 0.5), service_cv=0.3).load < 1.0
    )


# Where numbers end: at the ends of doubles, at atoms, far out, and at the last that is allowed.
FAR: list[tuple[Callable[[], object], object]] = [
    (lambda: ROWS["M/M/c"].law(0.9, 2, None, 5e200).response_tail(1e200), 0.0),
    (lambda: ROWS["M/M/c"].law(1e-3, 1000, None).wait_quantile_s(1 - 2**-53), 0.0),
    (lambda: ROWS["M/M/c/K"].law(0.9, 2, 5, 1e300).response_tail(1e300), 0.0),
    (lambda: ROWS["M/M/c/K"].law(1e-3, 200, 50).wait_tail(1.0), 0.0),  # P(W > 0) is below 1e-308
    (lambda: ROWS["M/M/c+M"].law(1.0, 2, 3.0, 1e300).response_tail(1e300), 0.0),
    (lambda: ROWS["M/M/c+M"].law(1e-3, 200, 3.0).wait_tail(0.1), 0.0),
    (lambda: ROWS["GI/M/c"].law(1e-6, 3, (Family.DETERMINISTIC, None)).wait_quantile_s(0.9999), 0.0),
    (lambda: ROWS["GI/M/c"].law(1e-6, 3, (Family.DETERMINISTIC, None)).response_quantile_s(0.5), math.log(2.0)),
    (lambda: ROWS["M/D/c"].law(0.8, 8, None).response_quantile_s(0.1), 1.0),  # the atom at one service
    (lambda: ROWS["M/D/c"].law(0.8, 8, None).response_tail(math.nextafter(1.0, 0.0)), 1.0),
    (lambda: ROWS["M/D/c"].law(1.0 - 1e-12, 8, None).wait_tail(1e12), pytest.approx(math.exp(-16.0), rel=1e-3)),
    (lambda: ROWS["M/D/c"].law(1.0 - 1e-12, 8, None).wait_mean_s, pytest.approx(0.5e12 / 8.0, rel=1e-3)),
    (lambda: Closed(users=100_000, think_time_s=1.0, service_time_s=1e-300, servers=40_000).response_tail(1e300), 0.0),
    (lambda: Closed(users=3, think_time_s=1e300, service_time_s=1e-300, servers=1).throughput_rps, 3e-300),
    (lambda: Closed(users=60, think_time_s=0.0, service_time_s=1.0, servers=2).wait_tail(1e300), 0.0),
    (lambda: BulkClosed(users=1, think_time_s=0.019, batch_times_s=(1.0, 3.0)).users, 1),  # sees no batch of two
    (lambda: ROWS["batches with jitter"].law(1e-3, 1, ((1.0, 1.3), 0.3)).wait_quantile_s(0.99), 0.0),
    (lambda: float(exact_batch_load(3.0, 2.0, 4, 3)), 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "expected"), FAR)
def test_where_numbers_end(ask: Callable[[], object], expected: object) -> None:
    assert ask() == (pytest.approx(expected, rel=1e-12, abs=0.0) if isinstance(expected, float) else expected)


# What one law alone refuses.
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: MMInf(arrival_rate_rps=1e200, service_rate_rps=1e-200), "must be from 1e-300"),
    (lambda: MMcK(arrival_rate_rps=1e200, service_rate_rps=1e-200, servers=3, capacity=3), "must be from 1e-300"),
    (lambda: MMcK(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=3, capacity=2),
        r"capacity must be >= servers.*got 2 < 3"),
    (lambda: ErlangA(arrival_rate_rps=1e200, service_rate_rps=1e-200, servers=3, patience_mean_s=1e200),
        "must be from 1e-300"),
    (lambda: ErlangA(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=3, patience_mean_s=1e31),
        "patience_mean_s must be from 1e-30 to 1e30 mean services"),
    (lambda: MGcc(offered_load=1.0, servers=1e10), r"servers must be <= 5e\+09"),
    (lambda: MG1(arrival_rate_rps=0.5, service=1.0), "service must be a Duration or an Empirical"),
    (lambda: BulkMarkov(arrival_rate_rps=1e-200, service_time_s=1e-200, batch_size_max=8, servers=2), "load must be > 0"),
    (lambda: ROWS["GI/M/c"].law(0.9, 4, (Family.LOGNORMAL, 1.0)), "the lognormal law has no closed Laplace transform; use gamma"),
    (lambda: ROWS["MMPP/M/c"].law(0.1, 1, (0.5, (1e-101, 1.0))), r"within a factor 1e\+100 of the service rate, got 1e-101"),
    (lambda: MMPPMc(arrival_rates_rps=(1e101, 0.0), switch_rates_per_s=(1e50, 1e-60), service_rate_rps=1.0, servers=1),
        r"within a factor 1e\+100 of the service rate, got 1e\+101"),
    (lambda: BulkClosed(users=2, think_time_s=0.019, batch_times_s=(1.0, 3.0)),
        r"must be 0 or >= 0.02 \(a 150th .* got 0.019; use 0 for users"),
    *((lambda shape=shape: ROWS["M/PH/c"].law(0.5, 2, shape), f"service must be .*got {shape[0]}.*simulate")
        for shape in ((Family.DETERMINISTIC, 0.0), (Family.GAMMA, 0.7), (Family.LOGNORMAL, 2.0))),
    (lambda: ROWS["M/PH/c"].law(0.5, 8, (Family.ERLANG, 1 / 8)),
        r"states of 8 busy servers must be <= 1000, got 6435 .*simulate"),
    (lambda: ROWS["M/PH/c"].law(0.5, 1, (Family.HYPEREXPONENTIAL, 1e101)), r"scv must be <= 1e\+100, got 1e\+101"),
    (lambda: ROWS["M/PH/c"].law(1e-101, 1, (Family.ERLANG, 0.5)), r"within a factor 1e\+100 of the service rate, got 1e-101"),
    *((lambda times=times, cv=cv: BulkJitter(arrival_rate_rps=0.9 * len(times) / times[-1], batch_times_s=times, service_cv=cv),
        words) for times, cv, words in (
            ((1.0,) * 513, 0.5, "beyond 512 here; simulate"),
            ((1.0,), 0.0099, "service_cv must be in 0.01..3, got 0.0099; take deterministic batches"),
            ((1.0,), 3.1, "service_cv must be in 0.01..3, got 3.1; simulate"),
            ((1.0,) * 64, 3.0, "the exact chain needs"),
            ((1e9, 1.0), 0.5, "more than 1000 times as long"),
            ((60.0, 1.0), 0.01, "panels of time"),
            ((30.0, 1.0), 0.02, "the exact law needs"))),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_what_has_no_law_here_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(DomainError, match=words):
        make()
