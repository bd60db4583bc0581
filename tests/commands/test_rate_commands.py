"""`capacity max-rate`, `capacity plan --explain` and `capacity explain`, as a user runs them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.text import Text
from scipy.optimize import brentq
from test_cli import T4, capacity, document
from test_max_rate import laws_are_asked_once

from capacity.doors import door
from capacity.queues.batch.bulk import Bulk

pytestmark = pytest.mark.usefixtures("capacity", "no_headroom")
PROFILE = "batch_size,mean_ms\n1,5\n2,6\n4,8\n8,12\n"  # means alone: laws are exact, and nothing is simulated
ONE = ["--profile", "one.csv", "--replicas", "1"]
OPEN = ["--batch-wait", "20ms", "--timer", "open"]

__all__ = ["capacity", "laws_are_asked_once"]


@pytest.fixture
def one(tmp_path):
    """A profile in the directory where the command runs."""
    (tmp_path / "one.csv").write_text(PROFILE, encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("one")
def test_max_rate_has_its_keys(capacity):
    done = capacity("max-rate", *ONE, "--slo-p99", "40ms", *OPEN, "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert set(answer) == {
        "schema_version", "verdict", "exit_code", "plan", "objective", "workload", "rates", "rejection",
        "low_rate_limit", "curve", "caveats", "seed", "confidence",
    }  # fmt: skip
    assert (answer["verdict"], answer["exit_code"], answer["rejection"]) == ("met", 0, None)
    first, second = answer["rates"]["intervals"]
    assert first["low_rps"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert 0 < first["high_rps"]["high"] < second["low_rps"]["value"] < second["high_rps"]["value"]
    assert answer["rates"]["arrival_rate_max_rps"] == second["high_rps"]["value"]
    assert answer["plan"]["timer"] == "open"
    assert answer["workload"] == {"arrivals": "poisson"}
    assert all({"arrival_rate_rps", "verdict", "performance"} <= set(row) for row in answer["curve"])


def test_max_rate_draws_here_and_into_files(capacity, one):
    for name in ("a.png", "a.svg"):
        done = capacity("max-rate", *ONE, "--slo-p99", "40ms", "-v", "-o", name)
        assert done.returncode == 0, done.stderr
        assert (one / name).stat().st_size > 1000
    again = (one / "a.svg").read_bytes()
    assert capacity("max-rate", *ONE, "--slo-p99", "40ms", "-o", "a.svg").returncode == 0
    assert (one / "a.svg").read_bytes() == again
    assert "1 replica of one with batches up to 8 carries " in done.stdout
    assert " within P99 <= 40 ms; " in done.stdout
    assert "o met, x missed, ? in doubt, - limit" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.usefixtures("one")
def test_no_rate_is_kept(capacity):
    done = capacity("max-rate", *ONE, "--slo-p99", "13ms", *OPEN, "--json")
    assert done.returncode == 3
    answer = document(done)
    assert (answer["verdict"], answer["rates"]["intervals"]) == ("missed", [])
    assert answer["rejection"]["allowed"] == 0.013
    assert answer["rejection"]["needed"] > 0.013
    floor = capacity("max-rate", *ONE, "--slo-p99", "4ms")
    assert floor.returncode == 3
    assert "the fastest takes 5 ms" in " ".join(floor.stdout.split())


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize(
    ("share", "utilization"), [pytest.param("99.9%", 0.999, marks=pytest.mark.long), ("60%", 0.6)]
)
def test_max_rate_keeps_the_utilization_within_its_limit(capacity, share, utilization):
    """That of the exact law: a greedy replica is busy for 99.9 % of the time long before its load is that."""
    times_s = tuple(0.001 * ms for ms in (5, 6, 7, 8, 9, 10, 11, 12))

    def busy(rate_rps: float) -> float:
        return Bulk(arrival_rate_rps=rate_rps, batch_times_s=times_s).performance().utilization

    wall_rps = 8 / 0.012
    limit_rps = brentq(lambda rate_rps: busy(rate_rps) - utilization, 0.01 * wall_rps, 0.999 * wall_rps)
    done = capacity("max-rate", *ONE, "--utilization-max", share, "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert answer["objective"]["utilization"] == utilization
    (stretch,) = answer["rates"]["intervals"]
    ends = stretch["high_rps"]
    assert ends["low"] <= limit_rps <= ends["high"] <= 1.02 * limit_rps
    assert all(
        (point["verdict"] == "met") == (point["performance"]["utilization"] <= utilization)
        for point in answer["curve"]
        if point["performance"] is not None
    )


@pytest.mark.long
def test_max_rate_of_a_simulated_plan_is_the_same_for_any_number_of_workers(capacity):
    arguments = ["max-rate", *T4, "--replicas", "2", "--batch-size-max", "16", "--slo-p99", "30ms",
                 "--requests-max", "10000000", "--json"]  # fmt: skip
    one, two = (capacity(*arguments, "--workers", n) for n in ("1", "2"))
    assert one.returncode == 0, one.stderr
    assert one.stdout == two.stdout
    answer = document(one)
    (stretch,) = answer["rates"]["intervals"]
    assert 1500.0 < stretch["high_rps"]["low"] <= stretch["high_rps"]["high"] < 2117.3


def test_a_budget_that_cannot_decide_leaves_all_rates_in_doubt(capacity):
    done = capacity(
        "max-rate", *T4, "--replicas", "1", "--slo-p99", "40ms", "--requests-max", "1000", "--queue-limit", "5",
        "--json",
    )  # fmt: skip
    assert done.returncode == 4
    answer = document(done)
    assert answer["rates"]["intervals"] == []
    assert answer["rates"]["in_doubt"] != []


@pytest.mark.usefixtures("one")
def test_a_plan_is_explained_at_once_and_from_its_file(capacity):
    asked = ["plan", "--profile", "one.csv", "--rate", "1800rps", "--slo-p99", "30ms", "--batch-wait", "0ms",
             "--requests-max", "3000000", "--explain"]  # fmt: skip
    done = capacity(*asked, "-o", "saved.json", "--json")
    assert done.returncode == 0, done.stderr
    at_once = document(done)["explanation"]
    assert at_once["binding"]["allowed"] == 0.03
    assert at_once["one_fewer"][0]["plan"]["replicas"] == document(done)["recommendation"]["replicas"] - 1
    assert {one["what"] for one in at_once["sensitivities"]} == {"rate", "service time", "cv"}
    assert at_once["best_saving"]["lever"] in ("routing", "limit", "service_time", "demand")
    later = capacity("explain", "saved.json", "--json")
    assert later.returncode == 0, later.stderr
    answer = document(later)
    assert answer["explanation"] == at_once
    assert answer["plan"] == document(done)["recommendation"]
    told = capacity("explain", "saved.json")
    assert "P99 of one by replicas" in told.stdout
    assert "limit 30 ms" in told.stdout
    assert all(character.isprintable() for character in told.stdout.replace("\n", ""))
    for title in (
        "What limits the plan:", "Why one fewer is not enough:", "Assumed:", "What would save most:",
    ):  # fmt: skip
        assert title in told.stdout


@pytest.mark.usefixtures("one")
def test_without_a_plan_nothing_is_explained(capacity):
    done = capacity(
        "plan", "--profile", "one.csv", "--rate", "100rps", "--slo-p99", "4ms", "--explain", "--json"
    )
    assert done.returncode == 3
    assert "explanation" not in json.loads(done.stdout)
    missing = capacity("explain", "gone.json")
    assert missing.returncode == 2
    assert "gone.json" in missing.stderr


@pytest.mark.usefixtures("one")
@pytest.mark.parametrize(("file", "begin"), [("plan.png", b"\x89PNG"), ("plan.svg", b"<?xml")])
def test_a_plan_is_drawn(capacity, one, file, begin):
    done = capacity(
        "plan", "--profile", "one.csv", "--rate", "3000rps", "--slo-p99", "30ms", "--precision", "0.1",
        "--requests-max", "3000000", "-o", file, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = (one / file).read_bytes()
    assert drawn.startswith(begin)
    if file.endswith("svg"):
        words = drawn.decode()
        chosen = document(done)["recommendation"]["replicas"]
        for told in ("P99 [ms]", "limit: 30 ms", f"chosen: {chosen}", "replicas"):
            assert told in words


@pytest.mark.usefixtures("one")
def test_a_figure_that_cannot_be_written_is_refused_at_once(capacity):
    ask = ["plan", "--profile", "one.csv", "--rate", "3000rps", "--slo-p99", "30ms", "-o"]
    done = capacity(*ask, "plan.pdf")
    assert done.returncode == 2
    assert "plan.pdf" in done.stderr


@pytest.mark.usefixtures("one")
def test_without_a_plan_nothing_is_drawn(capacity, one):
    ask = ["plan", "--profile", "one.csv", "--rate", "100rps", "--slo-p99", "4ms"]
    done = capacity(*ask, "-o", "none.svg", "-o", "none.html", "--json")
    assert done.returncode == 3
    assert "no plan, so none.svg is not drawn" in done.stderr
    assert "no plan, so none.html is not written" in done.stderr
    assert not list(one.glob("none.*"))


@pytest.mark.long
@pytest.mark.usefixtures("one")
def test_the_curve_of_a_profile_is_that_of_its_simulation(capacity, tmp_path):
    done = capacity("curve", "--profile", "one.csv", "--batch-size-max", "4", "-o", "curve.svg")
    assert done.returncode == 0, done.stderr
    assert "It doubles between load" in done.stdout
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--replicas", "2"], "--replicas belongs to --profile; give a profile too"),
        (["--batch-wait", "1ms"], "--batch-wait belongs to --profile; give a profile too"),
        (["--profile", "one.csv", "--servers", "2"], "--servers is for M/M/c; leave it out with --profile"),
        (
            ["--profile", "one.csv", "--service-rate", "5rps"],
            "--service-rate is for M/M/c; leave it out with --profile",
        ),
    ],
)
@pytest.mark.usefixtures("one")
def test_a_curve_takes_the_flags_of_a_law_or_of_a_profile(capacity, flags, said):
    done = capacity("curve", *flags)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


@pytest.mark.parametrize("file", [None, "a.svg"])
@pytest.mark.usefixtures("one")
def test_a_curve_of_a_profile_is_shown_and_drawn(capacity, monkeypatch, file):
    saved, asked = [], []

    @door("curve")
    def made_up(given):
        """A curve."""
        asked.append((given.profile, given.replicas, given.quantile))
        return SimpleNamespace(
            document=dict, tables=lambda columns, verbose: [Text(f"{columns} {verbose}")], save=saved.append
        )

    monkeypatch.setattr("capacity.api.rates.curve", made_up)
    given = [] if file is None else ["-o", file]
    done = capacity("curve", "--profile", "one.csv", "--replicas", "3", *given)
    assert (done.returncode, done.stdout) == (0, "120 False\n")
    assert asked == [("one.csv", 3, 0.99)]
    assert saved == ([] if file is None else [Path(file)])
