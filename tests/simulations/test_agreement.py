"""Theory beside simulation on the product's simulator, small; `capacity agreement` does it in full."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from cases import sample_of

from capacity.answers.agreement import AgreementAnswer
from capacity.performance import Interval, Kind, Performance
from capacity.question.plan import Routing
from capacity.queues.durations import Duration, Family
from capacity.queues.markov.mm1 import MM1
from capacity.server.batch.batching import BatchTimer
from simulations.draws.arrivals import Seed, Stage
from simulations.draws.service import ExponentialTimes
from simulations.replication import Engine
from simulations.statistics.intervals import Estimate
from simulations.statistics.performances import batch_performance
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Length
from simulations.validation import laws
from simulations.validation.agreement import Agreement, Row, compare
from simulations.validation.grid import Grid, systems
from simulations.validation.systems import DurationTimes, System, TableTimes

LIGHT = laws.mm1(0.3, (0.5, 0.99))


def row(value: float, standard_error: float, theory: float = 1.0, allowance: float = 0.0) -> Row:
    estimate = Estimate(value=value, standard_error=standard_error, degrees=19)
    return Row(system="s", quantity="q", theory=theory, simulation=estimate, allowance=allowance)


def test_simulation_agrees_with_theory():
    rows = compare(LIGHT, seed=11, requests_max=2_000_000)
    assert {r.quantity for r in rows} == {
        "wait_probability", "wait_mean_s", "response_mean_s", "response_p50_s", "response_p99_s",
    }  # fmt: skip
    assert [r.verdict for r in rows] == [Agreement.AGREES] * 5


def test_a_wrong_theory_is_found_out():
    """The simulator serves at rate 1; a theory of rate 1.03 is off by 4 to 5 % and must not pass."""
    theory = MM1(arrival_rate_rps=0.3, service_rate_rps=1.03).performance((0.5, 0.99))
    wrong = replace(LIGHT, theory=theory).quantities()
    right = compare(LIGHT, seed=11, requests_max=2_000_000)
    rows = [
        Row(system="wrong", quantity=r.quantity, theory=wrong[r.quantity].theory, simulation=r.simulation)
        for r in right
    ]
    assert AgreementAnswer(compared=tuple(rows), seed=0).exit_code == 4
    assert sum(r.verdict is Agreement.DISAGREES for r in rows) >= 4


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (laws.mmck(2, 6, 1.2, (0.5,)), laws.mmck(2, 7, 1.2, (0.5,))),
        (
            laws.bulk("bert-large-384-l40s-fp16", 8, 0.5, (0.5,), wait=0.5, timer=BatchTimer.OPEN),
            laws.bulk("bert-large-384-l40s-fp16", 8, 0.5, (0.5,), wait=0.5, timer=BatchTimer.OLDEST),
        ),
        (laws.closed(8, 4.0, 1, (0.5,)), laws.closed(9, 4.0, 1, (0.5,))),
        (laws.mmpp(2.0, 2.0, 3.0, 1, 0.4, (0.5,)), laws.mmpp(3.0, 2.0, 3.0, 1, 0.4, (0.5,))),
    ],
    ids=["one place more", "the other timer", "one user more", "sharper bursts"],
)
def test_a_law_of_something_else_is_found_out(right: System, wrong: System):
    """What the simulator plays agrees with its own law and not with its neighbour's."""
    rows = compare(right, seed=5, requests_max=1_500_000)
    assert {r.verdict for r in rows} == {Agreement.AGREES}
    mixed = compare(replace(right, theory=wrong.theory), seed=5, requests_max=1_500_000)
    assert sum(r.verdict is Agreement.DISAGREES for r in mixed) >= 2


def test_verdict_by_standard_errors():
    assert row(1.0 + 3.9 * 0.005, 0.005).verdict is Agreement.AGREES
    assert row(1.0 - 4.1 * 0.005, 0.005).verdict is Agreement.DISAGREES
    assert row(1.0, 0.011).verdict is Agreement.INCONCLUSIVE


def test_an_atom_that_comes_out_without_scatter_agrees_up_to_rounding_only():
    assert row(1.0 + 1e-12, 0.0).verdict is Agreement.AGREES
    assert row(1.0 + 1e-8, 0.0).verdict is Agreement.DISAGREES


