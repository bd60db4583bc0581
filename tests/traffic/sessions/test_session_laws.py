"""Sessions from laws: they have their means, a longer draw begins as a shorter one, and prefixes are shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_streams import Token, require_same_blocks, streams

from capacity.errors import InputError
from capacity.traffic.sessions.laws import EXAMPLE, SessionLaws, parse_laws
from capacity.traffic.sessions.reuse import Requests
from capacity.traffic.sessions.turns import Turns

GROUPED = (
    "turns=uniform:low=1,high=4; system=40; groups=zipf:count=5,exponent=1; prefix=30; "
    "first=uniform:low=1,high=60; user=uniform:low=1,high=30; output=uniform:low=1,high=50"
)


def tokens_of(laws: SessionLaws, turns: Turns, groups: list[int]) -> list[list[Token]]:
    """Tokens of each turn: those of the system, of the group, and the session's own."""
    prefix = laws.groups.prefix_tokens if laws.groups else 0
    found = []
    for session, turn in zip(turns.session.tolist(), range(len(turns.input_tokens)), strict=True):
        total = int(turns.input_tokens[turn] + turns.output_tokens[turn])
        shared: list[Token] = [("system", j) for j in range(laws.system_tokens)]
        shared += [("group", groups[session], j) for j in range(prefix)]
        found.append(shared + [("own", session, j) for j in range(total - len(shared))])
    return found


@pytest.mark.parametrize("block_tokens", [1, 7, 8, 16])
@pytest.mark.parametrize("limit", [None, 150])
def test_blocks_are_equal_where_all_tokens_are(block_tokens: int, limit: int | None) -> None:
    laws = parse_laws(GROUPED)
    laws = laws if limit is None else laws.within(limit)
    turns = laws.draw(60, streams(3), block_tokens)
    assert laws.groups is not None
    groups = laws.groups.at(streams(3)(1).random(60)).tolist()
    assert len(set(groups)) == 5
    require_same_blocks(turns, tokens_of(laws, turns, groups), block_tokens)


def test_a_prompt_is_the_prompt_and_the_answer_before_and_what_the_user_adds() -> None:
    laws = parse_laws("turns=constant:4;system=100;first=constant:50;user=constant:7;output=geometric:mean=9")
    turns = laws.draw(100, streams(0), 16)
    given, got = turns.input_tokens.reshape(100, 4), turns.output_tokens.reshape(100, 4)
    assert (given[:, 0] == 150).all()
    assert (given[:, 1:] == given[:, :-1] + got[:, :-1] + 7).all()
    assert not turns.cut.any()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), few=st.integers(1, 20), more=st.integers(0, 30), limit=st.integers(80, 400))
def test_a_longer_draw_begins_as_a_shorter_one(seed: int, few: int, more: int, limit: int) -> None:
    laws = parse_laws(f"{GROUPED}; think=exponential:mean=3s").within(limit)
    short, long = laws.draw(few, streams(seed), 16), laws.draw(few + more, streams(seed), 16)
    count = len(short.input_tokens)
    for name in ("input_tokens", "output_tokens", "think_s", "listed", "private"):
        assert getattr(short, name).tolist() == getattr(long, name)[:count].tolist()
    assert short.cut.tolist() == long.cut[:few].tolist()


def test_the_means_of_a_draw_are_those_of_the_laws() -> None:
    """Within four standard errors, sessions being independent."""
    for laws in (parse_laws(EXAMPLE), parse_laws(EXAMPLE).within(4000)):
        turns, moments = laws.draw(40_000, streams(1), 16), laws.moments
        counts = np.diff(turns.first)
        assert abs(counts.mean() - laws.turns_mean) < 4.0 * counts.std() / 200.0 + 0.01
        for expected, values in (
            (moments.input, turns.input_tokens),
            (moments.output, turns.output_tokens),
            (moments.square, turns.output_tokens.astype(float) ** 2),
            (moments.product, turns.input_tokens * turns.output_tokens.astype(float)),
        ):
            off = np.add.reduceat(values - expected, turns.first[:-1])
            error = off.std() * np.sqrt(len(off)) / len(values)
            assert abs(values.mean() - expected) < 4.0 * error + 0.002 * expected
        think_s = turns.think_s[turns.turn > 0]
        assert think_s.mean() == pytest.approx(20.0, rel=0.02)
        assert (turns.think_s[turns.turn == 0] == 0.0).all()


def test_a_session_ends_where_its_context_is_full() -> None:
    whole, cut = parse_laws(GROUPED), parse_laws(GROUPED).within(140)
    a, b = whole.draw(500, streams(2), 16), cut.draw(500, streams(2), 16)
    assert 0 < b.cut.sum() < 500
    assert (b.input_tokens + b.output_tokens).max() <= 140 == cut.context_max
    for session in range(500):
        rows_a, rows_b = slice(*a.first[session : session + 2]), slice(*b.first[session : session + 2])
        total = a.input_tokens[rows_a] + a.output_tokens[rows_a]
        fits = int((total <= 140).sum())
        assert b.cut[session] == (fits < len(total))
        assert b.first[session + 1] - b.first[session] == max(1, fits)
        if fits:
            assert b.input_tokens[rows_b].tolist() == a.input_tokens[rows_a][:fits].tolist()


