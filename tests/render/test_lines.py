"""Lines of text: they end between words, never within a value, and hold what was given."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import RenderableType
from rich.text import Text

from capacity.render.console import as_text
from capacity.render.tables import table

VALUES = (
    "P99 <= 40 ms",
    "50 (45 to 55) ms",
    "1.5 s",
    "250 us",
    "250 µs",
    "12 ns",
    "10 min",
    "1 h",
    "3402 rps",
    "+20 %",
    "2.000 USD/h",
    "80 GiB",
    "load >= 1",
)
# Parts of these at which no line may end; at the spaces of an interval one may where lines are short.
WHOLE = ("<= 40 ms", "55) ms", "1.5 s", "250 us", "250 µs", "12 ns", "10 min", "1 h", "3402 rps", "+20 %", "2.000 USD/h",
         "80 GiB", ">= 1")  # fmt: skip
SENTENCE = "It carries " + ", and then ".join(VALUES) + " of 3 hosts in 2 models, 4 shares and 5 minutes."


def lines(piece: RenderableType, width: int) -> list[str]:
    return as_text([piece], width).splitlines()


def assert_whole(told: list[str], width: int) -> None:
    for one in WHOLE:
        assert sum(line.count(one) for line in told) == SENTENCE.count(one), (one, width)


@pytest.mark.parametrize("width", range(12, 140))
def test_no_line_ends_between_a_number_and_its_unit(width: int) -> None:
    told = lines(Text(SENTENCE), width)
    assert_whole(told, width)
    assert " ".join(line.strip() for line in told) == SENTENCE
    assert max(map(len, told)) <= width


@pytest.mark.parametrize("width", range(60, 140))
def test_no_line_ends_in_an_interval_where_there_is_room(width: int) -> None:
    values = (
        "P99 is 18.2 (18.1 to 18.3) ms",
        "P99 0.5 (-1e-05 to 2.5e+03) s",
        "7 (6 to 8) %",
        "5.2 (5 to 5.5)",
    )
    told = lines(Text("It is so, since " + ", and then ".join(values * 3)), width)
    for one in values:
        interval = one.removeprefix("P99 is ").removeprefix("P99 ")
        assert sum(line.count(interval) for line in told) == 3, (one, told)


@given(
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=8),
    st.integers(12, 100),
    st.text("ab ", max_size=30),
)
def test_whatever_comes_before_a_value_it_stays_whole(values: list[str], width: int, before: str) -> None:
    """And each word is there once, in its order."""
    told = f"{before} {' and '.join(values)}"
    shown = lines(Text(told), width)
    assert " ".join(shown).split() == told.split()
    for one in WHOLE:
        assert sum(line.count(one) for line in shown) == told.count(one)


def test_words_that_only_begin_like_a_unit_are_words() -> None:
    """A line as wide as the number alone ends there."""
    for word in ("hosts", "minutes", "models", "shares", "requests", "rpsx", "sequences"):
        assert lines(Text(f"in 12345678 {word}"), 11) == ["in 12345678", word]


def test_the_last_word_of_a_value_that_is_too_wide_goes_to_the_next_line_with_it() -> None:
    assert lines(Text("it takes 40 ms"), 12) == ["it takes ", "40 ms"]
    assert lines(Text("it takes 40 ms"), 14) == ["it takes 40 ms"]


def test_a_style_stays_on_its_words() -> None:
    """Where a line ends, no letter loses or gains a colour."""
    text = Text.assemble(("P99 is 40 ms", "bold"), " at 50 rps, and no more than that")
    for width in (13, 20, 60):
        shown = as_text([text], width, color_system="standard")
        bold = "".join(part.partition("\x1b[0m")[0] for part in shown.split("\x1b[1m")[1:])
        assert bold.split() == ["P99", "is", "40", "ms"]


def test_cells_of_a_table_keep_values_whole() -> None:
    """As far as there is room for them."""
    rows = [("q", value) for value in VALUES]
    for width in range(26, 60):
        told = lines(table(("<name", "<verdict"), [*rows, ("all", ", ".join(VALUES))]), width)
        for one in WHOLE:
            whole = sum(value.count(one) for value in (*VALUES, ", ".join(VALUES)))
            assert sum(line.count(one) for line in told) == whole, (one, width)


def test_no_sign_that_holds_words_together_is_shown() -> None:
    for width, value in itertools.product((12, 30, 100), VALUES):
        assert "\ue000" not in as_text([Text(value), table(("<", "<"), [("x", value)])], width)
