"""Hostile numbers: whatever a flag is given, a command answers, refuses or says that it cannot tell, and soon.

Each law is asked with values at the ends of what a float holds, next to 1, and huge counts, mixed with sane ones.
"""

import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from capacity.units import DURATION_MAX_S, RATE_MAX_RPS, SCV_MAX
from cli import app

NUMBERS = (
    "1e308", "1e300", "1e100", "1e18", "1e15", "1e12", "1e11", "1e9", "1e6", "1e4", "9999", "1e3", "100", "30", "3",
    "99.99999999999999", "4.999999999", "1.0000000000000002", "1", "0.9999999999999999", "0.999999", "0.5", "0.01",
    "1e-4", "1e-6", "1e-9", "1e-11", "1e-12", "1e-15", "1e-300", "1e-320", "5e-324", "0", "-1", "nan", "inf",
)  # fmt: skip
COUNTS = ("0", "1", "2", "3", "7", "50", "100", "1000", "20000", "100000", str(2**31), str(10**9), str(10**12),
          str(10**18), str(2**63 - 1), "9" * 400, "-1")  # fmt: skip
SANE = {"rps": ("1", "9", "100"), "s": ("0.2", "1", "0.005"), "": ("0.5", "2", "1")}
WORDS = {
    "family": ("deterministic", "exponential", "erlang", "hyperexponential", "gamma", "lognormal"),
    "formula": ("whitt", "allen-cunneen", "kimura", "tijms"),
    "batch": ("deterministic", "exponential"),
    "quantity": ("queue-length", "wait-probability", "wait", "response", "p99"),
    "axis": ("utilization", "arrival-rate"),
    "quantile": ("0.9999999999999999", "5e-324", "0.5", "0.99", "1e-300", "0.999999999"),
}
SERVED = {"--arrival-rate": "rps", "--service-time": "s", "--quantile": "quantile?"}
SERVERS = {"--servers": "count"}
SERVICE = {"--service": "family?", "--service-scv": "?"}
GAPS = {"--arrival": "family?", "--arrival-scv": "?"}
# Flags by command, each with its unit; a ? may be left out, and a 2 takes two values.
FLAGS = (
    ("queue mm1", {"--arrival-rate": "rps", "--service-rate": "rps", "--quantile": "quantile?"}),
    ("queue mmc", {**SERVED, "--servers": ""}),
    ("queue mmck", {**SERVED, **SERVERS, "--capacity": "count"}),
    ("queue mminf", SERVED),
    ("queue erlang-a", {**SERVED, **SERVERS, "--patience": "s"}),
    ("queue erlang-b", {"--offered-load": "", "--servers": ""}),
    ("queue priority", {"--arrival-rates": "rps2", "--servers": "count?", "--service-time": "s"}),
    ("queue mg1", {**SERVED, **SERVICE}),
    ("queue mdc", {**SERVED, **SERVERS}),
    ("queue mphc", {**SERVED, **SERVERS, **SERVICE}),
    ("queue gimc", {**SERVED, **GAPS, "--servers": "count?"}),
    ("queue ggc", {**SERVED, **GAPS, **SERVICE, "--servers": "count?", "--formula": "formula?"}),
    ("queue mmpp", {"--arrival-rates": "rps2", "--switch-rates": "rps2", "--service-time": "s", **SERVERS}),
    ("queue bulk", {"--arrival-rate": "rps", "--batch-times": "s2", "--batch-wait": "s?", "--replicas": "count?",
                    "--batch-size-min": "count?", "--service-cv": "?", "--batch-service": "batch?"}),
    ("queue bulk", {"--users": "count", "--think-time": "s", "--batch-times": "s2", "--replicas": "count?"}),
    ("queue closed", {"--users": "count", "--think-time": "s?", "--servers": "count?", "--service-time": "s"}),
    ("queue staffing", {"--arrival-rate": "rps", "--service-time": "s", "--wait-p99": "s"}),
    ("queue staffing", {"--arrival-rate": "rps", "--service-time": "s", "--response-p99": "s"}),
    ("queue staffing", {"--arrival-rate": "rps", "--service-time": "s", "--wait-probability": ""}),
    ("queue usl", {"--lambda": "rps", "--sigma": "?", "--kappa": "?", "--replicas": "count?"}),
    ("littles-law", {"--rate": "rps", "--latency-mean": "s"}),
    ("littles-law", {"--rate": "rps", "--concurrency": ""}),
    ("littles-law", {"--latency-mean": "s", "--concurrency": ""}),
    ("littles-law", {"--users": "count", "--rate": "rps", "--think-time": "s?", "--latency-p99": "s?"}),
    ("curve", {"--y": "quantity?", "--x": "axis?", "--service-rate": "rps?", "--servers": "count?"}),
)  # fmt: skip
PROCESSOR_MAX_S = 5.0


