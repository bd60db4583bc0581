"""Spells: the law of a batch stays, batches near in time go together, and queues get longer for it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.profile.formats import read_document
from capacity.profile.profile import BatchTiming, ServiceProfile, Spells
from capacity.profile.sampling import resampled
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.queues.batch.fleet import predict
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, PoissonArrivals, TraceArrivals, Workload
from simulations.draws.arrivals import Seed, Stream, draw
from simulations.draws.service import ProfileTimes
from simulations.kernel import serve as kernel
from simulations.reference import cluster
from simulations.replication import Engine
from simulations.simulate import Simulation

SPELLS = Spells(share=0.6, lasting_s=0.1)
SLOW = Workload(arrival_rate_rps=50.0)
SAMPLES_S = (0.008, 0.009, 0.01, 0.011, 0.017)


def profile(spells: Spells | None) -> ServiceProfile:
    timings = (
        BatchTiming(batch_size=1, samples_s=SAMPLES_S),
        BatchTiming(batch_size=4, samples_s=tuple(1.5 * x for x in SAMPLES_S)),
    )
    return ServiceProfile(name="made-up", timings=timings, spells=spells)


def drawn(demand, requests, spells, seed=0):
    stream = Stream(demand, requests, Seed(value=seed), spells)
    return stream.arrived_s(requests), stream.service(requests)


def test_each_number_alone_is_uniform():
    """Over many runs, since the numbers of one go together."""
    first = np.array([drawn(SLOW, 2, SPELLS, seed)[1] for seed in range(4000)])
    for column in first.T:
        count = np.histogram(column, bins=10, range=(0.0, 1.0))[0]
        assert ((count - 400.0) ** 2 / 400.0).sum() < 27.9  # chi square, 9 degrees, one in a thousand


def test_scores_go_together_by_the_share_and_for_as_long_as_was_said():
    instants_s, uniforms = drawn(SLOW, 400_000, SPELLS)
    from scipy.special import ndtri

    scores = ndtri(uniforms)
    assert scores.var() == pytest.approx(1.0, abs=0.03)
    for gap in (1, 3, 10):
        apart_s = instants_s[gap:] - instants_s[:-gap]
        expected = SPELLS.share * np.exp(-apart_s / SPELLS.lasting_s).mean()
        assert (scores[gap:] * scores[:-gap]).mean() == pytest.approx(expected, abs=0.015)


@given(
    blocks=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    share=st.floats(0.01, 0.99),
    lasting_s=st.floats(1e-3, 10.0),
)
@settings(derandomize=True, deadline=None, max_examples=50)
def test_however_it_is_asked_the_numbers_are_the_same(blocks, share, lasting_s):
    spells = Spells(share=share, lasting_s=lasting_s)
    stream = Stream(SLOW, sum(blocks), Seed(value=3), spells)
    parts = [(stream.arrived_s(count), stream.service(count))[1] for count in blocks]
    whole = drawn(SLOW, sum(blocks), spells, seed=3)[1]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert ((whole >= 0.0) & (whole < 1.0)).all()


def test_service_without_its_instants_is_refused():
    stream = Stream(SLOW, 10, Seed(value=0), SPELLS)
    stream.arrived_s(4)
    with pytest.raises(DomainError, match="whose instants were drawn last"):
        stream.service(5)


def test_users_have_no_spells():
    users = ClosedPopulation(users=3, think_time_s=0.1)
    assert Stream(users, 20, Seed(value=1), SPELLS).service(20).tolist() == (
        Stream(users, 20, Seed(value=1)).service(20).tolist()
    )


@pytest.mark.parametrize("routing", [Routing.ROUND_ROBIN, Routing.LEAST_OUTSTANDING, Routing.SHARED_QUEUE])
def test_both_engines_give_the_same_bytes(routing):
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=4, batch_wait_max_s=0.005, routing=routing)
    times = ProfileTimes(profile(SPELLS))
    draws = draw(Workload(arrival_rate_rps=200.0), 3000, Seed(value=5), SPELLS)
    slow, quick = cluster.run(plan, times, draws), kernel.run(plan, times, draws, block=700)
    assert slow.finished_s.tolist() == quick.finished_s.tolist()
    by_engine = [
        Simulation(engine=engine, precision=0.5, quantiles=(0.5,))(
            Scenario(
                profile=profile(SPELLS),
                workload=Workload(arrival_rate_rps=100.0),
                plan=replace(plan, batch_wait_max_s=0.0),
            )
        )
        for engine in (Engine.KERNEL,)
    ]
    assert by_engine[0].response_mean_s > 0.0


@pytest.mark.long
def test_queues_are_longer_and_as_long_as_lindley_says():
    """One replica of batches of one, at load 0.77: against Lindley's recursion on scores drawn here."""
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=1)
    workload = Workload(arrival_rate_rps=70.0)
    bare, in_spells = (
        Simulation(quantiles=(0.5, 0.95))(Scenario(profile=profile(spells), workload=workload, plan=plan))
        for spells in (None, SPELLS)
    )
    again_s = lindley_s(1_000_000, workload.arrival_rate_rps)
    assert in_spells.response_mean_s == pytest.approx(again_s, rel=0.03)
    assert in_spells.response_mean_s > 1.05 * bare.response_mean_s
    assert in_spells.utilization == pytest.approx(bare.utilization, rel=0.01)