def test_an_approximation_may_be_off_by_what_it_says_and_no_more():
    assert row(1.0 + 0.01 + 3.9 * 0.002, 0.002, allowance=0.01).verdict is Agreement.AGREES
    assert row(1.0 - 0.01 - 3.9 * 0.002, 0.002, allowance=0.01).verdict is Agreement.AGREES
    assert row(1.0 + 0.0102 + 4.1 * 0.002, 0.002, allowance=0.01).verdict is Agreement.DISAGREES
    assert row(1.0 - 0.0102 - 4.1 * 0.002, 0.002, allowance=0.01).verdict is Agreement.DISAGREES
    assert row(1.005, 0.002, allowance=0.01).deviation_se == 0.0


def test_power_is_the_chance_to_find_an_error_of_five_percent():
    assert row(1.0, 0.05 / 4.0).power == pytest.approx(0.5)
    assert row(1.0, 0.005).power == pytest.approx(1.0, abs=1e-6)
    assert row(1.0, 0.04 / 4.0, allowance=0.01).power == pytest.approx(0.5)


def test_exit_code_and_document():
    rows = [row(1.0, 0.005), row(1.0, 0.02)]
    assert AgreementAnswer(compared=tuple(rows[:1]), seed=0).exit_code == 0
    assert AgreementAnswer(compared=tuple(rows), seed=0).exit_code == 4
    document = AgreementAnswer(compared=tuple(rows), seed=0).document()
    assert document["agrees"] is False
    assert [r["verdict"] for r in document["rows"]] == ["agrees", "inconclusive"]


def test_quantities_are_read_from_where_they_are():
    """Two replications of 4 and 2 served requests on two replicas: 1 and 2 were lost."""
    samples = [
        sample_of(
            np.array(waits) + 1.0, waits, window_s=window_s, busy_s=busy_s, batches=2.0, largest=2, lost=lost
        )
        for waits, window_s, busy_s, lost in (([0.0, 1.0, 1.0, 2.0], 8.0, 8.0, 1), ([0.0, 2.0], 4.0, 1.6, 2))
    ]
    everything = {
        "loss_probability": 3.0 / 9.0,
        "throughput_rps": 6.0 / 12.0,
        "batch_size_mean": 6.0 / 4.0,
        "utilization": 9.6 / (2 * 12.0),
        "wait_probability": 4.0 / 6.0,
        "wait_mean_s": 1.0,
        "response_mean_s": 2.0,
    }
    theory = Performance(
        kind=Kind.EXACT, response_quantiles_s={0.5: Interval.exact(1.5)}, **dict.fromkeys(everything, 1.0)
    )
    system = replace(
        LIGHT,
        plan=replace(LIGHT.plan, replicas=2),
        theory=theory,
        compared=tuple(everything),
        quantiles=(0.5,),
    )
    pool = Pool.of(samples)
    found = {name: quantity.estimate(pool).value for name, quantity in system.quantities().items()}
    assert found == pytest.approx(everything | {"response_p50_s": 2.0})
    seen = batch_performance(pool, load=None, replicas=2, quantiles=[0.5], confidence=0.95)
    for name, value in everything.items():
        assert getattr(seen, name) == pytest.approx(value), name


def test_a_ratio_has_its_standard_error_by_sectioning():
    """Ratios 1 and 3 around the pooled 2: √((1 + 1)/1/2) = 1."""
    samples = [sample_of([1.0], window_s=1.0, busy_s=busy_s) for busy_s in (1.0, 3.0)]
    estimate = Pool.of(samples).ratio(lambda s: s.busy_s, lambda s: s.window_s)
    assert estimate == Estimate(value=2.0, standard_error=1.0, degrees=1)