def test_what_a_cache_finds_follows_from_the_laws() -> None:
    """Infinite cache, one replica: of answers of one token, a next turn finds the whole prompt before.

    So a session of K turns finds 1,200 + sum of prompts 1 to K − 1; its prompts are 1,600 + 600 (k − 1).
    """
    laws = parse_laws(
        "turns=geometric:mean=5;system=1200;first=constant:400;user=constant:599;output=constant:1"
    )
    turns = laws.draw(40_000, streams(5), 8)
    hits = Requests.of(turns, np.arange(len(turns.input_tokens)), 8).hits(1) * 8
    expected = np.where(turns.turn == 0, 1200, turns.input_tokens - 600)
    expected[0] = 0  # the first of all finds nothing
    assert hits.tolist() == expected.tolist()
    q, prompts = 0.8, [1600 + 600 * k for k in range(400)]
    found = [1200, *prompts[:-1]]
    law = sum(q**k * hit for k, hit in enumerate(found)) / sum(q**k * all_ for k, all_ in enumerate(prompts))
    assert law == pytest.approx(0.86, abs=5e-5)
    off = np.add.reduceat(hits - law * turns.input_tokens, turns.first[:-1])
    error = off.std() * np.sqrt(len(off)) / turns.input_tokens.sum()
    assert abs(hits.sum() / turns.input_tokens.sum() - law) < 4.0 * error


def test_groups_have_the_shares_of_zipf() -> None:
    groups = parse_laws(
        "turns=constant:1;groups=zipf:count=3,exponent=1;prefix=8;first=constant:1;output=constant:1"
    ).groups
    assert groups is not None
    assert groups.shares == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert groups.at(np.array([0.0, 0.54, 0.55, 0.81, 0.82, 1.0])).tolist() == [0, 0, 1, 1, 2, 2]
    equal = parse_laws("turns=constant:1;groups=equal:count=4;prefix=8;first=constant:1;output=constant:1")
    zipf = parse_laws(
        "turns=constant:1;groups=zipf:count=4,exponent=0;prefix=8;first=constant:1;output=constant:1"
    )
    assert equal == zipf
    assert hash(equal) == hash(zipf)


@pytest.mark.parametrize(
    "text", [EXAMPLE, GROUPED, "turns=constant:1;first=constant:5;output=gamma:mean=9,cv=2"]
)
def test_laws_are_typed_as_they_are_read(text: str) -> None:
    laws = parse_laws(text)
    assert parse_laws(laws.typed) == laws
    assert (
        parse_laws(text.replace(" ", "").replace(":", " : ").replace("=", " = ").replace(",", " , ")) == laws
    )


def test_longer_answers_fill_the_context_sooner() -> None:
    laws = parse_laws(EXAMPLE).within(8000)
    longer = laws.with_outputs(2.0, 6000)
    assert longer.output.mean == 500.0
    assert longer.context_max == 6000
    assert longer.turns_mean < laws.turns_mean


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("turns=constant:2;first=constant:1;output=constant:1", "do not say user"),
        ("turns=constant:1;output=constant:1", "do not say first"),
        ("first=constant:1;output=constant:1", "do not say turns"),
        ("turns=constant:1;first=constant:1;output=constant:1;user=constant:1", "leave out user"),
        ("turns=constant:1;first=constant:1;output=constant:1;first=constant:2", "say first twice"),
        ("turns=constant:1;first=constant:1;output=constant:1;input=constant:2", "have no 'input'"),
        ("turns=constant:1;first=constant:1;output=constant:1;prefix=5", "share a prefix"),
        ("turns=constant:1;first=constant:1;output=constant:1;groups=zipf:count=5;prefix=5", "are no groups"),
        ("turns=constant:1;first=constant:1;output=constant:1;groups=equal:count=0;prefix=5", "from 1 to 1000000"),
        ("turns=constant:1;first=constant:1;output=constant:1;system=1.5", "system must be a whole number"),
        ("turns=geometric:mean=20000;first=constant:1;output=constant:1", "up to 10000 on average"),
        (EXAMPLE.replace("20s", "20"), "has no unit"),
        (EXAMPLE.replace("think=exponential", "think=geometric"), "no law of durations"),
        (EXAMPLE.replace("output=geometric", "output=exponential"), "no law of lengths"),
    ],
)  # fmt: skip
def test_laws_that_say_too_little_or_too_much_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_laws(text)


def test_prefixes_that_leave_no_room_are_refused() -> None:
    with pytest.raises(InputError, match="70 tokens, which leaves no room"):
        parse_laws(GROUPED).within(71)
    assert parse_laws(GROUPED).within(72).draw(3, streams(0), 16).input_tokens.tolist() == [71, 71, 71]
