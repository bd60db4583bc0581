"""`max-rate`, `curve` and `sweep` of users, traces and days: each answer names what is scaled, in its own words and units."""

import csv
import json

import pytest
from test_cli import capacity, document
from test_rate_commands import ONE, one

from capacity.queues.batch.closed import BulkClosed

pytestmark = pytest.mark.usefixtures("capacity", "one")
TIMES_S = (0.005, 0.006, 0.007, 0.008, 0.009, 0.010, 0.011, 0.012)
USERS = ["--think-time", "30ms"]
SHORT = ["--requests-max", "2000000"]
# Two requests, then one, again and again: a second of requests, 600 times.
INSTANTS_S = [0.02 * turn + at for turn in range(300) for at in (0.0, 0.001, 0.011)]
TRACE = ["--arrivals", "trace:turns.csv"]

__all__ = ["capacity", "one"]


@pytest.fixture
def turns(one):
    """A trace of equal turns, under which constant batch times leave nothing to chance."""
    (one / "turns.csv").write_text("t_s\n" + "".join(f"{at:.3f}\n" for at in INSTANTS_S), encoding="utf-8")
    return one


@pytest.fixture
def day(one):
    """A day whose highest rate is 300 rps."""
    (one / "day.csv").write_text("time,rate_rps\n00:00,100\n12:00,300\n18:00,50\n", encoding="utf-8")
    return one


def law(users: int) -> BulkClosed:
    return BulkClosed(users=users, think_time_s=0.03, batch_times_s=TIMES_S)


def test_the_most_users_are_those_of_the_exact_law(capacity, one):
    found = [law(users).performance((0.99,)).response_quantiles_s[0.99].value for users in range(8, 20)]
    most = 7 + sum(p99_s <= 0.016 for p99_s in found)
    done = capacity(
        "max-rate", *ONE, *USERS, "--users", "16", "--slo-p99", "16ms", *SHORT, "-o", "answer.json"
    )
    assert done.returncode == 0, done.stderr
    told = f"carries {most} users within P99 <= 16 ms; {most + 1} users are too many."
    assert told in " ".join(done.stdout.split())
    assert "utilization" in done.stdout
    assert "rps" not in done.stdout
    answer = json.loads((one / "answer.json").read_text(encoding="utf-8"))
    (stretch,) = answer["users"]["intervals"]
    assert stretch["high"] == {"value": most, "low": most, "high": most + 1}
    assert (answer["users"]["users_max"], answer["users"]["taken_to_rise"]) == (most, True)
    assert answer["workload"] == {"think_time_s": 0.03}
    assert {1.0, 16.0} < {row["users"] for row in answer["curve"]}


