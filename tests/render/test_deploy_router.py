"""Settings of the router that a plan was evaluated with, in the words of its product."""

import pytest

from capacity.question.plan import Routing
from capacity.render.deploy.router import router_notes
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.router import parse_routing


def notes(text: str, replicas: int = 2) -> list[str]:
    routing, rules = parse_routing(text)
    return list(
        router_notes(
            TokenPlan(
                profile="engine", replicas=replicas, sequences_max=8, batched_tokens_max=512,
                routing=routing, router=rules,
            )
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("session", "--routing-logic session --session-key x-session-id"),
        ("session-cookie,forget=60s", "forgotten after 60 s"),
        ("prefix:production-stack", "--routing-logic prefixaware"),
        ("prefix:llm-d,gate=5s", "a gate of 5 s of prefill"),
        (
            "prefix:llm-d-scores,match=4",
            "queue-scorer 2, kv-cache-utilization-scorer 2, prefix-cache-scorer 4",
        ),
        ("prefix:sglang,balance-abs=32", "--balance-abs-threshold 32 --balance-rel-threshold 1.5"),
        ("prefix:dynamo", "--router-mode kv"),
        ("prefix:llm-d,index=1000", "an index of 1000 contents"),
    ],
)
def test_each_router_is_set_as_the_plan_was_evaluated(text: str, setting: str) -> None:
    told, other = notes(text)
    assert setting in told
    assert "plan with its --routing" in other


def test_every_router_of_conversations_has_its_settings() -> None:
    assert all(len(notes(one.value)) == 2 for one in Routing if one.needs_sessions)


def test_one_replica_and_other_routings_need_none() -> None:
    assert notes("session", replicas=1) == notes("random") == []
