"""Flags of a question, one by one: what they are read as, and what is refused with which words."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.plan import ANY_ROUTINGS, Routing
from capacity.question.resilience import Breakdowns, Spike, Survival
from capacity.server.batch.batching import Batching
from capacity.server.batch.typed import read_batching
from capacity.traffic.workload import (
    ClosedPopulation,
    GammaArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

ONE, TWO = (
    ServiceProfile(name=name, timings=(BatchTiming(batch_size=1, mean_s=0.01),)) for name in ("a", "b")
)


def refused(said: str, read: Any, *given: Any, **named: Any) -> None:
    with pytest.raises(InputError) as caught:
        read(*given, **named)
    assert str(caught.value).startswith(said), str(caught.value)


def test_text_or_a_number_and_not_both() -> None:
    assert parse.rate_rps("30000/min", None) == 500.0
    assert parse.duration_s(None, 3, "--slo-p99") == 3.0
    assert isinstance(parse.duration_s(None, 3, "--slo-p99"), float)
    assert parse.duration_s(None, 0, "--slo-p99") == 0.0
    assert parse.rate_rps(None, None) is None
    refused("slo_p99 and slo_p99_s are both given; keep one", parse.duration_s, "1s", 1.0, "--slo-p99")
    refused("rate and rate_rps are both given; keep one", parse.rate_rps, "1rps", 0.0)
    for number in (True, "5", float("nan"), float("inf"), [1.0]):
        refused(f"rate_rps must be a number, got {number!r}", parse.rate_rps, None, number)
    refused("rate=5 has no unit; write text with one, or rate_rps=5", parse.rate_rps, 5, None)


def test_a_profile_takes_what_flags_say() -> None:
    found = parse.read_profile(ONE, 0.002, 3)
    assert (found.request_overhead_s, found.instances_per_device) == (0.002, 3)
    assert parse.read_profile(ONE, 0.0, 1) == parse.read_profile(ONE) == ONE
    refused("--instances-per-device must be >= 1, got 0", parse.read_profile, ONE, None, 0)


def test_arrivals_are_text_or_a_process() -> None:
    process = GammaArrivals(cv=2.0)
    assert parse.read_arrivals(process) is process
    assert parse.read_arrivals("poisson") == PoissonArrivals()
    refused("arrivals must be text, such as 'poisson', or a process, got 5", parse.read_arrivals, 5)


@pytest.mark.parametrize(
    ("verb", "given", "typed"),
    [
        ("simulate", {"rate": "500rps,1000rps"}, "--rate '500rps,1000rps'"),
        ("max-rate", {"slo_p99": "20ms:40ms:10ms"}, "--slo-p99 '20ms:40ms:10ms'"),
        ("max-rate", {"loss_max": "1%,2%"}, "--loss-max '1%,2%'"),
    ],
)
def test_a_verb_of_one_answer_says_who_takes_a_list(verb: str, given: dict[str, str], typed: str) -> None:
    with pytest.raises(InputError) as refused:
        Asked(verb, given)
    assert str(refused.value) == (
        f"{typed} has several values; give one, or ask `capacity plan`, which takes a list or a range"
    )
    for other in ("plan", "sweep"):
        Asked(other, {name: text for name, text in given.items() if name == "rate"})


def test_a_demand_is_a_rate_or_users() -> None:
    assert parse.read_demand("poisson", 5.0, None, None) == Workload(arrival_rate_rps=5.0)
    assert parse.read_demand("poisson", None, 7, 0.5) == ClosedPopulation(users=7, think_time_s=0.5)
    assert parse.read_demand("poisson", None, 7, None) == ClosedPopulation(users=7, think_time_s=0.0)
    for given in (("poisson", 5.0, 7, None), ("poisson", None, None, 0.5), ("gamma:cv=2", None, 7, 0.5)):
        refused("give either --rate and --arrivals or --users and --think-time", parse.read_demand, *given)


def test_names_are_those_of_a_list() -> None:
    assert parse.read_routing("random") is Routing.RANDOM
    long = "x" * 90
    refused(f"--routing '{'x' * 60}' is unknown; use one of round-robin, random,", parse.read_routing, long)


def test_batching_has_a_rule_and_sizes_that_rise() -> None:
    assert read_batching("triton", None) == (Batching.TRITON, ())
    assert read_batching("triton", " 8 +4,8").preferred_sizes == (4, 8)
    assert read_batching("triton", [8, 4, 4]).preferred_sizes == (4, 8)
    timed = read_batching("triton", None, "open")
    assert timed.batching is not Batching.TRITON
    assert read_batching(timed.batching.value, None, "open") == timed
    others = [one for one in Batching if one not in (Batching.TRITON, timed.batching)]
    refused(
        f"--timer open is --batching {timed.batching}, and --batching {others[0]} is given; keep one",
        read_batching, others[0].value, None, "open",
    )  # fmt: skip
    for sizes in ("4,", "4;8", "-4", "1" * 10):
        refused(f"--preferred-sizes {sizes!r} is not a list", read_batching, "triton", sizes)
    assert read_batching("triton", "1" * 9).preferred_sizes == (111_111_111,)


def test_a_service_rate_is_a_rate_or_a_time() -> None:
    assert parse.read_service_rate_rps("5rps", None) == 5.0
    assert parse.read_service_rate_rps(None, "200ms") == 5.0
    for given in ((None, None), ("5rps", "200ms")):
        refused(
            "give either --service-rate 5rps or --service-time 200ms", parse.read_service_rate_rps, *given
        )
    refused("--service-time must be > 0, got '0ms'; 200ms is one", parse.read_service_rate_rps, None, " 0ms ")


def test_quantiles_rise_and_lie_within() -> None:
    assert parse.read_quantiles([0.99, 0.5, 0.99], (0.9,)) == (0.5, 0.99)
    assert parse.read_quantiles(None, (0.9, 0.1)) == parse.read_quantiles([], (0.9, 0.1)) == (0.1, 0.9)
    for quantile in (0.0, 1.0):
        refused(f"--quantile must be within (0, 1), such as 0.99, got {quantile}", parse.read_quantiles, [quantile], ())  # fmt: skip
    assert parse.both_confidence(0.9) == pytest.approx(0.95)


def test_workers_are_all_cores_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert [parse.worker_count(None), parse.worker_count(3), parse.worker_count(None, "addr")] == [7, 3, 7]
    assert parse.worker_count(1) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert parse.worker_count(None) == 1
    refused("--workers must be >= 1, got 0", parse.worker_count, 0)
    refused("give either --workers or --cluster", parse.worker_count, 1, "addr")


def test_shares_are_per_cents_or_numbers_between_0_and_1() -> None:
    assert (
        parse.read_share(" 25% ", "--f") == parse.read_share("0.25", "--f") == parse.read_share(0.25, "--f")
    )
    assert parse.read_share("99.9%", "--f") == 0.999
    refused("--f '25 per cent' is not a share; write 25% or 0.25", parse.read_share, "25 per cent", "--f")
    for text, hint in (("1", "1"), ("99.9", "99.9"), ("100", ""), ("0", ""), ("100%", "")):
        with pytest.raises(InputError) as caught:
            parse.read_share(text, "--f")
        ending = hint and f"; {hint}% is a share"
        assert str(caught.value) == f"--f must be above 0 and below 100%, got {text}{ending}"


def test_an_objective_is_a_tier_and_what_replaces_it() -> None:
    asked = {
        "tier": "interactive",
        "slo_p50": "1ms",
        "slo_mean_s": 8.0,
        "slo_wait_p99": "5ms",
        "loss_max": "1%",
    }
    found = parse.read_objective({**asked, "utilization_max": 0.8})
    assert list(map(str, found.limits)) == [
        "P50 <= 1 ms", "P95 <= 300 ms", "P99 <= 1 s", "wait P99 <= 5 ms", "mean <= 8 s", "loss <= 1 %",
        "utilization <= 80 %",
    ]  # fmt: skip
    assert list(map(str, parse.read_objective({"slo_p90_s": 1.0}).limits)) == ["P90 <= 1 s"]
    given = parse.read_objective({"objective": found, "slo_p99": "9s"})
    assert given is found
    refused(f"unknown tier '{'x' * 60}'; use one of interactive", parse.read_objective, {"tier": "x" * 61})


def test_prices_go_to_the_profile_that_they_name() -> None:
    def prices(*texts: str | float, profiles: Any = (ONE, TWO)) -> list[float | None]:
        return [one.hourly_usd for one in parse.priced(profiles, texts)]

    assert prices("b=2", "a=1") == [1.0, 2.0]
    assert prices("b= 0.5 ") == [None, 0.5]
    assert prices(0.7, profiles=[ONE]) == prices("a=0.7", profiles=[ONE]) == [0.7]
    assert prices("=0.7") == [0.7, None]
    refused("two of the profiles have the same name; rename or drop one", prices, profiles=[ONE, ONE])
    refused("--hourly-usd '0.7' names no profile; a=0.50 does", prices, "0.7")
    refused("--hourly-usd 'c=0.7' names no profile; a=0.50 does", prices, "c=0.7")
    refused("--hourly-usd 'a=2' sets a second price for a; keep one", prices, "a=1", "a=2")
    for long in ("=" + "9" * 90, "a=1"):
        refused(f"--hourly-usd {('c' + long)[:60]!r} names no profile; a=0.50 does", prices, "c" + long)
    refused(f"--hourly-usd {'x' * 60!r} is not a price", prices, f"a={'x' * 61}")
    refused("--hourly-usd 'much' is not a price in USD/h; write 0.526", prices, "much", profiles=[ONE])
    spaced = f"a{' ' * 90}=2"
    refused(f"--hourly-usd {spaced[:60]!r} sets a second price for a; keep one", prices, "a=1", spaced)
    found = parse.read_profile(ONE, 0.01, 2)
    assert (found.request_overhead_s, found.instances_per_device) == (0.01, 2)


def test_routings_are_some_or_any() -> None:
    assert parse.read_routings([]) == (Routing.ROUND_ROBIN,)
    assert parse.read_routings(["random", "round-robin", "random"]) == (Routing.RANDOM, Routing.ROUND_ROBIN)
    assert parse.read_routings(["any"]) == ANY_ROUTINGS
    refused("--routing any tries each one; leave the others out", parse.read_routings, ["any", "random"])


def test_batch_waits_are_texts_and_seconds() -> None:
    assert parse.read_batch_waits(["5ms", "1ms"], [0.002, 0.005]) == (0.001, 0.002, 0.005)
    assert parse.read_batch_waits([]) is None
    assert parse.read_batch_waits(["0ms"]) == (0.0,)
    assert parse.batch_wait_axis_s([], []) == (0.0,)
    assert parse.batch_wait_axis_s(["5ms"], [0.001, 0.005]) == (0.005, 0.001)


def survival(*survive: str, **given: Any) -> Survival:
    return parse.read_survival({"survive": survive, **given})


def test_what_a_plan_survives() -> None:
    assert survival() == Survival()
    assert (survival("n-1").spare, survival("n-3", "n-2").spare, survival("n-1", spare=2).spare) == (
        3 - 2,
        3,
        2,
    )
    assert (survival("zone:3").zones, survival("zone:3").spare) == (3, 0)
    assert survival(rolling_update="max-unavailable=25%").unavailable_share == 0.25
    assert survival(spike="2.5X", startup_time_s=60.0).spike == Spike(factor=2.5, startup_time_s=60.0)
    assert survival(startup_time_s=60.0, trigger="rollout").spike is None
    assert survival(startup_time_s=60.0).spike is None  # of the autoscaler, in a verb without spikes
    assert survival(mtbf_s=100.0, recovery_time_s=1.0).breakdowns == Breakdowns(mtbf_s=100.0, recovery_s=1.0)
    for text in ("n-0", "n1", "rack:2", "n-1234567", "zone:x"):
        refused(f"--survive {text!r} is unknown; use n-1 or zone:3", survival, text)
    together = "give --spike 2x and --startup-time 120s together"
    refused(together, survival, spike="2x")
    refused(together, survival, spike=None, startup_time_s=60.0)
    refused(together, survival, spike="2x", trigger="rollout")
    for given in ({"mtbf_s": 100.0}, {"recovery_time_s": 1.0}):
        refused("give --mtbf 264d and --recovery-time 5min together", survival, **given)
    for text in ("max-unavailable", "max-unavailable=", "max-surge=25%"):
        refused(
            f"--rolling-update {text!r} is unknown; use max-unavailable=25%", survival, rolling_update=text
        )
    refused("--spike 'twice' is not a multiple; write 2x", survival, spike="twice", startup_time_s=60.0)


def test_a_day_has_its_own_rates(tmp_path: Path) -> None:
    assert parse.read_curve(None, 5.0, 5) is None
    refused("--daily has the rates of the day; leave out --rate", parse.read_curve, "day.csv", 5.0, None)
    refused("--daily has the rates of the day; leave out --users", parse.read_curve, "day.csv", None, 5)
    day = tmp_path / "day.csv"
    day.write_text("time,rate_rps\n00:00,5\n12:00,7\n", encoding="utf-8")
    found = parse.read_curve(str(day), None, None)
    assert found.rates_rps == (5.0, 7.0)


def test_files_of_other_tools_are_profiles_and_traces_too(monkeypatch, tmp_path) -> None:
    """Only where they are not one of our own, and arrivals only behind `trace:`."""
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    asked: list[tuple[object, str]] = []
    held: list[Any] = [None]

    def read(source: object, kind: str) -> Any:
        asked.append((source, kind))
        return held[0]

    monkeypatch.setattr(parse, "_of_another_tool", read)
    with pytest.raises(InputError):
        parse.find_profile(str(other))
    with pytest.raises(InputError):
        parse.read_arrivals(f"trace:{other}")
    held[0] = ONE
    assert parse.find_profile(str(other)) == replace(ONE, path=str(other))
    trace = TraceArrivals(instants_s=(0.0, 1.0), name="other")
    held[0] = trace
    assert parse.read_arrivals(f"trace:{other}") == replace(trace, path=str(other))
    with pytest.raises(InputError):
        parse.read_arrivals(str(other))
    assert set(asked) == {(str(other), "profile"), (str(other), "workload")}
    assert parse.find_profile(ONE) is ONE
    monkeypatch.undo()
    assert parse._of_another_tool(str(tmp_path / "none.json"), "profile") is None
    assert parse._of_another_tool(5, "profile") is None
    assert parse._of_another_tool(other, "profile") is None
