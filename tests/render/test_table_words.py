"""Words and numbers in tables: units follow from names, and rows without information are left out."""

import math
from typing import Any

import pytest
from rich.text import Text
from shown import cells

from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.plan import Routing
from capacity.render.tables import (
    caveat_lines,
    document_table,
    no_numbers,
    performance_rows,
    performance_table,
    plan_rows,
    profile_table,
    profile_tables,
    sparkline,
    table,
)
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan


def shown(name: str, value: Any) -> str:
    ((_, found),) = cells(document_table({name: value}))
    return found


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("wait_mean_s", 0.0123, "12.3 ms"),
        ("throughput_rps", 1234.5, "1234 rps"),
        ("sigma", 0.123456, "0.1235"),
        ("replicas", 3, "3"),
        ("kind", "exact", "exact"),
        ("doubts", ["one", "two"], "one; two"),
        ("doubts", [], "none"),
        ("response_quantiles_s", {"0.5": 0.01, "0.99": 0.03}, "P50 10 ms, P99 30 ms"),
        ("relative_error_max", {"throughput_rps": 0.0123}, "throughput_rps 1.23 %"),
        ("intervals", {"mean_s": {"low": 0.01, "high": 0.02}}, "mean_s 10 ms to 20 ms"),
        ("intervals", {"sigma": {"low": 0.01, "high": 0.02}}, "sigma 0.01 to 0.02"),
    ],
)
def test_the_end_of_a_name_sets_the_unit_of_its_value(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({}, "2 ms"),
        ({"batching": Batching.TORCHSERVE}, "2 ms, as in TorchServe"),
        ({"batching": Batching.TORCHSERVE, "batch_wait_max_s": 0.0}, "0 s"),
        ({"batching": Batching.RAY_SERVE, "batch_wait_max_s": 0.0}, "0 s, as in Ray Serve"),
        ({"preferred_sizes": (2, 4)}, "2 ms, preferred sizes 2, 4"),
    ],
)
def test_the_batch_wait_in_words(plan: dict[str, Any], text: str) -> None:
    usual: dict[str, Any] = {"profile": "p", "replicas": 2, "batch_size_max": 8, "batch_wait_max_s": 0.002}
    assert BatchPlan(**usual | plan).words["batch wait"] == text


def test_a_queue_limit_is_shown_where_there_is_one() -> None:
    usual = [
        ("profile", "p"),
        ("replicas", "2"),
        ("largest batch", "8"),
        ("batch wait", "2 ms"),
        ("routing", "random"),
    ]
    random = BatchPlan(
        profile="p", replicas=2, batch_size_max=8, batch_wait_max_s=0.002, routing=Routing.RANDOM
    )
    assert plan_rows(random) == usual
    limited = BatchPlan(
        profile="p",
        replicas=2,
        batch_size_max=8,
        batch_wait_max_s=0.002,
        routing=Routing.RANDOM,
        queue_limit=0,
    )
    assert plan_rows(limited) == [*usual, ("queue limit", "0")]


QUANTILES = {0.5: Interval.exact(0.01), 0.99: Interval(value=0.02, low=0.01, high=0.03)}
SEEN = Performance(
    kind=Kind.SIMULATION,
    load=0.54321,
    utilization=0.75,
    offered_load=1.5,
    batch_size_mean=2.5,
    wait_probability=0.25,
    loss_probability=0.0125,
    abandon_probability=0.5,
    queue_length_mean=3.5,
    in_system_mean=4.5,
    throughput_rps=99.0,
    wait_mean_s=0.004,
    response_mean_s=0.012,
    wait_quantiles_s={0.99: Interval.exact(0.015)},
    response_quantiles_s=QUANTILES,
)