class TookTooLong(BaseException):
    """Not to be caught by what it stops."""


@contextmanager
def processor_time(most_s: float) -> Iterator[None]:
    """Stop what takes longer, by the processor's time, which no neighbour uses up."""

    def stop(_: int, __: FrameType | None) -> NoReturn:
        raise TookTooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, most_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def value(kind: str, chance: random.Random, hostile: float) -> str:
    if kind in WORDS:
        return chance.choice(WORDS[kind])
    if kind.endswith("2"):
        return ",".join(value(kind[:-1], chance, hostile) for _ in range(2))
    is_hostile = chance.random() < hostile
    if kind == "count":
        return chance.choice(COUNTS if is_hostile else ("1", "2", "8"))
    return chance.choice(NUMBERS if is_hostile else SANE[kind]) + kind


def arguments(command: str, flags: dict[str, str], chance: random.Random) -> list[str]:
    hostile = chance.choice((0.2, 0.4, 0.8))
    asked = [
        f"{flag}={value(kind.removesuffix('?'), chance, hostile)}"
        for flag, kind in flags.items()
        if not kind.endswith("?") or chance.random() < 0.5
    ]
    return [*command.split(), *asked, *(["--json"] if chance.random() < 0.7 else [])]


def hold(asked: list[str]) -> None:
    """An answer, a refusal or a doubt; nothing that is not finite; within seconds."""
    began_s = time.process_time()
    try:
        with processor_time(PROCESSOR_MAX_S):
            done = CliRunner().invoke(app, asked)
    except TookTooLong:
        pytest.fail(f"{asked} takes more than {PROCESSOR_MAX_S} s ({time.process_time() - began_s:.1f} s)")
    assert done.exit_code in (0, 2, 3, 4), (asked, done.output)
    if done.exit_code != 2:  # whose message may quote what was typed
        assert re.search(r"(?i)\b(nan|inf|infinity)\b", done.output) is None, (asked, done.output)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("queue mg1 --arrival-rate 1rps --service-time 1ms --service lognormal --service-scv 1e100", "1e100"),
        ("queue mg1 --arrival-rate 1rps --service-time 1ms --service-scv 1e5", f"0 or from 0.0001 to {SCV_MAX:g}"),
        ("queue mg1 --arrival-rate 1rps --service-time 1ms --service-scv 1e-9", "deterministic is nearly the same"),
        ("queue ggc --arrival-rate 1rps --service-time 1e300s --arrival-scv 2", f"{DURATION_MAX_S:g}s"),
        ("queue closed --users 5 --service-time 5e-324s", "--service-time '5e-324s' is outside"),
        ("queue erlang-b --offered-load 1e308 --servers 3", "--offered-load '1e308' is outside"),
        ("curve --service-rate 1e308rps", f"{RATE_MAX_RPS:g}rps; check the number and its unit"),
        ("littles-law --rate 1e300rps --latency-mean 1s", "--rate '1e300rps' is outside"),
        ("queue bulk --arrival-rate 9rps --batch-times 5ms,5ns", "more than 1000 times as long"),
        (f"queue mdc --arrival-rate 9rps --service-time 1s --servers {'9' * 400}", "--servers '999"),
    ],
)  # fmt: skip
def test_what_is_beyond_all_sense_is_told_and_mended(asked: str, told: str) -> None:
    with processor_time(PROCESSOR_MAX_S):
        done = CliRunner().invoke(app, asked.split())
    assert done.exit_code == 2, done.output
    assert told in " ".join(done.output.split())


@pytest.mark.parametrize(("command", "flags"), FLAGS)
def test_whatever_a_flag_is_given(command: str, flags: dict[str, str]) -> None:
    chance = random.Random(f"{command} {sorted(flags)}")
    for _ in range(5):
        hold(arguments(command, flags, chance))


@pytest.mark.long
@pytest.mark.parametrize(("command", "flags"), FLAGS)
def test_whatever_a_flag_is_given_often(command: str, flags: dict[str, str]) -> None:
    chance = random.Random(f"often {command} {sorted(flags)}")
    for _ in range(200):
        hold(arguments(command, flags, chance))
