"""What in a profile is more likely a slip than a measurement, and how every command that uses one says so."""

import json
import math
import random
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import cli
from capacity.profile.formats import profile_to_document, read_document
from capacity.profile.load import bundled_names, load_profile, read_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.caveat import Caveat, CaveatCode
from capacity.server.batch import caveats as batch_caveats
from capacity.server.batch.caveats import dips, plausibility_caveats, profile_caveats

SIZES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = "batch_size,latency_ms\n1,0.0051\n2,0.0062\n4,0.0080\n"
# A profile with all that is implausible but a single size: a wrong unit, a swapped row, one sample.
ODD = "batch_size,latency_ms\n" + "".join(
    f"{size},{mean + 0.00001 * (i % 3):.6f}\n" for size, mean in ((1, 0.005), (2, 0.009), (4, 0.006)) for i in range(40)
) + "8,0.016\n"  # fmt: skip
DIP = "batch_size,mean_ms\n1,0.005\n2,0.009\n4,0.006\n"
IMPLAUSIBLE = {
    "odd.csv": {"profile_unit", "profile_larger_faster", "profile_one_sample"},
    "dip.csv": {"profile_unit", "profile_larger_faster"},
}


def profile_of(means_s: dict[int, float], column: str | None = None) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="p", timings=timings, timings_column=column)


def sampled(samples_s: dict[int, tuple[float, ...]]) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, samples_s=given) for size, given in samples_s.items())
    return ServiceProfile(name="p", timings=timings)


def told(profile: ServiceProfile, quantile: float = 0.99) -> dict[CaveatCode, str]:
    return {caveat.code: caveat.message for caveat in plausibility_caveats([profile], quantile)}


def written(folder: Path, text: str, name: str = "p.csv") -> ServiceProfile:
    (folder / name).write_text(text, encoding="utf-8")
    return read_profile(folder / name)


def test_seconds_in_a_column_of_milliseconds(tmp_path):
    message = told(written(tmp_path, SECONDS))[CaveatCode.PROFILE_UNIT]
    for said in (
        "column latency_ms", "0.0051 ms, less than 50 µs", "5.1 ms is meant", "rename the column latency_s",
    ):  # fmt: skip
        assert said in message
    mended = written(tmp_path, SECONDS.replace("latency_ms", "latency_s"))
    assert CaveatCode.PROFILE_UNIT not in told(mended)
    assert mended.timings[0].samples_s == (0.0051,)


def test_milliseconds_in_a_column_of_seconds(tmp_path):
    text = "batch_size,mean_s\n1,5.1\n64,75\n"
    message = told(written(tmp_path, text))[CaveatCode.PROFILE_UNIT]
    for said in (
        "column mean_s", "75 s, more than 60 s", "batch size 64", "75 ms is meant",
        "rename the column mean_ms",
    ):  # fmt: skip
        assert said in message
    assert CaveatCode.PROFILE_UNIT not in told(written(tmp_path, text.replace("mean_s", "mean_ms")))


@pytest.mark.parametrize(
    ("column", "mean_s", "is_told"),
    [
        ("latency_ms", 49e-6, True),
        ("latency_ms", 51e-6, False),
        ("latency_ms", 61.0, True),
        ("latency_s", 61.0, True),
        ("latency_s", 59.0, False),
        ("latency_s", 5e-6, False),  # no larger unit would make it usual
        ("latency_us", 5e-6, False),  # what is named in microseconds may well take some
        ("latency_us", 61.0, False),
        (None, 5e-6, False),  # measured, not read
        ("nonsense", 5e-6, False),
    ],
)
def test_a_unit_is_doubted_where_another_would_make_it_usual(column, mean_s, is_told):
    assert (CaveatCode.PROFILE_UNIT in told(profile_of({1: mean_s, 2: mean_s}, column))) is is_told


