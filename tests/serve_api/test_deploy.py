"""The deployment files: the tools that know their form take them, and what one says of another is true."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployment import (
    ALERTS,
    COMMANDS,
    COMPOSE,
    CONTAINER,
    CONTAINERFILE,
    DEPLOY,
    DOCKERFILE,
    HOW_TO,
    JOB_PODS,
    JOBS,
    KUBERNETES,
    MANIFESTS,
    NGINX,
    POD,
    PROJECT,
    ROOT,
    SCRAPE,
    flag,
    load,
)
from http_stub import stub
from planned import saved_plan
from serving import MadeUp, a_store, onnx_model, publish, service_of
from typer.testing import CliRunner

from capacity.render.deploy.registry import render
from capacity.server.batch.plan import BatchPlan
from capacity.units import parse_duration_s
from serve_api.commands import app
from serve_api.models.store import ArtifactStore
from serve_api.server.refusal import Reason
from serve_api.server.settings import Settings

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH; `bash .ci/promtool FOLDER` fetches it on Debian"
)


def run(tool: str, *arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment, or one that is given by its path."""
    program = tool if "/" in tool else str(Path(sys.executable).with_name(tool))
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.30", "1.37"])  # the oldest that has all that is used, and the newest
def test_kubernetes_knows_every_field(version, tmp_path):
    paths = [*MANIFESTS]
    for path in JOBS:  # with a name for the one that Kubernetes makes, without which the tool stumbles
        named = re.sub(r"generateName: (\w+)-", r"name: \1", path.read_text("utf-8"))
        paths.append(tmp_path / path.name)
        paths[-1].write_text(named, encoding="utf-8")
    done = run("kubernetes-validate", "-k", version, "--strict", *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed ") == len(paths) == 12


@pytest.mark.parametrize(
    "file", [DEPLOY / "Dockerfile", DEPLOY / "models.Dockerfile", ROOT / "Containerfile"]
)
def test_hadolint_has_no_complaint(file):
    done = run("hadolint", file)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_compose_knows_every_field():
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("file", ["prometheus.yml", "prometheus-kubernetes.yml"])
def test_prometheus_takes_its_configuration(file):
    done = run(PROMTOOL, "check", "config", "--lint-fatal", file, folder=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@needs_promtool
def test_alerts_fire_in_trouble_alone():
    done = run(PROMTOOL, "test", "rules", "rules_test.yml", folder=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> 0.1\n", "> 0.2\n"), ("== 1) > 100", "== 1) > 80"), ("min_over_time", "max_over_time"),
        ("queue_full|", ""), ("[2m])) == 2", "[2m])) == 3"), ('status=~"5.."', 'status=~"500"'),
        ('outcome!="ok"', 'outcome="failed"'), ("[15m]) > 0", "[15m]) > 2"), ("== 1)) > 1", "== 1)) > 2"),
    ],
)  # fmt: skip
def test_the_tests_of_alerts_see_a_change(old, new, tmp_path):
    text = (DEPLOY / "rules.yml").read_text("utf-8")
    assert old in text
    (tmp_path / "rules.yml").write_text(text.replace(old, new, 1), encoding="utf-8")
    shutil.copy(DEPLOY / "rules_test.yml", tmp_path)
    assert run(PROMTOOL, "test", "rules", "rules_test.yml", folder=tmp_path).returncode != 0


@pytest.mark.parametrize("file", COMMANDS)
def test_the_server_knows_every_flag(file):
    _, module, package, *arguments = COMMANDS[file]
    assert (module, package) == ("-m", "serve_api")
    # Words are read before help is given, so that one that is not known is refused all the same.
    assert run(sys.executable, module, package, *arguments, "--help").returncode == 0
    assert run(sys.executable, module, package, *arguments, "--no-such-flag=1", "--help").returncode == 2


def test_alerts_look_at_what_the_server_counts():
    text = "".join(ALERTS.values())
    counted = set(re.findall(r"# TYPE (\w+)", service_of(MadeUp()).metrics.text().decode()))
    named = {re.sub(r"_(bucket|count)$", "", name) for name in re.findall(r"\bserve_\w+", text)}
    assert len(named) >= 5
    assert named <= counted
    (reasons,) = re.findall(r'reason=~"([\w|]+)"', text)
    assert set(reasons.split("|")) <= set(Reason)