@pytest.mark.long
@pytest.mark.parametrize(
    "service",
    [
        Duration(family=Family.DETERMINISTIC, mean_s=0.5),
        Duration(family=Family.EXPONENTIAL, mean_s=0.5),
        Duration(family=Family.ERLANG, mean_s=0.5, scv=0.25),
        Duration(family=Family.HYPEREXPONENTIAL, mean_s=0.5, scv=4.0),
        Duration(family=Family.GAMMA, mean_s=0.5, scv=2.0),
        Duration(family=Family.LOGNORMAL, mean_s=0.5, scv=1.0),
    ],
    ids=lambda service: service.family.value,
)
def test_service_times_have_the_law(service: Duration):
    """Shares above a time of 100,000 evenly spread uniforms, and their mean, against the laws."""
    uniforms = (np.arange(100_000) + 0.5) / 100_000
    draws_s = np.array([DurationTimes(service)(1, float(u)) for u in uniforms])
    assert draws_s.mean() == pytest.approx(service.mean_s, rel=2e-3)
    for time_s in (0.1, 0.4999, 0.5001, 1.0, 3.0):
        share = float(service.tail(np.array([time_s]))[0])
        assert np.mean(draws_s > time_s) == pytest.approx(share, abs=3e-5)


def test_batches_take_the_time_of_their_size():
    assert TableTimes((1.0, 1.5))(2, 0.9) == 1.5
    assert ExponentialTimes((1.0, 1.5))(2, 1.0 - math.exp(-2.0)) == pytest.approx(3.0)
    assert ExponentialTimes((1.0, 1.5))(1, 1.0 - math.exp(-2.0)) == pytest.approx(2.0)


def test_the_short_grid_has_every_law():
    names = [system.name for system in systems(Grid.SHORT)]
    assert names == [
        "M/M/1 load 0.6", "M/M/2 load 0.7", "M/M/8 load 0.8", "M/M/2/6 load 1.2",
        "M/G/1 hyperexponential scv 4 load 0.5", "M/D/4 load 0.7", "GI/M/2 cv 0.5 load 0.7",
        "MMPP/M/1 ratio 4 20 s in 60 s load 0.6", "resnet50-t4-fp16 1..16 load 0.7",
        "bert-large-384-l40s-fp16 1..8 load 0.5 oldest wait 0.5",
        "bert-large-384-l40s-fp16 1..8 load 0.5 open wait 0.5",
        "resnet50-t4-fp16 1..8 load 0.7 x 3 round-robin", "resnet50-t4-fp16 1..8 load 0.7 x 3 random",
        "M/M[1,4]/2 load 0.6", "M/M_b[1,4]/2 load 0.6", "M/M/1//8 think 4 s", "M/M/2//12 think 5 s",
        "resnet50-t4-fp16 1..8 users 16 think 2", "M/M/1 x 3 random load 0.6",
        "M/M/1 x 3 round-robin load 0.6", "M/M/1 x 2 least-outstanding load 0.7",
        "M/M/1 x 100 power-of-two load 0.5", "M/M/2 on one device, slowdown 1.5, load 0.7",
        "one slot, lengths of 3 kinds, load 0.4", "equal passes, outputs of 10, 2 at once",
        "room for all, constant outputs of 50, load 0.5",
        "4 slots, geometric outputs of 6, a = 0.01 s, load 0.6",
        "prompts of 100, 64 slots, 850 tokens a pass, load 0.7", "sessions of 5 turns with answers of 60",
        "150 groups, Zipf 1, room for 37.5", "M/M/4 retrial rate 0.5, load 0.6",
        "M/M/4/4 load 0.9, 3 attempts up to 500 s later", "M/M/4+D patience 1 s, load 1.1",
        "M/M/1 newest first, load 2, timeout 5 s", "M/M/1 deterministic pauses of 2 s every 22 s, load 0.3",
        "M/M/4 breakdowns of 2 s, up 0.909 of the time, load 0.5", "2 copies to 4 replicas, load 0.6",
        "hedge after 1 s, exponential scv 1",
    ]  # fmt: skip


