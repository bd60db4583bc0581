"""What the image installs is all that the server imports: the rest of this environment is refused to it."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.metadata import requires as needs

import pytest
from deployment import PROJECT, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from serving import a_store

from serve_api.deploy.requirements import requirements

COPIED = {"capacity", "serve_api"}
PROGRAM = """
import sys
from pathlib import Path

class Stranger:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"the image has no {name}", name=name)

sys.meta_path.insert(0, Stranger)
import httptools, uvloop
import serve_api.commands
from serve_api.server.app import Service, create_app
from serve_api.server.metrics import Metrics
from serve_api.server.process import DrainingServer
from serve_api.server.settings import Settings
from serve_api.server.versions import Loader

settings = Settings(artifacts=Path(sys.argv[1]))
metrics = Metrics(settings)
loader = Loader(settings, metrics)
service = Service(settings, loader.versions(), metrics)  # which loads the model, and warms it up
DrainingServer(create_app(service, loader), service).config.load()
"""


def installed() -> set[str]:
    """What pip installs of the image's requirements."""
    found: set[str] = set()
    new = {canonicalize_name(Requirement(line).name) for line in requirements(PROJECT)}
    while new:
        found |= new
        needed = [Requirement(line) for name in new for line in needs(name) or ()]
        new = {
            canonicalize_name(one.name)
            for one in needed
            if one.marker is None or one.marker.evaluate({"extra": ""})
        } - found
    return found


@pytest.fixture(scope="module")
def program() -> str:
    known = installed()
    refused = {
        module
        for module, names in packages_distributions().items()
        if not known & {canonicalize_name(name) for name in names}
    } - COPIED
    assert {"numba", "scipy", "matplotlib", "sklearn", "onnx"} <= refused
    assert not {"numpy", "onnxruntime", "fastapi", "typer", "click"} & refused
    return f"REFUSED = {sorted({*refused, 'simulations', 'cli'})}\n{PROGRAM}"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_the_server_starts_from_what_the_image_installs(program, tmp_path):
    done = run(program, str(a_store(tmp_path).root))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stranger", ["numba", "simulations.reference.cluster", "onnx"])
def test_what_the_image_has_not_is_refused(program, stranger, tmp_path):
    done = run(program.replace("import httptools", f"import {stranger}, httptools"), str(tmp_path))
    assert done.returncode == 1
    assert f"the image has no {stranger.partition('.')[0]}" in done.stderr
