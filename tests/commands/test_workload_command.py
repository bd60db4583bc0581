"""`capacity workload`, and bursts and traces in the other commands."""

import json
from functools import partial
from pathlib import Path

import in_process
import numpy as np
import pytest

from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.scenario import Scenario
from capacity.queues.general.mmpp import MMPPMc
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import MmppArrivals, PoissonArrivals, Workload
from capacity.units import format_duration
from simulations.draws.arrivals import Seed, draw
from simulations.simulate import Simulation

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "bursts.csv"
JASPER = ["--profile", "jasper-7s-t4-fp16", "--replicas", "1", "--batch-size-max", "8"]
BURSTY = MmppArrivals(ratio=6.0, burst_mean_s=0.05, calm_mean_s=0.45)


@pytest.fixture
def capacity(tmp_path):
    """Runs the command in an empty directory and returns what happened."""
    return partial(in_process.capacity, tmp_path)


def write_trace(path: Path, arrivals, requests: int, rate_rps: float = 40.0, header: str = "t_s\n") -> Path:
    instants_s = draw(
        Workload(arrival_rate_rps=rate_rps, arrivals=arrivals), requests, Seed(value=8)
    ).arrived_s
    path.write_text(header + "".join(f"{x:.6f}\n" for x in instants_s))
    return path


