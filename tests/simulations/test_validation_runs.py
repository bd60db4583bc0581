"""Systems beside theory: what a run leaves out at its start and end, its theory, and what it simulates.

One queue at load ρ forgets within ρ/(1-√ρ)² requests, times half the variability of gaps and service where that
is above 1: 1 request at ρ = 0.25, 16 at ρ = 0.64. None forgets sooner than a full batch is served. At the end,
20 full batches a replica are left out, ten requests a user, or what may still be tried again.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from cases import sample_of

import simulations.validation.recovery_systems as trouble
import simulations.validation.token_systems as tokens
from capacity.answers.agreement import AgreementAnswer
from capacity.errors import DomainError, InconclusiveError
from capacity.profile.distribution import from_samples
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.closed import BulkClosed
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc import GGc
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.queues.general.mmpp import MMPPMc
from capacity.queues.markov.closed import Closed
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.queues.power_of_choices import PowerOfChoices
from capacity.recovery.faults import Action
from simulations.draws.arrivals import Seed, Stage, Stream
from simulations.draws.attempts import Outcomes
from simulations.replication import Engine, Task
from simulations.statistics.intervals import Estimate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length, Sample
from simulations.validation import laws
from simulations.validation.agreement import AnySystem, Row, compare
from simulations.validation.simulation import LawSimulation
from simulations.validation.systems import Quantity, system_of
from simulations.validation.token_laws import EqualPasses, SharedSlots, limited_sharing_mean_s

P50 = (0.5,)
UNIT = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
BRIEF = Duration(family=Family.DETERMINISTIC, mean_s=2.0)
LONG = Duration(family=Family.EXPONENTIAL, mean_s=98.0)
SKEWED = Duration(family=Family.GAMMA, mean_s=1.0, scv=3.0)
RISING_S = (1.0, *[1.5] * 6, 2.0)  # of batches of 1 to 8


def bulk(load: float, replicas: int) -> AnySystem:
    return system_of(
        Bulk(arrival_rate_rps=load * replicas * 8 / 2.0, batch_times_s=RISING_S, replicas=replicas), P50
    )


def bulk_markov(load: float, servers: int, size: int) -> AnySystem:
    law = BulkMarkov(
        arrival_rate_rps=load * size * servers / 0.5, service_time_s=0.5, batch_size_max=size, servers=servers
    )
    return system_of(law, P50)


def by_general_gaps(gap: Duration, service: Duration) -> AnySystem:
    return system_of(GGc(arrival=gap, service=service, servers=1), P50)


@pytest.mark.parametrize(
    ("system", "relaxation", "cool_down"),
    [
        (laws.mm1(0.25, P50), 1.0, 0),
        (laws.mm1(0.64, P50), 16.0, 0),
        (laws.mmc(3, 0.64, P50), 16.0, 0),
        (laws.mmc(16, 0.25, P50), 4.0, 0),  # in service
        (laws.mdc(16, 0.25, P50), 4.0, 0),
        (system_of(MMc(arrival_rate_rps=8.0, service_rate_rps=2.0, servers=16), P50), 4.0, 0),
        (system_of(MMcK(arrival_rate_rps=8.0, service_rate_rps=2.0, servers=16, capacity=99), P50), 4.0, 0),
        (laws.mmck(1, 3, 0.64, P50), 1.0 / (2.0 * (1.0 - math.sqrt(0.5)) / 0.8 + 1.0 / 16.0), 0),
        (laws.mmpp(1.001, 0.01, 0.01, 1, 0.64, P50), pytest.approx(16.0, rel=1e-4), 0),  # hardly any bursts
        (laws.mg1(Family.GAMMA, 4.0, 0.64, P50), 2.5 * 16.0, 0),
        (laws.gimc(2.0, 1, 0.64, P50), 2.5 * 16.0, 0),
        (laws.gimc(0.0, 1, 0.64, P50), 16.0, 0),
        (by_general_gaps(Duration(family=Family.GAMMA, mean_s=1.0 / 0.64, scv=2.0), SKEWED), 2.5 * 16.0, 0),
        (laws.random_split(3, 0.64, P50), 3 * 16.0, 0),
        (laws.round_robin(3, 0.64, P50), 3 * 16.0, 0),
        (laws.shortest_queue(0.64, P50), 2 * 16.0, 0),
        (laws.power_of_two(100, 0.64, P50), 100 * 16.0, 0),
        (laws.shared_device((1.0, 1.5), 0.64), 16.0, 0),
        (laws.shared_device((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), 0.25), 2.0, 0),  # 8 of 8 slowed by 8
        (bulk(0.64, 2), 2 * 16.0, 20 * 2 * 8),
        (bulk(0.25, 2), 4.0, 20 * 2 * 8),  # while a full batch of 8 at each is served
        (bulk_markov(0.64, 3, 8), 4.5 * 16.0, 20 * 3 * 8),
        (bulk_markov(0.25, 9, 3), 9 * 0.25 * 3, 20 * 9 * 3),
        (laws.bulk_ctmc(RISING_S, 2, 0.64, P50), 4.5 * 16.0, 20 * 2 * 8),
        (laws.bulk_ctmc((1.0, 2.0), 16, 0.25, P50), 8.0, 20 * 16 * 2),
        (laws.closed(7, 4.0, 1, P50), 7.0, 10 * 7),
        (system_of(BulkClosed(users=6, think_time_s=1.0, batch_times_s=(1.0, 1.5)), P50), 6.0, 10 * 6),
        (trouble.retrial(1, 0.49, 0.5), 49.0 / 9.0, 55),  # 54.4
        (trouble.retrial(8, 0.25, 0.5), 4.0, 40),  # at any time at a server or waiting to try again
        (trouble.retrial(8, 0.25, 2.0), 2.0, 20),
        (trouble.long_backoff(4, 0.9, 3, 500.0), 0.15 * 3600.0, 3600),
        (trouble.long_backoff(2, 0.5, 2, 100.0), 0.15 * 100.0, 100),
        (trouble.fixed_patience(4, 1.1, 3.0, P50), 4.4 * 8.0, 0),
        (trouble.newest_first(1, 1.0 / 0.64, 2.0), 16.0, 32),  # 31.25
        (trouble.newest_first(8, 4.0, 2.0), 32.0, 640),
        (trouble.paused(BRIEF, 0.05, 0.25, P50), 1.0 + 22.0 * 0.25 / 1.1, 0),
        (trouble.paused(BRIEF, 0.05, 0.64, P50), 16.0 + 22.0 * 0.64 / 1.1, 0),
        (trouble.paused(LONG, 0.001, 0.25, P50), (99.0 + 1098.0) * 0.25 / 1.098, 0),  # pause and service
        (trouble.breakdowns(4, 0.64, 0.05, 0.2), 16.0 + 4 * 0.64 * 0.8 * 5.0 / 0.36, 11),  # 10.24
        (trouble.breakdowns(8, 0.25, 0.05, 0.05), 1.0 + 20.0 / 0.75, 20),
        (trouble.redundancy(4, 2, 0.64), 16.0, 0),
        (trouble.redundancy(16, 2, 0.25), 4.0, 0),
        (trouble.hedged(UNIT, 1.0, P50), 5.0, 0),
        (tokens.alone((10,), (3,), 0.64, P50), 16.0, 100),
        (tokens.equal_passes(10, 2.0), 4.0, 120),
        (tokens.equal_passes(3, 0.25), 1.0, 103),
        (tokens.shared_engine("constant", 50, 0.5), 2.0 * 11.0 / 0.5, 110),
        (tokens.geometric_slots(2, 6, 0.64), 16.0, 120),
        (tokens.geometric_slots(8, 6, 0.25), 2.0, 180),
        (tokens.prompts_alone(100, 64, 850, 0.64), 16.0, 160),
        (tokens.prompts_alone(100, 64, 850, 0.25), 2.0, 160),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_run_leaves_out_its_start_and_its_end(system: AnySystem, relaxation: float, cool_down: int) -> None:
    assert system.cool_down_requests == cool_down
    assert system.relaxation_requests == (
        pytest.approx(relaxation, rel=1e-9) if isinstance(relaxation, float) else relaxation
    )


def theory(system: AnySystem) -> dict[str, float]:
    return {name: quantity.theory for name, quantity in system.quantities().items()}


def test_theory_of_retries_and_shedding_in_closed_form() -> None:
    """One server: M/M/1 retrial has (λ + ρθ)ρ/((1-ρ)θ) in orbit, and M/M/1+D at load 1 loses 1/(2 + τ)."""
    orbit = 0.2 * (0.2 + 0.2 * 0.5) / (0.8 * 0.5)
    assert theory(trouble.retrial(1, 0.2, 0.5)) == pytest.approx(
        {"retried_share": 0.2, "attempts_mean": 1.0 + 0.5 * orbit / 0.2, "response_mean_s": 1.0 + orbit / 0.2}
    )
    # Blocked with b = a/(1 + a), where all attempts are a = (1 + b)/2: b² + 2b = 1.
    later, blocked = trouble.long_backoff(1, 0.5, 2, 200.0), math.sqrt(2.0) - 1.0
    assert theory(later) == pytest.approx({"attempts_mean": 1.0 + blocked, "loss_probability": blocked**2})
    assert [one.allowance for one in later.compared.values()] == pytest.approx([0.005, 0.01])
    shed = theory(trouble.fixed_patience(1, 1.0 + 1e-9, 3.0, P50))
    assert shed["loss_probability"] == pytest.approx(0.2, abs=1e-6)
    # At a load of 4, three quarters of all requests are overtaken by newer ones for ever.
    assert theory(trouble.newest_first(1, 4.0, 200.0)) == pytest.approx({"loss_probability": 0.75}, abs=1e-6)


def test_theory_of_faults_and_copies_in_closed_form() -> None:
    breaks = theory(trouble.breakdowns(1, 0.3, 0.05, 0.5))["response_mean_s"]
    pauses = theory(trouble.paused(replace(BRIEF, family=Family.EXPONENTIAL), 0.05, 0.3, P50))
    assert breaks == pytest.approx(pauses["response_mean_s"], rel=1e-6)
    assert theory(trouble.redundancy(3, 3, 0.5)) == pytest.approx({"response_mean_s": 1.0 / 1.5})
    late = math.exp(-1.0)
    hedges = theory(trouble.hedged(UNIT, 1.0, P50))
    assert hedges == pytest.approx(
        {"attempts_mean": 1.0 + late, "response_mean_s": 1.0 - late / 2.0, "response_p50_s": math.log(2.0)}
    )


def test_theory_of_engines_in_closed_form() -> None:
    served_s = 0.01 * 3 + 1e-4 * 10 + 0.002 * 2
    one = theory(tokens.alone((10,), (3,), 0.25, P50))
    waits_s = 0.25 * served_s / (2.0 * 0.75)
    assert one["utilization"] == 0.25
    assert one["response_mean_s"] == pytest.approx(waits_s + served_s)
    assert one["ttft_mean_s"] == pytest.approx(waits_s + 0.011)
    # With one token each, a pass is the last one if nothing arrives during it, with probability exp(-1/2).
    equal, passes = theory(tokens.equal_passes(1, 0.5)), math.exp(0.5)
    busy = 0.5 * passes / (0.5 * passes + 1.0)
    assert equal["utilization"] == pytest.approx(busy)
    assert equal["ttft_mean_s"] == equal["response_mean_s"] == pytest.approx(0.01 * (1.0 + busy / 2.0))
    assert equal["itl_mean_s"] == 0.01
    half_s = (0.01 * (1.0 - 0.5**11) + 0.001 * 11.0) / 2.0
    room = tokens.shared_engine("constant", 50, 0.5)
    assert theory(room) == pytest.approx({"response_mean_s": 1.1 + half_s, "running_mean": 11.0})
    assert [one.allowance for one in room.compared.values()] == pytest.approx([half_s / 1.1] * 2)
    # One slot is M/G/1 whose service is a geometric number of passes of 11 ms.
    slot, waits_s = theory(tokens.geometric_slots(1, 6, 0.6)), 0.6 * 0.066 * (1.0 + 5.0 / 6.0) / (2.0 * 0.4)
    assert slot == pytest.approx(
        {
            "ttft_mean_s": waits_s + 0.011,
            "response_mean_s": waits_s + 0.066,
            "running_mean": 0.6,
            "utilization": 0.6,
        },
        rel=1e-6,
    )
    # One prompt a pass, by its slots or by its budget, is M/D/1.
    for slots, budget in ((1, 850), (64, 199)):
        prompt = theory(tokens.prompts_alone(100, slots, budget, 0.64))
        assert prompt["ttft_mean_s"] == pytest.approx(0.02 * (1.0 + 0.64 / (2.0 * 0.36)))
        assert prompt["utilization"] == pytest.approx(0.64)


def test_with_equal_passes_a_first_token_takes_one_or_two_passes() -> None:
    """One pass for the share that finds the engine idle, and uniformly between one and two for the rest."""
    law = EqualPasses(arrival_rate_rps=50.0, pass_s=0.01, tail=(1.0,))
    idle = law.idle_share
    assert idle == pytest.approx(1.0 / (1.0 + 0.5 * math.exp(0.5)))
    assert law.ttft_quantile_s(0.5 * idle) == law.ttft_quantile_s(idle) == pytest.approx(0.01)
    assert law.ttft_quantile_s(idle + 0.25 * (1.0 - idle)) == pytest.approx(0.0125)
    above = [law.ttft_share_above(one * 0.01) for one in (0.999, 1.0, 1.25, 2.0, 2.5)]
    assert above == pytest.approx([1.0, 1.0 - idle, 0.75 * (1.0 - idle), 0.0, 0.0])
    assert law.response_mean_s == law.ttft_mean_s == pytest.approx(0.01 * (1.0 + 0.5 * (1.0 - idle)))


def test_slots_of_infinitesimal_tokens_are_servers() -> None:
    """One slot with 5 passes of 20 ms is M/M/1; two slots, each as fast as alone, are M/M/2."""
    one = SharedSlots(6.0, 5.0, 0.012, 0.008, 1)
    assert (one.full_rate_rps, one.wait_probability) == pytest.approx((10.0, 0.6))
    assert one.wait_quantile_s(0.9) == pytest.approx(math.log(0.6 / 0.1) / 4.0)
    assert one.wait_quantile_s(0.3) == 0.0
    two = SharedSlots(12.0, 5.0, 0.02, 0.0, 2)
    assert two.wait_probability == pytest.approx(
        MMc(arrival_rate_rps=12.0, service_rate_rps=10.0, servers=2).wait_probability
    )
    # One slot is M/G/1; with very many it is processor sharing.
    assert limited_sharing_mean_s(0.6, 2.0, 12.0, 1) == pytest.approx(0.6 * 12.0 / (2.0 * 2.0 * 0.4) + 2.0)
    assert limited_sharing_mean_s(0.6, 2.0, 12.0, 2) == pytest.approx(3.0 * 0.36 / 0.4 + 2.0 * 0.64 / 0.4)
    assert limited_sharing_mean_s(0.6, 2.0, 12.0, 10_000) == pytest.approx(2.0 / 0.4)


def test_two_instances_at_half_the_speed_each_are_one_server() -> None:
    """The number of requests is that of M/M/1, but two of them are in service."""
    load, wait = 0.64, 0.64**2
    assert theory(laws.shared_device((1.0, 2.0), load)) == pytest.approx(
        {
            "wait_probability": wait,
            "wait_mean_s": load**3 / (1.0 - load) / load,
            "response_mean_s": 1.0 / (1.0 - load),
            "utilization": (load + wait) / 2.0,
        }
    )


def test_the_simulated_system_is_that_of_the_law() -> None:
    bursts = laws.mmpp(4.0, 20.5, 40.25, 2, 0.6, P50).workload
    assert bursts.arrivals.ratio == pytest.approx(4.0)
    assert (bursts.arrivals.burst_mean_s, bursts.arrivals.calm_mean_s) == pytest.approx((20.5, 40.25))
    assert bursts.arrival_rate_rps == pytest.approx(1.2)
    users = system_of(Closed(users=5, think_time_s=2.0, service_time_s=0.4, servers=2), P50)
    assert (users.workload.users, users.workload.think_time_s, users.plan.replicas) == (5, 2.0, 2)
    assert users.service_times(1, 1.0 - math.exp(-1.0)) == pytest.approx(0.4)
    batch = bulk_markov(0.5, 2, 4)
    assert batch.service_times(3, 1.0 - math.exp(-1.0)) == pytest.approx(0.5)
    assert (batch.plan.batch_size_max, batch.plan.replicas) == (4, 2)
    full = system_of(MMcK(arrival_rate_rps=1.0, service_rate_rps=2.0, servers=2, capacity=2), P50)
    assert full.plan.queue_limit == 0
    assert "wait_mean_s" not in full.compared  # none can wait
    assert full.service_times(1, 1.0 - math.exp(-1.0)) == pytest.approx(0.5)


@pytest.mark.parametrize("family", [Family.EXPONENTIAL, Family.DETERMINISTIC, Family.ERLANG])
def test_gaps_have_the_mean_and_variability_of_their_family(family: Family) -> None:
    gap = Duration(family=family, mean_s=2.5, scv=0.25 if family is Family.ERLANG else None)
    workload = by_general_gaps(gap, SKEWED).workload
    gaps_s = np.diff(Stream(workload, 20_000, Seed(value=1)).arrived_s(20_000))
    assert gaps_s.mean() == pytest.approx(2.5, rel=0.03)
    assert gaps_s.var() / gaps_s.mean() ** 2 == pytest.approx(gap.variability, abs=0.05)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (MMc(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=1.5), "whole number of servers, got 1.5"),
        (PowerOfChoices(arrival_rate_rps=1.0, service_rate_rps=1.0, replicas=9, choices=3), "2 replicas.*3"),
        (Bulk(arrival_rate_rps=1.0, batch_times_s=(0.5, 0.6), batch_size_min=2), "one request .*, not at 2"),
        (
            MG1(arrival_rate_rps=1.0, service=Empirical(law=from_samples([0.1, 0.2]))),
            "measured service is simulated from its profile",
        ),
        (
            MMPPMc(
                arrival_rates_rps=(1.0, 2.0), switch_rates_per_s=(1.0, 1.0), service_rate_rps=9.0, servers=1
            ),
            "phase 1 must be the burst",
        ),
        (
            MMPPMc(
                arrival_rates_rps=(1.0, 0.0), switch_rates_per_s=(1.0, 1.0), service_rate_rps=9.0, servers=1
            ),
            "phase 2 not silent",
        ),
    ],
)
def test_a_law_that_cannot_be_simulated_is_refused(law: object, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        system_of(law)


@pytest.mark.parametrize(
    ("servers", "begin", "end"), [(1, Action.PAUSE, Action.RESUME), (3, Action.CRASH, Action.JOIN)]
)
def test_faults_alternate_until_after_the_last_arrival(servers: int, begin: Action, end: Action) -> None:
    """Up for 20 s and down for 2 s on average, some 900 times each."""
    system = trouble.paused(BRIEF, 0.05, 0.3, P50) if servers == 1 else trouble.breakdowns(3, 0.3, 0.05, 0.5)
    assert system.incidents is not None
    faults = system.incidents(np.random.default_rng(1), 20_000.0)
    for replica in range(servers):
        own = [fault for fault in faults if fault.replica == replica]
        instants_s = np.array([fault.instant_s for fault in own])
        assert [fault.action for fault in own] == [begin, end] * (len(own) // 2)
        assert 20_000.0 < instants_s[-1] < 30_000.0
        down_s, up_s = instants_s[1::2] - instants_s[::2], instants_s[2::2] - instants_s[1:-1:2]
        assert (down_s > 0.0).all()
        assert (up_s > 0.0).all()
        assert (down_s.mean(), up_s.mean()) == pytest.approx((2.0, 20.0), rel=0.1)
        if begin is Action.PAUSE:
            assert [fault.value for fault in own[::2]] == pytest.approx([2.0] * (len(own) // 2))
    assert [fault.instant_s for fault in faults] == sorted(fault.instant_s for fault in faults)


def test_a_sample_holds_the_counted_requests() -> None:
    """Of six requests the middle four: one has no reply, two were sent twice."""
    arrived_s = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 50.0])
    nothing = dict.fromkeys(
        ("served", "for_nobody", "rejected", "shed", "crashed", "dropped", "timed_out"), 0
    )
    outcomes = Outcomes(
        arrived_s=arrived_s,
        answered_s=arrived_s + np.array([9.0, 1.0, np.nan, 2.0, 6.0, 9.0]),
        ended_s=arrived_s + 9.0,
        attempts=np.array([9, 1, 2, 2, 1, 9]),
        sent=np.zeros(60, dtype=np.int64),
        **nothing,
    )
    sample = trouble._sample(outcomes, slice(1, 5))
    assert sample.responses.values_s.tolist() == [1.0, 2.0, 6.0]
    assert (sample.window_s, sample.lost, sample.attempts, sample.retried) == (6.0, 1, 6, 2)
    assert sample.rises_s == (3.0,)  # (2 + 6)/2 - 1
    assert (sample.batches, sample.batch_size_largest, sample.busy_s) == (3.0, 1, 0.0)
    pool = Pool.of([sample, sample])
    found = {
        name: quantity.estimate(pool).value
        for system in (trouble.retrial(1, 0.2, 0.5), trouble.newest_first(1, 2.0, 5.0))
        for name, quantity in system.quantities().items()
    }
    assert found == pytest.approx(
        {"retried_share": 0.5, "attempts_mean": 1.5, "response_mean_s": 3.0, "loss_probability": 0.25}
    )


def test_random_numbers_are_drawn_only_where_they_are_used() -> None:
    plain = trouble.hedged(UNIT, 1.0, P50).draws(50, Seed(value=1))
    assert plain.service.shape == (2, 50)
    assert plain.routing.size == plain.backoff.size == 0
    routed = trouble.redundancy(3, 3, 0.5).draws(50, Seed(value=1))
    assert routed.routing.shape == (3, 50, 2)
    assert len(np.unique(routed.routing)) == 300
    again = trouble.long_backoff(1, 0.5, 2, 200.0).draws(50, Seed(value=1))
    assert again.backoff.shape == (2, 50)


class Known:
    """A system whose relative standard error is given by the number of runs."""

    name = "known"
    pool = Pool
    cool_down_requests = 7

    def __init__(self, relaxation_requests: float, errors: dict[int, float]) -> None:
        self.relaxation_requests, self.errors = relaxation_requests, errors
        self.tasks: list[tuple[Length, Seed, Engine]] = []

    def task(self, length: Length, seed: Seed, engine: Engine) -> tuple[Length, Seed, Engine]:
        self.tasks.append((length, seed, engine))
        return self.tasks[-1]

    def replicate(self, task: object) -> Sample:
        return sample_of([1.0])

    def quantities(self) -> dict[str, Quantity]:
        def estimate(pool: Pool) -> Estimate:
            return Estimate(value=2.0, standard_error=2.0 * self.errors[pool.replications], degrees=19)

        return {"q": Quantity(2.0, 0.25, estimate)}


@pytest.mark.parametrize(("relaxation", "measured"), [(3.2, 10_000), (500.0, None)])
def test_a_run_measures_ten_times_its_warm_up_or_10_000_requests(relaxation, measured) -> None:
    system = Known(relaxation, {20: 0.004})
    (row,) = compare(system, seed=5, requests_max=10**9)
    warm_up = math.ceil(RELAXATIONS * relaxation)
    assert {length for length, _, _ in system.tasks} == {
        Length(warm_up=warm_up, measured=measured or 10 * warm_up, cool_down=7)
    }
    assert [seed for _, seed, _ in system.tasks] == [
        Seed(value=5, stage=Stage.AGREEMENT, replication=number) for number in range(20)
    ]
    assert (row.system, row.quantity, row.theory, row.allowance) == ("known", "q", 2.0, 0.25)


@pytest.mark.parametrize(("budget", "runs"), [(80, 80), (79, 20)])
def test_runs_are_added_until_a_row_is_certain_or_the_budget_ends(budget: int, runs: int) -> None:
    """An error twice as large as allowed takes four times as many runs."""
    system = Known(1.0, {20: 0.009, 80: 0.0045})
    requests = math.ceil(RELAXATIONS) + 10_000 + 7
    (row,) = compare(system, seed=5, requests_max=budget * requests, engine=Engine.SIMPY)
    assert [seed.replication for _, seed, _ in system.tasks] == list(range(runs))
    assert {engine for _, _, engine in system.tasks} == {Engine.SIMPY}
    assert row.relative_error == pytest.approx(0.009 if runs == 20 else 0.0045)


def test_rows_are_shown_by_system() -> None:
    estimate = Estimate(value=1.02, standard_error=0.004, degrees=19)
    rows = [
        Row(system=system, quantity="q", theory=1.0, simulation=estimate)
        for system in ("one", "one", "other")
    ]
    first, second = AgreementAnswer(compared=tuple(rows), seed=0).tables(80)
    assert (first.title, first.row_count, second.title, second.row_count) == ("one", 2, "other", 1)
    assert [str(next(iter(column.cells))) for column in first.columns] == [
        "q",
        "1",
        "1.02",
        "0.0084",  # 2.093 standard errors
        "+5.0 SE",
        "1.000",
        "disagrees",
    ]


def test_a_law_is_simulated_in_twenty_runs_after_a_warm_up() -> None:
    """1001 requests are 51 in each run, of which too few lie beyond P99."""
    asked: list[Task] = []

    def mapper(function: object, tasks: Iterable[Task]) -> list[Sample]:
        asked.extend(tasks)
        return [sample_of(1.0 + 0.1 * np.random.default_rng(number).random(51)) for number in range(20)]

    law = BulkMarkov(arrival_rate_rps=2.0, service_time_s=1.0, batch_size_max=8, servers=1)
    simulate = LawSimulation(requests=1001, quantiles=(0.5, 0.99), seed=3, engine=Engine.SIMPY, mapper=mapper)
    with pytest.raises(
        InconclusiveError, match=r"1001 requests are worth \d+ .* beyond P99, and an .* takes 50;"
    ):
        simulate(law)
    assert [task.seed for task in asked] == [Seed(value=3, replication=number) for number in range(20)]
    assert {task.length for task in asked} == {Length(warm_up=45, measured=51, cool_down=160)}
    assert {task.engine for task in asked} == {Engine.SIMPY}
    assert {task.request_overhead_s for task in asked} == {0.0}
    found = replace(simulate, quantiles=(0.5,))(law)
    assert found.load == pytest.approx(0.25)
    assert list(found.response_quantiles_s) == [0.5]
    assert found.utilization == pytest.approx(0.5)  # of made-up samples that are busy half of the time
