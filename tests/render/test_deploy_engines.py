"""Files for gateways and vLLM from plans for a language model, line by line, and plans that are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from planned import ENGINES, TOKEN_LIMITS
from questions import engine_question
from shown import unwrapped

from capacity.answer.saved_engines import LENGTHS_MAX
from capacity.answer.saved_plan import (
    SavedPlan,
    check_plan_target,
    plan_file_document,
    read_plan_file_document,
)
from capacity.errors import InputError
from capacity.profile.formats import digest
from capacity.profile.llm import Engine, LlmProfile, Scheduler
from capacity.profile.load import load_llm
from capacity.profile.speculation import Drafter, Speculation
from capacity.question.budget import Effort
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.render.deploy.registry import render
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import ClosedPopulation, Workload

LINE = load_llm(Path(__file__).parents[1] / "kept" / "files" / "line.json")
CLIENTS: dict[str, Any] = {"timeout_s": 2.0, "attempts": 3, "retried": ["rejected", "timed_out"]}


def question(profile: LlmProfile = LINE, rows: int = 2) -> Question:
    return engine_question(
        profiles=(profile,),
        workload=Workload(arrival_rate_rps=40.0),
        lengths=LengthRows((28,) * rows, (37,) * rows, "lengths", 0),
        objective=TOKEN_LIMITS,
    )


def document(
    profile: LlmProfile = LINE, plan: TokenPlan | None = ENGINES, recovery: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a saved plan holds, recommended or not."""
    recommendation = None
    if plan is not None:
        names = ("profile", "replicas", "sequences_max", "batched_tokens_max")
        recommendation = {name: getattr(plan, name) for name in names} | {"routing": plan.routing.value}
    answer = {"verdict": "met" if plan else "missed", "recommendation": recommendation}
    if recovery is not None:
        answer["recovery"] = recovery
    return plan_file_document(question(profile), Effort(seed=7), None, answer) | {"schema_version": 1}


def saved(profile: LlmProfile = LINE, plan: TokenPlan | None = ENGINES, **recovery: Any) -> SavedPlan:
    return read_plan_file_document(document(profile, plan, recovery or None), "plan.json")


def recovers(setting: str | None = None, **clients: Any) -> SavedPlan:
    return saved(chosen={}, setting=setting, clients=CLIENTS | clients)


EVALUATED = """\
# Written by: capacity render plan.json --target {}
# Evaluated:  3 engines of line, 16 sequences, 512 tokens a step, round-robin routing, at 40 rps, seed 7;
#     objective TTFT P99 <= 500 ms, TPOT mean <= 10 ms: met.
#
"""


def test_envoy_enforces_the_queue_limit_that_engines_lack() -> None:
    """3 engines with 16 sequences and 20 waiting requests each: 108 requests."""
    assert (
        render(recovers("--queue-limit 20"), "envoy")
        == EVALUATED.format("envoy")
        + """\
# - Clients: 3 attempts of 2 s each, budget none; the fleet recovers with --queue-limit 20.
# - The server needs --queue-limit 20 as well: that is not a setting of clients.
# - Envoy always waits before a retry, 25 ms or less at first; the plan was evaluated with retries at once.
# - Routing: Envoy routes by itself in each proxy or client, and many of them come to random routing; plan
#   with --routing random to evaluate that.
# - The limits are those of one Envoy: with several in front of the fleet, share them out among them.
# - Not set by this file: 3 engines (--target keda, kserve or kubernetes); 16 sequences and 512 tokens a step
#   in each engine (--target kserve, kubernetes or vllm).
route:
  timeout: 6s # of all attempts together
  retry_policy:
    retry_on: retriable-status-codes,gateway-error
    retriable_status_codes: [503]
    num_retries: 2
    per_try_timeout: 2s
    retry_back_off: {base_interval: 0.025s, max_interval: 0.25s}
cluster:
  lb_policy: ROUND_ROBIN
  circuit_breakers:
    thresholds:
      - priority: DEFAULT
        max_requests: 108 # queues and batches of all replicas
        max_pending_requests: 108 # until they have a connection; the replicas have the queues
        max_connections: 216 # for both
        max_retries: 108 # at once; the plan was evaluated without a retry budget
"""
    )


