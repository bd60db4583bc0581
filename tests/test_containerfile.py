"""The image of the command: what it is built from is what the package is built from, and what it runs is the command."""

import json
import re
import tomllib
from fnmatch import fnmatch

from deployment import CONTAINERFILE, DOCKERFILE, PROJECT, ROOT
from packaging.specifiers import SpecifierSet

TEXT = (ROOT / "Containerfile").read_text("utf-8")
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
    "wheel"
]


def copied() -> dict[str, str]:
    """Where each file or folder of the repository comes to lie, by its name."""
    lines = [line.split() for line in CONTAINERFILE["COPY"] if not line.startswith("--from")]
    return {
        source: f"{target.removesuffix('/')}/{source.rpartition('/')[2]}" if target.endswith("/") else target
        for *sources, target in lines
        for source in sources
    }


def test_its_python_is_one_that_the_package_is_made_for() -> None:
    (base,) = [line for line in CONTAINERFILE["ARG"] if line.startswith("BASE=")]
    assert base == DOCKERFILE["ARG"][0]  # that of the reference service
    version = re.fullmatch(r"BASE=python:(\d+\.\d+)(\.\d+)-slim-bookworm", base)
    assert SpecifierSet(PROJECT["requires-python"]).contains(version[1] + version[2])
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["classifiers"]
    assert [line for line in CONTAINERFILE["FROM"] if not line.startswith("${BASE}")] == []


def test_it_is_built_from_what_the_package_is_built_from() -> None:
    wanted = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], *WHEEL["shared-data"]}
    wanted |= {name.removeprefix("/") for name in WHEEL["include"]}
    found = copied()
    assert found.keys() == wanted
    assert all((ROOT / source).exists() for source in found)
    assert [source for source, target in found.items() if target.removeprefix("./") != source] == []


def test_the_extras_that_it_names_exist_and_none_is_installed_unasked() -> None:
    assert "EXTRAS=" in CONTAINERFILE["ARG"]
    assert '"/source${EXTRAS}"' in CONTAINERFILE["RUN"][0]
    (named,) = re.findall(r"EXTRAS=\[([\w,]+)\]", TEXT)
    assert set(named.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_it_runs_the_command_without_root_in_the_mounted_folder() -> None:
    (entry,) = json.loads(CONTAINERFILE["ENTRYPOINT"][0])
    assert entry in PROJECT["scripts"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", CONTAINERFILE["USER"][-1])
    order = re.findall(r"^(?:RUN|USER|ENTRYPOINT)", TEXT, re.MULTILINE)
    assert order[-2:] == ["USER", "ENTRYPOINT"]  # nothing is written after the user is set
    assert CONTAINERFILE["WORKDIR"][-1] == "/data"
    assert fnmatch(TEXT, '*-v "$PWD:/data" capacity *')
    environment = CONTAINERFILE["ENV"][-1].split()
    assert "PATH=/opt/capacity/bin:$PATH" in environment
    assert "XDG_CACHE_HOME=/cache" in environment
    assert "install -d -m 1777 /cache" in CONTAINERFILE["RUN"]
