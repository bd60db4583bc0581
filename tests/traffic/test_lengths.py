"""Lengths: joint rows keep their correlation, named laws have their moments, and nonsense is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from capacity.errors import CapacityError
from capacity.traffic.any_lengths import require_context
from capacity.traffic.lengths import (
    LengthRows,
    bundled_lengths,
    has_lengths,
    parse_lengths,
    read_lengths,
    read_token_trace,
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


def test_input_and_output_of_laws_are_independent() -> None:
    lengths = parse_lengths("input=gamma:mean=500,cv=0.5;output=geometric:mean=200")
    given, got = lengths.draw(UNIFORMS)
    assert abs(np.corrcoef(given, got)[0, 1]) < 4.0 / np.sqrt(len(UNIFORMS))


def test_a_trace_is_sorted_with_its_lengths(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_s,input_tokens,output_tokens,more\n2,30,3,x\n0,10,1,x\n1,20,2,x\n")
    arrivals, lengths = read_token_trace(path)
    assert arrivals.instants_s == (0.0, 1.0, 2.0)
    assert (lengths.input_tokens, lengths.output_tokens) == ((10, 20, 30), (1, 2, 3))
    assert arrivals.remarks[-1] == "trace.csv: column more is not used"


def test_other_columns_are_told_and_change_no_lengths(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("t_s,input_tokens,output_tokens,session_id,cached_tokens\n0,30,3,a,9\n1,300,3,a,9\n")
    lengths = read_lengths(path)
    assert lengths.remarks == ("mine.csv: columns session_id and cached_tokens are not used",)
    assert lengths == LengthRows((30, 300), (3, 3), "mine.csv")
    short = lengths.within(100)
    assert (short, short.remarks) == (LengthRows((30,), (3,), "mine.csv", 1), lengths.remarks)


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


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (1000, "1 of 3 requests of mine.csv is longer than the 1000 tokens of context that p was measured with, up to 1500"),
        (999, "2 of 3 requests of mine.csv are longer than the 999 tokens of context that p was measured with, up to 1500"),
    ],
)  # fmt: skip
def test_longer_requests_than_allowed_are_counted(limit: int, message: str) -> None:
    rows = LengthRows((10, 900, 1000), (1, 100, 500), "mine.csv")
    with pytest.raises(CapacityError) as refused:
        require_context(rows, limit, "p was measured with")
    out = f"; leave out what is longer with --context-tokens-max {limit}"
    assert str(refused.value) == message + out
    kept = rows.within(limit)
    assert (len(kept.input_tokens), kept.dropped) == ((2, 1) if limit == 1000 else (1, 2))
    assert kept.within(11).dropped == 2
    require_context(rows, 1500, "anything")


U = np.array([0.0, 0.12, 0.5, 0.9, 1.0 - 1e-12])


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("constant:7.4", [7, 7, 7, 7, 7]),
        ("constant:1", [1, 1, 1, 1, 1]),
        ("uniform:low=3,high=12", [3, 4, 8, 12, 12]),
        ("geometric:mean=10", [1, 2, 7, 22, 263]),
        ("geometric:mean=1", [1, 1, 1, 1, 1]),
        ("lognormal:mean=100,cv=1", [1, 27, 71, 206, 24_682]),
        ("gamma:mean=100,cv=1", [1, 13, 69, 230, 2763]),
        ("gamma:mean=100,cv=20", [1, 1, 1, 1, 640_000]),
    ],
)
def test_a_law_has_its_quantiles(law: str, values: list[int]) -> None:
    """By hand: -10.5.. ln(1 - u) and the like; the ends of a normal law are those of 1e-15."""
    lengths = parse_lengths(f"input={law};output=constant:1")
    given, got = lengths.draw(np.column_stack([U, U]))
    assert given.tolist()[:4] == values[:4]
    assert given[4] == pytest.approx(values[4], rel=0.35 if "cv=20" in law else 2e-3)
    assert set(got.tolist()) == {1}


def test_what_is_too_long_gets_fewer_output_tokens_and_then_brings_fewer() -> None:
    lengths = parse_lengths("input=uniform:low=1,high=100;output=constant:30")
    given, got = lengths.within(50).draw(np.column_stack([[0.1, 0.3, 0.9], [0.5, 0.5, 0.5]]))
    assert list(zip(given.tolist(), got.tolist(), strict=True)) == [(11, 30), (31, 19), (49, 1)]
    assert lengths.context_max == 130
    assert lengths.within(129).context_max == 129
    assert lengths.within(50).within(60).context_max == 50
    assert parse_lengths("input=constant:9;output=gamma:mean=4,cv=1").context_max == 10_000_000


@pytest.mark.parametrize(("limit", "means"), [(130, (100.0, 30.0)), (50, (49.0, 30.0)), (20, (19.0, 19.0))])
def test_moments_are_of_laws_that_are_each_cut_alone(limit: int, means: tuple[float, float]) -> None:
    moments = parse_lengths("input=constant:100;output=constant:30").within(limit).moments
    assert (moments.input, moments.output) == means
    assert (moments.product, moments.square) == (means[0] * means[1], means[1] ** 2)


def test_moments_of_rows() -> None:
    moments = LengthRows((10, 30), (1, 3)).moments
    assert (moments.input, moments.output, moments.product, moments.square) == (20.0, 2.0, 50.0, 5.0)
    assert moments.output_scv == 0.25
    assert moments.context == 25.0 + 1.25


@pytest.mark.parametrize(("name", "unit_s"), [("t_s", 1.0), ("t_ms", 1e-3), ("t_us", 1e-6), ("t_ns", 1e-9)])
@pytest.mark.parametrize("columns", [("prompt_tokens", "completion_tokens"), ("num_prefill_tokens", " Num_Decode_Tokens")])  # fmt: skip
def test_times_and_lengths_by_other_names(tmp_path, name, unit_s, columns) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"{columns[1]},{name},{columns[0]}\n2,1000000000,30\n1.0,2000000000,10.000\n")
    assert has_lengths(path)
    arrivals, lengths = read_token_trace(path)
    assert arrivals.instants_s[1] - arrivals.instants_s[0] == pytest.approx(1e9 * unit_s)
    assert (lengths.input_tokens, lengths.output_tokens) == ((30, 10), (2, 1))


def test_the_first_of_two_time_columns_is_used(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_ms,input_tokens,t_s,output_tokens\n0,1,7,1\n2000,1,9000,1\n")
    arrivals, _ = read_token_trace(path)
    assert arrivals.instants_s == (0.0, 2.0)


def test_a_trace_without_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("input_tokens,output_tokens\n1,2\n")
    with pytest.raises(
        CapacityError, match=r"trace\.csv has no column of times; name it t_s, t_ms, t_us, t_ns or"
    ):
        read_token_trace(path)
    path.write_text("input_tokens,t_s\n1,2\n")
    assert not has_lengths(path)
    path.write_text("input_tokens,prompt_tokens,output_tokens\n1,2,3\n")
    with pytest.raises(CapacityError, match="line 1: more than one column input_tokens"):
        read_lengths(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (((), ()), "mine has no lengths; give input_tokens and output_tokens for each request"),
        (((1, 2), (1,)), "mine has no lengths; give input_tokens and output_tokens for each request"),
        (((1,), (1, 2)), "mine has no lengths; give input_tokens and output_tokens for each request"),
        (((1, 0), (1, 2)), "mine has a request of 0 input tokens; each has at least one"),
        (((1, 2), (1, -2)), "mine has a request of -2 output tokens; each has at least one"),
    ],
)
def test_rows_are_valid_or_not_born(columns: tuple[tuple[int, ...], tuple[int, ...]], said: str) -> None:
    with pytest.raises(CapacityError) as refused:
        LengthRows(*columns, "mine")
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("10000001,1", "line 2: input_tokens must be from 1 to 10000000 tokens, got 10000001; drop the row"),
        ("1,0.5", "line 2: output_tokens must be a whole number of tokens, got '0.5'"),
        ("1,1234567890", "line 2: output_tokens must be a whole number of tokens, got '1234567890'"),
        ("1,2,3", "line 2: 3 cells for 2 columns; complete or drop the row"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path: Path, cells: str, said: str) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text(f"input_tokens,output_tokens\n{cells}\n")
    with pytest.raises(CapacityError) as refused:
        read_lengths(path)
    assert str(refused.value) == f"lengths.csv {said}"
    path.write_text("input_tokens,output_tokens\n10000000,1\n")
    assert read_lengths(path).input_tokens == (10_000_000,)


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("")
    assert not has_lengths(path)
    with pytest.raises(CapacityError, match=r"empty\.csv line 1: no column input_tokens"):
        read_lengths(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("input={};output=constant:1", "input='{:.60}' is no law of lengths"),
        ("input=constant:{};output=constant:1", "input=constant must be a number, got '{:.60}'"),
        ("input=gamma:{};output=constant:1", "input=gamma takes mean and cv, got '{:.60}'"),
        ("input={}", "--lengths 'input={:.54}' must say"),
    ],
)
def test_of_a_long_mistake_the_beginning_is_shown(text: str, shown: str) -> None:
    long = "x" * 99
    with pytest.raises(CapacityError, match=re.escape(shown.format(long))):
        parse_lengths(text.format(long))


def test_the_ends_of_what_a_law_may_be() -> None:
    parse_lengths("input=gamma:mean=9,cv=20;output=uniform:low=4,high=4")
    parse_lengths(" output = constant:10000000 ; input=constant:1")
    for text, said in (
        ("input=gamma:mean=9,cv=20.1;output=constant:1", "cv of input must be above 0 and at most 20, got 20.1"),
        ("input=constant:10000001;output=constant:1", "input=constant must be from 1 to 10000000 tokens, got 10000001"),
        ("input=geometric:mean=9,mean=9;output=constant:1", "input=geometric takes mean, got 'mean=9,mean=9'"),
        ("input=constant:1;input=constant:1;output=constant:1", "must say input and output once each"),
        ("input=uniform:low=0.5,high=4;output=constant:1", "low of input must be from 1 to 10000000 tokens, got 0.5"),
    ):  # fmt: skip
        with pytest.raises(CapacityError, match=re.escape(said)):
            parse_lengths(text)


def test_bundled_lengths_are_read_by_name() -> None:
    names = bundled_lengths()
    assert names
    for name in names:
        found = parse_lengths(name)
        assert isinstance(found, LengthRows)
        assert found.name == name
        assert len(found.input_tokens) > 1000  # enough for a P99


@pytest.mark.parametrize(
    ("output", "twice"),
    [
        ("constant:200", "constant:400"),
        ("geometric:mean=200", "geometric:mean=400"),
        ("uniform:low=10,high=20", "uniform:low=20,high=40"),
        ("lognormal:mean=500,cv=0.5", "lognormal:mean=1000,cv=0.5"),
        ("gamma:mean=500,cv=0.5", "gamma:mean=1000,cv=0.5"),
    ],
)
def test_outputs_of_a_law_are_twice_as_long(output: str, twice: str) -> None:
    lengths = parse_lengths(f"input=constant:100;output={output}")
    assert lengths.with_outputs(2.0, 10_000) == parse_lengths(f"input=constant:100;output={twice}").within(
        10_000
    )


def test_outputs_have_a_token_at_least_and_end_where_the_context_does() -> None:
    rows = LengthRows((10, 90), (1, 8), name="log.csv")
    assert rows.with_outputs(0.25, 100).output_tokens == (1, 2)
    assert rows.with_outputs(4.0, 100).output_tokens == (4, 10)
    assert rows.with_outputs(4.0, 100).input_tokens == rows.input_tokens
    short = parse_lengths("input=constant:90;output=geometric:mean=1.5")
    assert short.with_outputs(0.5, 100).moments.output == 1.0
    assert short.with_outputs(1000.0, 100).draw(UNIFORMS)[1].max() == 10
