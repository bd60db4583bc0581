"""The verbs `simulate`, `predict` and `agreement`: the performance of one fleet, by simulation or an exact law."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capacity.api.asked import asked_scenario
from capacity.api.work import Report, Work, at_work
from capacity.doors import door
from capacity.errors import InputError
from capacity.profile.load import ProfileLike, load_profile
from capacity.question import parse
from capacity.question.arguments import Asked, many, silent
from capacity.question.budget import Effort
from capacity.question.scenario import AnyScenario, Scenario, with_autoscaler
from capacity.server.kinds import asked_of
from capacity.traffic.workload import is_patient

if TYPE_CHECKING:
    from capacity.answers.agreement import AgreementAnswer
    from capacity.answers.performance import LawAnswer, PredictionAnswer, SimulationAnswer
    from capacity.performance import Interval, Performance
    from capacity.question.caveat import Caveat


@door("simulate")
def simulate(asked: Asked) -> "SimulationAnswer":
    """The performance of one plan, with intervals.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        UnstableError: the plan cannot sustain the arrival rate.
        InconclusiveError: the budget is too small for an interval.
    """
    from capacity.units import QUANTILES

    quantiles, effort = parse.read_quantiles(asked.quantile, QUANTILES), asked.effort
    scenario = replace(
        parse.in_failure(with_autoscaler(asked_scenario(asked), asked), asked), quantiles=quantiles
    )
    if asked.replay and not is_patient(scenario.workload):
        raise InputError(
            "--replay serves each request of the trace once; leave out --replay to simulate clients that give up, "
            "retry or hedge, or leave out their flags"
        )
    # Slow imports come only now, so that a mistake is reported at once.
    from capacity.answers.performance import SimulationAnswer
    from capacity.search.caveats import scenario_caveats

    with at_work(effort, asked.progress) as work:
        if asked.replay:
            served, performance = work.replay(scenario)
            caveats = scenario_caveats(scenario, performance)
        else:
            served, performance, caveats = None, *_simulated(scenario, work)
    return SimulationAnswer(
        scenario=scenario,
        performance=performance,
        caveats=tuple(caveats),
        effort=effort,
        served=served,
    )


def _simulated(scenario: AnyScenario, work: Work) -> "tuple[Performance, Iterator[Caveat]]":
    """The performance of a scenario, and what it leaves open."""
    from capacity.search.caveats import scenario_caveats

    work.require_answerable(scenario)
    plan = scenario.plan
    work.report(f"simulating {_count(plan.replicas)}, {plan.size_name} {plan.at_once}")
    simulation = work.simulate(scenario.quantiles)
    found, like_it = simulation.look(scenario), simulation.like_it(scenario)
    precision = work.effort.precision
    return found.performance, scenario_caveats(scenario, found.performance, like_it, found.width, precision)


def _count(replicas: int) -> str:
    return f"{replicas} replica" + ("s" if replicas > 1 else "")


@door("predict")
def predict(asked: Asked) -> "PredictionAnswer":
    """The performance of one plan from the exact law that describes it, without a simulation.

    There is a law for Poisson arrivals and constant batch times (`profile.of_means()` has these) under
    round-robin and random routing, and for measured times without batching at one replica.

    Raises:
        InputError: an argument that cannot be read, or that contradicts another.
        DomainError: no exact law; the message says why. Use `simulate` then.
        UnstableError: the plan cannot sustain the arrival rate.

    >>> from capacity.profile.load import load_profile
    >>> resnet = load_profile("resnet50-t4-fp16").of_means()
    >>> answer = predict(resnet, 2, rate="1500rps", batch_size_max=16)
    >>> round(1e3 * answer.performance.response_quantiles_s[0.99].value, 1)
    18.5
    """

    from capacity.answers.performance import PredictionAnswer
    from capacity.queues.batch.fleet import predict as predict_exactly
    from capacity.server.batch.stability import require_answerable
    from capacity.traffic.workload import Workload
    from capacity.units import QUANTILES

    measured = parse.read_profile(asked.profile, asked.request_overhead, asked.instances_per_device)
    workload = parse.read_demand("poisson", asked.rate, None, None)
    assert isinstance(workload, Workload)  # noqa: S101  (no users were given)
    fleet = asked_of([measured]).plan(measured, asked)
    quantiles = parse.read_quantiles(asked.quantile, QUANTILES)
    require_answerable(measured, workload, fleet)
    return PredictionAnswer(
        scenario=Scenario(profile=measured, workload=workload, plan=fleet, quantiles=quantiles),
        performance=predict_exactly(measured, workload, fleet, quantiles),
    )


def simulate_law(
    law: Any,
    *,
    requests: int = 2_000_000,
    quantile: float | Sequence[float] | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    engine: str = "kernel",
    workers: int | None = None,
    cluster: str | None = None,
    progress: Report = silent,
) -> "LawAnswer":
    """A law of `cap.queues` compared with a simulation of the queue that it describes.

    Args:
        law: a law such as `cap.queues.MMc(...)`.
        requests: number that count, in twenty independent runs.

    Raises:
        DomainError: a law that cannot be simulated by itself; the message says which can.
        InconclusiveError: too few requests for a valid interval.

    >>> from capacity.queues import MMc
    >>> answer = simulate_law(MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2), quantile=0.9)
    >>> found = answer.performance.response_quantiles_s[0.9]
    >>> found.low < answer.theory.response_quantiles_s[0.9].value < found.high
    True
    """
    from capacity.answers.performance import LawAnswer
    from capacity.units import QUANTILES, require_count
    from simulations.replication import Engine
    from simulations.validation.simulation import LawSimulation

    require_count("requests", requests)
    quantiles = parse.read_quantiles(many(quantile), QUANTILES)
    effort = Effort(seed=seed, confidence=confidence, engine=engine, workers=workers, cluster=cluster)
    name = type(law).__name__
    with at_work(effort, progress) as work:
        work.report(f"simulating {name}")
        simulation = LawSimulation(
            requests=requests,
            quantiles=quantiles,
            seed=seed,
            confidence=confidence,
            engine=Engine(engine),
            mapper=work.mapper,
        )
        found = simulation(law)
    return LawAnswer(model=name, theory=law.performance(quantiles), performance=found, effort=effort)


@door("agreement")
def agreement(asked: Asked) -> "AgreementAnswer":
    """The simulator compared with exact theory, queue by queue; the short grid takes minutes.

    Raises:
        InputError: an argument that cannot be read.
    """
    from capacity.answers.agreement import AgreementAnswer
    from simulations.replication import Engine
    from simulations.validation.agreement import compare
    from simulations.validation.grid import Grid, systems

    effort = asked.effort
    grid, engine = (
        parse.read_choice(Grid, asked.grid, "--grid"),
        parse.read_choice(Engine, asked.engine, "--engine"),
    )
    rows = []
    with at_work(effort, asked.progress) as work:
        for system in systems(grid):
            work.report(f"simulating {system.name}")
            rows += compare(system, effort.seed, effort.requests_max, work.mapper, engine)
    return AgreementAnswer(compared=tuple(rows), seed=effort.seed)


def sampling_intervals(
    profiles: Sequence[ProfileLike],
    statistics: Callable[..., Sequence[float]],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> "list[Interval]":
    """Numbers computed from profiles, with intervals that come from the profiles' own samples.

    The samples are resampled 400 times. The intervals cover the error of the samples of these very runs, not the
    difference to another machine; for profiles without samples they have no width.

    Args:
        statistics: function of the profiles that returns numbers, always as many.

    >>> (faster,) = sampling_intervals(
    ...     ["serve-mlp-cpu-fp32", "serve-mlp-cpu-int8"],
    ...     lambda before, after: [after.throughput_rps(8) / before.throughput_rps(8)],
    ... )
    >>> 1.0 < faster.low < faster.value < faster.high < 3.0
    True
    """
    from simulations.statistics.profile_error import sampling_intervals as intervals_of

    measured = [load_profile(one) for one in profiles]
    return intervals_of(measured, statistics, confidence=confidence, seed=seed)