def test_keys_of_json_are_doubted_as_columns_are():
    document = {"name": "p", "timings": [{"batch_size": 1, "mean_ms": 0.005, "samples_s": None}]}
    message = told(read_document(document, "p.json"))[CaveatCode.PROFILE_UNIT]
    assert "column mean_ms" in message
    assert "5 ms is meant" in message
    document["timings"].append({"batch_size": 2, "mean_s": 0.006})  # of two units neither is the column
    assert CaveatCode.PROFILE_UNIT not in told(read_document(document, "p.json"))
    document["timings"] = [{"batch_size": 1, "mean_s": 75.0}]  # as written by capacity profile
    assert CaveatCode.PROFILE_UNIT not in told(read_document(document, "p.json"))


def test_what_is_saved_keeps_its_column_and_stays_the_same_profile(tmp_path):
    read = written(tmp_path, SECONDS)
    again = read_document(profile_to_document(read), "saved")
    assert told(again) == told(read)
    assert replace(read, timings_column=None) == read  # the same figures are the same question


def test_a_swapped_row_of_a_summary():
    profile = profile_of({1: 0.005, 2: 0.009, 4: 0.006, 8: 0.02, 16: 0.018})
    message = told(profile)[CaveatCode.PROFILE_LARGER_FASTER]
    for said in ("batches of 4 take 6 ms", "9 ms of batches of 2", "16 and 8", "measure these sizes again"):
        assert said in message
    assert CaveatCode.PROFILE_LARGER_FASTER not in told(profile_of({1: 0.005, 2: 0.006, 4: 0.009}))


def test_a_summary_that_dips_by_a_few_per_cent_says_nothing():
    assert list(dips(profile_of({1: 0.0100, 2: 0.0096}))) == []
    assert len(list(dips(profile_of({1: 0.0100, 2: 0.0094})))) == 1


def noisy(dice: random.Random, mean_s: float, count: int, cv: float, alike: float) -> tuple[float, ...]:
    """Lognormal samples; each is like the one before it by a correlation of about `alike`."""
    sigma, level, samples_s = math.sqrt(math.log1p(cv * cv)), dice.gauss(0.0, 1.0), []
    for _ in range(count):
        level = alike * level + math.sqrt(1.0 - alike * alike) * dice.gauss(0.0, 1.0)
        samples_s.append(mean_s * math.exp(sigma * level - sigma * sigma / 2.0))
    return tuple(samples_s)


@pytest.mark.parametrize(
    ("growth", "cv", "alike"), [(1.0, 0.05, 0.0), (1.0, 0.5, 0.0), (1.0, 1.0, 0.0), (1.02, 0.3, 0.4)]
)
def test_noise_about_rising_means_is_hardly_ever_told(growth, cv, alike):
    """Fewer than one profile in a hundred, the means being all alike at worst."""
    dice = random.Random(7)
    alarms = sum(
        any(dips(sampled({size: noisy(dice, growth**k, 20, cv, alike) for k, size in enumerate(SIZES)})))
        for _ in range(500)
    )
    assert alarms <= 4


def test_a_cold_start_is_told_of_few_samples_too():
    dice = random.Random(7)
    cold = sampled({1: noisy(dice, 0.006, 20, 0.05, 0.0), 2: noisy(dice, 0.005, 20, 0.05, 0.0)})
    (dip,) = dips(cold)
    assert (dip.smaller, dip.larger) == (1, 2)
    assert dip.share == pytest.approx(1.0 / 6.0, abs=0.03)


def test_what_moves_no_answer_is_not_told_however_sure():
    assert list(dips(sampled({1: (0.0100,) * 50, 2: (0.0099,) * 50}))) == []
    assert len(list(dips(sampled({1: (0.0100,) * 50, 2: (0.0097,) * 50})))) == 1