def test_istio_enforces_the_queue_limit_that_engines_lack() -> None:
    """2 retries of each of the 48 requests that 3 engines of 16 sequences serve at once: 96."""
    text = render(recovers("--queue-limit 20", deadline_s=5.0), "istio")
    assert text.startswith(EVALUATED.format("istio"))
    service, rule = yaml.safe_load_all(text)
    http = rule["spec"]["trafficPolicy"]["connectionPool"]["http"]
    assert http == {"maxRetries": 96, "http2MaxRequests": 108}
    assert service["spec"]["http"][0]["timeout"] == "5s"
    assert service["spec"]["http"][0]["retries"] == {
        "attempts": 2, "perTryTimeout": "2s", "retryOn": "503,gateway-error"
    }  # fmt: skip
    assert rule["spec"]["trafficPolicy"]["outlierDetection"] == {
        "consecutive5xxErrors": 5, "interval": "10s", "baseEjectionTime": "30s", "maxEjectionPercent": 10
    }  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "at_once"),
    [
        # A fifth of all attempts is a quarter of the first tries: 10 a second, each of which may last 2 s.
        ({"kind": "concurrent", "ratio": 0.2}, 20),
        ({"kind": "first-tries", "ratio": 0.25}, 20),
        ({"kind": "successes", "ratio": 3.5, "cost": 14.0}, 20),
        ({"kind": "first-tries", "ratio": 0.05}, 4),
        ({"kind": "first-tries", "ratio": 0.01}, 3),  # Envoy and Istio always let 3 pass
    ],
)
def test_a_retry_budget_becomes_a_number_of_concurrent_retries(budget: dict[str, Any], at_once: int) -> None:
    _, rule = yaml.safe_load_all(render(recovers(budget=budget), "istio"))
    http = rule["spec"]["trafficPolicy"]["connectionPool"]["http"]
    assert http == {"maxRetries": at_once}


@pytest.mark.parametrize(("target", "proxy"), [("envoy", "Envoy"), ("istio", "Istio")])
def test_proxies_have_no_budget_that_failures_throttle(target: str, proxy: str) -> None:
    budget = {"kind": "throttle", "ratio": 0.1, "tokens": 10.0}
    text = unwrapped(render(recovers(budget=budget), target))
    note = (
        f"- {proxy} has no budget that failures throttle, which is what was evaluated: a few retries at once"
    )
    assert note in text
    assert "budget throttle 0.1; the fleet recovers." in text
    assert "stand in for it. Plan with --retry-budget concurrent:0.2 to evaluate what it has." in text


def test_three_retries_at_once_stand_in_for_a_budget_that_failures_throttle() -> None:
    plan = recovers(budget={"kind": "throttle", "ratio": 0.1, "tokens": 10.0})
    _, rule = yaml.safe_load_all(render(plan, "istio"))
    assert rule["spec"]["trafficPolicy"]["connectionPool"]["http"] == {"maxRetries": 3}
    (threshold,) = yaml.safe_load(render(plan, "envoy"))["cluster"]["circuit_breakers"]["thresholds"]
    assert threshold["max_retries"] == 3
    assert "retry_budget" not in threshold


def test_envoy_uses_the_backoff_of_the_clients() -> None:
    backoff = {"initial_s": 0.1, "max_s": 1.0}
    text = render(recovers(backoff=backoff, retried=["crashed"]), "envoy")
    policy = yaml.safe_load(text)["route"]["retry_policy"]
    assert policy["retry_back_off"] == {"base_interval": "0.1s", "max_interval": "1s"}
    assert policy["retry_on"] == "connect-failure,refused-stream,reset"
    assert "Envoy always waits" not in text


def test_clients_that_were_edited_are_refused() -> None:
    with pytest.raises(InputError, match=r"setting has no number of requests; make the plan again"):
        render(recovers("--queue-limit many"), "envoy")
    with pytest.raises(InputError, match=r"answer.recovery.clients is missing; make the plan again"):
        render(saved(chosen={}), "envoy")
    for answer in (saved(), saved(chosen=None)):
        with pytest.raises(InputError, match="--target envoy is about; plan with --recover-within 60s"):
            render(answer, "envoy")


BIG = replace(
    LINE,
    devices=4,
    all_reduce=True,
    tensor_parallel=4,
    device=None,
    model="the model's",
    engine=Engine(
        name="vLLM", version="0.9", chunked_prefill=False, async_scheduling=True, prefix_caching=False
    ),
)


