"""The files that deploy the service, parsed, and what is looked up in them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from capacity.units import parse_duration_s

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "serve_api" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
JOBS = sorted((DEPLOY / "jobs").glob("*.yaml"))
Documents = dict[str, Any]


def documents() -> Documents:
    """Manifests by kind, jobs and the other files by name."""
    manifests = [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text("utf-8"))]
    return {document["kind"]: document for document in manifests} | {
        "jobs": {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in JOBS},
        "compose": _yaml("compose.yaml"),
        "prometheus": _yaml("prometheus.yml"),
        "prometheus in Kubernetes": _yaml("prometheus-kubernetes.yml"),
        "alerts": {rule["alert"]: rule for rule in _yaml("rules.yml")["groups"][0]["rules"]},
        "dockerfile": instructions((DEPLOY / "Dockerfile").read_text("utf-8")),
        "dockerignore": (ROOT / ".dockerignore").read_text("utf-8").splitlines(),
        "project": tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")),
    }


def _yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def instructions(text: str) -> dict[str, list[str]]:
    """Instructions of a Dockerfile, in their order by name."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: dict[str, list[str]] = {}
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, rest = line.split(maxsplit=1)
            found.setdefault(name, []).append(" ".join(rest.split()))
    return found


def pod(found: Documents) -> Any:
    return found["Deployment"]["spec"]["template"]["spec"]


def pods(found: Documents) -> dict[str, Any]:
    """All that run: replicas of the service, and what looks after its store."""
    return {"Deployment": pod(found)} | {
        name: job["spec"]["template"]["spec"] for name, job in found["jobs"].items()
    }


def containers(found: Documents) -> list[tuple[Any, Any]]:
    """Each with the pod that it is of."""
    return [
        (of, container)
        for of in pods(found).values()
        for container in of["containers"] + of.get("initContainers", [])
    ]


def commands(found: Documents) -> dict[str, list[str]]:
    """The command of the service in each file that gives one."""
    container = pod(found)["containers"][0]
    return {
        "Dockerfile": json.loads(found["dockerfile"]["CMD"][-1]),
        "compose.yaml": found["compose"]["services"]["serve-api"]["command"],
        "deployment.yaml": container["command"] + container["args"],
    }


def flag(command: list[str], name: str) -> str:
    """Value of a flag of a command; empty where it is not given."""
    return next((word.split("=", 1)[1] for word in command if word.startswith(f"{name}=")), "")


def flag_s(command: list[str], name: str) -> float:
    return parse_duration_s(flag(command, name))


def threshold(found: Documents, alert: str) -> float:
    """The number that the first comparison of an alert ends with."""
    return float(re.findall(r"> ([\d.]+)$", found["alerts"][alert]["expr"], re.MULTILINE)[0])


def health_check(found: Documents) -> list[str]:
    """The command of the image's health check."""
    return json.loads(found["dockerfile"]["HEALTHCHECK"][-1].split("CMD ", 1)[1])
