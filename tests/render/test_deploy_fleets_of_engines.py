"""Files for fleets of engines: each is read as YAML, or as a command, and its values are those of the plan."""

import json
import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest
import yaml
from planned import TOKEN_LIMITS, autoscaled, file_document
from questions import engine_question
from shown import unwrapped
from test_deploy_engines import LINE, LLAMA, SGLANG
from test_deploy_scaling import PROMTOOL, needs_promtool

from capacity.answer.documents import plan_document as plan_settings
from capacity.answer.saved_plan import SavedPlan, read_plan_file_document
from capacity.errors import InputError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.llm import Engine, LlmProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Spike, Survival
from capacity.render.deploy.registry import TARGETS, render
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    Workload,
)

BIG = replace(
    LINE,
    model="meta-llama/Llama-3.1-70B",
    device="NVIDIA H100 80GB",
    devices=4,
    tensor_parallel=4,
    all_reduce=True,
    engine=Engine(name="vllm", version="0.19.0"),
)
SGL = replace(BIG, engine=SGLANG.engine)
PLAN = TokenPlan(profile="line", replicas=3, sequences_max=16, batched_tokens_max=512)
FOUND = Performance(
    kind=Kind.SIMULATION,
    response_mean_s=0.4,
    ttft_mean_s=0.1,
    response_quantiles_s={0.99: Interval(value=0.9, low=0.88, high=0.92)},
)
LENGTHS = LengthRows((20, 36), (30, 44), "lengths", 0)
ENGINE_TARGETS = [
    name
    for name, forms in TARGETS.items()
    for one in forms
    if issubclass(SavedPlan, one.PLANS) and name not in ("llama-server", "sglang")
]


def saved(
    profile: LlmProfile = BIG,
    plan: TokenPlan = PLAN,
    *,
    objective: Objective = TOKEN_LIMITS,
    survival: Survival | None = None,
    headroom_rps: float | None = 51.84,
    arrivals: ArrivalProcess | None = None,
    workload: Any = None,
    scaler: dict[str, Any] | None = None,
) -> SavedPlan:
    """A plan for 40 rps on 3 engines, with limits on the P99 of TTFT of 500 ms, and on the mean TPOT of 10 ms."""
    demand = workload or Workload(arrival_rate_rps=40.0, arrivals=arrivals or PoissonArrivals())
    question = engine_question(
        profiles=(profile,),
        workload=demand,
        lengths=LENGTHS,
        objective=objective,
        survival=survival or Survival(),
    )
    headroom = None
    if headroom_rps is not None:
        headroom = Headroom(today_rps=40.0, accepted_rps=headroom_rps, refused_rps=2 * headroom_rps)
    found = Recommendation(
        verdict=Verdict.MET,
        plan=plan,
        performance=FOUND,
        objective=objective,
        headroom=headroom,
        considered=(),
        caveats=(),
    )
    others = {}
    if scaler is not None:
        most = {"replicas": scaler["autoscaler"]["replicas_max"]}
        others["autoscaled"] = scaler | {"plan": plan_settings(plan) | most}
    document = file_document(found, question, Effort(seed=7), others) | {"schema_version": 1}
    return read_plan_file_document(json.loads(json.dumps(document)), "plan.json")