def test_jobs_fill_a_new_volume_and_switch_it_there_and_back(tmp_path):
    models, shared = a_store(tmp_path / "models" / "mlp"), ArtifactStore(tmp_path / "artifacts" / "mlp")
    publish(models, "v1.1.0", onnx_model())

    def job(name, version="v1.1.0"):
        (container,) = JOB_PODS[name]["containers"]
        assert container["command"] == ["python", "-m", "serve_api"]
        words = [re.sub("=/(models|artifacts)", rf"={tmp_path}/\1", word) for word in container["args"]]
        done = CliRunner().invoke(app, [word.replace("v1.1.0", version) for word in words])
        assert done.exit_code == 0, done.output
        return done.stdout.strip(), shared.current()

    assert job("publish", version="v1.0.0") == ("v1.0.0", "v1.0.0")  # the first one, so that pods can start
    assert job("publish") == job("publish") == ("v1.1.0", "v1.0.0")  # Kubernetes may run it twice
    assert job("promote") == job("promote") == ("v1.1.0", "v1.1.0")
    assert job("rollback") == ("v1.0.0", "v1.0.0")


def test_the_proxy_and_the_server_agree():
    defaults = Settings(artifacts=Path("unused"))
    (body,) = re.findall(r"client_max_body_size (\d+)k;", NGINX)
    assert int(body) * 1024 == defaults.body_bytes_max
    (read_s,) = re.findall(r"proxy_read_timeout (\d+)s;", NGINX)
    assert float(read_s) > defaults.deadline_s + defaults.inference_time_max_s
    (upstream,) = re.findall(r"server (\S+:\d+);", NGINX)
    assert upstream == f"serve-api:{flag(COMMANDS['compose.yaml'], '--port')}"
    (listens,) = re.findall(r"listen (\d+)", NGINX)
    assert COMPOSE["proxy"]["ports"] == [f"127.0.0.1:8000:{listens}"]


def test_ports_agree():
    ports = {
        *(flag(command, "--port") for command in COMMANDS.values()),
        DOCKERFILE["EXPOSE"][-1],
        str(CONTAINER["ports"][0]["containerPort"]),
        str(KUBERNETES["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"]),
        SCRAPE["scrape_configs"][0]["static_configs"][0]["targets"][0].split(":")[1],
        *re.findall(r"127\.0\.0\.1:(\d+)/readyz", DOCKERFILE["HEALTHCHECK"][-1]),
        *re.findall(r"127\.0\.0\.1:(\d+)/readyz", str(COMPOSE["serve-api"]["healthcheck"]["test"])),
    }
    assert ports == {"8000"}
    assert KUBERNETES["Service"]["spec"]["ports"][0]["targetPort"] == CONTAINER["ports"][0]["name"] == "http"


