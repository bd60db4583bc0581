"""Tables of fleets side by side, cell by cell, from made-up results."""

from dataclasses import replace

import pytest
from rich.table import Table
from rich.text import Text
from shown import around, cells

from capacity.performance import Interval, Kind, Performance, Width
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.comparison import Comparison, Contender, Difference
from capacity.question.resilience import Survival
from capacity.question.scenario import Scenario
from capacity.render.compare import comparison_document, comparison_tables, format_difference
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload

PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=8, batch_wait_max_s=0.002)
PROFILE = ServiceProfile(
    name="p", timings=tuple(BatchTiming(batch_size=n, mean_s=0.01) for n in (1, 8)), hourly_usd=0.5
)


def seen(p99_s: float, **others: object) -> Performance:
    usual: dict[str, object] = {
        "kind": Kind.SIMULATION,
        "load": 0.54321,
        "response_quantiles_s": {0.99: around(p99_s)},
        "intervals": {"response_mean_s": around(p99_s / 2.0)},
    }
    return Performance(**usual | others)  # type: ignore[arg-type]


FIRST = Contender(name="replicas=2,batch=8", profile=PROFILE, plan=PLAN)
SECOND = Contender(
    name="other.json",
    profile=replace(PROFILE, hourly_usd=None),
    plan=replace(PLAN, replicas=3, queue_limit=0),
)
DIFFERENCE = Difference(
    response_mean_s=Interval(value=0.001, low=-0.001, high=0.003),
    response_quantiles_s={0.99: Interval(value=-0.02, low=-0.03, high=-0.01)},
)


def compared(*found: Performance) -> Comparison:
    return Comparison(
        performances=found, differences=(DIFFERENCE,), widths=(Width(found=0.1, simulated=0.1),) * 2
    )


def scenarios(*contenders: Contender, survival: Survival | None = None) -> list[Scenario]:
    """What is left of each fleet at 50 requests/s."""
    workload = Workload(arrival_rate_rps=50.0)
    return [
        Scenario(profile=one.profile, workload=workload, plan=one.plan).after(survival or Survival())
        for one in contenders
    ]


def rows(comparison: Comparison, *contenders: Contender) -> dict[str, tuple[str, ...]]:
    fleets = contenders or (FIRST, SECOND)
    head, made, foot = comparison_tables(fleets, scenarios(*fleets), comparison, [], 0.9)
    assert isinstance(made, Table)
    assert isinstance(head, Text)
    assert isinstance(foot, Text)
    assert head.plain.startswith("The same requests at 50 rps")
    assert foot.plain == "In brackets: 90 % intervals; differences are those of the same requests."
    assert [str(column.header) for column in made.columns] == ["", "A", "B"]
    return {name: tuple(others) for name, *others in cells(made)}


def test_the_settings_and_results_of_each_fleet() -> None:
    found = rows(compared(seen(0.04), seen(0.02, load=None)))
    assert found == {
        "fleet": ("replicas=2, batch=8", "other.json"),
        "profile": ("p", "p"),
        "replicas": ("2", "3"),
        "largest batch": ("8", "8"),
        "batch wait": ("2 ms", "2 ms"),
        "routing": ("round-robin", "round-robin"),
        "queue limit": ("", "0"),
        "load": ("0.5432", ""),
        "response, mean": ("20 (18 to 22) ms", "10 (9 to 11) ms"),
        "response, P99": ("40 (36 to 44) ms", "20 (18 to 22) ms"),
        "cost": ("1.000 USD/h", ""),
        "mean, less A's": ("", "+1 (-1 to +3) ms, in doubt"),
        "P99, less A's": ("", "-20 (-30 to -10) ms"),
    }


def test_losses_are_shown_where_one_fleet_has_some() -> None:
    lossy = seen(0.04, loss_probability=0.0125, response_quantiles_with_losses_s={0.99: around(0.08)})
    found = rows(compared(lossy, seen(0.02, loss_probability=0.0)), FIRST, FIRST)
    assert found["P(loss)"] == ("0.0125", "")
    assert found["response of served requests, P99"] == ("40 (36 to 44) ms", "20 (18 to 22) ms")
    assert found["response, rejected as late, P99"] == ("80 (72 to 88) ms", "20 (18 to 22) ms")
    assert not {"queue limit", "response, P99", "utilization"} & set(found)
    calm = rows(compared(seen(0.04), seen(0.02, loss_probability=0.0, utilization=0.5)))
    assert "P(loss)" not in calm
    assert calm["utilization"] == ("", "0.5")


@pytest.mark.parametrize(
    ("ends", "usd", "told"),
    [
        ((-0.03, -0.02, -0.01), 0.5, "in B 20 (10 to 30) ms less; B costs 0.500 USD/h more"),
        ((0.01, 0.02, 0.03), 0.25, "in B 20 (10 to 30) ms more; B costs 0.250 USD/h less"),
        ((-0.01, 0.0, 0.03), 1.0 / 3.0, "in B not known to differ; B costs as much"),
        ((0.0, 0.0, 0.0), None, "in B the same"),
    ],
)
def test_the_first_sentence_says_what_the_other_fleet_does_and_costs(
    ends: tuple[float, float, float], usd: float | None, told: str
) -> None:
    """The first has two replicas and costs 1 USD/h, the other three."""
    low, value, high = ends
    difference = replace(DIFFERENCE, response_quantiles_s={0.99: Interval(value=value, low=low, high=high)})
    found = replace(compared(seen(0.04), seen(0.02)), differences=(difference,))
    fleets = FIRST, replace(SECOND, profile=replace(PROFILE, hourly_usd=usd))
    head, *_ = comparison_tables(fleets, scenarios(*fleets), found, [], 0.9)
    assert isinstance(head, Text)
    assert head.plain == f"The same requests at 50 rps: P99 of the response is 40 (36 to 44) ms in A, {told}."


