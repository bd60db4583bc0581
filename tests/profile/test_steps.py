"""Tables of steps by hand: grids, prompts with a past that was not measured, mixed passes, and noise."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.profile.steps import StepTiming, linear_table, table_of, with_noise


def decoded(requests: int, context: int, mean_s: float, **others: Any) -> StepTiming:
    return StepTiming(decode_requests=requests, decode_kv_tokens=requests * context, mean_s=mean_s, **others)


def prompt(tokens: int, mean_s: float, past: int = 0) -> StepTiming:
    return StepTiming(prefill_requests=1, prefill_tokens=tokens, prefill_kv_tokens=past, mean_s=mean_s)


DECODE = [decoded(1, 10, 1.0), decoded(1, 20, 1.2), decoded(2, 10, 1.5), decoded(2, 20, 2.0)]
PROMPTS = [prompt(4, 3.0), prompt(8, 4.0), prompt(10, 6.0)]


def test_between_measured_passes_a_table_is_linear_and_the_first_holds_below() -> None:
    table = table_of([*DECODE, *PROMPTS])
    assert table.mean_s(decode_requests=1, kv_tokens=15) == pytest.approx(1.1)
    assert table.mean_s(decode_requests=2, kv_tokens=30) == pytest.approx(1.75)
    assert table.mean_s(decode_requests=1, kv_tokens=5) == 1.0
    assert table.mean_s(6) == pytest.approx(3.5)
    assert table.mean_s(2) == 3.0
    assert (table.is_mixed_measured, table.is_past_measured) == (False, False)


@pytest.mark.parametrize(
    ("tokens", "past", "seconds"),
    [
        (4, 4, 3.0),  # the second four take 1 s more than the first, and no prompt of four less than 3 s
        (4, 8, 3.5),  # from 6 tokens, after 1.5 s more, to 10
        (4, 10, 3.5),  # the last four of the longest prompt stand for all
        (8, 0, 4.0),
        (8, 4, 5.0),  # from 2 tokens, half of what 4 take, to 10
        (8, 8, 5.0),
        (10, 10, 6.0),
    ],
)
def test_a_past_that_was_not_measured_comes_from_longer_prompts(tokens, past, seconds) -> None:
    """What prompts of 4, 8 and 10 tokens add to the least pass of 1 s: 2, 3 and 5 s."""
    assert table_of([*DECODE, *PROMPTS]).mean_s(tokens, past) == pytest.approx(seconds)


def test_a_past_that_was_measured_is_kept() -> None:
    table = table_of([*DECODE, prompt(4, 3.0), prompt(4, 3.6, 8), prompt(8, 5.0), prompt(8, 5.2, 8)])
    assert table.is_past_measured
    assert table.mean_s(4, 4) == pytest.approx(3.3)
    assert table.mean_s(8, 8) == pytest.approx(5.2)


def test_mixed_passes_add_up_unless_one_was_measured() -> None:
    """Two requests of 10 tokens add 0.5 s; measured together with four prompt tokens they add 0.7 s."""
    table = table_of([*DECODE, *PROMPTS])
    assert table.mean_s(4, 0, 2, 20) == pytest.approx(3.5)
    both = StepTiming(
        prefill_requests=1, prefill_tokens=4, decode_requests=2, decode_kv_tokens=20, mean_s=3.7
    )
    measured = table_of([*DECODE, *PROMPTS, both])
    assert measured.is_mixed_measured
    assert measured.mean_s(4, 0, 2, 20) == pytest.approx(3.7)
    assert measured.mean_s(8, 0, 2, 20) == pytest.approx(4.7)  # as at the next smaller prompt
    assert measured.mean_s(4, 0, 1, 10) == pytest.approx(3.0)
    assert measured.mean_s(decode_requests=2, kv_tokens=20) == 1.5


def test_passes_alike_count_as_often_as_they_were_measured() -> None:
    twice = [decoded(1, 10, 1.0), decoded(1, 10, 2.0, count=3)]
    assert table_of([*twice, prompt(4, 3.0)]).mean_s(decode_requests=1, kv_tokens=10) == pytest.approx(1.75)


def test_no_larger_pass_is_shorter() -> None:
    table = table_of([decoded(1, 10, 1.0), decoded(2, 10, 0.8), prompt(4, 3.0), prompt(8, 2.0)])
    assert table.mean_s(decode_requests=2, kv_tokens=20) == 1.0
    assert table.mean_s(8) == 3.0


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: table_of(DECODE), "no step of prompts alone was measured"),
        (lambda: table_of(PROMPTS), "no step of decoding requests alone was measured"),
        (lambda: StepTiming(mean_s=1.0), "a step computes something"),
        (lambda: StepTiming(prefill_requests=-1, prefill_tokens=1, mean_s=1.0), "no negative counts"),
        (lambda: decoded(2, 0, 1.0), "2 decoding requests read at least a token each"),
        (lambda: decoded(1, 1, 601.0), "a step of 601 s is outside"),
        (lambda: decoded(1, 1, 9e-8), "a step of 9e-08 s is outside"),
    ],
)
def test_what_is_no_table_is_refused(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build()


def test_the_limits_themselves_are_allowed() -> None:
    assert (decoded(2, 1, 600.0).context, decoded(1, 1, 1e-7).mean_s) == (1.0, 1e-7)
    assert prompt(1, 1.0, 5).past == 5.0


def test_a_linear_table_is_its_law_and_needs_no_measured_past() -> None:
    """1 s, 0.1 s for each prompt token, 0.2 s for each request, and 0.001 s for each token that these read."""
    table = linear_table(1.0, 0.1, 0.2, 0.001, (4, 100, 1000))
    assert table.mean_s(50, 300) == pytest.approx(6.0)
    assert table.mean_s(decode_requests=2, kv_tokens=500) == pytest.approx(1.9)
    assert table.mean_s(50, 300, 2, 500) == pytest.approx(6.9)
    assert (table.is_mixed_measured, table.is_past_measured) == (False, True)


def test_noise_of_percentiles_is_lognormal_by_their_mean_spread() -> None:
    """P99 lies 2.326 deviations above P50: of 0.2, of which three were measured, and of 0.4."""
    steps = [
        decoded(1, 10, 1.0, p50_s=0.1, p99_s=0.1 * math.exp(2.326 * 0.2), count=3),
        decoded(1, 20, 1.2, p50_s=0.3, p99_s=0.3 * math.exp(2.326 * 0.4)),
        decoded(2, 10, 1.5, p50_s=0.3, p99_s=0.3),
        decoded(2, 20, 2.0, p50_s=0.3),
    ]
    noise = with_noise(table_of([*steps, *PROMPTS]), steps).noise
    assert len(noise) == 257
    assert noise[256] / noise[128] == pytest.approx(math.exp(0.25 * NormalDist().inv_cdf(256.5 / 257)))
    assert noise[128] / noise[64] == pytest.approx(math.exp(0.25 * -NormalDist().inv_cdf(64.5 / 257)))
    assert np.trapezoid(noise, dx=1 / 256) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [49, 50])
def test_fifty_single_passes_tell_their_noise(count: int) -> None:
    """All but the last took a second, which took two: that is the largest of the quantiles alone."""
    steps = [decoded(1, 10, 1.0, count=1)] * (count - 1) + [decoded(1, 10, 2.0, count=1)]
    noise = with_noise(table_of([*steps, *PROMPTS]), steps).noise
    if count < 50:
        assert len(noise) == 0
        return
    assert noise[-1] == pytest.approx(2 * noise[0])
    assert noise[200] == noise[0]
    assert np.trapezoid(noise, dx=1 / 256) == pytest.approx(1.0)


def test_passes_that_are_all_alike_have_no_noise() -> None:
    for steps in ([decoded(1, 10, 1.0, count=1)] * 50, DECODE):
        assert len(with_noise(table_of([*steps, *PROMPTS]), steps).noise) == 0


@pytest.mark.parametrize(("sizes", "nodes"), [(32, 32), (33, 32), (64, 32)])
def test_at_most_32_scattered_sizes_are_kept(sizes: int, nodes: int) -> None:
    """Each size has one of two contexts, so there is no grid; the smallest and the largest size are kept."""
    steps = [decoded(n, 10 + 10 * (n % 2), 1.0 + 0.1 * n) for n in range(1, sizes + 1)]
    table = table_of([*steps, *PROMPTS])
    assert len(table.decode_requests) == nodes
    assert table.decode_requests[[0, -1]].tolist() == [1.0, sizes]
    assert table.mean_s(decode_requests=sizes, kv_tokens=10 * sizes) == pytest.approx(1.0 + 0.1 * sizes)


def test_scattered_passes_are_weighted_by_their_counts() -> None:
    """One request takes 1.25 s on average; two take 3 s, and 0.4 s more with 40 more tokens to read."""
    steps = [
        decoded(1, 10, 1.0, count=3), decoded(1, 10, 2.0), decoded(2, 20, 3.0), decoded(2, 40, 3.4),
    ]  # fmt: skip
    table = table_of([*steps, *PROMPTS])
    assert table.mean_s(decode_requests=1, kv_tokens=10) == pytest.approx(1.25)
    assert table.mean_s(decode_requests=1, kv_tokens=40) == pytest.approx(1.55)
    assert table.mean_s(decode_requests=2, kv_tokens=60) == pytest.approx(3.2)
