"""What one deployment file says of another: rules over them, each of which yields its complaints."""

import json
import re
from collections.abc import Iterator
from fractions import Fraction

from deployment import Documents, commands, flag, flag_s, health_check, pod, threshold

from capacity.units import parse_duration_s

# What is held in memory at most, as deployment.yaml adds it up.
_MODELS_MIB, _TEXTS_MIB, _TMP_MIB = 230 + 2 * 130 + 200, 100, 16
_ROW_BYTES = 30 * 4
CONNECTION_MIB = Fraction(3, 10)
_PROBES = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
_NAMESPACED = (
    "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    "PersistentVolumeClaim", "Role", "RoleBinding",
)  # fmt: skip


def containers_are_probed(found: Documents) -> Iterator[str]:
    for container in pod(found)["containers"]:
        for probe, path in _PROBES.items():
            get = container.get(probe, {}).get("httpGet", {})
            if (get.get("path"), get.get("port")) != (path, "http"):
                yield f"{container['name']}: {probe} must ask for {path} at http"


def selectors_match(found: Documents) -> Iterator[str]:
    spec = found["Deployment"]["spec"]
    selectors = {
        "Deployment": spec["selector"]["matchLabels"],
        "Service": found["Service"]["spec"]["selector"],
        "PodDisruptionBudget": found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    } | {
        spread["topologyKey"]: spread["labelSelector"]["matchLabels"]
        for spread in pod(found).get("topologySpreadConstraints", [])
    }
    labels = spec["template"]["metadata"]["labels"]
    for name, selector in selectors.items():
        if not selector or not selector.items() <= labels.items():
            yield f"{name} must select the pods of the Deployment"


def replicas_are_spread(found: Documents) -> Iterator[str]:
    keys = {spread["topologyKey"] for spread in pod(found).get("topologySpreadConstraints", [])}
    if keys != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
        yield "replicas must be spread over zones and nodes"


def namespaces_match(found: Documents) -> Iterator[str]:
    for kind, document in ({kind: found[kind] for kind in _NAMESPACED} | found["jobs"]).items():
        if document["metadata"].get("namespace") != found["Namespace"]["metadata"]["name"]:
            yield f"{kind} must be in the namespace"


def ports_agree(found: Documents) -> Iterator[str]:
    numbers = _ports(found)
    if len(set(numbers.values())) != 1:
        yield f"ports must agree: {numbers}"
    (port,) = pod(found)["containers"][0]["ports"]
    if found["Service"]["spec"]["ports"][0]["targetPort"] != port["name"]:
        yield "the Service must lead to the port of the container"


def _ports(found: Documents) -> dict[str, str]:
    service = found["compose"]["services"]["serve-api"]
    return {
        **{file: flag(command, "--port") for file, command in commands(found).items()},
        "EXPOSE": found["dockerfile"]["EXPOSE"][-1],
        "health check": flag(health_check(found), "--port"),
        "health check of compose": flag(service["healthcheck"]["test"], "--port"),
        "published": service["ports"][0].rsplit(":", 1)[1],
        "container": str(pod(found)["containers"][0]["ports"][0]["containerPort"]),
        "NetworkPolicy": str(found["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"]),
        "Prometheus": found["prometheus"]["scrape_configs"][0]["static_configs"][0]["targets"][0].split(":")[
            1
        ],
    }


def disruption_leaves_enough(found: Documents) -> Iterator[str]:
    spec, budget = found["Deployment"]["spec"], found["PodDisruptionBudget"]["spec"]
    if not 1 <= budget["maxUnavailable"] < spec["replicas"]:
        yield "maintenance must be possible, and leave replicas"
    update = spec["strategy"]["rollingUpdate"]
    if update["maxUnavailable"] != 0 or update["maxSurge"] < 1:
        yield "an update must add a replica before it takes one away"