def test_the_command_of_vllm() -> None:
    """16,384 tokens of cache are 1,024 blocks of 16; a request has 28 + 37 tokens."""
    one = replace(ENGINES, replicas=1, routing=Routing.LEAST_OUTSTANDING)
    recovery = {"chosen": {}, "setting": "--queue-limit 20", "clients": CLIENTS}
    assert render(saved(BIG, one, **recovery), "vllm").splitlines() == [
        "# 1 replica of this command behind least-outstanding,",
        "# evaluated at 40 rps:",
        "# TTFT P99 <= 500 ms, TPOT mean <= 10 ms.",
        "# Steps were measured on a device that the profile does not name with vLLM 0.9; another version or device",
        "#     needs a profile of its own.",
        "# Replace the model by the name you serve it under.",
        "# The engine's log must tell of a KV cache of at least 16384 tokens, which the plan was evaluated with.",
        "# The fleet recovers only with --queue-limit 20, at each engine; --max-num-queued-reqs, of vLLM 0.29 and",
        "#     later, counts the 16 that run as well. A gateway can hold the limit: --target envoy.",
        "# Not set by this file: 3 attempts of 2 s each, retries at once and no retry budget (--target envoy, grpc or",
        "#     istio); retries only of rejected or timed_out attempts (--target envoy or istio).",
        "vllm serve 'the model'\\''s' \\",
        "  --max-num-seqs 16 \\",
        "  --max-num-batched-tokens 512 \\",
        "  --max-model-len 65 \\",
        "  --block-size 16 \\",
        "  --tensor-parallel-size 4 \\",
        "  --no-enable-prefix-caching \\",
        "  --no-enable-chunked-prefill \\",
        "  --async-scheduling",
    ]
    text = render(saved(replace(LINE, model=None)), "vllm")
    assert text.startswith("# 3 replicas of this command behind round-robin,\n")
    assert "vllm serve 'MODEL' \\\n" in text
    for absent in ("--tensor-parallel-size", "recovers only", " with vLLM"):
        assert absent not in text
    assert text.endswith("  --enable-prefix-caching \\\n  --enable-chunked-prefill\n")
    for unmeasured in ("async-scheduling", "num-gpu-blocks-override"):
        assert unmeasured not in text


LLAMA = replace(LINE, engine=Engine(scheduler=Scheduler.LLAMA_CPP))


def test_each_engine_has_a_target_of_its_own() -> None:
    with pytest.raises(InputError) as refused:
        render(saved(LLAMA), "vllm")
    assert str(refused.value) == (
        "the plan was evaluated with the rules of llama-cpp, and --target vllm is for those of vllm-v1; "
        "use --target llama-server"
    )
    with pytest.raises(
        InputError,
        match=r"--target llama-server is for those of llama-cpp; use --target inference-pool, keda, kserve, kubernetes, prometheus or vllm",
    ):
        render(saved(), "llama-server")
    with pytest.raises(
        InputError,
        match="for those of vllm-v1; use --target inference-pool, keda, kubernetes, prometheus or sglang",
    ):
        render(saved(SGLANG), "vllm")
    with pytest.raises(
        InputError, match=r"of vllm-v1@0.19, and --target sglang is for those of sglang; use "
    ):
        render(saved(), "sglang")


def test_commands_of_engines_say_what_the_fleet_survives() -> None:
    plan = saved()
    survives = replace(plan, question=replace(plan.question, survival=Survival(spare=1)))
    line = "# TTFT P99 <= 500 ms, TPOT mean <= 10 ms, and with 1 replica gone."
    assert line in render(survives, "vllm").splitlines()


def test_the_command_of_llama_server() -> None:
    """16 slots, each with a sixteenth of 16,384 tokens."""
    assert render(saved(replace(LLAMA, model="org/model")), "llama-server").splitlines() == [
        "# 3 replicas of this command behind round-robin,",
        "# evaluated at 40 rps:",
        "# TTFT P99 <= 500 ms, TPOT mean <= 10 ms.",
        "# Steps were measured on a device; another version or device needs a profile of its own.",
        "# Replace model.gguf by the file of the model.",
        "# Each slot has 1024 tokens of the context, which longer requests do not fit.",
        "llama-server --model model.gguf \\",
        "  --alias 'org/model' \\",
        "  --parallel 16 \\",
        "  --batch-size 512 \\",
        "  --ctx-size 16384",
    ]