def test_every_known_number_of_a_performance_is_shown() -> None:
    found = performance_rows(SEEN)
    assert found == [
        ("load", "0.5432"), ("utilization", "0.75"), ("offered load [erlang]", "1.5"), ("mean batch size", "2.5"),
        ("P(wait)", "0.25"), ("P(loss)", "0.0125"), ("P(abandon)", "0.5"), ("waiting, mean", "3.5"),
        ("in system, mean", "4.5"), ("throughput", "99 rps"), ("wait, mean", "4 ms"), ("response, mean", "12 ms"),
        ("wait, P99", "15 ms"), ("response, P50", "10 ms"), ("response, P99", "20 (10 to 30) ms"),
    ]  # fmt: skip
    assert cells(performance_table(None, SEEN, {"servers": 3})) == [("servers", "3"), *found]
    assert performance_rows(Performance(kind=Kind.EXACT, loss_probability=0.0)) == []
    rough = Performance(kind=Kind.BOUND, relative_error_max={"wait_mean_s": 0.0123, "x": math.inf})
    assert performance_rows(rough) == [
        ("kind", "bound"),
        ("error of wait_mean_s, at most", "1.23 %"),
        ("error of x, at most", "not known"),
    ]
    assert performance_rows(Performance(kind=Kind.APPROXIMATION)) == [("kind", "approximation")]
    lost = Performance(
        kind=Kind.EXACT,
        response_quantiles_s={0.5: Interval.exact(0.01)},
        response_quantiles_with_losses_s={0.5: Interval.exact(0.02)},
    )
    assert performance_rows(lost) == [
        ("response of served requests, P50", "10 ms"),
        ("response, rejected as late, P50", "20 ms"),
    ]


@pytest.mark.parametrize(
    ("outcome", "load", "text"),
    [
        ("answered", 0.95, ""),
        ("profile_range", 0.5, "beyond the profile"),
        ("profile_range", None, "beyond the profile"),
        ("inconclusive", None, "too few requests"),
        ("inconclusive", 0.9, "too few requests"),
        ("inconclusive", 0.95, "at most 100 rps"),
        ("unstable", 1.25, "at most 76 rps"),
        ("unstable", 0.5, "at most 190 rps"),
    ],
)
def test_why_there_are_no_numbers(outcome: str, load: float | None, text: str) -> None:
    assert no_numbers({"load": load, "outcome": outcome, "arrival_rate_rps": 95.0}) == text


def test_a_sparkline_has_blocks_by_share_of_the_maximum() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]) == "▁▁▂▃▄▅▆▇█"
    assert sparkline([5.0]) == "█"
    assert sparkline([0.56, 0.57, 1.0]) == "▄▅█"


def test_notes_begin_with_the_most_important() -> None:
    codes = list(CaveatCode)
    given = [Caveat(code=code, message=f"m {code}") for code in (codes[2], codes[0], codes[1])]
    assert [str(one) for one in caveat_lines(given)] == [f"Note: m {code}." for code in codes[:3]]


TIMINGS = (
    BatchTiming(batch_size=1, mean_s=0.01),
    BatchTiming(batch_size=4, mean_s=0.02, p99_s=0.025),
    BatchTiming(batch_size=8, samples_s=(0.03, 0.05)),
)
PROFILE = ServiceProfile(
    name="p", timings=TIMINGS, device="d", model="m", hourly_usd=0.5, source={"means": "a test"}
)


def test_a_profile_marks_what_was_not_measured() -> None:
    found = cells(profile_table(PROFILE))
    assert [row[:2] for row in found] == [("1", "10 ms"), ("4", "20 ms"), ("8", "40 ms")]
    assert [row[2].startswith("~") for row in found] == [True, True, False]
    assert [row[3].startswith("~") for row in found] == [True, False, False]
    assert found[1][3] == "25 ms"
    assert [row[4] for row in found] == ["100", "200", "200"]
    assert [row[5] for row in found] == ["", "knee", ""]  # a batch of 8 serves no more
    facts, _ = profile_tables(PROFILE)
    assert cells(facts) == [
        ("model", "m"),
        ("device", "d"),
        ("price", "0.5000 USD/h"),
        ("source: means", "a test"),
    ]
    assert str(facts.title) == "p"


def test_text_is_never_markup() -> None:
    made = table(("<a",), [("[bold]x",)])
    assert isinstance(made.columns[0]._cells[0], Text)
    assert cells(made) == [("[bold]x",)]