def test_the_example_is_described_to_a_program(capacity):
    done = capacity("workload", str(EXAMPLE), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema_version"] == 1
    assert answer["trace"] == "bursts.csv"
    instants_s = np.loadtxt(EXAMPLE, skiprows=1)
    gaps_s = np.diff(instants_s)
    assert answer["arrivals"] == len(instants_s) == 4000
    assert answer["duration_s"] == pytest.approx(gaps_s.sum())
    assert answer["arrival_rate_rps"] == pytest.approx(1.0 / gaps_s.mean())
    assert answer["gap_cv"] == pytest.approx(gaps_s.std(ddof=1) / gaps_s.mean())
    counts = np.histogram(instants_s - instants_s[0], bins=np.arange(0.0, gaps_s.sum(), 1.0))[0]
    (second, *_) = answer["counts"]
    assert second["dispersion"] == pytest.approx(counts.var(ddof=1) / counts.mean(), rel=0.02)
    assert second["peak_to_mean"] == pytest.approx(counts.max() / counts.mean(), rel=0.05)
    assert answer["is_poisson"] is False
    assert any(test["rejects"] for test in answer["tests"])
    assert "poisson_error" not in answer


def test_a_poisson_trace_is_poisson_for_people(capacity, tmp_path):
    write_trace(tmp_path / "poisson.csv", PoissonArrivals(), 3000)
    done = capacity("workload", "poisson.csv")
    assert done.returncode == 0, done.stderr
    assert "Consistent with Poisson: none of 4 tests rejects it, at 0.01 jointly." in done.stdout


@pytest.mark.long
def test_what_poisson_gets_wrong_is_within_what_longer_simulations_say(capacity, tmp_path):
    """The trace is one path of MMPP arrivals, whose P90 is simulated at length beside it."""
    write_trace(tmp_path / "t.csv", BURSTY, 40_000)
    arguments = ["workload", "t.csv", *JASPER, "--rate", "40rps", "--quantile", "0.9", "--json"]
    done = capacity(*arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    error = answer["poisson_error"]
    assert error["quantile"] == 0.9
    assert error["plan"]["batch_size_max"] == 8
    for name, typed in (("trace", "mmpp:ratio=6,burst=50ms,calm=450ms"), ("poisson", "poisson")):
        long = capacity(
            "simulate", *JASPER, "--rate", "40rps", "--arrivals", typed, "--quantile", "0.9", "--json"
        )
        assert long.returncode == 0, long.stderr
        p90 = json.loads(long.stdout)["performance"]["response_quantiles_s"]["0.9"]
        seen = error[f"response_by_{name}_s"]
        assert seen["low"] <= p90["high"]
        assert p90["low"] <= seen["high"]
    assert error["relative_error"]["high"] < -0.2
    assert {c["code"] for c in answer["caveats"]} >= {"trace_one_path"}
    assert capacity(*arguments, "--workers", "1").stdout == done.stdout
    text = capacity(*arguments[:-1]).stdout
    assert "Assuming Poisson arrivals is too optimistic: their P90 is below the trace's." in text
    assert format_duration(error["response_by_trace_s"]["value"]) in text


@pytest.mark.long
def test_disorder_is_told_to_everybody(capacity, tmp_path):
    lines = write_trace(tmp_path / "t.csv", PoissonArrivals(), 12_000, header="").read_text().split()
    lines[3], lines[4] = lines[4], lines[3]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    told = "1 timestamp goes back in time"
    assert told in capacity("workload", "t.csv").stdout
    assert any(
        told in remark for remark in json.loads(capacity("workload", "t.csv", "--json").stdout)["remarks"]
    )
    simulated = capacity("simulate", *JASPER, "--arrivals", "trace:t.csv", "--quantile", "0.5", "--json")
    assert simulated.returncode == 0, simulated.stderr
    caveats = {c["code"]: c["message"] for c in json.loads(simulated.stdout)["caveats"]}
    assert told in caveats["trace_reading"]
    swept = capacity("sweep", *JASPER, "--arrivals", "trace:t.csv", "--quantile", "0.5")
    assert swept.returncode == 0, swept.stderr
    assert f"note: t.csv: {told}" in swept.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'FILE'"),
        (["gone.csv"], 2, "cannot read gone.csv"),
        (["few.csv"], 2, "few.csv has 10 arrivals; describing traffic needs at least 20"),
        (["bad.csv"], 2, "bad.csv line 2: 'x' is not a finite number"),
        (["t.csv", "--rate", "5rps"], 2, "--rate belongs to --profile; give that too"),
        (["t.csv", "--replicas", "1"], 2, "give --profile and --replicas together"),
        (["t.csv", "--profile", "jasper-7s-t4-fp16"], 2, "give --profile and --replicas together"),
        (["t.csv", *JASPER, "--rate", "500rps"], 2, "unstable plan: load 5.213 >= 1"),
        (["t.csv", *JASPER, "--quantile", "1"], 2, "--quantile must be within (0, 1)"),
        (["t.csv", *JASPER, "--quantile", "0.99"], 4, "needs at least 5000: record for longer"),
        (["t.csv", *JASPER, "--quantile", "0.9", "--rate", "94rps"], 4, "independent responses beyond P90"),
        (["t.csv", *JASPER, "--quantile", "0.5", "--requests-max", "10"], 4, "raise --requests-max"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line(capacity, tmp_path, arguments, code, message):
    write_trace(tmp_path / "t.csv", BURSTY, 3000)
    (tmp_path / "few.csv").write_text("\n".join(map(str, range(10))))
    (tmp_path / "bad.csv").write_text("0\nx\n")
    done = capacity("workload", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_bursts_are_swept_and_each_row_says_so(capacity):
    rows = json.loads(
        capacity(
            "sweep", *JASPER, "--rate", "20rps:30rps:10rps", "--arrivals", "mmpp:ratio=6,burst=50ms,calm=450ms",
            "--quantile", "0.9", "--precision", "0.05", "--json",
        ).stdout
    )["rows"]  # fmt: skip
    assert [row["outcome"] for row in rows] == ["answered", "answered"]
    assert {row["arrivals"] for row in rows} == {"mmpp:ratio=6,burst=0.05s,calm=0.45s"}


@pytest.mark.long
def test_bursts_have_the_p99_of_theory_by_the_road_of_the_product():
    """`simulate`, warm-up and length of runs included, beside MMPP/M/1: exponential service by samples."""
    middles = (np.arange(4000) + 0.5) / 4000
    draws_s = -np.log1p(-middles)
    profile = ServiceProfile(
        name="exponential",
        timings=(BatchTiming(batch_size=1, samples_s=tuple((draws_s / draws_s.mean()).tolist())),),
    )
    arrivals = MmppArrivals(ratio=4.0, burst_mean_s=20.0, calm_mean_s=40.0)
    simulate = Simulation(quantiles=(0.9,), precision=0.03)
    plan = BatchPlan(profile="exponential", replicas=1, batch_size_max=1)
    workload = Workload(arrival_rate_rps=0.6, arrivals=arrivals)
    seen = simulate(Scenario(profile=profile, workload=workload, plan=plan))
    law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(0.6),
        switch_rates_per_s=(1 / 20.0, 1 / 40.0),
        service_rate_rps=1.0,
        servers=1,
    )
    interval, exact_s = seen.response_quantiles_s[0.9], law.response_quantile_s(0.9)
    assert abs(interval.value - exact_s) <= 2.0 * interval.half_width
    assert seen.wait_mean_s == pytest.approx(law.wait_mean_s, rel=0.03)


def test_a_trace_may_come_through_a_pipe(tmp_path: Path) -> None:
    """It is read once, so nothing may look at its columns before; packed or not."""
    import gzip
    import subprocess
    import sys

    text = "t_s\n" + "".join(f"{at / 3}\n" for at in range(300))
    for data in (text.encode(), gzip.compress(text.encode())):
        done = subprocess.run(
            [sys.executable, "-c", "from cli import app; app()", "workload", "/dev/stdin"],
            input=data, capture_output=True, check=False, timeout=60, cwd=Path(__file__).parent.parent.parent,
        )  # fmt: skip
        assert (done.returncode, b"300" in done.stdout) == (0, True), done.stderr
