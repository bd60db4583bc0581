"""Recorded sessions: what each format repeats, what copies share, and what is refused, by streams of tokens."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_streams import Token, hits, lru_hits, numbers, require_same_blocks, streams

from capacity.errors import InputError
from capacity.traffic.sessions.bailian import read_bailian
from capacity.traffic.sessions.mooncake import read_mooncake
from capacity.traffic.sessions.parse import bundled_sessions, has_sessions, parse_sessions, read_sessions
from capacity.traffic.sessions.reuse import Requests
from capacity.traffic.sessions.rows import SessionRows
from capacity.traffic.sessions.table import read_table
from capacity.traffic.sessions.turns import Turns

HEAD = "session_id,turn,t_s,input_tokens,output_tokens"
CHAT = f"{HEAD}\na,1,10,100,20\nb,1,12,50,5\na,2,40,150,10\n"


# What a CSV says, as tokens: (session, [(prompt, answer), ...], group, its shared tokens).
@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[list[list[Token]]]]:
    """A CSV of sessions, and the tokens of each turn of each session."""
    shared = {group: draw(st.integers(0, 40)) for group in "xy"}
    rows, streams_ = [], []
    for session in range(draw(st.integers(1, 6))):
        group = draw(st.sampled_from("xy"))
        prefix: list[Token] = [(group, j) for j in range(shared[group])]
        stream, turns, segment = list(prefix), [], 0
        for turn in range(draw(st.integers(1, 4))):
            own = len(stream)
            if turn and draw(st.booleans()) and draw(st.booleans()):
                before, segment = len(stream), segment + 1
                own = draw(st.integers(max(1, len(prefix)), max(1, len(prefix), before - 1)))
                stream = list(prefix)
                if own >= before:
                    return draw(st.nothing())  # cannot be shorter
            else:
                own += draw(st.integers(0 if stream and turn else 1, 30))
            stream += [(session, segment, j) for j in range(len(stream), own)]
            given_tokens, got = len(stream), draw(st.integers(1, 30))
            stream += [(session, segment, j) for j in range(len(stream), given_tokens + got)]
            turns.append(list(stream))
            rows.append((session, turn + 1, session + 10 * turn, given_tokens, got, group, shared[group]))
        streams_.append(turns)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    return f"{HEAD},group,shared_tokens\n{text}\n", streams_


def flat(of_sessions: list[list[list[Token]]]) -> list[list[Token]]:
    return [turn for session in of_sessions for turn in session]


@settings(max_examples=60, deadline=None)
@given(table=tables(), block_tokens=st.sampled_from([1, 4, 16]))
def test_blocks_of_a_table_are_equal_where_all_tokens_are(
    table: tuple[str, list[list[list[Token]]]], block_tokens: int
) -> None:
    text, tokens = table
    turns, _ = read_table(text, "f.csv").as_recorded(block_tokens)
    require_same_blocks(turns, flat(tokens), block_tokens)


def copied(rows: SessionRows, picks: list[int], tokens: list[list[list[Token]]]) -> list[list[Token]]:
    """Tokens of copies of sessions: those of one session alone are others in each copy.

    A token with all before it is shared if another session of the file has them too.
    """
    owners: dict[tuple[Token, ...], set[int]] = {}
    for session, turns in enumerate(tokens):
        for turn in turns:
            for end in range(1, len(turn) + 1):
                owners.setdefault(tuple(turn[:end]), set()).add(session)
    return [
        [
            token if len(owners[tuple(turn[: end + 1])]) > 1 else (copy, *token)
            for end, token in enumerate(turn)
        ]
        for copy, session in enumerate(picks)
        for turn in tokens[session]
    ]


@settings(max_examples=30, deadline=None)
@given(table=tables(), seed=st.integers(0, 99))
def test_copies_share_what_different_sessions_share(
    table: tuple[str, list[list[list[Token]]]], seed: int
) -> None:
    text, tokens = table
    rows = read_table(text, "f.csv")
    turns = rows.draw(8, streams(seed), 4)
    picks = (streams(seed)(0).random(8) * rows.sessions).astype(int).tolist()
    require_same_blocks(turns, copied(rows, picks, tokens), 4)


def line(**values: Any) -> str:
    return json.dumps(values)


def ids_of(prompt: list[Token], tokens_per_id: int, names: dict[tuple[Token, ...], int]) -> list[int]:
    """Ids by the tokens up to the end of each; that of a partial end is its own."""
    ends = [*range(tokens_per_id, len(prompt), tokens_per_id), len(prompt)]
    return [names.setdefault(tuple(prompt[:end]), len(names)) for end in ends]


@st.composite
def conversations(draw: st.DrawFn) -> list[list[tuple[list[Token], int]]]:
    """Prompts with their answers' lengths, of sessions whose contexts only grow; all share some whole ids."""
    found = []
    for session in range(draw(st.integers(1, 5))):
        stream: list[Token] = [("s", j) for j in range(draw(st.sampled_from([0, 16, 48])))]
        turns = []
        for turn in range(draw(st.integers(1, 4))):
            stream += [(session, turn, "user", j) for j in range(draw(st.integers(1, 40)))]
            got = draw(st.integers(1, 60))
            turns.append((list(stream), got))
            stream += [(session, turn, "answer", j) for j in range(got)]
        found.append(turns)
    return found


