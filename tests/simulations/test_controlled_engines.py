"""Engines that an autoscaler sizes over a day: fixed fleets, a fluid law, both engines of simulation, and what is limited."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.autoscaling.findings import Days
from capacity.errors import DomainError
from capacity.performance import Performance
from capacity.profile.llm import Coefficients
from capacity.question.autoscaler import Autoscaler, Metric, Target
from capacity.question.objective import Objective
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.clients import Clients
from capacity.traffic.daily import DailyCurve
from capacity.traffic.workload import ArrivalProcess, DeterministicArrivals, PoissonArrivals, Workload
from simulations.autoscaled import DaySimulation
from simulations.draws.arrivals import Seed
from simulations.replication import Engine
from simulations.servers import case_of, controlled
from simulations.simulate import Simulation
from simulations.statistics.sample import Sample, Tally
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


def simulated(asked: TokenScenario, **settings: Any) -> Performance:
    given = {"requests_max": 1, "quantiles": QUANTILES} | settings
    found: Performance = Simulation(**given)(asked)
    return found


def test_engines_that_may_not_scale_are_the_fixed_fleet() -> None:
    """Served by the loop that knows clients, and by the plain one."""
    asked = scenario((0.0, 30.0), replicas=2, replicas_min=2, hours=0.5)
    fixed = replace(asked, autoscaler=None, workload=replace(asked.workload, day=None))
    found, law = simulated(asked), simulated(fixed, requests_max=2_000_000, precision=0.05)
    for name in ("ttft_quantiles_s", "tpot_quantiles_s", "response_quantiles_s"):
        for quantile, one in getattr(found, name).items():
            other = getattr(law, name)[quantile]
            assert one.low <= other.high, (name, quantile)
            assert other.low <= one.high, (name, quantile)
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
    for name in Sample.__slots__ + TokenSample.__slots__:
        one, other = getattr(kernel, name), getattr(simpy, name)
        if isinstance(one, Tally):
            assert np.array_equal(one.values_s, other.values_s), name
            assert np.array_equal(one.counts, other.counts), name
        else:
            assert one == other, name


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
