"""What a container may do and use: rules over the deployment files, each of which yields its complaints."""

import re
from collections.abc import Iterator
from typing import Any

from deployment import Documents, commands, containers, flag, pod, pods

# The volumes that the restricted Pod Security Standard allows.
_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def containers_are_bounded(found: Documents) -> Iterator[str]:
    for _, container in containers(found):
        resources = container.get("resources", {})
        for name in ("cpu", "memory"):
            asked = resources.get("requests", {}).get(name)
            if asked is None or asked != resources.get("limits", {}).get(name):
                yield f"{container['name']}: {name} must have a request and the same limit"
        if not str(resources.get("limits", {}).get("cpu", "")).isdecimal():
            yield f"{container['name']}: processors must be whole"


def pods_share_nothing_with_their_node(found: Documents) -> Iterator[str]:
    for workload, spec in pods(found).items():
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(name):
                yield f"{workload}: {name} must not be set"
        for volume in spec["volumes"]:
            if set(volume) - {"name"} - _VOLUMES:
                yield f"{workload}: volume {volume['name']} is of a kind that restricted pods may not have"
    for _, container in containers(found):
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{container['name']}: no hostPort"


def containers_are_restricted(found: Documents) -> Iterator[str]:
    for spec, container in containers(found):
        security = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        yield from (f"{container['name']}: {complaint}" for complaint in _looseness(security))


def _looseness(security: dict[str, Any]) -> Iterator[str]:
    capabilities = security.get("capabilities", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "privileges must not grow"
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "all capabilities must be dropped"
    if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) == 0:
        yield "it must not run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccomp must be RuntimeDefault"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root must be read-only"


def namespace_refuses_others(found: Documents) -> Iterator[str]:
    if found["Namespace"]["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace must refuse pods that are not restricted"


def models_are_read_only(found: Documents) -> Iterator[str]:
    (store,) = [volume for volume in pod(found)["volumes"] if volume["name"] == "artifacts"]
    (mount,) = [
        mount for mount in pod(found)["containers"][0]["volumeMounts"] if mount["name"] == "artifacts"
    ]
    claim = store["persistentVolumeClaim"]
    if not (mount.get("readOnly") and claim.get("readOnly")):
        yield "the volume of models must be read-only"
    if claim["claimName"] != found["PersistentVolumeClaim"]["metadata"]["name"]:
        yield "the pod must claim the volume that there is"
    if not found["compose"]["services"]["serve-api"]["volumes"][0].get("read_only"):
        yield "compose must mount models read-only"
    for file, command in commands(found).items():
        if not flag(command, "--artifacts").startswith(f"{mount['mountPath']}/"):
            yield f"{file}: --artifacts must lie in {mount['mountPath']}"


def jobs_write_the_store_that_is_read(found: Documents) -> Iterator[str]:
    claim, read = found["PersistentVolumeClaim"], pod(found)["containers"][0]["args"]
    if claim["spec"]["accessModes"] != ["ReadWriteMany"]:
        yield "the volume must be read by pods on several nodes while a job writes it"
    for name, job in found["jobs"].items():
        spec = job["spec"]["template"]["spec"]
        (container,), volumes = spec["containers"], {volume["name"]: volume for volume in spec["volumes"]}
        (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/artifacts"]
        used = volumes[mount["name"]]["persistentVolumeClaim"]
        if used["claimName"] != claim["metadata"]["name"] or used.get("readOnly") or mount.get("readOnly"):
            yield f"{name}: it must be able to write the store"
        if spec["securityContext"].get("fsGroup") != spec["securityContext"]["runAsGroup"]:
            yield f"{name}: a new volume must be made its user's"
        if flag(container["args"], "--artifacts") != flag(read, "--artifacts"):
            yield f"{name}: it must write where the service reads"


def something_may_be_written_to(found: Documents) -> Iterator[str]:
    for _, container in containers(found):
        if "/tmp" not in [mount["mountPath"] for mount in container["volumeMounts"]]:
            yield f"{container['name']}: there must be a /tmp"
    if not any(mount.startswith("/tmp") for mount in found["compose"]["services"]["serve-api"]["tmpfs"]):
        yield "compose must give a /tmp"
    if "HOME=/tmp" not in found["dockerfile"]["ENV"][-1]:
        yield "the image's user must have its home in /tmp"


def environment_is_its_own(found: Documents) -> Iterator[str]:
    for workload, spec in pods(found).items():
        if spec.get("enableServiceLinks") is not False:
            yield f"{workload}: variables of Services could be taken for settings of the server"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{workload}: it has no business with the cluster"


def traffic_is_let_in_by_name(found: Documents) -> Iterator[str]:
    spec = found["NetworkPolicy"]["spec"]
    if sorted(spec["policyTypes"]) != ["Egress", "Ingress"]:
        yield "both ways must be ruled"
    if spec.get("egress", ["anywhere"]) != []:
        yield "the service calls nobody"
    for rule in spec["ingress"]:
        peers = rule.get("from", [])
        if not peers or not all(peer.get("namespaceSelector", {}).get("matchLabels") for peer in peers):
            yield "only namespaces with a label may call"


def compose_confines(found: Documents) -> Iterator[str]:
    for name, service in found["compose"]["services"].items():
        confined = (
            service.get("read_only") is True
            and service.get("cap_drop") == ["ALL"]
            and service.get("security_opt") == ["no-new-privileges:true"]
            and {"mem_limit", "cpus", "pids_limit", "healthcheck"} <= set(service)
        )
        if not confined:
            yield f"{name} must be confined and bounded"
        if not all(port.startswith("127.0.0.1:") for port in service["ports"]):
            yield f"{name} must be reached from its own machine alone"


def image_is_pinned_and_plain(found: Documents) -> Iterator[str]:
    dockerfile = found["dockerfile"]
    if not re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", dockerfile["ARG"][0]):
        yield "the base must be a slim python of one version"
    if dockerfile["FROM"] != ["${BASE} AS build", "${BASE}"]:
        yield "it must be built in a stage of its own, and run from the plain base"
    if not any(line.startswith("--from=build /opt/serve ") for line in dockerfile["COPY"]):
        yield "what was installed must be copied from where it was built"
    user, group = dockerfile["USER"][-1].split(":")
    security = pod(found)["securityContext"]
    if (user, group) != (str(security["runAsUser"]), str(security["runAsGroup"])) or user == "0":
        yield "the image's user must be the pod's, and not root"
    if "PYTHONDONTWRITEBYTECODE=1" not in dockerfile["ENV"][-1]:
        yield "nothing must be written as it runs"


RULES = (
    containers_are_bounded,
    pods_share_nothing_with_their_node,
    containers_are_restricted,
    namespace_refuses_others,
    models_are_read_only,
    jobs_write_the_store_that_is_read,
    something_may_be_written_to,
    environment_is_its_own,
    traffic_is_let_in_by_name,
    compose_confines,
    image_is_pinned_and_plain,
)
