"""`capacity queue …`: every law by its command, its keys, and what is refused."""

import json
import math

import pytest
from typer.testing import CliRunner

from cli import app

V100 = "2.0312ms,2.175ms,2.3188ms,2.4626ms,2.6064ms,2.7502ms,2.894ms,3.0378ms"
KEYS = {
    "schema_version", "model", "kind", "utilization", "load", "offered_load", "wait_probability",
    "loss_probability", "abandon_probability", "empty_probability", "queue_length_mean", "in_system_mean",
    "throughput_rps", "wait_mean_s", "response_mean_s", "wait_quantiles_s", "response_quantiles_s",
    "batch_size_mean", "relative_error_max",
}  # fmt: skip


def run(line: str):
    return CliRunner().invoke(app, ["queue", *line.split()])


def answer(line: str) -> dict:
    done = run(f"{line} --json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def value(document: dict, path: str) -> float:
    for key in path.split("/"):
        document = document[key]
    return document["value"] if isinstance(document, dict) else document


C2 = 0.9 * 0.9 * 2 / (1 + 0.9)  # P(wait) of two servers: 2 rho^2 / (1 + rho)
ROWS = [
    ("mm1 --arrival-rate 8rps --service-rate 10rps", "response_mean_s", 0.5),
    ("mm1 --arrival-rate 480/min --service-time 100ms", "response_quantiles_s/0.99", math.log(100) / 2),
    ("mmc --arrival-rate 9rps --service-rate 5rps --servers 2", "wait_probability", C2),
    ("mmck --arrival-rate 1rps --service-rate 1rps --servers 1 --capacity 3", "loss_probability", 0.25),
    ("mmck --arrival-rate 1rps --service-rate 1rps --servers 1 --capacity 3", "in_system_mean", 1.5),
    ("mminf --arrival-rate 40rps --service-time 250ms", "in_system_mean", 10.0),
    # patience as long as service: N is Poisson with the offered load as its mean
    ("erlang-a --arrival-rate 3rps --service-time 1s --servers 2 --patience 1s", "in_system_mean", 3.0),
    ("erlang-b --offered-load 5 --servers 10", "loss_probability", 0.018384570336648),
    ("erlang-b --offered-load 1 --servers 1", "loss_probability", 0.5),
    ("erlang-b --offered-load 1 --servers 1 --quantile 0.9 --quantile 0.999", "utilization", 0.5),
    ("mg1 --arrival-rate 0.9rps --service-time 1s --service deterministic", "wait_mean_s", 4.5),
    ("mg1 --arrival-rate 0.5rps --service-time 1s --service lognormal --service-scv 2", "wait_mean_s", 1.5),
    ("mg1 --arrival-rate 0.5rps --service-time 1s --service-scv 3", "wait_mean_s", 2.0),
    ("mdc --arrival-rate 0.9rps --service-time 1s --servers 1", "wait_mean_s", 4.5),
    ("mphc --arrival-rate 0.5rps --service-time 1s --service erlang --service-scv 0.5 --servers 1", "wait_mean_s", 0.75),
    ("mphc --arrival-rate 0.5rps --service-time 1s --service hyperexponential --service-scv 3 --servers 1", "wait_mean_s", 2.0),
    ("gimc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival-scv 1", "wait_probability", C2),
    ("gimc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival exponential", "wait_mean_s", C2),
    ("ggc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival-scv 1 --service-scv 1", "wait_mean_s", C2),
    ("ggc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival-scv 3 --service-scv 1 --formula allen-cunneen", "wait_mean_s", 2 * C2),
    ("mmpp --arrival-rates 0.9rps,0.9rps --switch-rates 1/s,2/s --service-rate 1rps --servers 1", "wait_mean_s", 9.0),
    ("priority --arrival-rates 0.4rps,0.4rps --service-rate 1rps --servers 1", "wait_mean_s", 4.0),
    (f"bulk --arrival-rate 6rps --batch-times {V100} --users 1 --think-time 1s", "", 2),
    (f"bulk --users 1 --think-time 1s --batch-times {V100}", "response_mean_s", 2.0312e-3),
    ("bulk --arrival-rate 0.9rps --batch-times 1s", "wait_mean_s", 4.5),
    ("bulk --arrival-rate 9rps --batch-times 200ms --batch-service exponential --replicas 2 --routing shared-queue", "wait_probability", C2),
    ("bulk --arrival-rate 0.8rps --batch-times 1s --service-cv 1", "wait_mean_s", 4.0),
    # a time of four full batches, where the search for the median passes; by the integral over arrivals
    ("bulk --arrival-rate 400rps --batch-times 5ms,6ms,7ms --batch-size-min 2", "response_quantiles_s/0.5", 0.019448632759244796),
    ("closed --users 1 --think-time 1s --service-time 100ms --servers 1", "response_mean_s", 0.1),
    ("closed --users 2 --service-time 100ms --servers 1", "throughput_rps", 10.0),
    ("usl --lambda 100rps --sigma 1 --replicas 5", "throughput_rps", 100.0),
    ("usl --lambda 100rps --sigma 1 --replicas 5 --quantile 0.9", "throughput_rps", 100.0),
    ("usl --lambda 100rps --sigma 0 --kappa 0.01 --replicas 10", "throughput_rps", 1000 / 1.9),
    ("staffing --arrival-rate 100rps --service-time 1s --wait-p99 100ms", "servers", 118),
    ("staffing --arrival-rate 100rps --service-time 1s --response-p99 4.7s", "servers", 106),
    ("staffing --arrival-rate 1rps --service-time 1s --wait-probability 0.34", "servers", 2),
]  # fmt: skip


@pytest.mark.parametrize(("line", "path", "expected"), ROWS)
def test_textbook_numbers(line, path, expected):
    if not path:
        assert run(line).exit_code == expected
        return
    assert value(answer(line), path) == pytest.approx(expected, rel=1e-9)


# Values by simulation of 2e8 requests or an independent program, as many digits as are certain.
BULK_ROWS = [
    ("--arrival-rate 2.3/ms", 10.561e-3),
    ("--arrival-rate 1.5/ms", 5.690e-3),
    ("--arrival-rate 1.5/ms --batch-wait 1ms", 5.689e-3),
    ("--arrival-rate 1.5/ms --batch-wait 1ms --timer open", 6.696e-3),
    ("--arrival-rate 9.2/ms --replicas 4", 6.416e-3),
    ("--arrival-rate 9.2/ms --replicas 4 --routing random", 10.561e-3),
    ("--arrival-rate 2/ms --batch-size-min 8", 9.115e-3),
    ("--arrival-rate 2.3/ms --service-cv 0.1", 11.123e-3),
    ("--arrival-rate 1.5/ms --service-cv 0.3", 7.829e-3),
    ("--arrival-rate 1.5/ms --batch-service exponential", 23.29e-3),
]


@pytest.mark.parametrize(("flags", "p99_s"), BULK_ROWS)
def test_batching(flags, p99_s):
    document = answer(f"bulk --batch-times {V100} {flags}")
    assert value(document, "response_quantiles_s/0.99") == pytest.approx(p99_s, rel=1.2e-4)
    assert document["kind"] == "exact"


def test_profile_in_place_of_batch_times():
    document = answer("bulk --profile resnet50-t4-fp16 --batch-size-max 8 --arrival-rate 300rps")
    assert document["model"] == "M/D^[1,8]/1"
    from capacity.profile.load import load_profile

    profile = load_profile("resnet50-t4-fp16")
    assert document["load"] == pytest.approx(300.0 * profile.service_mean_s(8) / 8)
    one = answer("mg1 --profile resnet50-t4-fp16 --batch-size 4 --arrival-rate 10rps")
    assert one["utilization"] == pytest.approx(10.0 * profile.service_mean_s(4))


@pytest.mark.parametrize("line", [row[0] for row in ROWS if row[1]])
def test_keys_and_numbers(line):
    document = answer(line)
    assert document["schema_version"] == 1
    assert document["model"]
    assert document["kind"] in ("exact", "bound", "approximation")
    if not line.startswith("usl"):
        assert set(document) <= KEYS | {"servers", "classes"}
    for name in ("wait_probability", "utilization", "loss_probability", "abandon_probability"):
        assert 0.0 <= document.get(name, 0.0) <= 1.0


def test_every_quantile_that_is_asked_for():
    document = answer(
        "mmc --arrival-rate 9rps --service-rate 5rps --servers 2 --quantile 0.999 --quantile 0.5"
    )
    assert list(document["response_quantiles_s"]) == ["0.5", "0.999"]


def test_approximations_say_how_wrong_they_may_be():
    document = answer(
        "ggc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival-scv 2 --service-scv 2"
    )
    assert document["kind"] == "approximation"
    assert document["relative_error_max"]["wait_mean_s"] > 0.0
    table = run("ggc --arrival-rate 9rps --service-rate 5rps --servers 2 --arrival-scv 2 --service-scv 2")
    assert "approximation" in table.stdout
    assert "error of wait_mean_s, at most" in table.stdout


@pytest.mark.parametrize("arrival", ["deterministic", "erlang --arrival-scv 0.25", "gamma --arrival-scv 5"])
@pytest.mark.parametrize("service", ["deterministic", "exponential", "hyperexponential --service-scv 20"])
def test_an_error_that_nobody_knows_is_absent(arrival, service):
    line = f"ggc --arrival-rate 0.9rps --arrival {arrival} --service {service} --service-time 2s --servers 2"
    document = answer(line)
    assert document["kind"] == "approximation"
    assert all(0.0 <= error < math.inf for error in document.get("relative_error_max", {}).values())
    if "relative_error_max" not in document:
        assert "not known" in run(line).stdout


def test_priority_by_class():
    document = answer("priority --arrival-rates 0.4rps,0.4rps --service-rate 1rps --servers 1")
    first, second = (one["wait_mean_s"] for one in document["classes"])
    assert first == pytest.approx(0.8 / 0.6, rel=1e-12)  # Cobham: C/(c mu) / ((1 - s0)(1 - s1))
    assert second == pytest.approx(0.8 / (0.6 * 0.2), rel=1e-12)
    assert "class 2" in run("priority --arrival-rates 0.4rps,0.4rps --service-rate 1rps").stdout


def test_rates_from_one_in_thirty_years_to_a_trillion_a_second():
    for scale in ("1e-9", "1e12"):
        document = answer(
            f"mmc --arrival-rate {9 * float(scale)}rps --service-rate {5 * float(scale)}rps --servers 2"
        )
        assert value(document, "wait_probability") == pytest.approx(C2, rel=1e-12)
        assert document["wait_mean_s"] * float(scale) == pytest.approx(C2, rel=1e-12)


def test_fit_of_a_file(tmp_path):
    file = tmp_path / "runs.csv"
    rows = [
        (n, 955.16 * n / (1 + 0.0269 * (n - 1) + 0.000769 * n * (n - 1))) for n in (1, 2, 4, 8, 16, 32, 64)
    ]
    file.write_text("n,throughput_rps\n" + "".join(f"{n},{x!r}\n" for n, x in rows))
    document = answer(f"usl {file} --replicas 100")
    assert document["sigma"] == pytest.approx(0.0269, rel=1e-6)
    assert document["kind"] == "approximation"
    assert run(f"usl {file} --replicas 129").exit_code == 2
    assert "doubts" in run(f"usl {file}").stdout


def test_fit_of_three_points_has_no_intervals(tmp_path):
    file = tmp_path / "three.csv"
    file.write_text("n,throughput_rps\n1,100\n2,190\n4,350\n")
    document = answer(f"usl {file} --replicas 2")
    assert "intervals" not in document
    assert "only 3 different sizes" in document["doubts"][0]
    assert "inf" not in run(f"usl {file}").stdout.replace("interval", "")


def test_numbers_of_any_form_are_refused_in_one_short_line():
    done = run("mmc --arrival-rate 1rps --service-rate 2rps --servers 1e300")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--servers '1e300' is outside the supported range, 1e-12 to 1e+12" in done.stderr