def it_ends_in_time(found: Documents) -> Iterator[str]:
    command = commands(found)["deployment.yaml"]
    pause_s = (
        pod(found)["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    )
    needed_s = pause_s + flag_s(command, "--drain-delay") + flag_s(command, "--drain-max")
    if min(pause_s, flag_s(command, "--drain-delay")) < 5:
        yield "requests must be taken until every node and every client has heard"
    if pod(found)["terminationGracePeriodSeconds"] < needed_s + 5:
        yield f"the grace period must be more than {needed_s} s"
    service = found["compose"]["services"]["serve-api"]
    if parse_duration_s(service["stop_grace_period"]) < flag_s(service["command"], "--drain-max") + 5:
        yield "compose must wait for longer than --drain-max"


def scaling_starts_from_the_plan(found: Documents) -> Iterator[str]:
    spec, deployment = found["HorizontalPodAutoscaler"]["spec"], found["Deployment"]
    target = {key: deployment[key] for key in ("apiVersion", "kind")} | {
        "name": deployment["metadata"]["name"]
    }
    if spec["scaleTargetRef"] != target:
        yield "the autoscaler must scale the Deployment"
    if not deployment["spec"]["replicas"] == spec["minReplicas"] < spec["maxReplicas"]:
        yield "the autoscaler must start from the planned replicas, and be able to add some"
    if all(metric["type"] == "Resource" for metric in spec["metrics"]):
        yield "how busy a batching server is does not say how loaded it is"
    planned_rps = float(spec["metrics"][0]["pods"]["target"]["averageValue"])
    if planned_rps != threshold(found, "ArrivalsAbovePlan"):
        yield "autoscaler and alert must hold the same rate of a replica"


def a_growing_queue_is_longer_than_a_batch(found: Documents) -> Iterator[str]:
    for file, command in commands(found).items():
        if int(flag(command, "--batch-size-max")) > threshold(found, "QueueGrowing"):
            yield f"{file}: QueueGrowing must not take a batch for a queue"


def memory_is_enough(found: Documents) -> Iterator[str]:
    service = found["compose"]["services"]["serve-api"]
    limits = {
        "deployment.yaml": pod(found)["containers"][0]["resources"]["limits"]["memory"],
        "compose.yaml": service["mem_limit"],
    }
    for file, limit in limits.items():
        needed = _needed_mib(commands(found)[file])
        if needed is None:
            yield f"{file}: connections, open bodies and rows that wait must be bounded"
        elif needed > _mib(limit):
            yield f"{file}: {needed:.0f} MiB may be needed, and {limit} are allowed"


def _needed_mib(command: list[str]) -> float | None:
    """None where a flag that bounds it is missing."""
    names = ("--connections-max", "--open-bytes-max", "--queue-max", "--batch-size-max")
    given = [flag(command, name) for name in names]
    if not all(given):
        return None
    connections, open_bytes, requests, rows = map(int, given)
    # Of bodies, as much again comes at one instant, before anybody can refuse it.
    of_clients = connections * CONNECTION_MIB + (2 * open_bytes + requests * rows * _ROW_BYTES) / 2**20
    return _MODELS_MIB + of_clients + _TEXTS_MIB + _TMP_MIB


def _mib(quantity: str) -> float:
    number, unit = re.findall(r"(\d+)([A-Za-z]+)", quantity)[0]
    return float(number) * {"m": 1, "Mi": 1, "g": 1024, "Gi": 1024}[unit]


def jobs_are_no_replicas(found: Documents) -> Iterator[str]:
    service, policy = found["Service"]["spec"]["selector"], found["NetworkPolicy"]["spec"]["podSelector"]
    for name, job in found["jobs"].items():
        spec, labels = job["spec"], job["spec"]["template"]["metadata"]["labels"]
        if service.items() <= labels.items():
            yield f"{name}: the Service must not send requests there"
        if not policy["matchLabels"].items() <= labels.items():
            yield f"{name}: it must call nobody"
        if spec["template"]["spec"]["restartPolicy"] != "Never" or spec["backoffLimit"] != 0:
            yield f"{name}: it must not be done again by itself"
        if not {"activeDeadlineSeconds", "ttlSecondsAfterFinished"} <= set(spec):
            yield f"{name}: it must end, and be forgotten"
        if "generateName" not in job["metadata"]:
            yield f"{name}: it must be possible to run it again"


def commands_are_lists_of_words(found: Documents) -> Iterator[str]:
    if not isinstance(json.loads(found["dockerfile"]["CMD"][-1]), list):
        yield "the image's command must be of the exec form"
    for file, command in commands(found).items():
        if command[:3] != ["python", "-m", "serve_api"]:
            yield f"{file}: must run serve_api, without a shell that would keep SIGTERM to itself"


def image_holds_what_is_run(found: Documents) -> Iterator[str]:
    copied = {word for line in found["dockerfile"]["COPY"] for word in line.split()[:-1]}
    here = {source for source in copied if not source.startswith(("/", "--"))}
    if here != {"capacity", "serve_api", "LICENSE", "pyproject.toml", "serve_api/deploy/requirements.py"}:
        yield f"the image must be given the server and what it takes from capacity, not {sorted(here)}"
    sent = {line[1:] for line in found["dockerignore"] if line.startswith("!")}
    if "*" not in found["dockerignore"] or sent != here:
        yield f"a build must be sent what it copies and nothing else: {sorted(sent ^ here)}"


def images_are_of_this_version(found: Documents) -> Iterator[str]:
    image = f"serve-api:{found['project']['project']['version']}"
    if pod(found)["containers"][0]["image"] != image:
        yield f"the Deployment must run {image}"
    if found["compose"]["services"]["serve-api"]["image"] != image:
        yield f"compose must run {image}"
    if not re.fullmatch(r"\S+:v\d+\.\d+\.\d+", found["compose"]["services"]["prometheus"]["image"]):
        yield "Prometheus must be of one version"
    for name, job in found["jobs"].items():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        models = f"serve-api-models:{container['args'][1]}"
        if container["image"] != (models if container["args"][0] == "publish" else image):
            yield f"{name}: it must run {image}, or {models} that has what it publishes"


RULES = (
    containers_are_probed,
    selectors_match,
    replicas_are_spread,
    namespaces_match,
    ports_agree,
    disruption_leaves_enough,
    it_ends_in_time,
    scaling_starts_from_the_plan,
    a_growing_queue_is_longer_than_a_batch,
    memory_is_enough,
    jobs_are_no_replicas,
    commands_are_lists_of_words,
    image_holds_what_is_run,
    images_are_of_this_version,
)
