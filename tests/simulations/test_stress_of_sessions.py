"""Stress of sessions: a restart empties caches, nothing is lost by it, and the answer says what sessions go through."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import capacity as cap
from capacity.errors import DomainError, InputError
from capacity.recovery.faults import Action
from capacity.recovery.parse import read_trigger
from capacity.recovery.trigger import ALL, TriggerKind
from simulations.draws.attempts import Outcomes
from simulations.statistics.sessions_course import by_arrival

LINE = Path(__file__).parent.parent / "kept" / "files" / "line.json"
LAWS = "turns=geometric:mean=4; think=exponential:mean=2s; system=64; first=constant:200; user=constant:20; "


def stressed(trigger: str, **others: Any) -> Any:
    """A small fleet of conversations in trouble, its verdict alone."""
    given: dict[str, Any] = {
        "sessions": LAWS + "output=constant:20",
        "context_tokens_max": 1_000,
        "rate": "10rps",
        "replicas": 3,
        "routing": "session",
        "runs": 2,
        "horizon": "1min",
        "only_verdict": True,
    }
    return cap.stress(others.pop("profile", LINE), trigger=trigger, **(given | others))


def test_a_restart_is_of_some_replicas_or_of_all() -> None:
    some, every = read_trigger("restart:2,20s"), read_trigger("restart:all,20s")
    assert (some.kind, some.replicas, every.replicas) == (TriggerKind.RESTART, 2, ALL)
    assert (some.left(4), every.left(4)) == (0.5, 0.0)
    assert (some.waits(2), some.waits(1), every.waits(1)) == (True, False, True)
    absences = every.absences(3, begins_s=10.0, detection_s=30.0, startup_s=5.0)
    faults = [(one.replica, one.instant_s, one.action) for away in absences for one in away.faults()]
    assert faults == [
        (replica, instant_s, action)
        for replica in range(3)
        for instant_s, action in ((10.0, Action.AWAY), (35.0, Action.JOIN))
    ]
    with pytest.raises(DomainError, match="hits 2 replicas, and there are 1"):
        some.absences(1, begins_s=10.0, detection_s=30.0, startup_s=0.0)
    with pytest.raises(InputError, match="number of replicas"):
        read_trigger("lose:all,20s")
    with pytest.raises(DomainError, match="1 replica or more"):
        read_trigger("crash:0,20s")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"routing": "prefix:llm-d-scores"},
        {"sessions": None, "lengths": "input=constant:200; output=constant:20", "routing": "random"},
    ],
    ids=["session", "scores", "plain"],
)
def test_a_restart_of_all_loses_nothing_of_clients_who_wait(given: dict[str, Any]) -> None:
    document = stressed("restart:all,10s", **given).to_dict()
    assert document["goodput_during"] == 1.0
    assert document["lost"] == 0.0
    assert ("sessions" in document) == (given.get("sessions", LAWS) is not None)


def test_a_restart_of_batches_loses_nothing_either() -> None:
    for routing in ("least-outstanding", "shared-queue"):
        answer = cap.stress(
            "resnet50-t4-fp16", rate="300rps", replicas=2, routing=routing, trigger="restart:all,2s",
            runs=3, horizon="1min", only_verdict=True,
        )  # fmt: skip
        document = answer.to_dict()
        assert (document["lost"], document["goodput_during"]) == (0.0, 1.0)


def test_the_answer_says_what_sessions_go_through() -> None:
    """All are away for 10 s: no first token comes, and live sessions gather; caches fill again."""
    answer = stressed("restart:all,10s")
    before, during, after = (answer.to_dict()["sessions"][when] for when in ("before", "during", "after"))
    assert during["live"] > 1.2 * before["live"]
    assert during["hit_share"] is None
    assert during["ttft_mean_s"] is None
    assert before["hit_share"] > 0.5
    assert after["hit_share"] == pytest.approx(before["hit_share"], abs=0.05)
    assert len(answer.plot().plots) == 5


def test_live_sessions_are_their_rate_times_how_long_they_last() -> None:
    """Little's law before the trigger: 10 turns/s in sessions of 4 turns, each some 6 s and its answers long."""
    before = stressed("restart:all,10s", runs=4).to_dict()["sessions"]["before"]
    lasting_s = 3.0 * 2.0 + 4.0 * (before["ttft_mean_s"] + 19 * 0.0056)
    assert before["live"] == pytest.approx(10.0 / 4.0 * lasting_s, rel=0.15)


