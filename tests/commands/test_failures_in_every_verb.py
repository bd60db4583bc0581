"""`--survive`, `--spare`, `--rolling-update` and `--mtbf` outside of `plan`: figures are those of what a failure leaves."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copy
from typing import Any

import in_process
import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

KEPT = Path(__file__).parents[1] / "kept" / "files" / "line.json"
BATCHES = [
    "--profile",
    "flat.csv",
    "--batch-size-max",
    "1",
    "--precision",
    "0.2",
    "--requests-max",
    "2000000",
]
ENGINES = [
    "--profile", "line.json", "--lengths", "input=constant:64;output=constant:8", "--precision", "0.2",
    "--requests-max", "2000000",
]  # fmt: skip
AT = {"batches": [*BATCHES, "--rate", "150rps"], "engines": [*ENGINES, "--rate", "60rps"]}
ONE_GONE = [["--survive", "n-1"], ["--spare", "1"], ["--rolling-update", "max-unavailable=25%"]]
# Down for 1 % of the time: of 4 two at once for 0.06 %, and three for 4 parts in a million.
BREAKDOWNS = ["--mtbf", "99h", "--recovery-time", "1h"]
LONG_GONE = pytest.param("simpy", ONE_GONE[0], marks=pytest.mark.long)
NEVER = ["--mtbf", "10000000d", "--recovery-time", "1ms"]


@pytest.fixture(scope="module")
def capacity(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command in a folder with constant batches of 10 ms, and a language model."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "flat.csv").write_text("batch_size,mean_ms\n1,10\n", encoding="utf-8")
    copy(KEPT, folder)
    return partial(in_process.capacity, folder)


@pytest.fixture(scope="module")
def found(capacity: Command) -> Callable[..., Any]:
    """The answer of a command as JSON."""

    def answer(*arguments: str, code: int = 0) -> Any:
        done = capacity(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    return answer


@pytest.mark.parametrize("kind", AT)
@pytest.mark.parametrize(
    ("engine", "failures"), [LONG_GONE, *(("kernel", one) for one in (*ONE_GONE, BREAKDOWNS))]
)
def test_a_fleet_in_a_failure_is_the_one_that_is_left(
    found: Any, kind: str, engine: str, failures: list[str]
) -> None:
    asked = ["simulate", *AT[kind], "--engine", engine, "--quantile", "0.5"]
    gone = 2 if failures is BREAKDOWNS else 1
    plain, left = (found(*asked, "--replicas", "2"), found(*asked, "--replicas", str(2 + gone), *failures))
    assert left["performance"] == plain["performance"]
    assert (left["plan"]["replicas"], left["outage"]["plan"]) == (2 + gone, plain["plan"])
    assert left["caveats"][0]["code"] == "replicas_gone"
    assert "outage" not in plain


IN_TROUBLE = {
    "batches": ["--profile", "flat.csv", "--batch-size-max", "1", "--rate", "150rps"],
    "engines": [
        "--profile",
        "line.json",
        "--lengths",
        "input=constant:64;output=constant:8",
        "--rate",
        "60rps",
    ],
}


@pytest.mark.parametrize("kind", IN_TROUBLE)
def test_trouble_meets_the_fleet_that_is_left(found: Any, kind: str) -> None:
    """The same runs as of a fleet with that many replicas, breakdowns beside the trigger included."""
    trouble = [
        "--trigger",
        "lose:1,5s",
        "--timeout",
        "2s",
        "--runs",
        "2",
        "--only-verdict",
        "--horizon",
        "1min",
    ]
    asked = ["stress", *IN_TROUBLE[kind], *trouble, "--mtbf", "10h", "--recovery-time", "1s"]
    plain, left = found(*asked, "--replicas", "3"), found(*asked, "--replicas", "4", "--survive", "n-1")
    assert (left["plan"]["replicas"], left["outage"]["plan"]) == (4, plain["plan"])
    assert left["caveats"][0]["code"] == "replicas_gone"
    others = plain.keys() - {"plan", "caveats"}
    assert {name: left[name] for name in others} == {name: plain[name] for name in others}
    assert plain["caveats"] == left["caveats"][1:]


@pytest.mark.parametrize("kind", AT)
@pytest.mark.parametrize("engine", ["kernel", pytest.param("simpy", marks=pytest.mark.long)])
def test_a_fleet_that_never_fails_is_the_whole_one(found: Any, kind: str, engine: str) -> None:
    asked = ["simulate", *AT[kind], "--engine", engine, "--replicas", "2", "--quantile", "0.5"]
    plain, never = found(*asked), found(*asked, *NEVER)
    assert never["performance"] == plain["performance"]
    assert never["outage"]["event"] == "0 broken down at once"
    assert never["outage"]["plan"] == plain["plan"]
    assert never["outage"]["beyond_share"] < 1e-12


def test_the_plan_that_survives_is_met_by_every_other_verb(found: Any, capacity: Command) -> None:
    """One truth: the plan's own fleet has its figures, and one replica fewer misses the objective."""
    limit = ["--slo-p99", "40ms"]
    planned = found("plan", *AT["batches"], *limit, *BREAKDOWNS, "-o", "plan.json")
    count = planned["recommendation"]["replicas"]
    (event,) = planned["survived"]
    simulated = found("simulate", *AT["batches"], *BREAKDOWNS, "--replicas", str(count))
    assert simulated["outage"]["event"] == event["event"]
    assert simulated["outage"]["plan"] == event["plan"]
    told, seen = (one["performance"]["response_quantiles_s"]["0.99"] for one in (event, simulated))
    assert seen["low"] <= told["high"]
    assert told["low"] <= seen["high"]
    assert seen["value"] <= 0.04
    rates = found("max-rate", *BATCHES, *limit, *BREAKDOWNS, "--replicas", str(count))
    assert rates["rates"]["arrival_rate_max_rps"] >= 150.0
    fewer = found("max-rate", *BATCHES, *limit, *BREAKDOWNS, "--replicas", str(count - 1))
    assert fewer["rates"]["arrival_rate_max_rps"] < 150.0
    assert capacity("check", "--plan", "plan.json").returncode == 0


