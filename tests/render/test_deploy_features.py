"""Every feature of a plan in every target: its file sets it, its notes speak of it, it is said to be set elsewhere, or refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from planned import autoscaled, recovery, saved_plan
from shown import unwrapped
from test_deploy_engines import LINE, recovers, saved

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Spike, Survival
from capacity.render.deploy.features import Feature, features_of
from capacity.render.deploy.fleet import read_fleet
from capacity.render.deploy.registry import TARGETS, render
from capacity.server.batch.batching import Batching

COLUMNS = [
    "triton", "ray-serve", "bentoml", "serve-api", "kubernetes", "keda", "kserve", "compose", "k6",
    "prometheus", "envoy", "istio", "grpc", "haproxy", "nginx",
]  # fmt: skip
# W: written into the file; S: the target's own notes say what to do; E: the header says that it is set elsewhere;
# R: refused.
TABLE = {
    #                        tri ray ben srv k8s ked ksv cmp k6  prm env ist grp hap ngx
    Feature.REPLICAS:        "S   W   S   S   W   W   W   W   E   E   E   E   E   S   S",
    Feature.ROUTING:         "S   S   S   S   S   E   S   S   E   E   W   W   W   W   W",
    Feature.SLOW_START:      "E   E   E   E   E   E   E   E   E   E   W   E   E   W   S",
    Feature.BATCH_SIZE:      "W   W   W   W   E   E   E   E   E   E   E   E   E   E   E",
    Feature.BATCH_WAIT:      "W   W   S   W   E   E   E   E   E   E   E   E   E   E   E",
    Feature.PREFERRED_SIZES: "W   S   E   S   E   E   E   E   E   E   E   E   E   E   E",
    Feature.BATCHING:        "S   S   S   S   E   E   E   E   E   E   E   E   E   E   E",
    Feature.INSTANCES:       "W   W   W   E   E   E   E   E   E   E   E   E   E   E   E",
    Feature.QUEUE_LIMIT:     "W   W   W   W   E   E   W   E   E   E   W   W   E   W   W",
    Feature.OUTSTANDING_MAX: "E   W   E   E   E   E   W   E   E   E   S   E   E   W   S",
    Feature.SHED_LATE:       "W   S   S   W   E   E   E   E   E   E   S   S   S   E   E",
    Feature.SHED_CODEL:      "R   R   R   R   E   E   E   E   E   E   S   S   S   E   E",
    Feature.SHED_LIFO:       "R   R   R   R   E   E   E   E   E   E   S   S   S   E   E",
    Feature.SPARE:           "E   E   E   E   W   E   E   E   E   E   E   E   E   E   E",
    Feature.ZONES:           "E   E   E   E   W   E   E   E   E   E   E   E   E   E   E",
    Feature.UPDATES:         "E   E   E   E   W   E   E   E   E   E   E   E   E   E   E",
    Feature.GROWTH:          "E   W   S   E   W   W   W   E   E   E   E   E   E   E   E",
    Feature.AUTOSCALER:      "E   E   E   E   W   W   E   E   E   E   E   E   E   E   E",
    Feature.ATTEMPTS:        "E   E   E   E   E   E   E   E   E   E   W   W   W   S   S",
    Feature.BACKOFF:         "E   E   E   E   E   E   E   E   E   E   W   W   W   S   S",
    Feature.BUDGET:          "E   E   E   E   E   E   E   E   E   E   W   W   W   S   S",
    Feature.RETRIED:         "E   E   E   E   E   E   E   E   E   E   W   W   S   S   S",
    Feature.DEADLINE:        "E   E   E   E   E   E   E   E   E   E   W   W   W   S   S",
}  # fmt: skip
# Of each feature a plan that has it, the words for it, and a plan that differs in nothing else.
PLANS: dict[Feature, tuple[dict[str, Any], str, dict[str, Any]]] = {
    Feature.REPLICAS: ({"replicas": 6}, "6 replicas", {"replicas": 7}),
    Feature.ROUTING: (
        {"routing": Routing.LEAST_OUTSTANDING}, "least-outstanding routing", {"routing": Routing.ROUND_ROBIN},
    ),
    Feature.BATCH_SIZE: ({"batch_size_max": 16}, "batches up to 16", {"batch_size_max": 12}),
    Feature.BATCH_WAIT: ({"batch_wait_max_s": 0.005}, "a batch wait of 5 ms", {"batch_wait_max_s": 0.007}),
    Feature.PREFERRED_SIZES: ({"preferred_sizes": (4, 8)}, "preferred sizes 4, 8", {}),
    Feature.BATCHING: ({"batching": Batching.RAY_SERVE}, "ray-serve batching", {}),
    Feature.INSTANCES: (
        {"instances_per_device": 2, "replicas": 6}, "2 replicas on each device", {"instances_per_device": 3, "replicas": 6},
    ),
    Feature.QUEUE_LIMIT: ({"queue_limit": 20}, "a queue limit of 20", {"queue_limit": 24}),
    Feature.OUTSTANDING_MAX: (
        {"outstanding_max": 40}, "at most 40 requests outstanding at each replica", {"outstanding_max": 41},
    ),
    Feature.SLOW_START: (
        {"recovery": recovery(flags=("--slow-start", "30s"))}, "a slow start of 30 s for replicas that come back",
        {"recovery": recovery("--slow-start 60s")},
    ),
    Feature.SHED_LATE: (
        {"recovery": recovery("--shed late:12.4ms")}, "--shed late:12.4ms", {"recovery": recovery("--shed late:20ms")},
    ),
    Feature.SHED_CODEL: ({"recovery": recovery("--shed codel")}, "--shed codel", {}),
    Feature.SHED_LIFO: ({"recovery": recovery("--shed lifo")}, "--shed lifo", {}),
    Feature.SPARE: ({"survival": Survival(spare=2)}, "at most 2 replicas gone at once", {}),
    Feature.ZONES: (
        {"survival": Survival(zones=3), "replicas": 6}, "replicas spread evenly over 3 zones", {"replicas": 6},
    ),
    Feature.UPDATES: (
        {"survival": Survival(unavailable_share=0.4)}, "updates of at most 40 % of the replicas at once", {},
    ),
    Feature.GROWTH: (
        {"survival": Survival(spike=Spike(factor=3.0, startup_time_s=20.0))},
        "new replicas that serve within 20 s of a spike of 3x",
        {"survival": Survival(spike=Spike(factor=4.0, startup_time_s=20.0))},
    ),
    Feature.AUTOSCALER: (
        {"autoscaled": autoscaled()}, "an autoscaler at utilization:0.65 with 2 to 7 replicas",
        {"autoscaled": autoscaled(replicas_max=8)},
    ),
    Feature.ATTEMPTS: (
        {"recovery": recovery(attempts=3)}, "3 attempts of 500 ms each", {"recovery": recovery(attempts=4)},
    ),
    Feature.BACKOFF: (
        {"recovery": recovery(backoff={"initial_s": 0.1, "max_s": 1.0})}, "a backoff of 100 ms up to 1 s",
        {"recovery": recovery(backoff={"initial_s": 0.2, "max_s": 1.0})},
    ),
    Feature.BUDGET: (
        {"recovery": recovery("--retry-budget 0.25")}, "a retry budget (first-tries 0.25)",
        {"recovery": recovery("--retry-budget 0.5")},
    ),
    Feature.RETRIED: (
        {"recovery": recovery(retried=["crashed"])}, "retries only of crashed attempts",
        {"recovery": recovery(retried=["crashed", "rejected"])},
    ),
    Feature.DEADLINE: (
        {"recovery": recovery(deadline_s=1.2)}, "a deadline of 1.2 s for all attempts", {"recovery": recovery()},
    ),
}  # fmt: skip


def parts(text: str) -> tuple[str, str, str]:
    """The settings of a file, the target's own notes, and the note on what is not set."""
    if text.startswith("{"):
        read = json.loads(text)
        notes = read.pop("comment")
        return json.dumps(read), " ".join(notes[:-1]), notes[-1]
    comments = [line for line in text.splitlines() if line.startswith(("#", "//"))]
    settings = [line for line in text.splitlines() if not line.startswith(("#", "//"))]
    notes = unwrapped("\n".join(comments)).partition(": met.")[2]
    own, mark, unset = notes.partition("- Not set by this file")
    return "\n".join(settings), own, mark + unset