@pytest.mark.long
def test_the_full_grid_is_the_short_one_and_more_systems():
    short, full = ([system.name for system in systems(grid)] for grid in (Grid.SHORT, Grid.FULL))
    assert full[: len(short)] == short
    assert full[len(short) :] == [
        "M/M/1 load 0.3", "M/M/1 load 0.9", "M/M/32 load 0.8", "M/M/1/5 load 0.8", "M/M/8/12 load 1",
        "M/M/4/4 load 0.9", "M/G/1 deterministic scv 0 load 0.8", "M/G/1 erlang scv 0.5 load 0.7",
        "M/G/1 gamma scv 2 load 0.6", "M/G/1 lognormal scv 1 load 0.7", "M/D/1 load 0.5", "M/D/2 load 0.8",
        "M/D/16 load 0.8", "GI/M/1 cv 2 load 0.6", "GI/M/4 cv 2 load 0.7", "GI/M/1 cv 0.5 load 0.8",
        "GI/M/4 cv 0 load 0.8", "MMPP/M/1 ratio 5 120 s in 240 s load 0.75",
        "MMPP/M/2 ratio 3 20 s in 60 s load 0.6", "MMPP/M/4 ratio 10 5 s in 65 s load 0.5",
        "resnet50-t4-fp16 1..16 load 0.3", "resnet50-t4-fp16 1..16 load 0.5",
        "resnet50-t4-fp16 1..16 load 0.8", "resnet50-t4-fp16 1..16 load 0.9",
        "bert-large-384-l40s-fp16 1..8 load 0.3", "bert-large-384-l40s-fp16 1..8 load 0.5",
        "bert-large-384-l40s-fp16 1..8 load 0.8", "bert-large-384-l40s-fp16 1..8 load 0.9",
        "jasper-7s-t4-fp16 1..4 load 0.3", "jasper-7s-t4-fp16 1..4 load 0.5",
        "jasper-7s-t4-fp16 1..4 load 0.8", "jasper-7s-t4-fp16 1..4 load 0.9",
        "resnet50-t4-fp16 1..16 load 0.3 oldest wait 0.9", "resnet50-t4-fp16 1..16 load 0.3 open wait 0.9",
        "resnet50-t4-fp16 1..16 load 0.8 oldest wait 0.4", "resnet50-t4-fp16 1..16 load 0.8 open wait 0.4",
        "resnet50-t4-fp16 1..16 load 0.9 oldest wait 0.4", "resnet50-t4-fp16 1..16 load 0.9 open wait 0.4",
        "bert-large-384-l40s-fp16 1..8 load 0.3 oldest wait 0.9",
        "bert-large-384-l40s-fp16 1..8 load 0.3 open wait 0.9",
        "bert-large-384-l40s-fp16 1..8 load 0.8 oldest wait 0.4",
        "bert-large-384-l40s-fp16 1..8 load 0.8 open wait 0.4",
        "bert-large-384-l40s-fp16 1..8 load 0.9 oldest wait 0.4",
        "bert-large-384-l40s-fp16 1..8 load 0.9 open wait 0.4",
        "jasper-7s-t4-fp16 1..4 load 0.3 oldest wait 0.9", "jasper-7s-t4-fp16 1..4 load 0.3 open wait 0.9",
        "jasper-7s-t4-fp16 1..4 load 0.8 oldest wait 0.4", "jasper-7s-t4-fp16 1..4 load 0.8 open wait 0.4",
        "jasper-7s-t4-fp16 1..4 load 0.9 oldest wait 0.4", "jasper-7s-t4-fp16 1..4 load 0.9 open wait 0.4",
        "bert-large-384-l40s-fp16 1..8 load 0.5 open wait 0.5 x 2 round-robin",
        "bert-large-384-l40s-fp16 1..8 load 0.8 x 5 round-robin",
        "bert-large-384-l40s-fp16 1..8 load 0.5 open wait 0.5 x 2 random",
        "bert-large-384-l40s-fp16 1..8 load 0.8 x 5 random", "M/M[1,4]/1 load 0.7", "M/M[1,8]/3 load 0.7",
        "M/M[1,32]/1 load 0.6", "M/M_b[1,3]/3 load 0.7", "M/M/2//3 think 0 s", "M/M/1//20 think 12 s",
        "M/M/2//40 think 15 s", "bert-large-384-l40s-fp16 1..8 users 6 think 1",
        "jasper-7s-t4-fp16 1..4 users 30 think 10", "M/M/1 x 4 random load 0.3",
        "M/M/1 x 8 round-robin load 0.8", "M/M/1 x 2 least-outstanding load 0.4",
        "M/M/1 x 2 least-outstanding load 0.8", "M/M/1 x 100 power-of-two load 0.7",
        "M/M/4 on one device, slowdown 4, load 0.7", "M/M/2 on one device, slowdown 2.4, load 0.6",
        "one slot, lengths of 3 kinds, load 0.6", "equal passes, outputs of 3, 0.5 at once",
        "equal passes, outputs of 10, 12 at once", "room for all, geometric outputs of 50, load 0.3",
        "room for all, geometric outputs of 50, load 0.7",
        "4 slots, geometric outputs of 6, a = 0.01 s, load 0.7",
        "4 slots, geometric outputs of 6, a = 0 s, load 0.6",
        "8 slots, geometric outputs of 20, a = 0.01 s, load 0.8",
        "prompts of 100, 6 slots, 8000 tokens a pass, load 0.8", "sessions of 5 turns with answers of 1",
        "150 groups, equal, room for 75", "M/M/1 retrial rate 0.5, load 0.2",
        "M/M/4/4 load 0.7, 3 attempts up to 1000 s later", "M/M/1+D patience 3 s, load 0.8",
        "M/M/4 newest first, load 1.25, timeout 2 s", "M/M/1 exponential pauses of 2 s every 22 s, load 0.66",
        "M/M/1 deterministic pauses of 2 s every 22 s, load 0.5",
        "M/M/4 breakdowns of 10 s, up 0.909 of the time, load 0.6", "3 copies to 3 replicas, load 0.5",
        "2 copies to 8 replicas, load 0.7", "hedge after 1.5 s, lognormal scv 2",
    ]  # fmt: skip
    assert len(set(full)) == len(full)