def test_replicas_are_probed_selected_and_in_the_namespace():
    for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
        assert CONTAINER[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
    labels = KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"],
        KUBERNETES["Service"]["spec"]["selector"],
        KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        KUBERNETES["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector
        assert selector.items() <= labels.items()
    for path in JOBS:  # the Service sends no requests to jobs
        job_labels = load(path)["spec"]["template"]["metadata"]["labels"]
        assert not KUBERNETES["Service"]["spec"]["selector"].items() <= job_labels.items()
    namespace = KUBERNETES["Namespace"]["metadata"]["name"]
    documents = [document for kind, document in KUBERNETES.items() if kind != "Namespace"]
    assert {one["metadata"]["namespace"] for one in [*documents, *map(load, JOBS)]} == {namespace}


def test_it_ends_in_time():
    command = COMMANDS["deployment.yaml"]
    pause_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    drains_s = sum(parse_duration_s(flag(command, name)) for name in ("--drain-delay", "--drain-max"))
    assert POD["terminationGracePeriodSeconds"] >= pause_s + drains_s + 5
    compose_s = parse_duration_s(flag(COMMANDS["compose.yaml"], "--drain-max"))
    assert parse_duration_s(COMPOSE["serve-api"]["stop_grace_period"]) >= compose_s + 5


def test_scaling_and_updates_start_from_the_plan():
    spec, scaler = KUBERNETES["Deployment"]["spec"], KUBERNETES["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == KUBERNETES["Deployment"]["metadata"]["name"]
    assert spec["replicas"] == scaler["minReplicas"] < scaler["maxReplicas"]
    assert 1 <= KUBERNETES["PodDisruptionBudget"]["spec"]["maxUnavailable"] < spec["replicas"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    planned_rps = scaler["metrics"][0]["pods"]["target"]["averageValue"]
    assert ALERTS["ArrivalsAbovePlan"].strip().endswith(f"> {planned_rps}")
    for command in COMMANDS.values():
        assert f"> {flag(command, '--batch-size-max')}\n" in ALERTS["QueueGrowing"]


def test_images_are_of_this_version_and_hold_what_is_run():
    image = f"serve-api:{PROJECT['version']}"
    assert CONTAINER["image"] == COMPOSE["serve-api"]["image"] == image
    for name, pod in JOB_PODS.items():
        (container,) = pod["containers"]
        models = f"serve-api-models:{container['args'][1]}"
        assert container["image"] == (models if name == "publish" else image)
    assert all(re.search(r":v?\d+\.\d+\.\d+$", service["image"]) for service in COMPOSE.values())
    copied = {word for line in DOCKERFILE["COPY"] for word in line.split()[:-1]}
    here = {source for source in copied if not source.startswith(("/", "--"))}
    assert here == {"capacity", "serve_api", "LICENSE", "pyproject.toml", "serve_api/deploy/requirements.py"}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    others = {word for line in CONTAINERFILE["COPY"] for word in line.split()[:-1]}
    allowed = here | {source for source in others if not source.startswith(("/", "--"))}
    assert {line[1:] for line in ignored if line.startswith("!")} == allowed


def test_containers_are_bounded_and_restricted():
    for pod in (POD, *JOB_PODS.values()):
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        assert user == DOCKERFILE["USER"][-1]
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
    for name, service in COMPOSE.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert {"mem_limit", "cpus", "pids_limit", "healthcheck", "restart"} <= set(service), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_models_are_read_where_jobs_write_them():
    claim = KUBERNETES["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in (POD, *JOB_PODS.values()):
        (volume,) = [v for v in pod["volumes"] if v["name"] == "artifacts"]
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "artifacts"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert mount["mountPath"] == "/artifacts"
        assert mount.get("readOnly", False) == (pod is POD)
        assert flag(pod["containers"][0]["args"], "--artifacts") == "/artifacts/mlp"


def test_prometheus_finds_the_service():
    cluster = load(DEPLOY / "prometheus-kubernetes.yml")
    assert cluster["rule_files"] == SCRAPE["rule_files"] == ["rules.yml"]
    (here,), (there,) = SCRAPE["scrape_configs"], cluster["scrape_configs"]
    assert here["job_name"] == there["job_name"] == "serve-api"
    assert here["static_configs"][0]["targets"][0].split(":")[0] in COMPOSE
    assert all('job="serve-api"' in expression for expression in ALERTS.values())
    labels = {rule.get("target_label") for rule in there["relabel_configs"]}
    assert {"instance", "namespace", "pod"} <= labels
    (text,) = re.findall(r"```yaml\n(rules:\n.*?)```", HOW_TO, re.DOTALL)
    (rule,) = yaml.safe_load(text)["rules"]
    scaler = KUBERNETES["HorizontalPodAutoscaler"]["spec"]
    assert rule["name"]["as"] == scaler["metrics"][0]["pods"]["metric"]["name"]
    assert (
        'job="serve-api"' in rule["metricsQuery"]
    )  # scraped by two jobs, the rate would be twice what it is


def test_the_how_to_names_files_and_keys_that_there_are():
    named = set(re.findall(r"serve_api/deploy/[\w./-]*\w", HOW_TO))
    assert {"serve_api/deploy/jobs/publish.yaml", "serve_api/deploy/nginx.conf"} <= named
    assert all((ROOT / name).exists() for name in named), named
    keys = set(re.findall(r"`recommendation\.(\w+)`", HOW_TO))
    assert (
        {"replicas", "batch_size_max", "batch_wait_max_s", "queue_limit"}
        <= keys
        <= set(BatchPlan.__dataclass_fields__)
    )


def locust(port, *arguments):
    """Four users for a second."""
    bounds = ("--headless", "--users", "4", "--spawn-rate", "100", "--run-time", "1s", "--stop-timeout", "5")
    place = ("-f", DEPLOY / "locustfile.py", "--host", f"http://127.0.0.1:{port}")
    return run(sys.executable, "-m", "locust", *place, *bounds, *arguments)


@pytest.mark.long
def test_users_ask_as_the_contract_says_and_tell_of_failures():
    with stub() as service:
        done = locust(service.server_port, "--think-time", "50ms", "--rows", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(service.asked) >= 4  # each of them once at least, however slow the machine
    for path, body in service.asked:
        assert path == "/predict"
        assert [len(row) for row in body["instances"]] == [30, 30, 30]
    with stub(503) as service:
        assert locust(service.server_port, "--think-time", "50ms").returncode == 1
    done = locust(service.server_port, "--think-time", "50")
    assert done.returncode != 0
    assert "has no unit; write 50ms" in done.stderr


def test_the_rule_for_the_number_of_users_adds_up():
    done = run(sys.executable, "-m", "doctest", "-v", DEPLOY / "locustfile.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_load_balancer_is_the_one_that_is_rendered_for_its_plan():
    """But for remarks and the probe."""
    rendered = render(saved_plan(name="serve-api", replicas=3, queue_limit=None), "haproxy")
    shipped = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    assert "httpchk GET /readyz\n" in shipped
    told = [
        re.sub(r" *#.*", "", text.replace("/readyz", "/v2/health/ready")).split()
        for text in (shipped, rendered)
    ]
    assert told[0] == told[1]