def plan_of(given: dict[str, Any]) -> SavedPlan:
    """A plan that recovers as it is, and has nothing else that is unusual."""
    usual: dict[str, Any] = {"recovery": recovery(), "queue_limit": None}
    return saved_plan(**usual | given)


CASES = [
    (feature, target, kind)
    for feature, row in TABLE.items()
    for target, kind in zip(COLUMNS, row.split(), strict=True)
]


def test_the_table_has_every_feature_and_every_target() -> None:
    """A new target or feature needs a column or a row."""
    assert {*COLUMNS, "vllm", "sglang", "llama-server", "inference-pool", "guidellm", "aiperf"} == set(
        TARGETS
    )
    assert {*TABLE, Feature.ENGINE, Feature.SHED_NEW} == set(Feature)  # which fleets of batches have not
    for feature, target, kind in CASES:
        covers = TARGETS[target][0].COVERS
        assert [feature in covers.sets, feature in covers.says, feature in covers.refuses] == [
            kind == "W", kind == "S", kind == "R"
        ], (feature.name, target)  # fmt: skip


@pytest.mark.parametrize("feature", TABLE, ids=lambda one: one.name)
def test_nothing_is_left_out_in_silence(feature: Feature) -> None:
    given, words, other = PLANS[feature]
    plan, another = plan_of(given), plan_of(other)
    for target, kind in zip(COLUMNS, TABLE[feature].split(), strict=True):
        if kind == "R":
            with pytest.raises(InputError, match=f"--target {target} has no {words}"):
                render(plan, target)
            continue
        settings, own, unset = parts(render(plan, target))
        assert (words in unset) is (kind == "E"), target
        if kind == "W":
            assert settings != parts(render(another, target))[0], target
        elif kind == "S":
            assert own != parts(render(another, target))[1], target