def lindley_s(requests: int, rate_rps: float) -> float:
    """Mean response, by a way of its own: scores step by step, the quantile by its definition."""
    dice = np.random.default_rng(11)
    gaps_s = dice.exponential(1.0 / rate_rps, requests).tolist()
    noise, own = dice.standard_normal(requests).tolist(), dice.standard_normal(requests).tolist()
    score, wait_s, total_s = dice.standard_normal(), 0.0, 0.0
    for gap_s, shared, single in zip(gaps_s, noise, own, strict=True):
        kept = math.exp(-gap_s / SPELLS.lasting_s)
        score = kept * score + math.sqrt(1.0 - kept**2) * shared
        normal = math.sqrt(SPELLS.share) * score + math.sqrt(1.0 - SPELLS.share) * single
        u = 0.5 * math.erfc(-normal / math.sqrt(2.0))
        service_s = SAMPLES_S[min(4, int(5 * u))]
        wait_s = max(0.0, wait_s - gap_s)
        total_s += wait_s + service_s
        wait_s += service_s
    return total_s / requests


def test_a_trace_has_spells_too():
    instants_s = tuple(np.cumsum(np.random.default_rng(1).exponential(0.02, 5000)).tolist())
    trace = Workload(arrival_rate_rps=50.0, arrivals=TraceArrivals(instants_s=instants_s, name="t"))
    _, uniforms = drawn(trace, 5000, SPELLS)
    assert np.corrcoef(uniforms[1:], uniforms[:-1])[0, 1] > 0.3


def test_exact_laws_refuse_them():
    plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=1)
    with pytest.raises(DomainError, match="come in spells"):
        predict(profile(SPELLS), Workload(arrival_rate_rps=10.0, arrivals=PoissonArrivals()), plan)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0.0}, "spell_share must be within"),
        ({"share": 1.0}, "spell_share must be within"),
        ({"share": math.nan}, "spell_share must be within"),
        ({"lasting_s": 0.0}, "spell_lasting_s must be positive"),
        ({"lasting_s": math.inf}, "spell_lasting_s must be positive"),
    ],
)
def test_spells_are_valid_or_not_born(fields, message):
    with pytest.raises(InputError, match=message):
        Spells(**{"share": 0.5, "lasting_s": 0.1, **fields})


def test_a_profile_file_has_both_or_neither():
    document = {"name": "a", "timings": [{"batch_size": 1, "mean_ms": 5}]}
    both = read_document(document | {"spell_share": 0.5, "spell_lasting_s": 0.1}, "a.json")
    assert both.spells == Spells(share=0.5, lasting_s=0.1)
    assert read_document(document, "a.json").spells is None
    with pytest.raises(InputError, match="belong together"):
        read_document(document | {"spell_share": 0.5}, "a.json")


@pytest.mark.long
def test_samples_that_came_in_spells_are_resampled_in_blocks():
    """The mean of a wandering series is known far less well than by single samples; blocks know it."""
    dice = np.random.default_rng(7)
    means, errors = [], []
    for _ in range(60):
        series_s = wandering(dice, 1000)
        one = ServiceProfile(
            name="one",
            timings=(BatchTiming(batch_size=1, samples_s=tuple(series_s)),),
            spells=Spells(share=0.95, lasting_s=0.2),
        )
        means.append(one.service_mean_s(1))
        errors.append(np.std([resampled(one, dice).service_mean_s(1) for _ in range(20)]))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.3)
    assert np.mean(errors) > 3.0 * 0.001 / math.sqrt(1000)  # by single samples it would be this


def wandering(dice: np.random.Generator, count: int) -> list[float]:
    """Service times of 10 ms and a standard deviation of 1 ms, alike within 20 batches."""
    level, found = dice.standard_normal(), []
    kept = math.exp(-0.01 / 0.2)
    for shock in dice.standard_normal(count):
        level = kept * level + math.sqrt(1.0 - kept**2) * shock
        found.append(0.01 + 0.001 * level)
    return found