@settings(max_examples=60, deadline=None)
@given(sessions=conversations(), block_tokens=st.sampled_from([4, 16]))
def test_a_next_turn_of_bailian_finds_prompt_and_answer(
    sessions: list[list[tuple[list[Token], int]]], block_tokens: int
) -> None:
    names: dict[tuple[Token, ...], int] = {}
    lines, tokens, chat = [], [], 0
    for session, turns in enumerate(sessions):
        parent = -1
        for turn, (prompt, got) in enumerate(turns):
            ids = ids_of(prompt, 16, names)
            lines.append(
                line(
                    chat_id=chat, parent_chat_id=parent, timestamp=session + 100.0 * turn, type="text",
                    turn=turn + 1, input_length=len(prompt), output_length=got, hash_ids=ids,
                )
            )  # fmt: skip
            parent, chat = chat, chat + 1
            tokens.append(prompt + [(session, turn, "answer", j) for j in range(got)])
    rows = read_bailian("\n".join(lines), "b.jsonl")
    turns_, _ = rows.as_recorded(block_tokens)
    require_same_blocks(turns_, tokens, block_tokens)
    assert rows.has_ids
    assert rows.remarks == ()
    picks = (streams(1)(0).random(6) * rows.sessions).astype(int).tolist()
    of_sessions = [tokens[begin:end] for begin, end in zip(rows.first[:-1], rows.first[1:], strict=True)]
    require_same_blocks(rows.draw(6, streams(1), 16), copied(rows, picks, of_sessions), 16)


def test_mooncake_shares_what_its_ids_share_down_to_a_partial_last_one() -> None:
    """Blocks of 16 tokens, 32 an id; the second prompt has 100 tokens of its last id, which are six full blocks."""
    text = "\n".join(
        [
            line(timestamp=0, input_length=1024, output_length=40, hash_ids=[7, 9]),
            line(timestamp=3000, input_length=612, output_length=1, hash_ids=[7, 8]),
            line(timestamp=3000, input_length=620, output_length=9, hash_ids=[7, 8]),
        ]
    )
    rows = read_mooncake(text, "m.jsonl")
    turns, starts_s = rows.as_recorded(16)
    assert starts_s.tolist() == [0.0, 3.0, 3.0]
    a, b, c = (numbers(turns, turn, 16) for turn in range(3))
    assert [len(one) for one in (a, b, c)] == [66, 38, 39]
    assert a[:32] == b[:32] == c[:32]
    assert b == c[:38]
    assert len({*a, *b, *c}) == 66 + 6 + 1
    assert hits(turns, 1, 16) == [0, 32, 38]
    assert not rows.has_ids
    with pytest.raises(InputError, match="512 tokens, which is not a multiple of blocks of 48"):
        rows.draw(1, streams(0), 48)


def test_sessions_of_mooncake_have_delays_or_a_pace() -> None:
    text = "\n".join(
        [
            line(session_id="a", timestamp=1000, input_length=10, output_length=1, hash_ids=[1]),
            line(session_id="b", timestamp=500, input_length=10, output_length=2, hash_ids=[2]),
            line(session_id="a", delay=250, input_length=10, output_length=3, hash_ids=[1]),
            line(session_id="b", timestamp=2500, input_length=10, output_length=4, hash_ids=[2]),
        ]
    )
    turns, starts_s = read_mooncake(text, "m").as_recorded(16)
    assert turns.output_tokens.tolist() == [2, 4, 1, 3]
    assert starts_s.tolist() == [0.0, 0.5]
    assert turns.think_s.tolist() == [0.0, 0.0, 0.0, 0.25]
    assert turns.pace_s.tolist() == [0.0, 2.0, 0.0, 0.0]