def test_triton_turns_away_whoever_has_too_little_left() -> None:
    """The client waits for 500 ms, so that 12.4 ms are left after a wait of 487.6 ms."""
    text = render(saved_plan(queue_limit=None, recovery=recovery("--shed late:12.4ms")), "triton")
    assert "timeout_action: REJECT" in text
    assert "default_timeout_microseconds: 487600" in text
    assert "max_queue_size" not in text
    told = unwrapped(text)
    assert (
        "what has waited 488 ms, as its client waits for 500 ms and would have less than 12.4 ms left" in told
    )


@pytest.mark.parametrize(
    ("given", "wait_s"),
    [
        ({"recovery": recovery("--shed late:12.4ms")}, 0.4876),
        ({"recovery": recovery(flags=("--shed", "late:12.4ms"))}, 0.4876),
        ({"recovery": recovery("--shed late:12.4ms", deadline_s=0.2)}, 0.1876),
        ({"recovery": recovery(flags=("--shed", "late"))}, 0.49),  # batches take 10 ms
        ({"recovery": recovery("--shed lifo")}, None),
        ({"recovery": recovery("--queue-limit 20"), "queue_limit": 20}, None),  # nobody evaluated a timeout as well
        ({"queue_limit": 20}, 0.05),
        ({"queue_limit": None}, None),
    ],
    ids=str,
)  # fmt: skip
def test_how_long_a_request_may_wait(given: dict[str, Any], wait_s: float | None) -> None:
    found = read_fleet(saved_plan(**given)).wait_limit_s
    assert found == (None if wait_s is None else pytest.approx(wait_s))


