"""The files that deploy the service, parsed, and what is looked up in them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "serve_api" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
JOBS = sorted((DEPLOY / "jobs").glob("*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def instructions(text: str) -> dict[str, list[str]]:
    """Instructions of a Dockerfile, in their order by name."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: dict[str, list[str]] = {}
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, rest = line.split(maxsplit=1)
            found.setdefault(name, []).append(" ".join(rest.split()))
    return found


KUBERNETES = {document["kind"]: document for document in map(load, MANIFESTS)}
POD = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
JOB_PODS = {path.stem: load(path)["spec"]["template"]["spec"] for path in JOBS}
COMPOSE = load(DEPLOY / "compose.yaml")["services"]
SCRAPE = load(DEPLOY / "prometheus.yml")
ALERTS = {rule["alert"]: rule["expr"] for rule in load(DEPLOY / "rules.yml")["groups"][0]["rules"]}
DOCKERFILE = instructions((DEPLOY / "Dockerfile").read_text("utf-8"))
CONTAINERFILE = instructions((ROOT / "Containerfile").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOW_TO = (ROOT / "docs" / "how-to" / "deploy-the-service.md").read_text("utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
COMMANDS = {
    "Dockerfile": json.loads(DOCKERFILE["CMD"][-1]),
    "compose.yaml": COMPOSE["serve-api"]["command"],
    "deployment.yaml": CONTAINER["command"] + CONTAINER["args"],
}


def flag(command: list[str], name: str) -> str:
    """Value of a flag of a command; empty where it is not given."""
    return next((word.split("=", 1)[1] for word in command if word.startswith(f"{name}=")), "")
