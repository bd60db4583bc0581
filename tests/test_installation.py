"""What an installation needs: each dependency is used, and what only some users need is an extra that messages name."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from fake_server import Reply, serving
from test_floors import parsed

import capacity as cap

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = [path for folder in ("capacity", "simulations") for path in (ROOT / folder).rglob("*.py")] + [
    ROOT / "cli.py"
]
# What each run-time dependency is for. One that not every user needs is an extra instead.
PURPOSES = {
    "numpy": "random streams, and all that is an array",
    "scipy": "special functions, sparse chains and fits of laws",
    "simpy": "the reference simulator",
    "numba": "the compiled simulator",
    "typer": "the command line",
    "rich": "tables",
    "plotext": "charts in the terminal",
    "matplotlib": "figures: -o of .svg and .png, and those of report pages",
    "pydantic": "files as types, and their schemas",
    "jinja2": "report pages",
    "prometheus_client": "the text of metrics",
}
# Modules of a dependency that have a name of their own.
MODULES = {"pydantic_core": "pydantic", "markupsafe": "jinja2", "yarl": "aiohttp"}
OURS = {"capacity", "simulations", "cli"}


def name_of(requirement: str) -> str:
    """The name of what is required, as it is imported.

    >>> name_of("prometheus-client>=0.20")
    'prometheus_client'
    """
    return re.match(r"[\w-]+", requirement)[0].replace("-", "_")


def imported(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Packages of others that a file imports: those whose absence it tells, and those that it takes for granted."""
    told = [
        inside
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("DependencyError" in ast.unparse(one) for one in node.handlers)
        for inside in chain.from_iterable(map(ast.walk, node.body))
    ]
    unread = {
        inside
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    guarded = set(packages(told))
    return guarded, set(packages(one for one in ast.walk(tree) if one not in unread)) - guarded


def packages(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names of the packages that these import, without ours and Python's."""
    for node in nodes:
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        for package in (name.partition(".")[0] for name in names):
            if package not in OURS | sys.stdlib_module_names:
                yield MODULES.get(package, package)


def test_each_dependency_has_a_purpose_and_is_imported() -> None:
    needed = {name_of(one) for one in PROJECT["dependencies"]}
    assert needed == PURPOSES.keys()
    told, granted = (
        set().union(*found) for found in zip(*map(imported, map(parsed, INSTALLED)), strict=True)
    )
    assert granted - told == needed


def test_what_is_imported_beyond_that_is_of_an_extra_that_the_message_names() -> None:
    for path in INSTALLED:
        found, _ = imported(parsed(path))
        if not found:
            continue
        named = re.findall(r"capacity-planner\[(\w+)\]", path.read_text(encoding="utf-8"))
        assert named, path
        assert found <= {name_of(one) for extra in named for one in EXTRAS[extra]}, path


def test_the_extras_that_are_documented_exist() -> None:
    text = (ROOT / "docs" / "how-to" / "install-it.md").read_text(encoding="utf-8")
    tabled = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    typed = [one for group in re.findall(r"pip install '\.\[([\w,]+)\]'", text) for one in group.split(",")]
    assert {"frames", "measure"} <= {*tabled, *typed} <= EXTRAS.keys()


def test_a_frame_without_pandas_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cap.predict("resnet50-t4-fp16", rate="100rps", replicas=1, batch_size_max=1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(cap.CapacityError, match=r"capacity-planner\[frames\]") as raised:
        answer.to_frame()
    assert raised.value.exit_code == 5
    assert answer.rows()


WITHOUT_PANDAS = """
import sys

sys.modules["pandas"] = None
from cli import app

app(sys.argv[1:], prog_name="capacity")
"""


@pytest.mark.parametrize("target", ["rates.csv", "rates.svg", "rates.json"])
def test_no_command_needs_pandas(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-c", WITHOUT_PANDAS,
            "curve", "--profile", "resnet50-t4-fp16", "--replicas", "1", "--batch-size-max", "1",
            "--precision", "0.5", "-o", str(tmp_path / target),
        ],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr
    assert (tmp_path / target).stat().st_size


WITHOUT_EXTRAS = """
import sys

sys.modules.update({"aiohttp": None, "pandas": None})
from cli import app

app(sys.argv[1:], prog_name="capacity")
"""


@pytest.mark.parametrize("source", ["URL", "-"])
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("explain", 0, "of a request's 127 ms is queue"),
        ("audit", 0, "The figures may be used as they are"),
        ("import", 0, "a page of Prometheus metrics"),
    ],
)
def test_a_page_of_metrics_is_read_without_an_extra(
    command: str, code: int, said: str, source: str, tmp_path: Path
) -> None:
    """The page is read from its address, or from stdin, as in `curl -s URL | capacity explain -`."""
    page = (ROOT / "docs/examples/triton-metrics.txt").read_bytes()
    with serving(lambda *_: Reply(body=page)) as seen:
        given = f"{seen.url}/metrics" if source == "URL" else source
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_EXTRAS, command, given],
            input=b"" if source == "URL" else page, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, cwd=tmp_path, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stdout.decode()
    assert len(seen.asked) == (source == "URL")