def test_the_error_of_a_mean_whose_neighbours_are_alike_is_the_one_by_hand():
    """Runs of ten: 36 of 39 pairs alike, so r = 33/40, and less its bias (33/40 + 1/40)/(1 - 3/40) = 34/37.

    That is over 0.9, the most that is taken, at which the error is sqrt(19) times that of as many apart. By
    turns all are unlike, and r is 0.
    """
    spells = (0.009, 0.011) * 2

    def error_s(*samples_s: float) -> float:
        return batch_caveats._standard_error_s(samples_s)

    apart_s = 0.001 / math.sqrt(
        39
    )  # the standard deviation of 40 samples 1 ms from their mean is sqrt(40/39) ms
    long = [sample_s for sample_s in spells for _ in range(10)]
    assert error_s(*long) == pytest.approx(apart_s * math.sqrt(19.0))
    assert error_s(*spells * 10) == pytest.approx(apart_s)
    middle = [sample_s for sample_s in spells * 2 for _ in range(5)]  # 32 alike, 7 unlike: r = 25/40
    alike = (25 / 40 + 1 / 40) / (1 - 3 / 40)
    assert error_s(*middle) == pytest.approx(apart_s * math.sqrt((1 + alike) / (1 - alike)))
    assert error_s(0.01, 0.01, 0.01) == 0.0


@pytest.mark.parametrize(("errors", "is_told"), [(3.9, False), (4.1, True)])
def test_a_dip_is_reported_from_four_standard_errors_on(errors, is_told):
    """Samples 1 ms above and below their mean in turn: 26 have an error of 1 ms/√25, and two means √2 times that."""
    by_s = errors * math.sqrt(2.0) * 0.001 / 5.0
    small, large = (tuple(mean_s + 0.001 * (-1) ** i for i in range(26)) for mean_s in (0.01, 0.01 - by_s))
    timings = (BatchTiming(batch_size=1, samples_s=small), BatchTiming(batch_size=2, samples_s=large))
    assert bool(list(dips(ServiceProfile(name="p", timings=timings)))) is is_told


def test_too_few_samples_are_passed_over():
    assert list(dips(sampled({1: (0.010,) * 19, 2: (0.005,) * 50}))) == []


@pytest.mark.parametrize(("quantile", "more", "samples"), [(0.99, 999, 1000), (0.9, 99, 100)])
def test_one_sample_shows_no_spread(quantile, more, samples):
    profile = sampled({1: (0.005,), 2: (0.006,), 4: tuple(0.01 + 1e-6 * i for i in range(samples))})
    message = told(profile, quantile)[CaveatCode.PROFILE_ONE_SAMPLE]
    for said in ("batch sizes 1, 2,", f"at least {more} more", f"--samples {samples}"):
        assert said in message
    said_of_few = [one.code for one in profile_caveats(profile, 4, [quantile])]
    assert CaveatCode.PROFILE_FEW_SAMPLES not in said_of_few  # the same thing is not said twice
    many = tuple(0.005 + 1e-6 * i for i in range(samples))
    mended = [one.code for one in profile_caveats(sampled({1: many, 2: many}), 2, [quantile])]
    assert mended == []


def test_a_profile_of_one_size_leaves_batching_out():
    message = told(profile_of({1: 0.005}))[CaveatCode.PROFILE_ONE_SIZE]
    assert "capacity profile --batch-sizes 1,2,4,8" in message
    assert told(profile_of({1: 0.005, 2: 0.006})) == {}


# Published tables that do dip: 1.204 ms to 1.095 ms from 2 to 4, and 7.61 ms to 7.20 ms from 1 to 2.
DIPPING = {"dlrm-cpu-fp32": [(2, 4)], "resnet50-mxnet-t4-fp16": [(1, 2)]}


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_profiles_raise_no_false_alarm(name):
    profile = load_profile(name)
    assert [(dip.smaller, dip.larger) for dip in dips(profile)] == DIPPING.get(name, [])
    assert set(told(profile)) == ({CaveatCode.PROFILE_LARGER_FASTER} if name in DIPPING else set())


