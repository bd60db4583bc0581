"""`capacity verify` of sessions, in virtual time: the emulated caches are the simulated ones, so all must agree."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest.mock import AsyncMock

import numpy as np
import pytest
from emulated import Fleet, verify_in_virtual_time
from serving import ask

import cli
from capacity.measurement.http import parse_address
from capacity.profile.load import load_llm
from capacity.server.engine.router import RouterRules, parse_routing
from capacity.traffic.sessions.turns import Turns
from capacity.verification.conversations import Conversation, Turn
from capacity.verification.engines import Prompts
from serve_api.emulation.app import OpenAi
from serve_api.emulation.engine import ANSWER_TOKEN, EmulatedEngine, emulated_rules
from serve_api.emulation.log import StepLog
from serve_api.emulation.metrics import EngineMetrics
from serve_api.server.settings import Settings
from simulations.routing.conversations.routers import ROUTERS
from simulations.routing.conversations.seen import Fleet as SeenFleet

PROFILE = {
    "schema_version": 1,
    "kind": "llm",
    "name": "talks",
    "model": "made-up",
    "kv": {"tokens": 8192, "block_tokens": 16},
    "limits_measured": {"sequences_max": 8, "batched_tokens_max": 512, "context_tokens_max": 1024},
    "coefficients": {
        "base_s": 0.02,
        "per_prefill_token_s": 2e-4,
        "per_decode_request_s": 5e-4,
        "per_kv_token_s": 5e-7,
    },
}
TALKS = (
    "turns=geometric:mean=4; think=exponential:mean=6s; system=100; first=uniform:low=40,high=200; "
    "user=uniform:low=10,high=50; output=geometric:mean=10"
)
URL = "http://127.0.0.1:9"


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Answer of the command against engines in this process, in no time."""
    (tmp_path / "talks.json").write_text(json.dumps(PROFILE), encoding="utf-8")

    def run(replicas, *arguments, sessions=TALKS, behind=None, **asked):
        profile = load_llm(str(tmp_path / "talks.json"))
        verify_in_virtual_time(monkeypatch, Fleet(profile, replicas=behind or replicas, **asked))
        capsys.readouterr()
        others = [part for number in range(1, replicas) for part in ("--url", f"{URL}/{number}")]
        flags = ["--profile", str(tmp_path / "talks.json"), "--sessions", sessions, "--metrics", "none"]
        with pytest.raises(SystemExit) as ended:
            cli.app(["verify", "--url", URL, *others, *flags, "--precision", "0.1", "--json", *arguments])
        told = capsys.readouterr()
        assert told.out, (ended.value.code, told.err)
        return json.loads(told.out)

    return run


def rows(answer):
    return {row["quantity"]: row for row in answer["rows"]}


def assert_replayed(answer):
    """A replay is what was measured, but for how quantiles are read off and gaps at the ends of what counts."""
    found = rows(answer)
    exact = {name: found[name]["replay"]["error"] for name in ("mean", "ttft-mean", "tpot-mean", "hits")}
    assert exact == pytest.approx(dict.fromkeys(exact, 0.0), abs=1e-6)
    close = {name: found[name]["replay"]["error"] for name in ("p50", "p95", "ttft-p95", "itl-mean")}
    assert close == pytest.approx(dict.fromkeys(close, 0.0), abs=2e-3)
    # Answers that come in time are not quite the requests that do.
    assert found["throughput"]["replay"]["error"] == pytest.approx(0.0, abs=0.01)
    assert not answer["runs"][0]["faults"]
    return found


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_replay_is_what_the_same_caches_did(verify, replicas):
    """Turn by turn: what is said, what a cache has of it, and when the next turn comes."""
    answer = verify(replicas, "--rate", f"{2 * replicas}rps", "--duration", "600s", "--warm-up", "100s")
    found = assert_replayed(answer)
    assert found["hits"]["measured"]["value"] > 0.4
    assert found["hits"]["stationary"]["error"] == pytest.approx(0.0, abs=0.05)
    assert answer["notes"] == [one for one in answer["notes"] if "P99" in one or "KV caches" in one]


@pytest.mark.parametrize(
    "typed", ["session:haproxy", "session:nginx,servers=10.0.0.1:1+10.0.0.2:1+10.0.0.3:1"]
)
def test_a_replay_sends_each_session_where_the_balancer_did(verify, typed):
    """Its names were hashed, and not others that would be spread by other chances."""
    routing, rules = parse_routing(typed)

    def route(name):
        router = ROUTERS[routing](SeenFleet(3, 1, 1, 1.0, 0, rules or RouterRules(), (name,)))
        engines = [SimpleNamespace(index=index) for index in range(3)]
        return router.choose(engines, SimpleNamespace(session=0), [0.0], 0.0).index

    load = ["--rate", "6rps", "--duration", "300s", "--warm-up", "60s"]
    assert_replayed(verify(1, *load, "--replicas", "3", "--routing", typed, behind=3, route=route))