def test_the_reference_server_and_bentoml_turn_away_as_well() -> None:
    late = saved_plan(recovery=recovery("--shed late:12.4ms"))
    assert "SERVE_DEADLINE=487.6ms\n" in render(late, "serve-api")
    assert "max_latency_ms=500)" in render(late, "bentoml")  # BentoML subtracts what a batch takes
    alone = unwrapped(
        render(saved_plan(batch_size_max=1, recovery=recovery("--shed late:12.4ms")), "bentoml")
    )
    assert "no such setting without batches; in predict, refuse what has waited 488 ms" in alone
    assert "max_latency_ms" not in render(saved_plan(recovery=recovery()), "bentoml")
    assert "refuse at once what has waited 488 ms" in unwrapped(render(late, "ray-serve"))
    assert "deadline of 2 s for all attempts" in unwrapped(
        render(saved_plan(recovery=recovery("--shed late:12.4ms", deadline_s=2.0)), "triton")
    )


def test_what_saves_a_fleet_is_marked() -> None:
    for setting, given in (
        ("--shed late:12.4ms", {}),
        ("--queue-limit 20", {"queue_limit": 20}),
        ("--retry-budget 0.1", {}),
    ):
        fleet = read_fleet(saved_plan(**given, recovery=recovery(setting)))
        marked = [words for words in features_of(fleet).values() if "does not recover" in words]
        assert len(marked) == 1, setting
    assert not any("does not recover" in one for one in features_of(read_fleet(saved_plan())).values())


def test_kserve_cuts_nothing_off_that_its_client_waits_for() -> None:
    assert "timeout: 1 #" in render(saved_plan(), "kserve")
    assert "timeout: 5 #" in render(saved_plan(recovery=recovery(timeout_s=5.0)), "kserve")
    none = Objective.of(response_mean=0.02)
    assert "timeout: 60 #" in render(saved_plan(objective=none), "kserve")


def test_vllm_counts_what_runs_and_what_waits() -> None:
    """16 sequences run, and 20 wait: vLLM counts both together, and answers 503 beyond."""
    text = render(recovers("--queue-limit 20"), "vllm")
    assert "  --max-num-queued-reqs 36 \\\n" in text
    assert "counts the 16 that run as well" in unwrapped(text)
    told = "Not set by this file: 3 attempts of 2 s each, retries at once and no retry budget (--target envoy, grpc or"
    assert told in unwrapped(text)
    for other in (recovers(), recovers("--retry-budget 0.1"), saved()):
        assert "--max-num-queued-reqs" not in render(other, "vllm")


@pytest.mark.parametrize(
    ("version", "holds"), [("0.19.0", False), ("0.28.1", False), ("0.29.0", True), (None, True)]
)
def test_a_limit_that_a_version_of_vllm_does_not_know_is_said_and_not_written(
    version: str | None, *, holds: bool
) -> None:
    plan = recovers("--queue-limit 20")
    engine = replace(plan.profile.engine, name="vllm", version=version)
    measured = replace(plan.profile, engine=engine)
    text = render(replace(plan, question=replace(plan.question, profiles=(measured,))), "vllm")
    assert ("  --max-num-queued-reqs 36 \\\n" in text) is holds
    assert "--max-num-queued-reqs, of vLLM 0.29 and later" in unwrapped(text)


@pytest.mark.parametrize("target", ["envoy", "istio", "grpc"])
def test_gateways_say_what_the_engines_need(target: str) -> None:
    unset = parts(render(recovers("--queue-limit 20"), target))[2]
    assert "3 engines (--target keda, kserve or kubernetes)" in unset
    assert "16 sequences and 512 tokens a step in each engine (--target kserve, kubernetes or vllm)" in unset
    assert ("a queue limit of 20" in unset) is (target == "grpc")


def test_a_model_that_looks_like_an_option_is_refused() -> None:
    with pytest.raises(InputError, match=r"model '--trust-remote-code' begins with a hyphen"):
        render(saved(replace(LINE, model="--trust-remote-code")), "vllm")
    assert "vllm serve 'org/--model'" in render(saved(replace(LINE, model="org/--model")), "vllm")