def test_requests_are_counted_by_their_arrival_and_those_that_never_come_are_not() -> None:
    arrived_s = np.array([1.0, 5.0, 2.0, np.nan])
    nothing = np.zeros(4, dtype=np.int64)
    outcomes = Outcomes(
        arrived_s=arrived_s, answered_s=arrived_s + 1.0, ended_s=arrived_s + 1.0, attempts=nothing,
        sent=nothing, served=3, for_nobody=0, rejected=0, shed=0, crashed=0, dropped=0, timed_out=0,
    )  # fmt: skip
    found = by_arrival(outcomes)
    np.testing.assert_array_equal(found.arrived_s, [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(found.answered_s, [2.0, 3.0, 6.0])


ENGINE = {
    "kind": "llm", "name": "engine", "kv": {"tokens": 310_000},
    "limits_measured": {"sequences_max": 64, "batched_tokens_max": 8192, "context_tokens_max": 40_000},
    "coefficients": {
        "base_s": 0.0125, "per_prefill_token_s": 6.3e-5, "per_decode_request_s": 1e-5, "per_kv_token_s": 3.8e-8,
    },
}  # fmt: skip
BISTABLE = {
    "sessions": "turns=geometric:mean=10; think=exponential:mean=4s; system=1024; first=constant:8150; "
    "user=constant:150; output=constant:100",
    "context_tokens_max": 40_000,
    "sequences_max": 64,
    "batched_tokens_max": 8192,
    "rate": "9rps",
    "replicas": 4,
    "horizon": None,
}


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    (tmp_path / "engine.json").write_text(json.dumps(ENGINE))
    return tmp_path / "engine.json"


def test_a_fleet_whose_sessions_pile_up_has_not_recovered(engine: Path) -> None:
    """From empty caches it serves 5.3 of 9 turns/s: no request is lost, and sessions pile up all the same."""
    answer = stressed("restart:all,120s", profile=engine, **BISTABLE)
    document = answer.to_dict()
    assert document["goodput_during"] == 1.0
    assert document["recovered"]["value"] == 0.0
    assert document["sessions"]["after"]["live"] > 3.0 * document["sessions"]["before"]["live"]
    assert "from empty caches and a backlog the fleet serves 5.28 of 9 turns/s" in " ".join(
        str(answer).split()
    )
    for changed in ({"rate": "4.5rps"}, {"replicas": 8}, {"shed": "new:13"}):
        assert (
            stressed("restart:all,120s", profile=engine, **(BISTABLE | changed)).to_dict()["recovered"][
                "value"
            ]
            == 1.0
        )


def test_turning_new_sessions_away_is_tried_where_sessions_pile_up(engine: Path) -> None:
    answer = stressed("restart:all,120s", profile=engine, **(BISTABLE | {"only_verdict": False}))
    (tried,) = answer.to_dict()["remedies"]
    assert tried["setting"] == "--shed new:13"  # half of 310,000 tokens over 11,424 of a mean prompt
    assert tried["recovered"]["value"] == 1.0
    assert tried["lost"] == pytest.approx(0.9 * 120.0, rel=0.5)  # those that come while nothing is served


def test_new_sessions_are_turned_away_only_where_there_are_some() -> None:
    with pytest.raises(InputError, match="give sessions"):
        stressed(
            "restart:all,10s",
            sessions=None,
            lengths="input=constant:200; output=constant:20",
            routing="random",
            shed="new:3",
        )
    with pytest.raises(InputError, match="write it as new:8"):
        stressed("restart:all,10s", shed="new")
    with pytest.raises(InputError, match="give sessions"):
        cap.stress("resnet50-t4-fp16", rate="300rps", replicas=2, trigger="lose:1,9s", shed="new:3")


def test_a_plan_of_patient_sessions_may_have_to_recover() -> None:
    answer = cap.plan(
        LINE, sessions=LAWS + "output=constant:20", context_tokens_max=1_000, rate="10rps", slo_ttft_p99="2s",
        recover_within="60s", trigger="restart:all,10s", routing="session", precision=0.2,
    )  # fmt: skip
    recovery = answer.to_dict()["recovery"]
    assert recovery["chosen"]["recovered"]["value"] == 1.0
    with pytest.raises(InputError, match="needs the clients' timeout"):
        cap.plan(
            LINE, lengths="input=constant:200; output=constant:20", rate="10rps", slo_ttft_p99="2s",
            recover_within="60s", trigger="restart:all,10s",
        )  # fmt: skip


def test_clients_of_a_router_of_conversations_do_not_hedge() -> None:
    with pytest.raises((DomainError, InputError), match="hedge"):
        stressed("restart:1,10s", timeout="20s", hedge="1s")
