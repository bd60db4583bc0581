"""The description of recorded sessions: growth, gaps, live sessions, and what caches find."""

import json
from pathlib import Path

import numpy as np
import pytest

import capacity as cap
from capacity.errors import InputError
from capacity.traffic.sessions.description import SessionsDescription
from capacity.traffic.sessions.mooncake import read_mooncake
from capacity.traffic.sessions.table import read_table

HEAD = "session_id,turn,t_s,input_tokens,output_tokens"
# Two sessions, one of which lives for 30 of 40 s and the other for 10; the second finds 6 of its 7 blocks.
CHAT = f"{HEAD},group,shared_tokens\na,1,0,96,16,x,96\nb,1,0,113,5,x,96\na,2,30,200,10,x,\nb,2,10,130,9,x,\nc,1,40,16,1,x y,\n"


def described(text: str = CHAT, replicas: tuple[int, ...] = (1, 2)) -> SessionsDescription:
    return SessionsDescription(rows=read_table(text, "f.csv"), replicas=replicas)


def test_what_sessions_are_like() -> None:
    about = described()
    assert (about.turns, about.duration_s) == (5, 40.0)
    assert about.growth_tokens_mean == (104 + 17) / 2
    assert about.gap_quantiles_s == {0.5: 10.0, 0.9: 30.0, 0.99: 30.0}
    assert about.gaps_are_think_times is False
    assert about.sessions_live_mean == 1.0


def test_turns_are_served_by_their_times() -> None:
    """The order is a1, b1, b2, a2, c1: at one replica they find 0, 6, 7, 6 and 0 blocks of 16; at two 0, 0, 0, 0, 0.

    b2 comes third, to the first replica, which has had a1 and so its prefix; a2 comes to the second, which has had b1.
    The answer of a1 begins with its seventh block, of which the last token is never computed.
    """
    one, two = described().infinite_caches
    assert (one.hit_tokens, two.hit_tokens) == (16 * (0 + 6 + 7 + 6 + 0), 16 * (0 + 0 + 6 + 6 + 0))
    assert one.hit_share == one.hit_tokens / (96 + 113 + 200 + 130 + 16)


def test_room_for_most_of_the_hits() -> None:
    """The lists of blocks, most recent first: P1 to P6; after b1 also B7; so 6, 7 and for a2 again 6 blocks are enough."""
    about = described()
    assert about.depths.room_for(np.arange(1, 20)).tolist() == sorted([1, 2, 3, 4, 5, 6] * 3 + [7])
    assert (about.kv_tokens_for(0.9), about.kv_tokens_for(1.0)) == (96, 112)


def test_a_delay_stands_for_a_time() -> None:
    lines = [
        {"session_id": "a", "timestamp": 0, "input_length": 600, "output_length": 9, "hash_ids": [1, 2]},
        {"session_id": "b", "timestamp": 2500, "input_length": 600, "output_length": 9, "hash_ids": [1, 4]},
        {"session_id": "a", "delay": 2000, "input_length": 700, "output_length": 9, "hash_ids": [1, 3]},
        {"session_id": "a", "delay": 1000, "input_length": 700, "output_length": 9, "hash_ids": [1, 3]},
    ]
    about = SessionsDescription(rows=read_mooncake("\n".join(map(json.dumps, lines)), "m"))
    assert about.served_s.tolist() == [0.0, 2.0, 3.0, 2.5]
    assert about.gaps_are_think_times is True
    assert about.gap_quantiles_s[0.99] == 2.0
    assert about.infinite_caches[0].hit_tokens == 512 + 512 + 16 * 43


def test_single_turns_have_no_gaps_and_nothing_repeated_has_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{HEAD}\na,1,0,100,1\nb,1,0,100,1\n")
    answer = cap.describe_workload(path)
    found = answer.to_dict()
    assert (found["gap_quantiles_s"], found["growth_tokens_mean"], found["sessions_live_mean"]) == (
        {},
        None,
        None,
    )
    assert found["kv_tokens_needed"]["kv_tokens"] is None
    assert [one["hit_tokens"] for one in found["infinite_cache"]] == [0, 0, 0]
    assert "gap" not in str(answer)
    with pytest.raises(InputError, match="no prompt of f.csv repeats another"):
        answer.plot()


def test_the_answer_has_at_most_ten_lines_and_the_replicas_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(CHAT)
    answer = cap.describe_workload(path, replicas=2)
    assert [row["replicas"] for row in answer.rows()] == [1, 2]
    assert len(answer.explain().splitlines()) <= 10
    assert [row["replicas"] for row in cap.describe_workload(path, replicas=1).rows()] == [1]
    answer.save(tmp_path / "f.svg")


def test_with_a_profile_the_arrivals_of_sessions_are_those_of_any_trace(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    rows = "".join(f"s{k},1,{k},{10 + k},{1 + k}\n" for k in range(40))
    path.write_text(f"{HEAD}\n{rows}")
    with pytest.raises(InputError, match="replicas together"):
        cap.describe_workload(path, profile="jasper-7s-t4-fp16")