QUICK = "--precision 0.5 --requests-max 2000000"
ASKED = f"--rate 50000rps --batch-wait 0ms {QUICK}"
PLAN = f"plan --profile dip.csv --slo-p99 1ms {ASKED}"
COMMANDS = {
    "profiles": "profiles show odd.csv",
    "no plan": f"plan --profile odd.csv --slo-p99 2us {ASKED}",  # where it is needed most
    "not chosen": "plan --profile ok.csv --profile odd.csv --slo-p99 1s --hourly-usd ok=1 --hourly-usd odd=9000 "
    f"--rate 100rps --batch-wait 0ms {QUICK}",
    "simulate": f"simulate --profile odd.csv --replicas 1 {ASKED}",
    "max-rate": f"max-rate --profile dip.csv --replicas 1 --slo-p99 20us --batch-wait 0ms {QUICK}",
    "no rate": f"max-rate --profile odd.csv --replicas 1 --slo-p99 2us --batch-wait 0ms {QUICK}",
    "sweep": f"sweep --profile odd.csv --replicas 1 {ASKED}",
    "compare": f"compare --fleet replicas=1 --fleet replicas=2 --profile dip.csv --rate 50000rps {QUICK}",
}


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, among the profiles: what it printed."""
    (tmp_path / "odd.csv").write_text(ODD, encoding="utf-8")
    (tmp_path / "dip.csv").write_text(DIP, encoding="utf-8")
    (tmp_path / "ok.csv").write_text("batch_size,mean_ms\n1,5\n2,6\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["capacity", *shlex.split(line)])
        with pytest.raises(SystemExit) as end:
            cli.app()
        printed = capsys.readouterr()
        assert end.value.code in (None, 0, 3, 4), printed.err
        return printed.out

    return run


@pytest.mark.long
@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS)
def test_each_command_says_what_is_implausible(here, line):
    caveats = json.loads(here(f"{line} --json"))["caveats"]
    (expected,) = [codes for name, codes in IMPLAUSIBLE.items() if name in line]
    assert {caveat["code"] for caveat in caveats} >= expected
    assert len({caveat["message"] for caveat in caveats}) == len(caveats)  # each once


def test_the_terminal_says_it_too(here):
    shown = " ".join(here("profiles show odd.csv").split())
    assert "Note: column latency_ms of profile odd gives batch size 1 a mean of 0.00501 ms" in shown


def test_plan_check_and_explain_say_it(here):
    planned = json.loads(here(f"{PLAN} -o plan.json --json"))["caveats"]
    assert {caveat["code"] for caveat in planned} >= IMPLAUSIBLE["dip.csv"]
    notes = " ".join(json.loads(here("check --plan plan.json --json"))["notes"])
    assumed = " ".join(
        one["how"] for one in json.loads(here("explain plan.json --json"))["explanation"]["assumptions"]
    )
    for said in ("rename the column mean_s", "less than the"):
        assert said in notes
        assert said in assumed


def test_a_measured_profile_is_looked_at_as_soon_as_it_is_measured(here, tmp_path, monkeypatch):
    (tmp_path / "bench.py").write_text(
        "import time\ndef predict(n):\n    time.sleep(0.001)\n", encoding="utf-8"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "bench", raising=False)
    found = here("profile --callable bench:predict --batch-sizes 1 --samples 1 --warm-up 0 --no-rests --json")
    codes = {caveat["code"] for caveat in json.loads(found)["caveats"]}
    assert codes >= {"profile_one_sample", "profile_one_size"}


def test_the_first_of_a_profiles_caveats_are_these():
    """One place for all commands: what says anything of a profile begins by them."""
    profile = profile_of({1: 5e-6}, "mean_ms")
    plausibility: list[Caveat] = list(plausibility_caveats([profile], 0.99))
    assert list(profile_caveats(profile, 1, [0.5, 0.99]))[: len(plausibility)] == plausibility


def test_several_profiles_of_one_batch_size_are_one_caveat():
    profiles = [replace(profile_of({1: 0.005}), name=name) for name in "abc"]
    (caveat,) = plausibility_caveats([*profiles, profile_of({1: 0.005, 2: 0.006})], 0.99)
    assert caveat.message.startswith(
        "3 profiles, a to c, were measured with batches of 1 only, so batching was not"
    )
    (alone,) = plausibility_caveats(profiles[:1], 0.99)
    assert alone.message.startswith("profile a was measured with batches of 1 only")
