"""Flags of queueing laws, read on both sides of every bound."""

from pathlib import Path

import pytest

from capacity.commands.queue import (
    _read_batch_times_s,
    _read_servers,
    read_duration,
    read_durations_s,
    read_pair_rps,
    read_rates_rps,
    read_service_time_s,
    refuse_together,
)
from capacity.errors import InputError
from capacity.queues.durations import Family

MIXED = str(Path(__file__).parents[1] / "kept" / "files" / "mixed.json")


def test_a_service_time_is_given_or_follows_from_its_rate() -> None:
    assert read_service_time_s("5rps", None) == 0.2
    assert read_service_time_s(None, "250ms") == 0.25


@pytest.mark.parametrize(
    ("family", "scv", "chosen"),
    [
        (None, None, Family.EXPONENTIAL),
        (None, 2.0, Family.GAMMA),
        (None, 1.0, Family.EXPONENTIAL),
        (None, 0.0, Family.DETERMINISTIC),
        ("gamma", 0.0, Family.DETERMINISTIC),
        ("gamma", 1.0, Family.EXPONENTIAL),
        ("lognormal", 1.0, Family.LOGNORMAL),
        ("deterministic", None, Family.DETERMINISTIC),
        ("exponential", None, Family.EXPONENTIAL),
        ("gamma", 1e-4, Family.GAMMA),
        ("gamma", 1e4, Family.GAMMA),
    ],
)
def test_the_family_of_durations_follows_from_their_scv(family, scv, chosen) -> None:
    found = read_duration(family, scv, 0.5, "--service")
    assert (found.family, found.mean_s) == (chosen, 0.5)


@pytest.mark.parametrize(
    ("family", "scv", "said"),
    [
        ("gamma", 9.9e-5, "--service-scv must be 0 or from 0.0001 to 10000, got 9.9e-05; deterministic is nearly"),
        ("gamma", 10_001.0, "--service-scv must be 0 or from 0.0001 to 10000, got 10001; measure it again"),
        ("gamma", None, "--service gamma needs --service-scv, its squared coefficient of variation"),
        ("lognormal", None, "--service lognormal needs --service-scv"),
    ],
)  # fmt: skip
def test_an_impossible_scv_is_refused(family: str, scv: float | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_duration(family, scv, 0.5, "--service")


def test_whole_numbers_of_servers_are_integers() -> None:
    assert [type(_read_servers(servers)) for servers in (2.0, 2.5, 1e14, 1e15)] == [int, float, int, float]
    assert _read_servers(2.0) == 2


def test_lists_are_split_at_commas() -> None:
    assert read_rates_rps("1rps,120/min", "--r") == (1.0, 2.0)
    assert read_durations_s("1ms, 2s", "--d") == (0.001, 2.0)
    assert read_pair_rps("1.5rps,0rps", "--r") == (1.5, 0.0)
    for text in ("1rps", "1rps,2rps,3rps"):
        with pytest.raises(InputError, match="--r needs two rates, one for each phase"):
            read_pair_rps(text, "--r")
    with pytest.raises(InputError, match="--r must be > 0, got '0rps'"):
        read_rates_rps("0rps", "--r")
    for text in ("1rps,", ",1rps", "1rps, ,1rps"):
        with pytest.raises(
            InputError, match="--r must be values with units, separated by commas, at most 100000"
        ):
            read_rates_rps(text, "--r")
    assert len(read_durations_s(",".join(["1s"] * 100_000), "--d")) == 100_000
    with pytest.raises(InputError, match="--d must be values with units"):
        read_durations_s(",".join(["1s"] * 100_001), "--d")


def test_flags_that_a_profile_replaces_are_refused() -> None:
    refuse_together("--profile", service=None, service_scv=None)
    with pytest.raises(InputError) as refused:
        refuse_together("--profile", service=None, service_scv=0.0, service_rate="1rps")
    assert str(refused.value) == "--profile replaces --service-scv and --service-rate; give one or the other"


def test_batch_times_reach_up_to_the_largest_batch() -> None:
    assert _read_batch_times_s("1ms,2ms,3ms", None, None, 1) == (0.001, 0.002, 0.003)
    assert _read_batch_times_s("1ms,2ms,3ms", None, 2, 1) == (0.001, 0.002)
    assert _read_batch_times_s("1ms,2ms", None, 2, 1) == (0.001, 0.002)
    assert _read_batch_times_s("1ms,2ms", None, 1, 1) == (0.001,)
    with pytest.raises(InputError, match="stops at batches of 2, but --batch-size-max is 3; give a time"):
        _read_batch_times_s("1ms,2ms", None, 3, 1)
    with pytest.raises(InputError, match="--batch-size-max must be >= 1, got 0; 1 means no batching"):
        _read_batch_times_s("1ms", None, 0, 1)
    for text, profile in ((None, None), ("1ms", MIXED)):
        with pytest.raises(InputError, match="give either --batch-times 2.5ms,3ms,… or --profile NAME"):
            _read_batch_times_s(text, profile, None, 1)


def test_batch_times_may_come_from_a_profile() -> None:
    whole = _read_batch_times_s(None, "resnet50-t4-fp16", None, 4)
    assert len(whole) == 128
    assert _read_batch_times_s(None, "resnet50-t4-fp16", 3, 1) == whole[:3]