def test_a_table_has_think_times_or_a_pace() -> None:
    turns, starts_s = read_table(CHAT, "f").as_recorded(16)
    assert starts_s.tolist() == [0.0, 2.0]
    assert turns.first.tolist() == [0, 2, 3]
    assert turns.pace_s.tolist() == [0.0, 30.0, 0.0]
    thinking = CHAT.replace("tokens\n", "tokens,think_s\n").replace("0\n", "0,7\n").replace("5\n", "5,\n")
    turns, _ = read_table(thinking, "f").as_recorded(16)
    assert turns.think_s.tolist() == [0.0, 7.0, 0.0]
    assert turns.pace_s.tolist() == [0.0, 0.0, 0.0]


def test_a_cut_context_is_told_and_repeats_its_prefix_alone() -> None:
    text = f"{HEAD},shared_tokens\na,1,0,100,20,32\na,2,1,119,10,32\na,3,2,129,10,\n"
    rows = read_table(text, "f")
    assert "1 of 2 later turns are shorter than the prompt and the answer before" in rows.remarks[0]
    turns, _ = rows.as_recorded(16)
    assert hits(turns, 1, 16) == [0, 2, 8]


def test_a_context_that_is_too_long_ends_its_session() -> None:
    rows = read_table(CHAT, "f").within(120)
    assert (rows.cut.tolist(), rows.dropped, rows.turns_mean) == ([True, False], 0, 1.0)
    less = rows.within(119)
    assert (less.cut.tolist(), less.dropped, less.context_max) == ([False], 1, 55)
    assert less.draw(3, streams(0), 16).cut.tolist() == [False] * 3
    with pytest.raises(InputError, match="no session that begins with 50 tokens or fewer"):
        less.within(50)


def test_longer_answers_lengthen_the_prompts_that_repeat_them() -> None:
    longer = read_table(CHAT, "f").with_outputs(2.0, 10_000)
    assert longer.output_tokens.tolist() == [40, 20, 10]
    assert longer.input_tokens.tolist() == [100, 170, 50]


def test_equal_files_are_equal_and_cheap_to_hash() -> None:
    a, b = read_table(CHAT, "f"), read_table(CHAT, "f")
    other = read_table(CHAT.replace("150", "151"), "f")
    assert a == b
    assert hash(a) == hash(b)
    assert a != other
    assert a != read_table(CHAT, "g")


def test_moments_are_those_of_all_turns() -> None:
    moments = read_table(CHAT, "f").moments
    assert (moments.input, moments.product) == (100.0, (2000 + 1500 + 250) / 3)


@settings(max_examples=40, deadline=None)
@given(table=tables(), replicas=st.integers(1, 4))
def test_what_caches_find_is_what_sets_and_lists_find(
    table: tuple[str, list[list[list[Token]]]], replicas: int
) -> None:
    turns, _ = read_table(table[0], "f").as_recorded(4)
    order = np.arange(len(turns.input_tokens))
    requests = Requests.of(turns, order, 4)
    assert requests.hits(replicas).tolist() == hits(turns, replicas, 4)
    every = int(requests.hits(1).sum())
    found = requests.depths()
    assert found.total == every
    depths = found.room_for(np.arange(1, every + 1))
    for room in {1, 2, 5, *depths.tolist(), *(depths - 1).tolist()}:
        assert lru_hits(turns, room, 4) == (depths <= room).sum() or room == 0


def test_the_last_token_of_a_prompt_is_never_found() -> None:
    rows = read_table(f"{HEAD},shared_tokens\na,1,0,32,1,32\nb,1,1,32,1,32\nc,1,2,33,1,32\n", "f")
    turns, _ = rows.as_recorded(16)
    assert Requests.of(turns, np.arange(3), 16).hits(1).tolist() == [0, 1, 2]


def test_requests_are_served_in_the_order_given() -> None:
    rows = read_table(CHAT, "f")
    turns, _ = rows.as_recorded(16)
    assert Requests.of(turns, np.array([0, 1, 2]), 16).hits(1).tolist() == [0, 7, 0]
    assert Requests.of(turns, np.array([0, 2, 1]), 16).hits(2).tolist() == [0, 0, 7]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv"])