def test_a_curve_of_users_follows_the_exact_law(capacity, one):
    asked = ["curve", *ONE, *USERS, "--users", "12", "--requests-max", "1000000", "--precision", "0.2"]
    done = capacity(*asked, "-o", "curve.svg", "-o", "curve.csv")
    assert done.returncode == 0, done.stderr
    assert "P99 is 5 ms with 1 user." in done.stdout
    assert "users" in (one / "curve.svg").read_text(encoding="utf-8")
    with (one / "curve.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] == "answered"]
    assert {"1", "12"} < {row["users"] for row in rows}
    for row in rows:
        assert row["think_time_s"] == "0.03"
        exact = law(int(row["users"])).performance((0.99,)).response_quantiles_s[0.99].value
        assert float(row["response_p99_s"]) == pytest.approx(exact, rel=0.05)


def test_a_sweep_of_users_has_a_row_for_each_number(capacity):
    done = capacity("sweep", *ONE, "--users", "1:3", "--users", "8", *USERS, *SHORT, "--json")
    assert done.returncode == 0, done.stderr
    rows = document(done)["rows"]
    assert [row["users"] for row in rows] == [1, 2, 3, 8]
    assert not any("arrival_rate_rps" in row for row in rows)
    for row in rows:
        assert row["throughput_rps"] == pytest.approx(law(row["users"]).throughput_rps, rel=0.02)
    mixed = capacity("sweep", *ONE, "--users", "4", "--rate", "9rps")
    assert (mixed.returncode, "not a mix" in mixed.stderr) == (2, True)


@pytest.mark.usefixtures("turns")
def test_a_trace_is_as_fast_as_a_simulation_at_that_rate_says(capacity):
    """Nothing is random here, so that both say the same to the last digit."""
    asked = ["max-rate", *ONE, *TRACE, "--slo-p50", "9ms"]
    answer = document(capacity(*asked, "--json"))
    recorded_rps = answer["workload"]["recorded_rate_rps"]
    assert recorded_rps == pytest.approx((len(INSTANTS_S) - 1) / INSTANTS_S[-1])
    found, curve = answer["rates"], answer["curve"]
    assert found["speed_max"] == found["arrival_rate_max_rps"] / recorded_rps
    assert 1.0 in {row["speed"] for row in curve}
    (stretch,) = found["intervals"]
    for row in curve:
        if row["arrival_rate_rps"] in (
            recorded_rps,
            *(stretch["high_rps"][end] for end in ("value", "high")),
        ):
            rate = f"{row['arrival_rate_rps']!r}rps"
            again = document(
                capacity("simulate", *ONE, *TRACE, "--rate", rate, "--quantile", "0.5", "--json")
            )
            p50 = again["performance"]["response_quantiles_s"]["0.5"]["value"]
            assert row["performance"]["response_quantiles_s"]["0.5"]["value"] == p50
            assert (p50 <= 0.009) == (row["verdict"] == "met")
    told = " ".join(capacity(*asked).stdout.split())
    assert f"{found['speed_max']:.3g}" in told
    assert "times the recorded speed, at " in told
    assert "meets P50 <= 9 ms under turns.csv " in told


@pytest.mark.usefixtures("turns")
def test_a_curve_of_a_trace_has_its_speeds(capacity):
    done = capacity("curve", *ONE, *TRACE, "--quantile", "0.5")
    assert done.returncode == 0, done.stderr
    assert "times the recorded speed" in done.stdout
    rows = document(capacity("curve", *ONE, *TRACE, "--quantile", "0.5", "--json"))["rows"]
    recorded_rps = (len(INSTANTS_S) - 1) / INSTANTS_S[-1]
    assert 1.0 in [row["speed"] for row in rows]
    assert [row["speed"] for row in rows] == pytest.approx(
        [row["arrival_rate_rps"] / recorded_rps for row in rows]
    )


DAY = ["--daily", "day.csv"]


@pytest.mark.usefixtures("day")
def test_a_day_is_scaled_until_its_highest_rate_misses_the_objective(capacity):
    """The same rates as without it, told as multiples of the day."""
    answer = document(capacity("max-rate", *ONE, *DAY, "--slo-p99", "40ms", "--json"))
    plain = document(capacity("max-rate", *ONE, "--slo-p99", "40ms", "--json"))
    (stretch,), (other,) = answer["rates"]["intervals"], plain["rates"]["intervals"]
    bracket = stretch["high_rps"]
    assert bracket["low"] <= other["high_rps"]["high"]
    assert other["high_rps"]["low"] <= bracket["high"]
    assert answer["rates"]["day_factor_max"] == answer["rates"]["arrival_rate_max_rps"] / 300.0
    assert answer["workload"] == {
        "arrivals": "poisson", "daily": "day.csv", "peak_rate_rps": 300.0,
        "requests_per_day": 3600.0 * (12 * 100.0 + 6 * 300.0 + 6 * 50.0),
    }  # fmt: skip
    assert 1.0 in [row["day_factor"] for row in answer["curve"]]
    told = " ".join(capacity("max-rate", *ONE, *DAY, "--slo-p99", "40ms", "-v").stdout.split())
    assert "meets P99 <= 40 ms in the busiest hour of day.csv up to " in told
    assert "times the rates of the day, at " in told
    assert "capacity plan --daily says what the other hours of day.csv need" in told


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize(
    ("verb", "fleets"),
    [("simulate", ["--replicas", "1"]), ("compare", ["--fleet", "replicas=1", "--fleet", "replicas=2"])],
)
def test_a_day_is_answered_by_its_highest_rate(capacity, verb, fleets):
    asked = [verb, "--profile", "one.csv", *fleets, *SHORT, "--precision", "0.2", "--json"]
    day, highest = (document(capacity(*asked, *traffic)) for traffic in (DAY, ["--rate", "300rps"]))
    assert day.pop("workload")["peak_rate_rps"] == highest.pop("workload")["arrival_rate_rps"] == 300.0
    noted, others = day.pop("caveats"), highest.pop("caveats")
    assert (
        [one for one in noted if one not in others]
        == [one for one in noted if one["code"] == "day_highest"]
        != []
    )
    assert day == highest


@pytest.mark.usefixtures("day")
def test_sweeps_and_curves_of_a_day_have_its_multiples(capacity):
    (row,) = document(capacity("sweep", *ONE, *DAY, *SHORT, "--precision", "0.2", "--json"))["rows"]
    assert (row["arrival_rate_rps"], row["day_factor"]) == (300.0, 1.0)
    rows = document(capacity("curve", *ONE, *DAY, *SHORT, "--precision", "0.3", "--json"))["rows"]
    assert [row["day_factor"] for row in rows] == [row["arrival_rate_rps"] / 300.0 for row in rows]
    assert 1.0 in [row["day_factor"] for row in rows]


@pytest.mark.usefixtures("day", "turns")
@pytest.mark.parametrize(
    ("verb", "beside", "said"),
    [
        ("simulate", ["--rate", "9rps"], "--daily has the rates of the day; leave out --rate"),
        ("sweep", ["--users", "9"], "--daily has the rates of the day; leave out --users"),
        ("max-rate", ["--think-time", "1s", "--slo-p99", "1s"], "leave out --think-time"),
        ("curve", TRACE, "a trace has its own; leave out one of the two"),
    ],
)
def test_a_day_has_all_of_its_rates(capacity, verb, beside, said):
    done = capacity(verb, *ONE, *DAY, *beside)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_fleets_are_compared_by_one_rule_of_batching(capacity):
    asked = ["--profile", "one.csv", "--fleet", "replicas=1,batch=4", "--fleet", "replicas=1,batching=triton"]
    done = capacity("compare", *asked, "--users", "4", *USERS, *SHORT, "--batching", "torchserve", "--json")
    assert done.returncode == 0, done.stderr
    answer = document(done)
    assert [one["plan"].get("batching", "triton") for one in answer["fleets"]] == ["torchserve", "triton"]
    assert answer["workload"] == {"users": 4, "think_time_s": 0.03}


def test_fleets_are_compared_with_one_queue_limit(capacity):
    fleets = ["--fleet", "replicas=1", "--fleet", "replicas=1,queue-limit=9"]
    asked = ["compare", "--profile", "one.csv", *fleets, "--rate", "500rps", *SHORT, "--precision", "0.3"]
    answer = document(capacity(*asked, "--queue-limit", "2", "--json"))
    assert [one["plan"]["queue_limit"] for one in answer["fleets"]] == [2, 9]
    assert answer["fleets"][0]["performance"]["loss_probability"] > 0.0
