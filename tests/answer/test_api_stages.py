"""The Python calls stage by stage: what each stage passes on, and which stages are skipped without a plan."""

import inspect
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import pytest

import capacity as cap
from capacity import answers
from capacity.answer.sweep import SweepTable
from capacity.answers import answer as base
from capacity.answers.sweep import LoadCurveAnswer, SweepAnswer
from capacity.api.report import _distribution
from capacity.errors import InconclusiveError, InputError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.load import load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.grid import Answer, Grid, Outcome
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.scenario import Scenario
from capacity.search.by_hour import Schedule
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.rows import BatchRows
from capacity.server.batch.settings import BatchSettings
from capacity.server.batch.stability import load_of
from capacity.traffic.daily import read_daily_curve
from capacity.traffic.workload import GammaArrivals, Workload

FILES = Path(__file__).parents[1] / "kept" / "files"
PROFILE = ServiceProfile(
    name="p", timings=(BatchTiming(batch_size=1, mean_s=0.005), BatchTiming(batch_size=4, mean_s=0.01))
)
PLAN = BatchPlan(profile="p", replicas=3, batch_size_max=4)
LARGER = BatchPlan(profile="p", replicas=5, batch_size_max=4, queue_limit=8)
CLIENTS = {"recover_within": "60s", "trigger": "lose:1,60s", "timeout": "500ms", "attempts": 3}
PAUSE = {"pause": "200ms,6/min"}


def found_of(plan: BatchPlan | None) -> SimpleNamespace:
    return SimpleNamespace(like_it=None, plan=plan, performance=None)


REASONS = SimpleNamespace(saturation=None)
HOURS = Schedule(rates_rps=(1.0,) * 24, replicas=(1,) * 24, peak=1)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A `cap.plan` with a made-up search result; returns its answer, and each stage called with its question."""
    called: list[tuple[str, Any]] = []

    def planned(plan: BatchPlan | None, **keywords: Any) -> tuple[Any, list[tuple[str, Any]]]:
        def stage(name: str, result: Any) -> Any:
            def run(question: Any, *_: Any, **__: Any) -> Any:
                called.append((name, question))
                return result

            return run

        @contextmanager
        def at_work(effort: Any, report: Any) -> Any:
            yield SimpleNamespace(judge=None, report=report, effort=effort)

        monkeypatch.setattr("capacity.api.plan.at_work", at_work)
        monkeypatch.setattr("capacity.search.plan_decision.recommend", stage("recommend", found_of(plan)))
        monkeypatch.setattr("capacity.search.by_hour.schedule", stage("schedule", HOURS))
        monkeypatch.setattr("capacity.explanation.explanation.explain_plan", stage("explain", REASONS))
        monkeypatch.setattr(
            "capacity.search.plan_decision.with_headroom", stage("headroom", found_of(LARGER))
        )
        monkeypatch.setattr("capacity.search.caveats.with_implausible", lambda found, question: found)
        for name, result in (("plan_disturbed", "disturbed"), ("plan_to_recover", "recovery")):
            monkeypatch.setattr(f"capacity.api.trouble.{name}", stage(name, (found_of(LARGER), result)))
        answer = cap.plan(PROFILE, slo_p99="80ms", **({"rate": "300rps"} | keywords))
        return answer, called

    return planned


def test_a_plain_plan_only_searches(stages: Any) -> None:
    answer, called = stages(PLAN)
    assert [name for name, _ in called] == ["recommend"]
    assert answer.recommendation.plan is PLAN
    assert (answer.day, answer.explanation, answer.recovery, answer.disturbed) == (None, None, None, None)
    assert (answer.question.replicas_min, answer.question.space.queue_limit) == (1, None)


@pytest.mark.parametrize(
    ("asked", "stage", "name"),
    [(PAUSE, "plan_disturbed", "disturbed"), (CLIENTS, "plan_to_recover", "recovery")],
)
def test_later_stages_use_the_fleet_that_trouble_made_larger(stages, asked, stage, name) -> None:
    answer, called = stages(PLAN, explain=True, **asked)
    assert [one for one, _ in called] == ["recommend", stage, "headroom", "explain"]
    assert getattr(answer, name) == name
    assert answer.recommendation.plan is LARGER
    assert (answer.question.replicas_min, answer.question.space.queue_limit) == (5, 8)
    assert called[-1][1] == answer.question
    assert answer.explanation is REASONS


def test_a_daily_curve_is_planned_for_its_peak_and_scheduled(stages: Any, tmp_path: Path) -> None:
    day = tmp_path / "day.csv"
    day.write_text("time,rate_rps\n00:00,100\n12:00,250\n", encoding="utf-8")
    answer, called = stages(PLAN, rate=None, daily=day)
    assert [one for one, _ in called] == ["recommend", "schedule"]
    assert answer.day == replace(HOURS, flags=("--daily", str(day)), curve=read_daily_curve(day))
    assert answer.question.workload.arrival_rate_rps == 250.0
    called.clear()
    answer, called = stages(None, rate=None, daily=day)
    assert ([one for one, _ in called], answer.day) == (["recommend"], None)


@pytest.mark.parametrize("asked", [PAUSE, CLIENTS, {}], ids=["pause", "lose", "none"])
def test_later_stages_are_skipped_without_a_plan(stages: Any, asked: dict[str, Any]) -> None:
    answer, called = stages(None, explain=True, **asked)
    assert [one for one, _ in called] == ["recommend"]
    assert (answer.day, answer.explanation, answer.recovery, answer.disturbed) == (None, None, None, None)


def test_the_before_hook_sees_the_question_and_may_refuse_it(stages: Any) -> None:
    seen = []
    stages(PLAN, before=seen.append)
    assert seen[0].workload.arrival_rate_rps == 300.0

    def refuse(question: Any) -> None:
        raise InputError("not that")

    with pytest.raises(InputError, match="not that"):
        stages(PLAN, before=refuse)


RATES = (100.0, 400.0, 700.0)


def made_up_curve(
    monkeypatch: pytest.MonkeyPatch, known: int
) -> tuple[LoadCurveAnswer, list[dict[str, Any]]]:
    """A load curve with a P95 of 10, 20 and 40 ms, of which the sweep answered only the first `known`."""
    asked: list[dict[str, Any]] = []
    table = SweepTable(form=BatchRows(), quantiles=(0.95,), seed=0, confidence=0.95)
    workloads = tuple(Workload(arrival_rate_rps=rate_rps) for rate_rps in RATES)
    grid = Grid(profiles=(PROFILE,), workloads=workloads, replicas=(2,), settings=BatchSettings())
    rows = []
    for number, cell in enumerate(grid.cells()):
        value_s = 0.01 * 2**number
        found = Interval(value=value_s, low=0.9 * value_s, high=1.1 * value_s)
        performance = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.95: found})
        answer = Answer(outcome=Outcome.ANSWERED, performance=performance)
        answer = answer if number < known else Answer(outcome=Outcome.INCONCLUSIVE)
        rows.append(table.row(cell, answer, load_of(cell)))

    def swept(of_fleet: Grid[Any], given: Any) -> SweepAnswer:
        asked.append({"grid": of_fleet, **given})
        return SweepAnswer(grid=grid, table=table, cells=tuple(rows))

    monkeypatch.setattr("capacity.api.rates.swept", swept)
    found = cap.curve(
        PROFILE, 2, batch_wait="1ms", routing="random", quantile=0.95, seed=4, precision=0.3, requests_max=999,
        arrivals="gamma:cv=2", queue_limit=9, batching="torchserve", request_overhead="3ms",
    )  # fmt: skip
    return found, asked


def test_a_load_curve_sweeps_shares_of_the_saturation_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas serve a batch of 4 in 10 ms, 800 rps in all."""
    curve, (asked,) = made_up_curve(monkeypatch, 3)
    shares = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95)
    cells = list(asked["grid"].cells())
    assert [one.workload.arrival_rate_rps for one in cells] == pytest.approx([800.0 * one for one in shares])
    assert [asked[name] for name in ("quantile", "seed", "precision", "requests_max")] == [0.95, 4, 0.3, 999]
    assert {one.plan for one in cells} == {curve.plan}
    assert {(one.profile.request_overhead_s, one.workload.arrivals) for one in cells} == {
        (0.003, GammaArrivals(cv=2.0))
    }
    assert curve.plan == BatchPlan(
        profile="p", replicas=2, batch_size_max=4, batch_wait_max_s=0.001, routing=Routing.RANDOM,
        batching=Batching.TORCHSERVE, queue_limit=9,
    )  # fmt: skip
    assert [(load, rate_rps, found.value) for load, rate_rps, found in curve.points()] == [
        (pytest.approx(rate_rps / 800.0), rate_rps, 0.01 * 2**number) for number, rate_rps in enumerate(RATES)
    ]
    text = " ".join(curve.explain().split())
    assert "P95 is 10 (9 to 11) ms at load 0.12 (100 rps)." in text
    assert "It doubles between load 0.12 and 0.50, 100 rps to 400 rps." in text
    assert "P95 of 2 x p, batches up to 4" in text


