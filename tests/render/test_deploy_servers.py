"""Files for servers: read back by their own parsers, they are the plan that was evaluated."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from planned import fleet
from shown import unwrapped

from capacity.formats.document import Document
from capacity.formats.triton_config import read_plan
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.render.deploy import bentoml, compose, ray_serve, serve_api, triton
from capacity.server.batch.batching import Batching
from capacity.traffic.workload import ClosedPopulation
from serve_api.commands import _parameters
from serve_api.server.settings import Settings, read_settings

FLEETS: list[dict[str, Any]] = [
    {},
    {"queue_limit": None, "batch_wait_max_s": 0.0},
    {"replicas": 1, "batch_size_max": 1, "kind": "cpu"},
    {"replicas": 7, "batch_size_max": 64, "batch_wait_max_s": 0.0015, "queue_limit": 1},
    {"replicas": 6, "instances_per_device": 2},
    {"replicas": 3, "kind": None},
    {"replicas": 4, "routing": Routing.SHARED_QUEUE},
    {"replicas": 4, "routing": Routing.SHARED_QUEUE, "kind": "cpu"},
    {"batching": Batching.RAY_SERVE},
    {"batching": Batching.RAY_SERVE, "queue_limit": None},
    {"preferred_sizes": (4, 8)},
]


def document(folder: Path, text: str) -> Document:
    path = folder / "config.pbtxt"
    path.write_text(text, encoding="utf-8")
    return Document.read(path)


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_tritons_file_is_read_back_as_the_plan(given: dict[str, Any], tmp_path: Path) -> None:
    planned = fleet(**given)
    found, plan = read_plan(document(tmp_path, triton.render(planned))), planned.plan
    assert (found.batch_size_max, found.batch_wait_max_s) == (
        plan.batch_size_max,
        pytest.approx(plan.batch_wait_max_s),
    )
    assert found.preferred_batch_sizes == plan.preferred_sizes
    servers = 1 if plan.routing is Routing.SHARED_QUEUE and not planned.is_gpu else planned.servers
    assert found.replicas * servers == plan.replicas
    per_server = 1 if plan.routing is Routing.SHARED_QUEUE else found.replicas
    assert found.queue_limit == (None if plan.queue_limit is None else plan.queue_limit * per_server)
    assert found.device_kind == planned.profile.kind


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_tritons_own_schema_takes_it(given: dict[str, Any]) -> None:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    planned = fleet(**given)
    config = text_format.Parse(triton.render(planned), schema.ModelConfig())
    batching, plan = config.dynamic_batching, planned.plan
    assert (config.name, config.max_batch_size) == ("resnet50", plan.batch_size_max)
    assert tuple(batching.preferred_batch_size) == plan.preferred_sizes
    assert batching.max_queue_delay_microseconds == round(1e6 * plan.batch_wait_max_s)
    assert batching.default_queue_policy.max_queue_size == (planned.server_queue_limit or 0)
    late_us = 50_000 if plan.queue_limit is not None else 0
    assert batching.default_queue_policy.default_timeout_microseconds == late_us
    assert batching.default_queue_policy.timeout_action == schema.ModelQueuePolicy.REJECT


def test_a_queue_that_holds_nothing_is_not_one_without_a_limit(tmp_path: Path) -> None:
    text = triton.render(fleet(queue_limit=0))
    assert read_plan(document(tmp_path, text)).queue_limit == 1
    assert "Triton takes 0 for no limit" in " ".join(text.split())


def test_no_request_times_out_where_nothing_says_what_is_late() -> None:
    text = triton.render(fleet(objective=Objective.of(response_mean=0.02)))
    assert "max_queue_size: 64" in text
    assert "timeout" not in text


@pytest.mark.parametrize(
    ("target", "batching", "said"),
    [
        (serve_api, Batching.TORCHSERVE, "plan with --batching triton"),
        (ray_serve, Batching.RAY_SERVE, "as the plan does"),
        (ray_serve, Batching.TORCHSERVE, "plan with --batching ray-serve"),
        (ray_serve, Batching.TRITON, "plan with --batching ray-serve"),
    ],
)
def test_the_header_says_whose_rule_was_evaluated(target: Any, batching: Batching, said: str) -> None:
    assert said in unwrapped(target.render(fleet(batching=batching)))
    if target is not ray_serve and batching is Batching.TORCHSERVE:
        said = "makes no difference"  # without a wait these two are one
    assert said in unwrapped(target.render(fleet(batching=batching, batch_wait_max_s=0.0)))


@pytest.mark.parametrize(
    ("batching", "wait_s", "said"),
    [
        (Batching.TRITON, 0.005, ", as the plan does."),
        (Batching.TORCHSERVE, 0.005, ", and the plan does not: plan with --batching triton to evaluate its rule."),
        (Batching.TORCHSERVE, 0.0, "; with a wait of 0 that makes no difference."),
        (Batching.RAY_SERVE, 0.0, ", and the plan does not: plan with --batching triton to evaluate its rule."),
    ],
)  # fmt: skip
def test_triton_says_whether_its_rule_was_evaluated(batching: Batching, wait_s: float, said: str) -> None:
    text = unwrapped(triton.render(fleet(batching=batching, batch_wait_max_s=wait_s)))
    assert f"Triton counts the batch wait from the arrival of the oldest request{said}" in text


def test_preferred_sizes_are_written_where_they_were_evaluated(tmp_path: Path) -> None:
    planned = fleet(preferred_sizes=(4, 8))
    text = triton.render(planned)
    assert read_plan(document(tmp_path, text)).preferred_batch_sizes == (4, 8)
    assert "ahead of the largest batch, as evaluated" in unwrapped(text)
    assert "wait 5 ms (from the arrival of the oldest request), preferred sizes 4, 8," in unwrapped(text)
    greedy = unwrapped(triton.render(fleet(preferred_sizes=(4,), batch_wait_max_s=0.0)))
    assert "first preferred size that it comes to" in greedy
    for target in (serve_api, ray_serve):
        assert "plan without --preferred-sizes" in unwrapped(target.render(planned))


def test_rays_batcher_sees_all_that_wait_where_its_rule_was_evaluated() -> None:
    for limit, ongoing in ((None, 1616), (64, 80), (4, 20)):
        planned = fleet(batching=Batching.RAY_SERVE, queue_limit=limit)
        (app,) = yaml.safe_load(ray_serve.render(planned))["applications"]
        assert app["deployments"][0]["max_ongoing_requests"] == ongoing


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_rays_file_has_the_plan(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    plan = planned.plan
    (app,) = yaml.safe_load(ray_serve.render(planned))["applications"]
    (found,) = app["deployments"]
    assert found["user_config"] == {
        "max_batch_size": plan.batch_size_max, "batch_wait_timeout_s": plan.batch_wait_max_s,
    }  # fmt: skip
    scaling = found["autoscaling_config"]
    assert scaling["min_replicas"] == scaling["initial_replicas"] == plan.replicas < scaling["max_replicas"]
    assert "num_replicas" not in found  # Ray refuses both
    assert found["max_ongoing_requests"] >= plan.batch_size_max
    assert scaling["target_ongoing_requests"] > 0
    waits = found["max_queued_requests"] + plan.replicas * (
        found["max_ongoing_requests"] - plan.batch_size_max
    )
    if plan.queue_limit is None:
        assert found["max_queued_requests"] == -1
    else:
        assert plan.replicas * plan.queue_limit <= waits <= plan.replicas * plan.queue_limit + 1


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_rays_own_models_have_the_plan(given: dict[str, Any]) -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs ray[serve]")
    planned = fleet(**given)
    (app,) = schema.ServeDeploySchema(**yaml.safe_load(ray_serve.render(planned))).applications
    (found,) = app.deployments
    assert (found.user_config["max_batch_size"], found.user_config["batch_wait_timeout_s"]) == (
        planned.plan.batch_size_max,
        planned.plan.batch_wait_max_s,
    )
    assert found.max_ongoing_requests == ray_serve.ongoing_max(planned.plan)
    assert found.max_queued_requests == ray_serve.queued_max(planned.plan)
    assert found.autoscaling_config["min_replicas"] == planned.plan.replicas


def keywords(node: Any) -> dict[str, Any]:
    return {one.arg: ast.literal_eval(one.value) for one in node.keywords}


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_bentomls_file_has_the_plan(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    text = bentoml.render(planned)
    (service,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    (call,) = service.body
    assert isinstance(call, ast.FunctionDef)
    size, decorator, settings = (
        planned.plan.batch_size_max,
        call.decorator_list[0],
        keywords(service.decorator_list[0]),
    )
    if size == 1:  # BentoML refuses a batchable call of one
        assert ast.unparse(decorator) == "bentoml.api"
    else:
        assert keywords(decorator) == {"batchable": True, "max_batch_size": size, "max_latency_ms": 50}
    workers = min(planned.profile.instances_per_device, planned.plan.replicas)
    assert settings["workers"] == workers
    limit = planned.server_queue_limit
    room = None if limit is None else {"max_concurrency": planned.plan.batch_size_max * workers + limit}
    assert settings.get("traffic") == room
    assert ("is not a delay" in text) is (size > 1)


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_bentomls_own_service_has_the_plan(given: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("bentoml", reason="needs bentoml")
    path, planned = tmp_path / "bentoml_service.py", fleet(**given)
    path.write_text(bentoml.render(planned), encoding="utf-8")
    (service,) = (one for one in runpy.run_path(str(path)).values() if type(one).__name__ == "Service")
    (call,) = service.apis.values()
    size = planned.plan.batch_size_max
    assert call.batchable is (size > 1)
    assert size == 1 or call.max_batch_size == size
    assert service.config["workers"] == min(planned.profile.instances_per_device, planned.plan.replicas)


@pytest.mark.long
def test_compose_knows_every_field(tmp_path: Path) -> None:
    """All files at once: the checker takes far longer to start than to check."""
    paths = [tmp_path / f"{number}.yaml" for number in range(len(FLEETS))]
    for given, path in zip(FLEETS, paths, strict=True):
        path.write_text(compose.render(fleet(**given)), encoding="utf-8")
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    paths[-1].write_text(paths[-1].read_text("utf-8") + "unheard_of: 1\n", encoding="utf-8")
    done = subprocess.run([*checker, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_compose_runs_every_server(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    services = yaml.safe_load(compose.render(planned))["services"].values()
    assert sum(one["deploy"].get("replicas", 1) for one in services) == planned.servers
    if planned.is_gpu:
        (ids,) = zip(
            *(one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in services),
            strict=True,
        )
        assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("given", FLEETS, ids=str)
def test_the_reference_server_takes_its_settings(given: dict[str, Any]) -> None:
    planned = fleet(**given)
    lines = [line for line in serve_api.render(planned).splitlines() if line and line[0] != "#"]
    variables = dict(line.split("=") for line in lines)
    names = {one.annotation.__metadata__[0].envvar: one.name for one in _parameters()}
    found = read_settings(
        {"artifacts": Path("mlp"), **{names[key]: value for key, value in variables.items()}}
    )
    plan, usual = planned.plan, Settings(artifacts=Path("mlp"))
    assert (found.batch_size_max, found.batch_wait_max_s) == (
        plan.batch_size_max,
        pytest.approx(plan.batch_wait_max_s),
    )
    assert found.queue_max == (usual.queue_max if plan.queue_limit is None else plan.queue_limit)
    assert found.deadline_s == (usual.deadline_s if plan.queue_limit is None else 0.05)


@pytest.mark.parametrize("target", [triton, serve_api, compose])
def test_a_plan_for_users_has_servers_too(target: Any) -> None:
    text = target.render(fleet(workload=ClosedPopulation(users=50, think_time_s=1.0)))
    assert "with 50 users" in text
