"""Lengths: joint rows keep their correlation, named laws have their moments, and nonsense is refused."""

from pathlib import Path

import numpy as np
import pytest

from capacity.errors import CapacityError
from capacity.traffic.lengths import (
    LengthRows,
    parse_lengths,
    read_lengths,
    read_token_trace,
    require_context,
)

UNIFORMS = np.random.default_rng(0).random((200_000, 2))


def test_rows_are_drawn_in_pairs() -> None:
    given, got = LengthRows((10, 1000), (1, 500)).draw(UNIFORMS)
    assert set(zip(given.tolist(), got.tolist(), strict=True)) == {(10, 1), (1000, 500)}


@pytest.mark.parametrize(
    ("text", "mean", "square"),
    [
        ("constant:200", 200.0, 40_000.0),
        ("geometric:mean=200", 200.0, 2 * 200.0**2 - 200.0),
        ("uniform:low=10,high=20", 15.0, 235.0),
        ("lognormal:mean=500,cv=0.5", 500.0, 500.0**2 * 1.25),
        ("gamma:mean=500,cv=0.5", 500.0, 500.0**2 * 1.25),
    ],
)
def test_a_law_has_its_moments(text: str, mean: float, square: float) -> None:
    lengths = parse_lengths(f"input=constant:100;output={text}")
    assert lengths.moments.output == pytest.approx(mean, rel=2e-3)
    assert lengths.moments.square == pytest.approx(square, rel=5e-3)
    assert lengths.moments.product == pytest.approx(100.0 * mean, rel=2e-3)
    _, got = lengths.draw(UNIFORMS)
    assert got.min() >= 1
    assert got.mean() == pytest.approx(lengths.moments.output, rel=5e-3)


def test_the_context_of_decoding_is_the_prompt_and_half_the_output() -> None:
    assert parse_lengths("input=constant:100;output=constant:50").moments.context == 125.0


def test_a_cut_law_has_no_request_beyond_the_cut() -> None:
    lengths = parse_lengths("input=lognormal:mean=512,cv=2;output=geometric:mean=200").within(1000)
    given, got = lengths.draw(UNIFORMS)
    assert (given + got).max() <= 1000
    assert min(given.min(), got.min()) >= 1
    assert lengths.context_max == 1000


def test_a_trace_is_sorted_with_its_lengths(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_s,input_tokens,output_tokens,more\n2,30,3,x\n0,10,1,x\n1,20,2,x\n")
    arrivals, lengths = read_token_trace(path)
    assert arrivals.instants_s == (0.0, 1.0, 2.0)
    assert (lengths.input_tokens, lengths.output_tokens) == ((10, 20, 30), (1, 2, 3))


def test_names_of_the_azure_traces_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n")
    assert read_lengths(path) == LengthRows((374,), (44,), "azure.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input_tokens,output_tokens\n10,0\n", "line 2: output_tokens must be from 1"),
        ("input_tokens,output_tokens\n10,1.5\n", "whole number"),
        ("input_tokens,output_tokens\n10\n", "1 cells for 2 columns"),
        ("input_tokens,output_tokens\n", "no rows"),
        ("input_tokens,more\n1,2\n", "no column output_tokens"),
    ],
)
def test_a_file_without_lengths_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(text)
    with pytest.raises(CapacityError, match=said):
        read_lengths(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input=constant:5", "must say input and output"),
        ("input=normal:mean=5;output=constant:5", "no law of lengths"),
        ("input=geometric:mean=0.5;output=constant:5", "from 1 to"),
        ("input=uniform:low=9,high=5;output=constant:5", "swap them"),
        ("input=gamma:mean=5,cv=0;output=constant:5", "cv of input"),
        ("input=gamma:mean=5;output=constant:5", "takes mean and cv"),
    ],
)
def test_a_law_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(CapacityError, match=said):
        parse_lengths(text)


def test_what_lengths_are_like() -> None:
    rows = LengthRows((10, 20, 30, 40), (4, 3, 2, 1))
    given, got = rows.counts
    assert (given.mean, given.p50, given.p90, given.largest) == (25.0, 20, 40, 40)
    assert got.cv == pytest.approx(np.std([1, 2, 3, 4]) / 2.5)
    assert rows.correlation == pytest.approx(-1.0)
    assert LengthRows((10, 10), (1, 2)).correlation is None


def test_longer_requests_than_allowed_are_counted() -> None:
    rows = LengthRows((10, 1000), (1, 500), "mine.csv")
    with pytest.raises(CapacityError, match=r"1 of 2 requests of mine\.csv are longer than the 1000"):
        require_context(rows, 1000, "profile p was measured with")
    kept = rows.within(1000)
    assert (kept.input_tokens, kept.dropped) == ((10,), 1)