def test_a_load_curve_without_a_point_has_no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    curve, _ = made_up_curve(monkeypatch, 0)
    assert curve.points() == []
    text = " ".join(curve.explain().split())
    assert "no load could be simulated to the asked precision" in text
    assert "P95 of 2 x p" not in text


def test_a_plan_cannot_mix_kinds_of_profiles() -> None:
    with pytest.raises(
        InputError, match="p has batch times, and others are of language models; plan for one kind"
    ):
        cap.plan([PROFILE, FILES / "line.json"], rate="10rps", slo_p99="80ms")


def scenario_of(limits: dict[float, float]) -> Scenario:
    return Scenario(
        profile=load_profile("resnet50-t4-fp16"),
        workload=Workload(arrival_rate_rps=100.0, arrivals=GammaArrivals(cv=2.0)),
        plan=BatchPlan(profile="resnet50-t4-fp16", replicas=2, batch_size_max=8),
        objective=Objective.of(response=limits),
    )


@pytest.mark.parametrize(("limits", "highest"), [({0.99: 0.1}, 0.99), ({0.995: 0.1}, 0.999)])
def test_the_distribution_in_a_report_covers_the_limits(limits: dict[float, float], highest: float) -> None:
    asked: list[tuple[float, ...]] = []

    def simulate(quantiles: tuple[float, ...]) -> Any:
        asked.append(quantiles)

        def fails(*_: Any) -> None:
            raise InconclusiveError("too few")

        return fails

    work = SimpleNamespace(report=lambda message: None, simulate=simulate)
    assert _distribution(scenario_of(limits), work) is None  # type: ignore[arg-type]
    assert max(asked[0]) == highest
    assert set(limits) <= set(asked[0])


def kinds_of(kind: type) -> set[type]:
    """A class and all of its subclasses."""
    return {kind}.union(*map(kinds_of, kind.__subclasses__()))


def test_tables_are_short_unless_verbose_is_given() -> None:
    for module in iter_modules(answers.__path__):
        import_module(f"capacity.answers.{module.name}")
    kinds = kinds_of(base.Answer)
    assert len(kinds) > 15
    for kind in kinds:
        assert inspect.signature(kind.tables).parameters["verbose"].default is False, kind  # type: ignore[attr-defined]