SGLANG = replace(LINE, engine=Engine(name="SGLang", version="0.5.23", scheduler=Scheduler.SGLANG))


def test_the_command_of_sglang() -> None:
    """Requests of 65 tokens: SGLang ends an answer 2 tokens before its context, and takes prompts 7 shorter."""
    assert render(saved(SGLANG), "sglang").splitlines() == [
        "# 3 replicas of this command behind round-robin,",
        "# evaluated at 40 rps:",
        "# TTFT P99 <= 500 ms, TPOT mean <= 10 ms.",
        "# Steps were measured on a device with SGLang 0.5.23; another version or device needs a profile of its own.",
        "# Replace the model by the name you serve it under.",
        "# The engine's log must tell of a max_total_num_tokens of 16384 or more, which the plan was evaluated with.",
        "python3 -m sglang.launch_server --model-path 'a model' --host 0.0.0.0 --port 8000 \\",
        "  --max-running-requests 16 \\",
        "  --chunked-prefill-size 512 \\",
        "  --max-prefill-tokens 512 \\",
        "  --context-length 71 \\",
        "  --page-size 16 \\",
        "  --schedule-policy fcfs \\",
        "  --enable-metrics",
    ]


def test_sglang_is_told_what_is_not_usual() -> None:
    """A queue limit counts those that wait alone; what the profile does not know is no setting."""
    unusual = replace(
        SGLANG.engine,
        chunked_prefill=False,
        async_scheduling=False,
        prefix_caching=False,
        mixed_chunk=True,
    )
    profile = replace(SGLANG, devices=4, all_reduce=True, tensor_parallel=4, engine=unusual)
    recovery = {"chosen": {}, "setting": "--queue-limit 20", "clients": CLIENTS}
    text = render(saved(profile, **recovery), "sglang")
    given = [line.strip(" \\") for line in text.splitlines() if line.startswith("  --")]
    assert given == [
        "--max-running-requests 16", "--chunked-prefill-size -1", "--max-prefill-tokens 512", "--context-length 71",
        "--page-size 16", "--schedule-policy fcfs", "--max-queued-requests 20", "--tensor-parallel-size 4",
        "--disable-radix-cache", "--disable-overlap-schedule", "--enable-mixed-chunk", "--enable-metrics",
    ]  # fmt: skip
    assert (
        "The fleet recovers only with --queue-limit 20, at each engine; --max-queued-requests counts those that wait "
        "alone, as the plan does." in text.replace("\n#     ", " ")
    )
    ahead = replace(SGLANG, engine=replace(SGLANG.engine, async_scheduling=True))
    for known in (SGLANG, ahead):
        text = render(saved(known), "sglang")
        for unknown in ("overlap", "max-total-tokens", "mem-fraction", "radix", "mixed", "tensor"):
            assert unknown not in text


def test_an_answer_without_a_plan_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"plan\.json holds no plan: its verdict is missed; change the question"
    ):
        render(saved(plan=None), "vllm")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": "a plan"}, r"its format is not capacity-plan\)"),
        ({"schema_version": 0}, "schema_version must be 1; a newer capacity"),
        ({"schema_version": 2}, "schema_version must be 1; a newer capacity"),
        ({"sha256": "0"}, r"edited since it was saved \(its sha256 does not fit\)"),
    ],
)
def test_files_that_are_not_plans_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_plan_file_document(document() | changed, "plan.json")


def signed_again(found: dict[str, Any]) -> dict[str, Any]:
    """The file with a digest that fits its changes."""
    return found | {
        "sha256": digest(
            {key: found[key] for key in ("question", "effort", "certificate", "answer") if key in found}
        )
    }


def test_a_plan_that_an_older_version_saved_without_its_confirmation_is_read() -> None:
    found = document()
    del found["certificate"]
    assert read_plan_file_document(signed_again(found), "plan.json") == saved()
    with pytest.raises(InputError, match="edited since it was saved"):
        read_plan_file_document(found, "plan.json")


def test_an_edited_profile_is_refused() -> None:
    found = document()
    found["question"]["profiles"][0]["profile"]["kv"]["tokens"] = 1024
    with pytest.raises(InputError, match=r"question.profiles\[0\] of \S+ was edited after the plan was made"):
        read_plan_file_document(signed_again(found), "plan.json")