@pytest.mark.long
def test_short_simulations_are_near_their_laws():
    """Within 8 %, three standard errors of the least certain figure; `capacity agreement` looks more closely."""
    for system in systems(Grid.SHORT):
        warm_up = math.ceil(5.0 * system.relaxation_requests)
        length = Length(warm_up=warm_up, measured=30_000, cool_down=system.cool_down_requests)
        seeds = [Seed(value=1, stage=Stage.AGREEMENT, replication=number) for number in range(2)]
        pool = system.pool.of([system.replicate(system.task(length, seed, Engine.KERNEL)) for seed in seeds])
        off = {
            name: quantity.estimate(pool).value / quantity.theory - 1.0
            for name, quantity in system.quantities().items()
        }
        assert {name: round(share, 3) for name, share in off.items() if abs(share) > 0.08} == {}, system.name


def test_an_approximation_brings_its_error_along():
    quantities = laws.power_of_two(100, 0.5, (0.5,)).quantities()
    assert 0.0 < quantities["response_p50_s"].allowance < 0.01
    assert 0.0 < quantities["response_mean_s"].allowance < 0.01


def test_systems_play_what_they_are_about():
    lost = laws.mmck(2, 6, 1.2, (0.5,))
    assert (lost.plan.replicas, lost.plan.queue_limit, lost.plan.routing) == (2, 4, Routing.SHARED_QUEUE)
    timed = laws.bulk("jasper-7s-t4-fp16", 4, 0.5, (0.5,), wait=0.5, timer=BatchTimer.OPEN, replicas=2)
    first_s = laws.batch_times_s("jasper-7s-t4-fp16", 4)[0]
    assert timed.plan.batch_wait_max_s == 0.5 * first_s
    assert (timed.plan.timer, timed.plan.batch_size_max, timed.plan.replicas) == ("open", 4, 2)
    assert timed.service_times(1, 0.3) == first_s


def test_no_law_may_lie_farther_from_the_simulation_than_1_percent_and_exact_ones_not_at_all():
    """Beyond their standard errors; only the laws of large fleets, of fine tokens, of Che and of long backoffs are limits."""
    allowed: dict[str, list[float]] = {}
    for system in systems(Grid.SHORT):
        compared = system.quantities() if isinstance(system, System) else system.compared
        allowed[system.name] = [one.allowance for one in compared.values() if one.allowance != 0.0]
    assert max(itertools.chain.from_iterable(allowed.values())) < 0.01
    assert min(itertools.chain.from_iterable(allowed.values())) > 0.0
    assert [name for name, allowances in allowed.items() if allowances] == [
        "M/M/1 x 100 power-of-two load 0.5",
        "room for all, constant outputs of 50, load 0.5",
        "150 groups, Zipf 1, room for 37.5",
        "M/M/4/4 load 0.9, 3 attempts up to 500 s later",
    ]
