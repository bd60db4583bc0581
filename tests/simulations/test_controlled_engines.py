"""Engines that an autoscaler sizes over a day: fixed fleets, a fluid law, both engines of simulation, and what is limited."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from capacity.autoscaling.findings import Days
from capacity.errors import DomainError, InputError
from capacity.performance import Performance, Share
from capacity.profile.llm import Coefficients, KvCache
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.candidate import Reason
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.search.engines import warmth_caveats
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve
from capacity.traffic.sessions.parse import parse_sessions
from capacity.traffic.workload import ArrivalProcess, DeterministicArrivals, PoissonArrivals, Workload
from simulations.autoscaled import DaySimulation
from simulations.cold import cold_saturation_rps
from simulations.draws.arrivals import Seed
from simulations.draws.watching import BacklogWatch, Sight
from simulations.replication import Engine
from simulations.servers import case_of, controlled
from simulations.simulate import Simulation
from simulations.statistics.sample import Sample, Tally
from simulations.statistics.sessions import SessionTotals
from simulations.statistics.tokens import TokenSample
from simulations.validation.token_systems import law_scenario, outputs

HOUR_S, TOKENS = 3600.0, 10
LINE = Coefficients(base_s=0.01, per_prefill_token_s=0.0, per_decode_request_s=0.001)
QUANTILES = (0.5, 0.9)


def scenario(
    *rates: tuple[float, float],
    replicas: int = 4,
    slots: int = 4,
    kind: str = "geometric",
    hours: float = 0.5,
    level: float = 0.6,
    arrivals: ArrivalProcess | None = None,
    objective: Objective | None = None,
    clients: Clients | None = None,
    **scaling: Any,
) -> TokenScenario:
    """Engines that run four requests of ten tokens at once, from midnight on; rates by time."""
    found = law_scenario(1.0, outputs(kind, TOKENS).within(10_000), LINE, slots=slots)
    day = DailyCurve(
        times_s=tuple(at_s for at_s, _ in rates),
        rates_rps=tuple(one for _, one in rates),
        ends_s=hours * HOUR_S,
    )
    return replace(
        found,
        plan=replace(found.plan, replicas=replicas),
        workload=Workload(
            arrival_rate_rps=day.peak_rate_rps,
            arrivals=arrivals or PoissonArrivals(),
            day=day,
            clients=clients or Clients(),
        ),
        objective=objective or Objective(),
        autoscaler=Autoscaler(
            target=Target(metric=Metric.UTILIZATION, level=level), replicas_max=99, **scaling
        ),
    )


SESSIONS = parse_sessions(
    "turns=geometric:mean=4;think=exponential:mean=2s;system=160;first=constant:800;user=constant:160;"
    "output=constant:16"
).within(30_000)


def chats(*rates: tuple[float, float], kv_tokens: int = 40_000, **given: Any) -> TokenScenario:
    """Turns of sessions in place of requests, at engines whose prompts take time and whose caches are soon full."""
    asked = scenario(*rates, **given)
    line = Coefficients(base_s=0.05, per_prefill_token_s=5e-4, per_decode_request_s=0.0)
    found = law_scenario(1.0, SESSIONS, line, slots=8, budget=2_048, kv=KvCache(tokens=kv_tokens))
    plan = replace(found.plan, replicas=asked.plan.replicas, routing=Routing.SESSION)
    return replace(asked, profile=found.profile, lengths=found.lengths, plan=plan)


def simulated(asked: TokenScenario, **settings: Any) -> Performance:
    given = {"requests_max": 1, "quantiles": QUANTILES} | settings
    found: Performance = Simulation(**given)(asked)
    return found


def beside_the_fixed_one(asked: TokenScenario) -> tuple[Performance, Performance]:
    """What a fleet does that may not scale, and the fixed one, whose intervals of quantiles overlap."""
    fixed = replace(asked, autoscaler=None, workload=replace(asked.workload, day=None))
    found, law = simulated(asked), simulated(fixed, requests_max=2_000_000, precision=0.05)
    for name in ("ttft_quantiles_s", "tpot_quantiles_s", "response_quantiles_s"):
        for quantile, one in getattr(found, name).items():
            other = getattr(law, name)[quantile]
            assert one.low <= other.high, (name, quantile)
            assert other.low <= one.high, (name, quantile)
    return found, law


def test_engines_that_may_not_scale_are_the_fixed_fleet() -> None:
    """Served by the loop that knows clients, and by the plain one."""
    asked = scenario((0.0, 30.0), replicas=2, replicas_min=2, hours=0.5)
    found, law = beside_the_fixed_one(asked)
    assert found.utilization == pytest.approx(law.utilization, rel=0.02)
    assert found.running_mean == pytest.approx(law.running_mean, rel=0.03)
    assert (found.replicas_mean, found.replicas_most, found.scalings) == (2.0, 2.0, 0.0)


def test_without_chance_as_many_engines_run_as_the_target_asks_for() -> None:
    """One request at a time takes a step of 10 ms and nine of 11: 15 rps are 1.635 busy engines."""
    asked = scenario(
        (0.0, 15.0), slots=1, kind="constant", level=0.7, arrivals=DeterministicArrivals(), replicas=8
    )
    found = simulated(asked)
    assert found.replicas_mean == found.replicas_most == 3.0
    assert found.utilization == pytest.approx(15.0 * 0.109 / 3.0, rel=1e-3)


@pytest.mark.parametrize("clients", [Clients(), Clients(timeout_s=0.3, attempts=2)])
def test_both_engines_serve_a_day_of_engines_alike(clients: Clients) -> None:
    asked = scenario((0.0, 0.2), (60.0, 40.0), (120.0, 0.2), hours=0.05, startup_s=5.0, clients=clients)
    kernel, simpy = (_day(asked, engine) for engine in Engine)
    assert kernel.replicas_most > 1
    assert kernel.attempts == 0 if clients.is_patient else kernel.attempts >= kernel.counted
    assert differing(kernel, simpy) == []


def differing(kernel: Any, simpy: Any) -> list[str]:
    """Names of the figures of two samples that are not the same."""
    names = Sample.__slots__ + TokenSample.__slots__
    return [name for name in names if not _same(getattr(kernel, name), getattr(simpy, name))]


def hits(found: Performance) -> Share:
    assert found.hit_share is not None
    return found.hit_share


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, SessionTotals):
        return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, Tally):
        return np.array_equal(one.values_s, other.values_s) and np.array_equal(one.counts, other.counts)
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def test_sessions_in_a_fleet_that_may_not_scale_are_those_of_the_fixed_one() -> None:
    asked = chats((0.0, 4.0), replicas=3, replicas_min=3, hours=1.0)
    found, law = beside_the_fixed_one(asked)
    one, other = hits(found), hits(law)
    assert one.low <= other.high
    assert other.low <= one.high
    assert found.throughput_rps == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("routing", [Routing.SESSION, Routing.LEAST_OUTSTANDING, Routing.PREFIX_LLM_D])
def test_both_engines_serve_a_day_of_sessions_alike(routing: Routing) -> None:
    asked = chats((0.0, 0.5), (60.0, 8.0), (120.0, 0.5), hours=0.05, startup_s=5.0)
    asked = replace(asked, plan=replace(asked.plan, routing=routing))
    kernel, simpy = (_day(asked, engine) for engine in Engine)
    assert kernel.replicas_most > 1
    assert differing(kernel, simpy) == []


def test_replicas_that_come_and_go_find_less_than_those_that_stay() -> None:
    """Each that comes has an empty cache, and takes sessions that others have in theirs."""
    rates = [(300.0 * step, 1.0 + 3.0 * (step % 2)) for step in range(12)]
    scaled = simulated(chats(*rates, hours=1.0, kv_tokens=200_000, stabilization_s=0.0, startup_s=10.0))
    stay = simulated(chats(*rates, hours=1.0, kv_tokens=200_000, replicas_min=4))
    assert scaled.scalings > 10.0
    assert hits(scaled).high < hits(stay).low


def test_a_fixed_fleet_whose_sessions_pile_up_is_told_before_its_day_is_over() -> None:
    """One in a hundred first tokens may take more than a second: of 7,200 turns 72, 849 by chance, and 2 that just came."""
    asked = chats((0.0, 2.0), replicas=1, hours=1.0, objective=Objective.of(ttft={0.99: 1.0}))
    fleet = controlled(asked).fleet
    assert fleet.waiting_max == pytest.approx(72.0 + 10.0 * 7_200.0**0.5 + 2.0)
    watch = BacklogWatch(fleet.waiting_max, 600.0, 4_200.0)
    waiting = {600.0: 50, 660.0: 972, 720.0: 973}
    for now_s, held in waiting.items():
        assert watch.next_s == now_s
        found = watch.look(Sight(now_s, np.array([held]), np.zeros(1, dtype=np.int64), np.zeros(1)))
        assert (found is None) is (now_s == 720.0), now_s
    assert BacklogWatch(np.inf, 600.0, 4_200.0).next_s == np.inf


def test_sessions_are_never_left_without_a_replica() -> None:
    with pytest.raises(InputError, match="at least one replica stays; give --replicas-min 1"):
        controlled(chats((0.0, 1.0), replicas_min=0))


def test_an_autoscaler_that_could_not_bring_sessions_back_is_refused() -> None:
    """Its day has a rate that all four replicas do not serve from empty caches and a backlog."""
    cold_rps = cold_saturation_rps(chats((0.0, 1.0), hours=0.5))
    assert cold_rps is not None
    above = chats((0.0, 1.0), (900.0, 1.1 * cold_rps), hours=0.5)
    below = chats((0.0, 1.0), (900.0, 0.9 * cold_rps), hours=0.5)
    found = controlled(above).refused(0.95)
    assert found is not None
    assert found.rejection is not None
    assert found.rejection.reason is Reason.BISTABLE
    assert controlled(below).refused(0.95) is None
    assert controlled(replace(above, bistable=True)).refused(0.95) is None
    (caveat,) = warmth_caveats(controlled(above).fleet)
    assert "do not recover before it is over; 5 replicas do" in caveat.message
    assert not list(warmth_caveats(controlled(below).fleet))
    assert not list(warmth_caveats(controlled(replace(above, bistable=True)).fleet))


def _day(asked: TokenScenario, engine: Engine) -> Any:
    """The sample of one day."""
    case = case_of(asked, engine)
    (task,) = case.tasks(case.length, Seed(value=3), range(1))
    return case.replicate(task)


@pytest.mark.parametrize("measure", ["ttft", "response"])
def test_an_autoscaler_of_engines_is_judged_by_what_is_limited(measure: str) -> None:
    """The verb `autoscale` and `simulate` see the same days, and each reads its own figures off them."""
    asked = scenario(
        (0.0, 10.0), (900.0, 50.0), objective=Objective.of(**{measure: {0.9: 0.2}}), startup_s=60.0
    )
    days = DaySimulation(runs=5)(controlled(asked).fleet)
    assert days.binding.limit.name == f"{measure}_p90"
    found = getattr(simulated(asked), f"{measure}_quantiles_s")[0.9]
    assert found.low <= days.binding.found_s.high
    assert days.binding.found_s.low <= found.high
    assert 0.0 < days.binding.late_share.value < 1.0


def test_first_tokens_and_responses_are_limited_together_as_each_alone() -> None:
    def days(**limits: dict[float, float]) -> Days:
        asked = scenario(
            (0.0, 10.0), (900.0, 50.0), hours=0.5, objective=Objective.of(**limits), startup_s=60.0
        )
        return DaySimulation(runs=2)(controlled(asked).fleet)

    first, whole = {0.9: 0.2}, {0.5: 0.3, 0.9: 0.5}
    both = days(ttft=first, response=whole)
    assert both.kept == (*days(ttft=first).kept, *days(response=whole).kept)
    assert both.kept[0].late_share != both.kept[2].late_share


def test_a_longer_start_up_makes_first_tokens_later() -> None:
    def late(startup_s: float) -> float:
        objective = Objective.of(ttft={0.9: 0.2})
        asked = scenario((0.0, 10.0), (900.0, 60.0), objective=objective, startup_s=startup_s)
        return DaySimulation(runs=2)(controlled(asked).fleet).binding.late_share.value

    assert late(0.0) < late(240.0)


def test_what_is_not_simulated_of_engines_on_a_day_is_refused() -> None:
    long = scenario((0.0, 300.0), hours=24.0, replicas=60)
    with pytest.raises(DomainError, match=r"at most 1e\+07 are held in memory"):
        case_of(long).require_answerable()