def test_a_recording_is_acted_out_as_it_came(verify, tmp_path):
    """System prompts that sessions share are equal text, and a turn comes some time after the answer before."""
    told = ["session_id,turn,t_s,input_tokens,output_tokens,think_s,group,shared_tokens"]
    for session in range(300):
        given, begins_s = 100, 0.9 * session
        for turn in range(5):
            think = f"{1.5 + turn % 2}" if turn else ""
            told.append(
                f"{session},{turn + 1},{begins_s + 3 * turn:.1f},{given},10,{think},system{session % 2},64"
            )
            given += 27 + session % 5
    (tmp_path / "talks.csv").write_text("\n".join(told), encoding="utf-8")
    answer = verify(1, "--duration", "260s", "--warm-up", "10s", sessions=str(tmp_path / "talks.csv"))
    assert_replayed(answer)


def test_runs_share_no_text():
    """Else the second would find what the first has left in the caches, and be quicker than its replay."""
    first, second = talk((7,) * 9)[0], talk((7,) * 9, salt=2)[0]
    assert not any(one == other for one, other in zip(first, second, strict=True))


def test_a_turn_that_is_refused_ends_its_session(verify):
    answer = verify(1, "--rate", "2rps", "--duration", "200s", refused=10)
    run = answer["runs"][0]
    assert set(run["statuses"]) == {"200", "503"}
    assert run["sent"] < 0.85 * 400.0  # of all turns there would have been


def test_a_router_of_conversations_is_not_played_by_the_client(monkeypatch, tmp_path, capsys):
    (tmp_path / "talks.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    urls = ["--url", URL, "--url", f"{URL}/1", "--routing", "session", "--rate", "2rps"]
    with pytest.raises(SystemExit) as ended:
        cli.app(["verify", "--profile", str(tmp_path / "talks.json"), "--sessions", TALKS, *urls])
    assert ended.value.code == 2
    assert "give the one --url of that" in " ".join(capsys.readouterr().err.split())


def session_of_three():
    return Turns(
        first=np.array([0, 3]),
        input_tokens=np.array([20, 45, 70]),
        output_tokens=np.array([9, 9, 9]),
        think_s=np.zeros(3),
        pace_s=np.zeros(3),
        contents=np.array([-5]),
        at=np.zeros(3, dtype=np.int64),
        listed=np.ones(3, dtype=np.int64),
        private=np.full(3, 1000),
        cut=np.zeros(1, dtype=bool),
    )


def talk(answers, salt=1):
    """Prompts of a session of three turns, each answered by such tokens."""
    conversation = Conversation(name="one", turns=session_of_three(), block_tokens=16, salt=salt)
    prompts = []
    for row in range(3):
        prompts.append(conversation.prompt(row))
        conversation.answered(answers)
    return prompts


def test_a_prompt_repeats_what_the_server_said():
    first, second, third = talk((7,) * 9)
    assert [len(one) for one in (first, second, third)] == [20, 45, 70]
    assert second[:29] == (*first, *(7,) * 9)
    assert third[:54] == (*second, *(7,) * 9)
    assert 7 not in (*first, *second[29:], *third[54:])
    untold = talk(())
    assert untold[0] == first
    assert untold[1][:20] == first
    assert len(untold[2]) == 70


def test_a_router_may_set_a_cookie():
    conversation = Conversation(name="one", turns=None, block_tokens=16, salt=0)
    assert conversation.headers == {"x-session-id": "one"}
    conversation.keep({"Set-Cookie": "SERVER=r2; path=/; HttpOnly"})
    conversation.keep({})
    assert conversation.headers == {"x-session-id": "one", "Cookie": "SERVER=r2"}


class Client:
    """An HTTP client of an emulated engine's application, which keeps what it was sent."""

    def __init__(self, app):
        self.app, self.sent, self.headers = app, [], []

    @asynccontextmanager
    async def posted(self, client, address, body, headers):
        self.sent.append(json.loads(body))
        self.headers.append(headers)
        answer = await ask(self.app, body, path="/v1/completions")
        content = SimpleNamespace(readany=AsyncMock(side_effect=[answer.body, b""]))
        yield SimpleNamespace(status=answer.status, headers={"Set-Cookie": "at=2; path=/"}, content=content)


def test_turns_over_the_streaming_protocol(tmp_path, monkeypatch):
    """Each prompt has the token ids of the answer before, and the server counts what its cache had."""

    async def act():
        profile = load_llm(str(tmp_path / "talks.json"))
        metrics = EngineMetrics("made-up")
        engine = EmulatedEngine(profile, emulated_rules(profile), seed=0, log=StepLog(), metrics=metrics)
        client = Client(OpenAi(Settings(emulate="talks"), engine, metrics).app)
        monkeypatch.setattr("capacity.measurement.completions.posted", client.posted)
        target = Prompts(
            addresses=(parse_address(URL, "--url"),),
            timeout_s=10.0,
            model="made-up",
            seed=0,
            cached_share=0.0,
        )
        conversation = Conversation(name="one", turns=session_of_three(), block_tokens=16, salt=1)
        turns = [Turn(conversation=conversation, row=row) for row in range(3)]
        return client, [await target.exchange(None, target.addresses[0], turn) for turn in turns]

    (tmp_path / "talks.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    client, sent = asyncio.run(act())
    assert [(one.outcome, one.cached_tokens, one.is_untold) for one in sent] == [
        (200, 0.0, False),
        (200, 16.0, False),
        (200, 48.0, False),
    ]
    assert client.sent[2]["prompt"][45:54] == [ANSWER_TOKEN] * 9
    assert client.sent[2]["return_token_ids"]
    assert client.headers == [{"x-session-id": "one"}] + [{"x-session-id": "one", "Cookie": "at=2"}] * 2