def parts(text: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_kubernetes_starts_the_engines_that_were_evaluated() -> None:
    found = parts(render(saved(), "kubernetes"))
    assert set(found) == {
        "Deployment", "Service", "PersistentVolumeClaim", "PodDisruptionBudget", "HorizontalPodAutoscaler"
    }  # fmt: skip
    spec = found["Deployment"]["spec"]
    assert spec["replicas"] == 3
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "vllm/vllm-openai:v0.19.0"
    assert container["args"] == [
        "--model=meta-llama/Llama-3.1-70B", "--max-num-seqs=16", "--max-num-batched-tokens=512", "--max-model-len=80",
        f"--block-size={LINE.kv.block_tokens}", "--tensor-parallel-size=4", "--enable-prefix-caching",
        "--enable-chunked-prefill", "--port=8000",
    ]  # fmt: skip
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 4}}
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    claim = found["PersistentVolumeClaim"]["metadata"]["name"]
    assert pod["volumes"][0] == {"name": "models", "persistentVolumeClaim": {"claimName": claim}}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]
    labels = spec["template"]["metadata"]["labels"]
    for selector in (
        spec["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels


def test_what_the_profile_does_not_know_is_no_setting() -> None:
    """Neither a size of the cache, nor how steps are composed, nor devices or a version of vLLM."""
    unknown = replace(LINE, engine=Engine(), device=None, model=None)
    for target in ("kubernetes", "kserve", "vllm"):
        text = render(saved(unknown), target)
        assert "num-gpu-blocks" not in text
        assert "kv-cache" not in text.replace("kv_cache", "")
        assert "async-scheduling" not in text
        assert "tensor-parallel" not in text
    text = render(saved(unknown), "kubernetes")
    (container,) = parts(text)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert "resources" not in container
    assert container["image"] == "vllm/vllm-openai:latest"
    assert "replace: the version that was measured" in text
    assert "none is asked for" in text
    assert "replace MODEL" in text
    off = replace(LINE, engine=Engine(async_scheduling=False, version="0.19.0"))
    assert "--no-async-scheduling" in render(saved(off), "kubernetes")


@pytest.mark.parametrize(
    ("device", "resource"),
    [
        ("NVIDIA H100 80GB", "nvidia.com/gpu"),
        ("RTX PRO 6000", "nvidia.com/gpu"),
        ("A100-SXM4-80GB", "nvidia.com/gpu"),
        ("L40S", "nvidia.com/gpu"),
        ("T4", "nvidia.com/gpu"),
        ("AMD Instinct MI300X", "amd.com/gpu"),
        ("MI325X", "amd.com/gpu"),
        ("TPU v5e", None),
        ("Xeon 8480", None),
        (None, None),
    ],
)
def test_a_pod_asks_for_devices_that_are_known(device: str | None, resource: str | None) -> None:
    profile = replace(BIG, device=device)
    (container,) = parts(render(saved(profile), "kubernetes"))["Deployment"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container.get("resources") == (None if resource is None else {"limits": {resource: 4}})
    service = yaml.safe_load(render(saved(profile), "kserve"))["spec"]["template"]["containers"][0]
    assert service.get("resources") == (None if resource is None else {"limits": {resource: "4"}})


def test_kubernetes_starts_sglang_and_waits_for_its_probes() -> None:
    """The image starts nothing by itself; a probe waits for a token, so that a second would always be too short."""
    found = parts(render(saved(SGL), "kubernetes"))
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("sglang", "lmsysorg/sglang:v0.5.23")
    assert container["command"] == ["python3", "-m", "sglang.launch_server"]
    assert container["args"] == [
        "--model-path=meta-llama/Llama-3.1-70B", "--max-running-requests=16", "--chunked-prefill-size=512",
        "--max-prefill-tokens=512", "--context-length=86", f"--page-size={LINE.kv.block_tokens}",
        "--schedule-policy=fcfs", "--tensor-parallel-size=4", "--enable-metrics", "--host=0.0.0.0", "--port=8000",
    ]  # fmt: skip
    for probe, path in (
        ("startupProbe", "/health"), ("readinessProbe", "/health"), ("livenessProbe", "/health_generate")
    ):  # fmt: skip
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert container[probe]["timeoutSeconds"] > 20
    (of_vllm,) = parts(render(saved(), "kubernetes"))["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert set(container) - set(of_vllm) == {"command"}
    post = replace(SGL, engine=replace(SGL.engine, version="0.5.6.post2"))
    assert "image: lmsysorg/sglang:v0.5.6.post2\n" in render(saved(post), "kubernetes")
    unknown = replace(SGL, engine=replace(SGL.engine, version=None))
    text = render(saved(unknown), "kubernetes")
    assert "image: lmsysorg/sglang:latest # replace: the version that was measured" in text
    assert "with which version of SGLang it was measured" in text


def test_a_balancer_asks_sglang_for_what_is_answered_at_once() -> None:
    """HAProxy gives a probe half a second, and /health of SGLang takes a second at least."""
    assert "option httpchk GET /v1/models\n" in render(saved(SGL), "haproxy")
    for profile in (BIG, LLAMA):
        assert "option httpchk GET /health\n" in render(saved(profile), "haproxy")


def test_the_same_files_name_the_metrics_of_each_server() -> None:
    """What is counted is the same; of each name that vLLM has, SGLang's own stands in its place."""
    names = {
        "vllm:request_success_total": "sglang:num_requests_total",
        "vllm:num_requests_running": "sglang:num_running_reqs",
        "vllm:num_requests_waiting": "sglang:num_queue_reqs",
        "vllm:kv_cache_usage_perc": "sglang:token_usage",
        "vllm:": "sglang:",
        "vLLM": "SGLang",
        "are preempted": "are retracted",
        "keda, kserve or kubernetes": "keda or kubernetes",
        "kserve, kubernetes or vllm": "kubernetes or sglang",
    }
    for scaler in (None, autoscaled("concurrency:12")):
        for target in ("keda", "prometheus"):
            text = unwrapped(render(saved(BIG, scaler=scaler), target))
            for one, other in names.items():
                text = text.replace(one, other)
            of_sglang = unwrapped(render(saved(SGL, scaler=scaler), target))
            assert of_sglang == text
            assert "sglang:" in of_sglang
    with pytest.raises(InputError, match="no metric of SGLang says how busy an engine is"):
        render(saved(SGL, scaler=autoscaled("utilization:0.6")), "keda")
    pool = unwrapped(render(saved(SGL), "inference-pool"))
    assert "must be told to read SGLang's metrics, sglang:num_queue_reqs and sglang:token_usage" in pool


def test_the_autoscaler_acts_before_first_tokens_are_late() -> None:
    """Headroom 51.84 rps, so that another engine is asked for from sqrt(40 * 51.84) = 45.54 rps, 41.4 without the 10 %.

    13.33 rps on an engine times the limit of 500 ms on the first token: behind 7 it is late, and half of that is 3.
    """
    spec = parts(render(saved(), "kubernetes"))["HorizontalPodAutoscaler"]["spec"]
    targets = {
        one["external"]["metric"]["name"]: one["external"]["target"]["averageValue"]
        for one in spec["metrics"]
    }
    assert targets == {"requests_per_second": "13.79", "requests_waiting": "3"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 6)
    scaled = yaml.safe_load(render(saved(), "keda"))["spec"]
    assert [one["metadata"]["threshold"] for one in scaled["triggers"]] == ["13.79", "3"]
    assert [one["metadata"]["query"] for one in scaled["triggers"]] == [
        'sum(rate(vllm:request_success_total{model_name="meta-llama/Llama-3.1-70B"}[1m]))',
        'sum(vllm:num_requests_waiting{model_name="meta-llama/Llama-3.1-70B"})',
    ]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (3, 6)
    only_tpot = saved(objective=Objective.of(tpot_mean=0.01))
    (metric,) = parts(render(only_tpot, "kubernetes"))["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "requests_per_second"
    assert len(yaml.safe_load(render(only_tpot, "keda"))["spec"]["triggers"]) == 1


def test_an_autoscaler_that_was_confirmed_is_written_as_it_was() -> None:
    plan = saved(scaler=autoscaled("concurrency:12"))
    found = parts(render(plan, "kubernetes"))
    assert found["Deployment"]["spec"]["replicas"] == 2  # the fewest, from which it goes on
    spec = found["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 7)
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"]["name"] == "requests_in_progress"
    assert metric["pods"]["target"]["averageValue"] == "12000m"
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 240
    scaled = yaml.safe_load(render(plan, "keda"))["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["threshold"] == "12"
    assert trigger["metadata"]["query"] == (
        'sum(vllm:num_requests_running{model_name="meta-llama/Llama-3.1-70B"}) + '
        'sum(vllm:num_requests_waiting{model_name="meta-llama/Llama-3.1-70B"})'
    )
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 7)
    told = render(plan, "vllm").replace("\n# ", " ").replace("  ", " ")
    assert "an autoscaler at concurrency:12 with 2 to 7 replicas (--target keda or kubernetes)" in told
    for target in ("kubernetes", "keda"):
        with pytest.raises(InputError, match="no metric of vLLM says how busy an engine is"):
            render(saved(scaler=autoscaled("utilization:0.6")), target)
    off = render(saved(scaler=autoscaled("utilization:0.6", verdict="missed")), "keda")
    assert len(yaml.safe_load(off)["spec"]["triggers"]) == 2


def test_what_a_plan_survives_is_in_the_deployment() -> None:
    survival = Survival(spare=1, zones=3, spike=Spike(factor=1.2, startup_time_s=240.0))
    found = parts(render(saved(survival=survival), "kubernetes"))
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    (spread,) = found["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 480


def rules(plan: SavedPlan) -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(render(plan, "prometheus"))["groups"]
    return {one.get("alert") or one["record"]: one for one in group["rules"]}


def test_prometheus_alerts_on_each_limit() -> None:
    found = rules(saved())
    assert found["TtftP99AboveLimit"]["expr"].split() == [
        "histogram_quantile(0.99,", "sum", "by", "(le)",
        '(rate(vllm:time_to_first_token_seconds_bucket{model_name="meta-llama/Llama-3.1-70B"}[5m])))', ">", "0.5",
    ]  # fmt: skip
    mean = found["TpotMeanAboveLimit"]["expr"]
    assert "request_time_per_output_token_seconds_sum" in mean
    assert "request_time_per_output_token_seconds_count" in mean
    assert mean.split()[-1] == "0.01"
    assert found["LoadAboveHeadroom"]["expr"].split()[-1] == "17.28"
    assert found["WaitingTooLong"]["expr"].split()[-1] == "7"
    assert "vllm:prompt_tokens_total" in found["InputTokensOffPlan"]["expr"]
    assert found["InputTokensOffPlan"]["expr"].split()[-1] == "35"  # a quarter above 28
    assert found["OutputTokensOffPlan"]["expr"].split()[-1] == "46.25"
    others = rules(saved(objective=Objective.of(itl={0.95: 0.08}, response={0.999: 20.0}, goodput=0.99)))
    assert "inter_token_latency" in others["ItlP95AboveLimit"]["expr"]
    assert (
        "histogram_quantile(0.999, sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket"
        in (others["ResponseP999AboveLimit"]["expr"])
    )
    assert "No metric of vLLM tells of share beyond a limit <= 1 %" in render(
        saved(objective=Objective.of(itl={0.95: 0.08}, goodput=0.99)), "prometheus"
    ).replace("\n# ", " ").replace("  ", " ")


@needs_promtool
@pytest.mark.parametrize("profile", [BIG, SGL])
def test_prometheus_takes_the_rules(tmp_path, profile: LlmProfile) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(render(saved(profile), "prometheus"), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", "--lint-fatal", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kserve_has_the_same_settings() -> None:
    spec = yaml.safe_load(render(saved(), "kserve"))["spec"]
    assert (spec["replicas"], spec["parallelism"]) == (3, {"tensor": 4})
    assert spec["model"] == {"uri": "hf://meta-llama/Llama-3.1-70B", "name": "meta-llama/Llama-3.1-70B"}
    (container,) = spec["template"]["containers"]
    (given,) = container["env"]
    assert given["name"] == "VLLM_ADDITIONAL_ARGS"
    arguments = shlex.split(given["value"])
    assert arguments[:6] == [
        "--max-num-seqs", "16", "--max-num-batched-tokens", "512", "--max-model-len", "80"
    ]  # fmt: skip
    assert "--tensor-parallel-size" not in arguments  # which KServe sets from parallelism
    assert "parallelism" not in yaml.safe_load(render(saved(replace(LINE, model="m")), "kserve"))["spec"]


def test_a_pool_finds_the_pods_of_the_deployment() -> None:
    found = parts(render(saved(), "inference-pool"))
    deployed = parts(render(saved(), "kubernetes"))["Deployment"]["spec"]["template"]
    pool = found["InferencePool"]["spec"]
    assert pool["selector"]["matchLabels"] == deployed["metadata"]["labels"]
    (port,) = deployed["spec"]["containers"][0]["ports"]
    assert pool["targetPorts"] == [{"number": port["containerPort"]}]
    (rule,) = found["HTTPRoute"]["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    assert (backend["kind"], backend["name"]) == ("InferencePool", found["InferencePool"]["metadata"]["name"])
    told = render(saved(plan=replace(PLAN, routing=Routing.LEAST_OUTSTANDING)), "inference-pool")
    assert "comes near to the least-outstanding of the plan" in told.replace("\n#   ", " ")


def options(text: str) -> dict[str, str]:
    """The options of a command by name; a switch is empty."""
    words = shlex.split(
        "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    )
    found: dict[str, str] = {}
    for at, word in enumerate(words):
        if word.startswith("--"):
            after = words[at + 1] if at + 1 < len(words) else "--"
            found[word] = "" if after.startswith("--") else after
    return found


def test_guidellm_sends_the_load_of_the_plan() -> None:
    """Lengths 20 or 36 in, 30 or 44 out; P99 takes 5000 answers, which are 125 s, and five minutes are the least."""
    found = options(render(saved(), "guidellm"))
    assert (found["--profile"], found["--rate"], found["--max-seconds"]) == ("poisson", "40", "300")
    assert found["--model"] == "meta-llama/Llama-3.1-70B"
    data = dict(one.split("=") for one in found["--data"].split(","))
    assert {name: int(value) for name, value in data.items()} == {
        "prompt_tokens": 28, "prompt_tokens_stdev": 8, "prompt_tokens_min": 20, "prompt_tokens_max": 36,
        "output_tokens": 37, "output_tokens_stdev": 7, "output_tokens_min": 30, "output_tokens_max": 44,
    }  # fmt: skip
    longer = saved(objective=Objective.of(ttft={0.999: 0.5}))
    assert options(render(longer, "guidellm"))["--max-seconds"] == "1250"


@pytest.mark.parametrize(
    ("arrivals", "pattern", "smoothness"),
    [(PoissonArrivals(), "poisson", None), (GammaArrivals(cv=2.0), "gamma", "0.25")],
)
def test_aiperf_has_the_arrivals_and_the_limits(arrivals, pattern, smoothness) -> None:
    objective = Objective.of(ttft={0.99: 0.5}, tpot={0.9: 0.02}, itl={0.99: 0.03}, response={0.99: 4.0})
    found = options(render(saved(arrivals=arrivals, objective=objective), "aiperf"))
    assert (found["--request-rate"], found["--arrival-pattern"]) == ("40", pattern)
    assert found.get("--arrival-smoothness") == smoothness
    assert set(found["--goodput"].split()) == {
        "time_to_first_token:500", "inter_token_latency:20", "request_latency:4000"
    }  # fmt: skip
    assert (found["--synthetic-input-tokens-mean"], found["--output-tokens-mean"]) == ("28", "37")
    assert "--goodput" not in options(render(saved(objective=Objective.of(tpot_mean=0.01)), "aiperf"))


def test_arrivals_that_a_tool_lacks_are_said() -> None:
    bursts = MmppArrivals(ratio=5.0, burst_mean_s=10.0, calm_mean_s=60.0)
    for target in ("guidellm", "aiperf"):
        text = render(saved(arrivals=bursts), target).replace("\n#   ", " ")
        assert "evaluated with other arrivals" in text
        assert "poisson" in text
    assert "evaluated with other arrivals" not in render(saved(), "aiperf").replace("\n#   ", " ")


@pytest.mark.parametrize("target", ENGINE_TARGETS)
def test_each_says_what_it_was_evaluated_with(target: str) -> None:
    text = render(saved(), target)
    assert "3 " in text.split("\n\n")[0]
    assert "TTFT P99 <= 500 ms" in text.replace("\n#     ", " ").replace("\n# ", " ")


@pytest.mark.parametrize("target", [name for name in ENGINE_TARGETS if name != "vllm"])
def test_users_have_no_rate(target: str) -> None:
    with pytest.raises(InputError, match="plan with --rate"):
        render(saved(workload=ClosedPopulation(users=50, think_time_s=1.0), headroom_rps=None), target)


@pytest.mark.parametrize("target", ["kubernetes", "keda", "kserve", "prometheus", "inference-pool"])
def test_other_engines_have_other_settings(target: str) -> None:
    with pytest.raises(InputError, match="use --target llama-server"):
        render(saved(LLAMA), target)


def test_kserve_runs_vllm_alone() -> None:
    with pytest.raises(InputError, match="rules of sglang, and --target kserve is for those of vllm-v1; use"):
        render(saved(SGL), "kserve")