def test_a_plan_for_users_has_no_rate_to_render() -> None:
    found = document()
    found["question"]["workload"] = {"users": 8, "think_time_s": 1.0}
    saved = read_plan_file_document(signed_again(found), "plan.json")
    assert saved.question.workload == ClosedPopulation(users=8, think_time_s=1.0)
    with pytest.raises(InputError, match="was made for 8 users, and this target needs an arrival rate"):
        render(saved, "vllm")


def test_a_queue_limit_of_a_plan_counts_who_runs_too() -> None:
    found = document()
    found["question"]["queue_limit"] = found["answer"]["recommendation"]["queue_limit"] = 20
    saved = read_plan_file_document(signed_again(found), "plan.json")
    assert saved.question.space.queue_limit == 20
    text = render(saved, "vllm")
    assert f"--max-num-queued-reqs {saved.plan.sequences_max + 20}" in text
    assert "The plan has --queue-limit 20" in text


def test_a_saved_plan_holds_at_most_200_000_lengths() -> None:
    assert LENGTHS_MAX == 200_000
    check_plan_target(Path("plan.json"), question(rows=200_000))
    with pytest.raises(InputError, match="lengths has more than 200000 rows, too many for a saved plan"):
        check_plan_target(Path("plan.json"), question(rows=200_001))


def grpc(**clients: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    read = json.loads(render(recovers(**clients), "grpc"))
    (config,) = read["methodConfig"]
    return config, read.get("retryThrottling")


def test_grpc_has_the_attempts_and_the_backoff_of_the_clients() -> None:
    config, throttle = grpc(attempts=5)
    assert throttle is None
    assert config["timeout"] == "10s"
    assert config["retryPolicy"] == {
        "maxAttempts": 5, "initialBackoff": "0.025s", "maxBackoff": "0.25s", "backoffMultiplier": 2.0,
        "retryableStatusCodes": ["UNAVAILABLE"], "perAttemptRecvTimeout": "2s",
    }  # fmt: skip
    config, _ = grpc(attempts=2, deadline_s=3.0, backoff={"initial_s": 0.1, "max_s": 1.0, "multiplier": 1.5})
    policy = config["retryPolicy"]
    assert config["timeout"] == "3s"
    names = ("maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier")
    assert [policy[name] for name in names] == [2, "0.1s", "1s", 1.5]


@pytest.mark.parametrize(
    ("budget", "throttle"),
    [
        ({"kind": "first-tries", "ratio": 0.12345}, {"maxTokens": 10, "tokenRatio": 0.123}),
        ({"kind": "successes", "ratio": 7.0, "cost": 14.0}, {"maxTokens": 10, "tokenRatio": 0.5}),
        ({"kind": "throttle", "ratio": 0.1, "tokens": 25.0}, {"maxTokens": 25, "tokenRatio": 0.1}),
        ({"kind": "throttle", "ratio": 0.1, "tokens": 1e6}, {"maxTokens": 1000, "tokenRatio": 0.1}),
    ],
)
def test_grpc_throttles_by_failures(budget: dict[str, Any], throttle: dict[str, Any]) -> None:
    assert grpc(budget=budget)[1] == throttle


def test_a_drafter_is_set_where_the_profile_names_it() -> None:
    named = Speculation(
        draft_tokens=3, acceptance_length=2.5, method=Drafter.EAGLE3, model="yuhuili/EAGLE3-LLaMA3.1"
    )
    text = render(saved(replace(LINE, speculation=named)), "vllm")
    assert text.endswith(
        "  --speculative-config.method eagle3 \\\n"
        "  --speculative-config.model yuhuili/EAGLE3-LLaMA3.1 \\\n"
        "  --speculative-config.num_speculative_tokens 3\n"
    )
    ngram = render(saved(replace(LINE, speculation=replace(named, method=Drafter.NGRAM, model=None))), "vllm")
    assert ngram.endswith(
        "  --speculative-config.method ngram \\\n  --speculative-config.num_speculative_tokens 3\n"
    )
    for unnamed in (replace(named, model=None), replace(named, method=None)):
        text = render(saved(replace(LINE, speculation=unnamed)), "vllm")
        assert "# The plan drafts 3 tokens a step: add --speculative-config" in text
        assert "--speculative-config." not in text