def test_a_file_shows_its_format_by_what_it_holds(tmp_path: Path, ending: str) -> None:
    text = CHAT if ending == "csv" else line(timestamp=0, input_length=9, output_length=1, hash_ids=[3])
    path = tmp_path / f"f.{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    assert has_sessions(path)
    rows = parse_sessions(str(path))
    assert isinstance(rows, SessionRows)
    assert rows.name == path.name
    assert read_sessions(path) == rows


def test_other_files_are_no_sessions(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for text in ("t_s,input_tokens,output_tokens,session_id\n0,1,1,a\n", '{"timestamp": 1}\n', "0.5\n1.5\n"):
        path.write_text(text)
        assert not has_sessions(path)


def test_the_bundled_conversations_are_as_their_trace() -> None:
    """The whole trace finds 0.3736 of its prompts' tokens in one cache that forgets nothing; this is a sample."""
    assert bundled_sessions() == ["mooncake-conversation-2025"]
    rows = parse_sessions("mooncake-conversation-2025")
    assert isinstance(rows, SessionRows)
    turns, starts_s = rows.as_recorded(16)
    assert (rows.sessions, rows.turns_mean, rows.has_ids) == (279, 1.0, False)
    found = Requests.of(turns, np.arange(279), 16).hits(1).sum() * 16 / turns.input_tokens.sum()
    assert found == pytest.approx(0.3814, abs=5e-5)
    assert 3000.0 < starts_s[-1] < 3600.0


REFUSED_TABLES = [
    (f"{HEAD}\n", "no rows"),
    (f"{HEAD}\na,2,0,1,1\n", "line 2: session 'a' begins with turn 2"),
    (f"{HEAD}\na,1,0,1,1\na,1,0,1,1\n", "line 3: turn 1 of session 'a' comes again"),
    (f"{HEAD}\na,1,0,1,1\na,3,0,1,1\n", "line 3: turn 3 of session 'a' follows turn 1"),
    (f"{HEAD}\na,1,5,1,1\na,2,4.5,3,1\n", "line 3: t_s of session 'a' falls from 5 to 4.5"),
    (f"{HEAD}\na,0,5,1,1\n", "begins with turn 0"),
    (f"{HEAD}\na,x,5,1,1\n", "turn must be a whole number"),
    (f"{HEAD}\n,1,5,1,1\n", "session_id is empty"),
    (f"{HEAD}\na,1,now,1,1\n", "t_s must be a number of seconds"),
    (f"{HEAD},think_s\na,1,0,1,1,\na,2,1,5,1,-1\n", "think_s must be a number of seconds from 0 on"),
    (f"{HEAD},shared_tokens\na,1,0,10,1,11\n", "shared_tokens 11 is above input_tokens 10"),
    (f"{HEAD},shared_tokens\na,1,0,10,1,4\nb,1,0,10,1,5\n", "line 3: the prefix of all sessions has 5 shared_tokens, but 4 in line 2"),
    (f"{HEAD},group,shared_tokens\na,1,0,10,1,x,4\nb,1,0,10,1,x,5\n", "the prefix of group 'x' has 5 shared_tokens, but 4 in line 2"),
    (f"{HEAD},group,shared_tokens\na,1,0,10,1,x,4\na,2,0,20,1,y,4\n", "a session is of one group"),
    (f"{HEAD}\na,1,0,0,1\n", "input_tokens must be from 1"),
    (f"{HEAD}\na,1,0,1\n", "4 cells for 5 columns"),
    ("session_id,turn,input_tokens,output_tokens\na,1,1,1\n", "no column t_s"),
    (f"{HEAD},turn\na,1,0,1,1,1\n", "more than one column turn"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED_TABLES)
def test_a_table_that_does_not_fit_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_table(text, "f.csv")


GOOD: dict[str, Any] = {"timestamp": 0, "input_length": 1000, "output_length": 1, "hash_ids": [1, 2]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([GOOD | {"hash_ids": [1]}], "line 1: 1 hash_ids for input_length 1000, which has 2 of 512 tokens; fix"),
        ([GOOD | {"hash_ids": list(range(63))}], "these look like ids of 16 tokens, as in the traces of Bailian"),
        ([GOOD | {"hash_ids": [1, -2]}], "hash_ids must be a list of whole numbers"),
        ([GOOD | {"hash_ids": [1, 2.5]}], "hash_ids must be a list of whole numbers"),
        ([GOOD | {"hash_ids": [1, [2]]}], "hash_ids must be a list of whole numbers"),
        ([GOOD | {"hash_ids": None}], "hash_ids must be a list of whole numbers"),
        ([GOOD | {"input_length": 0}], "input_length must be a whole number from 1"),
        ([GOOD | {"timestamp": "1"}], "timestamp must be a number, got '1'"),
        ([GOOD | {"timestamp": -1}], "timestamp must not be negative"),
        ([GOOD | {"timestamp": None}], "a turn needs a timestamp"),
        ([GOOD | {"session_id": "a"}, GOOD], "line 2: only some lines have a session_id"),
        ([GOOD | {"session_id": True}], "session_id must be a text"),
        ([GOOD | {"session_id": 1, "timestamp": 5}, GOOD | {"session_id": 1}], "whose turn before has 5; put its turns"),
        ([GOOD | {"session_id": 1}, GOOD | {"session_id": 1, "timestamp": None}], "needs a timestamp or a delay"),
    ],
)  # fmt: skip
def test_lines_of_mooncake_that_do_not_fit_are_refused(lines: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_mooncake("\n".join(map(json.dumps, lines)), "m.jsonl")


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(InputError, match="m line 2: not valid JSON"):
        read_mooncake(json.dumps(GOOD) + "\n{\n", "m")
    with pytest.raises(InputError, match="m has no lines"):
        read_mooncake("\n\n", "m")


def chat(number: int, parent: int, tokens: int, *ids: int, t_s: float = 0.0) -> str:
    return line(
        chat_id=number, parent_chat_id=parent, timestamp=t_s, input_length=tokens, output_length=16, hash_ids=list(ids)
    )  # fmt: skip


def test_chats_with_an_unknown_parent_begin_sessions_while_they_are_few() -> None:
    few = [chat(n, -1, 16, n) for n in range(19)] + [chat(19, 99, 16, 3)]
    rows = read_bailian("\n".join(few), "b")
    assert rows.remarks == ("b: 1 of 20 chats have a parent that is not in the file; they begin sessions",)
    with pytest.raises(
        InputError, match="1 of 19 chats have a parent_chat_id that is not in the file, above 5 %"
    ):
        read_bailian("\n".join(few[1:]), "b")


def test_a_chat_that_goes_on_twice_begins_a_session_that_finds_the_same() -> None:
    text = [chat(0, -1, 16, 1), chat(1, 0, 48, 1, 2, 3), chat(2, 0, 48, 1, 2, 4), chat(3, 1, 16, 9)]
    rows = read_bailian("\n".join(text), "b")
    assert rows.sessions == 2
    assert rows.remarks == (
        "b: 1 of 3 later turns do not repeat the prompt and the answer before",
        "b: 1 chats whose parent another chat continues begin sessions",
    )
    turns, _ = rows.as_recorded(16)
    assert turns.input_tokens.tolist() == [16, 48, 16, 48]
    first, second, third, other = (numbers(turns, turn, 16) for turn in range(4))
    assert first == second[:2] == other[:2]
    assert second[2] != other[2]
    assert third[0] not in {*first, *second, *other}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([chat(0, -1, 16, 1), chat(0, -1, 16, 1)], "line 2: chat_id 0 comes again"),
        ([chat(1, 0, 16, 1), chat(0, -1, 16, 1)], "chat 0 comes after one that continues it"),
        ([chat(0, -1, 16, 1, t_s=5.0), chat(1, 0, 16, 1)], "timestamp 0 is before 5 of its parent, chat 0"),
        ([chat(0, -1, 600, 1, 2)], "2 hash_ids for input_length 600, which has 38 of 16 tokens; these look like ids of 512"),
        ([chat(0, -1, 16, 1).replace('"chat_id": 0', '"chat_id": "a"')], "chat_id must be a whole number"),
    ],
)  # fmt: skip
def test_lines_of_bailian_that_do_not_fit_are_refused(lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_bailian("\n".join(lines), "b.jsonl")
    fitting = read_bailian(chat(0, -1, 16, 1), "b")
    with pytest.raises(InputError, match="16 tokens, which is not a multiple of blocks of 32"):
        fitting.draw(1, streams(0), 32)


def test_sessions_are_whole_in_every_draw() -> None:
    rows = read_table(CHAT, "f")
    few, many = rows.draw(5, streams(4), 16), rows.draw(50, streams(4), 16)
    assert many.input_tokens.tolist()[: len(few.input_tokens)] == few.input_tokens.tolist()
    assert {tuple(_turns(many, session)) for session in range(50)} == {(100, 150), (50,)}


def _turns(turns: Turns, session: int) -> list[int]:
    return turns.input_tokens[turns.first[session] : turns.first[session + 1]].tolist()