@pytest.mark.parametrize(
    ("target", "told"), [("envoy", "timeout: {} #"), ("istio", "timeout: {} #"), ("grpc", '"timeout": "{}"')]
)
def test_all_attempts_have_time_for_the_waits_between_them(target: str, told: str) -> None:
    """Four attempts of 500 ms, and before the retries up to 0.5, 1 and 2 s; or cut at 1.5 s; or with a deadline."""
    for longest_s, deadline_s, whole in ((3.0, None, "5.5s"), (1.5, None, "5s"), (3.0, 2.0, "2s")):
        backoff = {"initial_s": 0.5, "max_s": longest_s}
        waits = recovery(attempts=4, backoff=backoff, deadline_s=deadline_s)
        assert told.format(whole) in render(saved_plan(recovery=waits), target)


@pytest.mark.parametrize(
    ("routing", "envoy", "istio", "grpc"),
    [
        (Routing.ROUND_ROBIN, "lb_policy: ROUND_ROBIN", "{simple: ROUND_ROBIN}", "round_robin"),
        (Routing.RANDOM, "lb_policy: RANDOM", "{simple: RANDOM}", "round_robin"),
        (Routing.POWER_OF_TWO, "choice_count: 2", "{simple: LEAST_REQUEST}", "least_request_experimental"),
        (Routing.LEAST_OUTSTANDING, "FULL_SCAN", "{simple: LEAST_REQUEST}", "least_request_experimental"),
        (Routing.SHARED_QUEUE, None, None, None),
    ],
)
def test_balancers_route_as_the_plan(routing, envoy, istio, grpc) -> None:
    plan = saved_plan(routing=routing, recovery=recovery())
    for target, word in (("envoy", envoy), ("istio", istio), ("grpc", grpc)):
        settings, own, _ = parts(render(plan, target))
        if word is None:
            assert "all replicas have one queue, so that there is one server" in own
            assert not any(one in settings for one in ("lb_policy", "loadBalanc"))
        else:
            assert word in settings
    alone = render(saved_plan(routing=routing, recovery=recovery(), replicas=1), "envoy")
    assert "lb_policy" not in alone
    assert "Routing" not in alone


def test_a_client_says_what_it_does_otherwise() -> None:
    linkerd = recovery(budget={"kind": "first-tries", "ratio": 0.2, "tokens_per_s": 10.0})
    for target in ("envoy", "istio", "grpc"):
        assert "evaluated with 10 a second beside its share" in unwrapped(
            render(saved_plan(recovery=linkerd), target)
        )
    crashed = render(saved_plan(recovery=recovery(retried=["crashed"])), "grpc")
    assert "the plan was evaluated with crashed." in crashed
    assert "after a timeout" not in crashed
    assert "after a timeout" in render(saved_plan(recovery=recovery()), "grpc")
    backed = recovery(backoff={"initial_s": 0.1, "max_s": 2.0})
    assert "backoff: 0.1s" in render(saved_plan(recovery=backed), "istio")
    assert "outlierDetection was not evaluated" in unwrapped(render(saved_plan(recovery=backed), "istio"))


@pytest.mark.parametrize("target", ["envoy", "istio", "grpc"])
def test_no_setting_leaves_its_comment(target: str) -> None:
    text = render(saved_plan(recovery=recovery("--abandoned x\n\x1b[2Jrm: {}")), target)
    assert "\x1b" not in text
    assert not any(line.startswith("rm") for line in text.splitlines())


def test_grpc_itself_takes_a_file_with_a_field_that_it_does_not_know() -> None:
    """C core refuses a service config that is wrong, and ignores a field that is unknown."""
    grpc = pytest.importorskip("grpc")

    def status(config: str) -> str:
        with grpc.insecure_channel("ipv4:127.0.0.1:1", [("grpc.service_config", config)]) as channel:
            call = channel.unary_unary("/a/b")
            with pytest.raises(grpc.RpcError) as failed:
                call(b"", timeout=5.0)
            return str(failed.value.details())

    for routing in (Routing.ROUND_ROBIN, Routing.POWER_OF_TWO):  # C core does not know the second
        text = render(saved_plan(recovery=recovery("--shed late:12.4ms"), routing=routing), "grpc")
        assert "--shed late:12.4ms" in text
        assert "service config" not in status(text).lower()
    wrong = text.replace('"maxAttempts": 3', '"maxAttempts": "many"')
    assert wrong != text
    assert "maxAttempts" in status(wrong)
