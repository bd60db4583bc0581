"""Routers: `--routing` of conversations, with options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity.errors import InputError
from capacity.question.parse import read_routing
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.search.certificate import SIMPLICITY
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.router import BLOCKS, EXACT, RouterRules, parse_routing, routing_text


def test_names_without_options_have_none() -> None:
    for one in Routing:
        assert parse_routing(one.value) == (one, None)
        assert routing_text(one, None) == one.value


def test_options_are_read_in_si_units() -> None:
    routing, options = parse_routing("prefix:llm-d, index=exact, gate=500ms")
    assert (routing, options) == (Routing.PREFIX_LLM_D, RouterRules(index=EXACT, gate_s=0.5))
    assert parse_routing("prefix:llm-d,index=4000")[1] == RouterRules(index=4000)
    assert parse_routing("prefix:llm-d,index=blocks")[1] == RouterRules(index=BLOCKS)
    assert parse_routing("prefix:llm-d-scores,queue=0,cold=1.5,read=1s")[1] == RouterRules(
        queue=0.0, cold=1.5, read_s=1.0
    )
    assert parse_routing("prefix:sglang,balance-abs=8,balance-rel=1.1,cache-threshold=0.5")[1] == RouterRules(
        balance_abs=8, balance_rel=1.1, cache_threshold=0.5
    )
    assert parse_routing("session-cookie,forget=1min")[1] == RouterRules(forget_s=60.0)
    assert parse_routing("session:nginx,servers=10.0.0.1:80+[::1]:80+unix:/tmp/s")[1] == RouterRules(
        servers=("10.0.0.1:80", "[::1]:80", "unix:/tmp/s")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefix", "--routing 'prefix' is unknown; use one of round-robin, random, "),
        (
            "prefix:llm-d,gates=5s",
            "--routing prefix:llm-d has no option 'gates'; its options and their defaults are index=blocks, gate=18s, "
            "sticky=0.8",
        ),
        ("prefix:llm-d,", "has no option ''"),
        ("prefix:dynamo,index=exact", "--routing prefix:dynamo has no option 'index'; it has none"),
        ("random,seed=1", "--routing random has no option 'seed'; it has none"),
        ("prefix:llm-d,gate=1s,gate=2s", "sets 'gate' twice; keep one"),
        ("prefix:llm-d,gate=5", "--routing prefix:llm-d: gate '5' has no unit; write 5ms or 5s"),
        ("prefix:llm-d,index=0", "index '0' is not blocks, exact or a number of contents, at least 1"),
        ("prefix:llm-d,index=few", "index 'few' is not blocks, exact or a number of contents, at least 1"),
        ("prefix:llm-d,sticky=1.1", "sticky '1.1' is not a share from 0 to 1"),
        ("prefix:llm-d-scores,kv=-1", "kv '-1' is not a number from 0 on"),
        ("prefix:llm-d-scores,read=0s", "read must be > 0, got '0s'"),
        ("session:nginx,servers=a:1+a:1", "servers 'a:1+a:1' names an address twice"),
        ("session:nginx,servers=a:1+", "is not a list of addresses such as 10.0.0.1:8000+10.0.0.2:8000"),
        ("session:haproxy,servers=a:1+b:1", "--routing session:haproxy has no option 'servers'; it has none"),
        ("prefix:sglang,balance-abs=1.5", "balance-abs '1.5' is not a whole number"),
    ],
)
def test_wrong_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_routing(text)
    assert message in str(refusal.value)


@given(
    index=st.sampled_from([BLOCKS, EXACT]) | st.integers(1, 10**9),
    gate_s=st.floats(0.0, 1e6).filter(lambda value: value == 0.0 or value > 1e-9),
    sticky=st.floats(0.0, 1.0).filter(lambda value: value == 0.0 or value > 1e-9),
)
def test_texts_read_back(index: int | str, gate_s: float, sticky: float) -> None:
    options = RouterRules(index=index, gate_s=gate_s, sticky=sticky)
    read = parse_routing(routing_text(Routing.PREFIX_LLM_D, options))
    assert (read[1] or RouterRules()) == options


def test_routers_of_conversations_need_conversations() -> None:
    assert [one for one in Routing if one not in PLAIN_ROUTINGS] == [
        Routing.SESSION,
        Routing.SESSION_COOKIE,
        Routing.SESSION_HAPROXY,
        Routing.SESSION_NGINX,
        *(one for one in Routing if one.by_content),
    ]
    for text in ("session", "prefix:llm-d", "prefix:llm-d,gate=5s"):
        with pytest.raises(
            InputError, match="routes turns of conversations; without them use one of round-robin"
        ):
            read_routing(text)
    with pytest.raises(InputError, match="a fleet of batches has none"):
        BatchPlan(profile="a", replicas=2, batch_size_max=4, routing=Routing.SESSION)


def test_every_routing_has_a_place_among_the_simple_ones() -> None:
    assert sorted(SIMPLICITY) == sorted(one for one in Routing if one.base is one)