@pytest.mark.parametrize("failures", [["--survive", "n-1"], NEVER])
def test_rates_are_those_of_what_is_left(found: Any, failures: list[str]) -> None:
    gone = 0 if failures is NEVER else 1
    asked = ["max-rate", *BATCHES, "--slo-p99", "40ms"]
    plain = found(*asked, "--replicas", "2")
    left = found(*asked, "--replicas", str(2 + gone), *failures)
    assert left["rates"] == plain["rates"]
    assert left["curve"] == plain["curve"]
    assert (left["plan"]["replicas"], left["outage"]["plan"]["replicas"]) == (2 + gone, 2)


def test_a_sweep_says_what_is_left_and_where_nothing_is(found: Any, capacity: Command) -> None:
    asked = ["sweep", *AT["batches"], "--replicas", "1", "--replicas", "3"]
    none, three = found(*asked, "--survive", "n-1")["rows"]
    (two,) = found("sweep", *AT["batches"], "--replicas", "2")["rows"]
    assert {
        name: value for name, value in three.items() if name not in ("outage", "replicas_left", "replicas")
    } == {name: value for name, value in two.items() if name != "replicas"}
    assert (three["replicas"], three["replicas_left"], three["outage"]) == (3, 2, "1 replica gone")
    assert (none["replicas"], none["replicas_left"], none["outcome"]) == (1, 0, "unstable")
    assert none["reason"] == "nothing is left of 1 replica with 1 replica gone; give more replicas"
    said = capacity(*asked, "--survive", "n-1").stdout
    assert "nothing is left" in said
    assert "with the worst failure, as a plan is judged" in " ".join(said.split())


def test_compared_fleets_are_those_that_are_left(found: Any) -> None:
    def compared(fewest: int, *failures: str) -> Any:
        fleets = [word for n in (fewest, fewest + 1) for word in ("--fleet", f"replicas={n},batch=1")]
        flags = AT["batches"].copy()
        at = flags.index("--batch-size-max")
        del flags[at : at + 2]
        return found("compare", *flags, *fleets, *failures)

    plain, left = compared(2), compared(3, "--survive", "n-1")
    for name in ("performance", "difference"):
        assert [one[name] for one in left["fleets"]] == [one[name] for one in plain["fleets"]]
    assert [one["plan"]["replicas"] for one in left["fleets"]] == [3, 4]
    assert [one["outage"]["plan"]["replicas"] for one in left["fleets"]] == [2, 3]


def test_a_curve_ends_where_what_is_left_saturates(found: Any, capacity: Command) -> None:
    asked = ["curve", *BATCHES, "--json"]
    plain, left = found(*asked, "--replicas", "1"), found(*asked, "--replicas", "2", "--survive", "n-1")
    assert [row["response_p99_s"] for row in left["rows"]] == [row["response_p99_s"] for row in plain["rows"]]
    assert {row["replicas"] for row in left["rows"]} == {2}
    assert max(row["arrival_rate_rps"] for row in left["rows"]) < 100.0
    done = capacity("curve", *BATCHES, "--replicas", "2", "--survive", "n-1")
    assert "left with 1 replica gone" in " ".join(done.stdout.split())


@pytest.mark.parametrize("kind", AT)
@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--survive", "n-2"], "nothing is left of 2 replicas with 2 replicas gone"),
        (["--mtbf", "1h"], "give --mtbf 264d and --recovery-time 5min together"),
        (["--survive", "rack:2"], "--survive 'rack:2' is unknown"),
        (
            ["--mtbf", "1h", "--recovery-time", "1h"],
            "nothing is left of 2 replicas with 2 broken down at once",
        ),
    ],
)
def test_what_cannot_be_survived_is_refused(capacity: Command, kind: str, flags: list[str], why: str) -> None:
    done = capacity("simulate", *AT[kind], "--replicas", "2", *flags)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split())
