"""Clients of a plan that recovers, as Envoy, Istio and gRPC have them: read back equal to what was simulated."""

import json
from dataclasses import replace
from functools import cache

import pytest
import yaml
from planned import file_document

import capacity as cap
from capacity.answer.saved_plan import SavedPlan, read_plan_file_document
from capacity.answers.recovery import recovery_plan_document
from capacity.errors import InputError
from capacity.render.deploy.registry import render

pytestmark = pytest.mark.usefixtures("no_headroom")

TARGETS = ("envoy", "istio", "grpc")


@cache
def document(**trouble):
    """A saved plan whose clients try again; small, so that it is quick."""
    answer = cap.plan(
        "resnet50-t4-fp16", rate="100rps", slo_p99="100ms", batch_size_max=1, batch_wait="0ms", **trouble
    )
    others = {"recovery": recovery_plan_document(answer.recovery)} if answer.recovery else {}
    return file_document(answer.recommendation, answer.question, answer.effort, others)


def saved(setting=None, **trouble) -> SavedPlan:
    found = document(recover_within="20s", trigger="spike:1.5x,10s", timeout="500ms", **trouble)
    plan = read_plan_file_document(
        json.loads(json.dumps(found | {"schema_version": 1}, default=str)), "plan.json"
    )
    recovery = dict(plan.answer["recovery"]) | {"setting": setting}
    return replace(plan, answer=dict(plan.answer) | {"recovery": recovery})


@pytest.mark.parametrize("target", TARGETS)
def test_a_plan_that_knows_no_clients_is_refused_with_the_mend(target):
    plan = read_plan_file_document(
        json.loads(json.dumps(document() | {"schema_version": 1}, default=str)), "plan.json"
    )
    with pytest.raises(InputError, match="plan with --recover-within 60s --trigger"):
        render(plan, target)


def test_envoy_retries_as_often_and_no_longer():
    read = yaml.safe_load(render(saved(attempts=3), "envoy"))
    policy = read["route"]["retry_policy"]
    assert policy["num_retries"] == 2
    assert policy["per_try_timeout"] == "0.5s"
    assert read["route"]["timeout"] == "1.5s"


def test_a_budget_of_first_tries_is_a_share_of_all_attempts_in_envoy():
    read = yaml.safe_load(render(saved(setting="--retry-budget 0.25", attempts=3), "envoy"))
    threshold = read["cluster"]["circuit_breakers"]["thresholds"][0]
    assert threshold["retry_budget"]["budget_percent"]["value"] == pytest.approx(20.0)  # 0.25/1.25


def test_a_budget_of_concurrent_retries_stays_what_it_is():
    read = yaml.safe_load(render(saved(attempts=3, retry_budget="concurrent:0.2"), "envoy"))
    threshold = read["cluster"]["circuit_breakers"]["thresholds"][0]
    assert threshold["retry_budget"] == {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}


def test_a_setting_of_the_server_is_named():
    assert "The server needs --shed late:10ms as well" in render(
        saved(setting="--shed late:10ms", attempts=3), "envoy"
    )


def test_istio_has_both_objects_and_its_limit_of_retries():
    service, rule = yaml.safe_load_all(render(saved(setting="--retry-budget 0.1", attempts=3), "istio"))
    assert service["spec"]["http"][0]["retries"]["attempts"] == 2
    assert service["spec"]["http"][0]["timeout"] == "1.5s"
    # 0.1 retries a first try at 100 rps, each of which may last 0.5 s: 5 at once
    assert rule["spec"]["trafficPolicy"]["connectionPool"]["http"]["maxRetries"] == 5
    assert service["spec"]["hosts"] == [rule["spec"]["host"]]


def test_grpc_has_a_throttle_of_the_same_ratio():
    read = json.loads(render(saved(setting="--retry-budget 0.1", attempts=3, backoff="50ms:1s"), "grpc"))
    (config,) = read["methodConfig"]
    policy = config["retryPolicy"]
    assert (policy["maxAttempts"], policy["initialBackoff"], policy["maxBackoff"]) == (3, "0.05s", "1s")
    assert read["retryThrottling"] == {"maxTokens": 10, "tokenRatio": 0.1}


def test_grpc_refuses_what_it_does_not_have():
    with pytest.raises(InputError, match="gRPC makes at most 5 attempts, and the plan has 6"):
        render(saved(attempts=6), "grpc")
    with pytest.raises(InputError, match="no budget of concurrent retries"):
        render(saved(attempts=3, retry_budget="concurrent:0.2"), "grpc")
    with pytest.raises(InputError, match="one attempt"):
        render(saved(), "grpc")