@pytest.mark.parametrize(("utilization", "is_explained"), [(0.7, True), (0.6, False)])
def test_a_utilization_well_above_the_load_is_explained(utilization: float, is_explained: bool) -> None:
    found = compared(seen(0.04), seen(0.02, utilization=utilization))
    told = [str(one) for one in comparison_tables((FIRST, SECOND), scenarios(FIRST, SECOND), found, [], 0.9)]
    explained = "Utilization is above load: a replica that batches is busier than its load says, as small batches use it poorly."  # fmt: skip
    assert (explained in told) == is_explained


def test_of_a_language_model_first_token_and_time_per_token_are_compared() -> None:
    """A fleet may be sooner with the first and slower with the others."""
    known = {"ttft_quantiles_s": {0.5: around(0.1), 0.99: around(0.2)}, "tpot_quantiles_s": {0.5: around(0.01), 0.99: around(0.02)}}  # fmt: skip
    sooner = replace(
        DIFFERENCE,
        ttft_quantiles_s={0.5: around(0.01), 0.99: Interval(value=-0.02, low=-0.03, high=-0.01)},
        tpot_quantiles_s={0.5: around(0.01), 0.99: Interval(value=0.002, low=0.001, high=0.003)},
    )
    found = replace(compared(seen(0.04, **known), seen(0.04, **known)), differences=(sooner,))
    head, *_ = comparison_tables((FIRST, FIRST), scenarios(FIRST, FIRST), found, [], 0.9)
    assert isinstance(head, Text)
    assert head.plain == (
        "The same requests at 50 rps: TTFT P99 is 200 (180 to 220) ms in A, in B 20 (10 to 30) ms less; TPOT P99 is "
        "20 (18 to 22) ms in A, in B 2 (1 to 3) ms more; B costs as much."
    )


def test_an_autoscaled_fleet_costs_its_mean() -> None:
    """Two replicas for 1 USD/h, of which an autoscaler keeps as many as cost 0.7."""
    found = compared(seen(0.04), seen(0.02, hourly_usd=0.7))
    head, *_ = comparison_tables((FIRST, FIRST), scenarios(FIRST, FIRST), found, [], 0.9)
    assert str(head).endswith("; B costs 0.300 USD/h less.")


def test_where_requests_are_lost_the_first_sentence_compares_nothing() -> None:
    found = compared(seen(0.04, loss_probability=0.01), seen(0.02))
    head, *_ = comparison_tables((FIRST, SECOND), scenarios(FIRST, SECOND), found, [], 0.9)
    assert isinstance(head, Text)
    assert head.plain == "The same requests at 50 rps, for each fleet."


def test_the_document_has_a_difference_for_all_but_the_first() -> None:
    comparison = compared(seen(0.04), seen(0.02))
    fleets = FIRST, SECOND
    found = comparison_document(fleets, scenarios(*fleets), comparison, [], seed=3, confidence=0.9)
    assert found["workload"] == {"arrival_rate_rps": 50.0, "arrivals": "poisson"}
    assert (found["seed"], found["confidence"], found["caveats"]) == (3, 0.9, [])
    one, other = found["fleets"]
    assert (one["name"], one["difference"], one["cost"]) == ("replicas=2,batch=8", None, {"hourly_usd": 1.0})
    assert (other["cost"], other["difference"]["response_mean_s"]["high"]) == (None, 0.003)


def test_what_a_failure_leaves_of_each_fleet() -> None:
    fleets, comparison = (FIRST, SECOND), compared(seen(0.04), seen(0.02))
    left = scenarios(*fleets, survival=Survival(spare=1))
    _, made, _ = comparison_tables(fleets, left, comparison, [], 0.9)
    assert isinstance(made, Table)
    found = {name: others for name, *others in cells(made)}
    assert found["replicas"] == ["1 left of 2, with 1 replica gone", "2 left of 3, with 1 replica gone"]
    document = comparison_document(fleets, left, comparison, [], seed=3, confidence=0.9)
    assert [one["plan"]["replicas"] for one in document["fleets"]] == [2, 3]
    assert [one["outage"]["event"] for one in document["fleets"]] == ["1 replica gone"] * 2
    assert [one["outage"]["plan"]["replicas"] for one in document["fleets"]] == [1, 2]


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.0, 0.0, 0.0), "none"),
        ((0.001, 0.0, 0.002), "+1 (+0 to +2) ms, in doubt"),
        ((-0.001, -0.002, 0.0), "-1 (-2 to +0) ms, in doubt"),
        ((0.001, 0.0005, 1.5), "+0.001 (+0.0005 to +1.5) s"),
        ((-0.001, -1.5, -0.0005), "-0.001 (-1.5 to -0.0005) s"),
        ((2e-6, 1e-6, 3e-6), "+2 (+1 to +3) µs"),
        ((2e-9, 1e-9, 3e-9), "+2 (+1 to +3) ns"),
    ],
)
def test_a_difference_has_its_sign_and_unit(ends: tuple[float, float, float], text: str) -> None:
    value, low, high = ends
    assert format_difference(Interval(value=value, low=low, high=high)) == text
