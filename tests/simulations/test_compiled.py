"""Compiled code: kept between processes, in step with its sources, and no worse off where it cannot be kept."""

import ast
import importlib.util
import io
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import FunctionType, SimpleNamespace

import pytest
from numba.core import types

import simulations.compiled

ROOT = Path(__file__).parents[2]
SERVE_ONE = """
import numpy as np
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from simulations.kernel import serve as kernel
from simulations.draws.arrivals import Draws, Replay
from simulations.draws.service import ExponentialTimes

plan = BatchPlan(profile="made-up", replicas=1, batch_size_max=1, routing=Routing.SHARED_QUEUE)
draws = Draws(arrived_s=np.array([1.0]), service=np.array([0.5]), routing=np.zeros(2))
for part in kernel.serve(plan, ExponentialTimes(1.0), Replay(draws)):
    print(part.finished_s.tolist())
"""


def output_of(program: str, folder: Path) -> str:
    """What a program prints that finds the packages in a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def output_here() -> str:
    """What it prints in this process, of whose machine code nothing is amiss."""
    with redirect_stdout(io.StringIO()) as out:
        exec(SERVE_ONE, {})
    return out.getvalue()


def copied_to(folder: Path) -> None:
    for package in ("capacity", "simulations"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.long
def test_machine_code_that_was_kept_is_not_older_than_any_code_in_it(tmp_path: Path) -> None:
    """A recursion has the service times copied into it, which another file defines."""
    copied_to(tmp_path)
    before, kept = output_here(), simulations.compiled._folder()
    assert kept is not None
    shutil.copytree(kept, tmp_path / "simulations" / "__pycache__" / "compiled")
    assert output_of(SERVE_ONE, tmp_path) == before
    path = tmp_path / "simulations" / "draws" / "service.py"
    text, changes = re.subn(r"times_s\[size - 1\] \*", "2.0 * times_s[size - 1] *", path.read_text())
    assert changes == 1
    path.write_text(text)
    after = output_of(SERVE_ONE, tmp_path)
    assert eval(after)[0] - 1.0 == 2.0 * (eval(before)[0] - 1.0)


@pytest.mark.long
def test_code_is_compiled_again_where_it_cannot_be_kept(tmp_path: Path) -> None:
    """A read-only installation of a user without a home: slower, but no error."""
    copied_to(tmp_path)
    nowhere = "from numba.core import caching\ncaching.CompileResultCacheImpl._locator_classes = []\n"
    assert output_of(nowhere + SERVE_ONE, tmp_path) == output_here()


def fingerprint(module: str, folder: Path) -> str:
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    return simulations.compiled._fingerprint.__wrapped__(f"simulations.{module}", str(file))


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "source", "changes"),
    [
        ("kernel.own_queues", "kernel/own_queues.py", True),
        ("kernel.own_queues", "kernel/state.py", True),
        ("kernel.own_queues", "compiled.py", True),
        ("kernel.own_queues", "draws/service.py", True),
        ("kernel.recovery.run", "kernel/recovery/events.py", True),  # by way of others
        ("statistics.tally", "draws/cells.py", True),
        ("kernel.recovery.events", "kernel/recovery/run.py", False),
        ("kernel.own_queues", "reference/replica.py", False),
    ],
)
def test_machine_code_is_kept_by_each_source_whose_constants_it_holds(
    module: str, source: str, changes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constants are frozen into machine code, which reads beyond its arrays where they are old ones."""
    shutil.copytree(ROOT / "simulations", tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(simulations.compiled, "_HERE", tmp_path)
    before = fingerprint(module, tmp_path)
    assert fingerprint(module, tmp_path) == before
    path = tmp_path / source
    path.write_text(path.read_text() + "\nANOTHER = 1\n")
    assert (fingerprint(module, tmp_path) != before) is changes


def test_every_import_of_the_simulator_is_seen() -> None:
    """In every form that the language has; a name that is no module does no harm."""
    for path in (ROOT / "simulations").rglob("*.py"):
        seen = simulations.compiled._imported(path.read_bytes())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                named = [f"{node.module}.{one.name}" for one in node.names] + [node.module or ""]
            else:
                named = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            assert {name for name in named if name.startswith("simulations")} <= set(seen), path


def test_copies_of_the_same_sources_share_machine_code(tmp_path, monkeypatch) -> None:
    """As the package that is installed and the sources that it was built from do."""
    monkeypatch.setattr(simulations.compiled, "_folder", lambda: tmp_path)
    found = []
    for name in ("installed", "checkout"):
        path = tmp_path / name / "sums.py"
        path.parent.mkdir()
        path.write_text("def plus_three(x):\n    return x + 3.0\n")
        spec = importlib.util.spec_from_file_location("sums", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function = simulations.compiled.compiled(module.plus_three)
        assert function(1.0) == 4.0
        found.append(sum(function.stats.cache_hits.values()))
    assert found == [0, 1]


@pytest.mark.long
def test_code_is_compiled_in_memory_where_the_disk_is_full(tmp_path: Path) -> None:
    """The folder can be made, and nothing can be saved in it."""
    copied_to(tmp_path)
    full = """
import errno
from numba.core.caching import IndexDataCacheFile

def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

IndexDataCacheFile._save_index = IndexDataCacheFile._save_data = full
"""
    assert output_of(full + SERVE_ONE, tmp_path) == output_here()


def plus_one(x: float) -> float:
    return x + 1.0


def plus_two(x: float) -> float:
    return x + 2.0


def _results() -> list[float]:
    """Of functions as a new process would find them: compiled, or kept by an earlier one."""
    return [simulations.compiled.compiled(function)(1.0) for function in (plus_one, plus_two)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\x80garbage" * (len(data) // 8),
    "a byte off": lambda data: data[:-100] + bytes([data[-100] ^ 0xFF]) + data[-99:],
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_machine_code_that_is_damaged_is_compiled_again_with_one_line(
    damage: Callable[[bytes], bytes],
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Two functions and one line; machine code with a byte off would be run all the same."""
    monkeypatch.setattr(simulations.compiled, "_folder", lambda: tmp_path)
    monkeypatch.setattr(logging.getLogger("simulations"), "propagate", False)  # to stderr, as in a command
    assert _results() == [2.0, 3.0]
    found = list(tmp_path.rglob(f"*.{suffix}"))
    assert len(found) == 2
    for path in found:
        path.write_bytes(damage(path.read_bytes()))
    assert _results() == [2.0, 3.0]
    line = f"the compiled simulator in {found[0].parent} is damaged; it is compiled again\n"
    assert capfd.readouterr().err == line
    assert all(damage(path.read_bytes()) != path.read_bytes() for path in tmp_path.rglob("*.nb?"))
    monkeypatch.setattr(simulations.compiled, "_damaged", set())
    assert _results() == [2.0, 3.0]
    assert capfd.readouterr().err == ""


@simulations.compiled.compiled
def _shifted(value: float, places: int) -> float:
    return value + places


def test_constants_of_a_caller_share_one_machine_code() -> None:
    for places in (1, 2):  # as a compiled function asks for it
        _shifted.get_call_template((types.float64, types.literal(places)), {})  # type: ignore[attr-defined]
    assert len(_shifted.signatures) == 1  # type: ignore[attr-defined]
    assert _shifted(0.5, 3) == 3.5


@simulations.compiled.callee
def _halved(value: float) -> float:
    return value / 2.0


@simulations.compiled.inlined
def _squared(value: float) -> float:
    return value * value


def _of_both(value: float) -> float:
    return _halved(value) + _squared(value)


def test_what_compiled_code_calls_is_kept_in_it_and_not_by_itself(tmp_path, monkeypatch) -> None:
    """Once used by compiled code, both still answer Python, for which numba has nothing to call."""
    monkeypatch.setattr(simulations.compiled, "_folder", lambda: tmp_path)
    for hits in (0, 1):
        both = simulations.compiled.compiled(_of_both)
        assert both(3.0) == 10.5
        assert sum(both.stats.cache_hits.values()) == hits  # type: ignore[attr-defined]
    assert {path.name.split("-")[0] for path in tmp_path.rglob("*.nb?")} == {"test_compiled._of_both"}
    assert (_halved(3.0), _squared(3.0)) == (1.5, 9.0)


def test_machine_code_is_kept_in_the_first_writable_folder(tmp_path, monkeypatch) -> None:
    """The folder set for numba, then beside the sources, then in the home; none if all are read-only."""
    find = simulations.compiled._folder.__wrapped__
    monkeypatch.setattr("simulations.compiled.config.CACHE_DIR", str(tmp_path / "given"))
    monkeypatch.setattr("simulations.compiled._HERE", tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    places = [tmp_path / "given", tmp_path / "here" / "__pycache__", tmp_path / "home" / "capacity"]
    for place in places:
        assert find() == place / "compiled"
        shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("a file, which no folder can be made in")
    assert find() is None
    monkeypatch.setattr("simulations.compiled.config.CACHE_DIR", "")
    places[1].unlink()
    assert find() == places[1] / "compiled"


def test_without_a_folder_machine_code_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does without a source file, as in an archive."""
    assert simulations.compiled._place(one_more) is not None
    with monkeypatch.context() as patch:
        patch.setattr("simulations.compiled._folder", lambda: None)
        assert simulations.compiled._place(one_more) is None
        assert simulations.compiled.compiled(one_more)(2.0) == 3.0
    archived = FunctionType(one_more.__code__.replace(co_filename="/no/such.zip/m.py"), {})
    archived.__module__ = "simulations.archived"
    assert simulations.compiled._place(archived) is None


def one_more(number: float) -> float:
    return number + 1.0


def test_a_numba_without_the_expected_attributes_is_left_as_it_is() -> None:

    for dispatcher in (SimpleNamespace(), SimpleNamespace(_cache=SimpleNamespace(_cache_file=object()))):
        before = dict(vars(dispatcher))
        simulations.compiled._keep_by_content(dispatcher, Path("nowhere"))
        simulations.compiled._trust_no_disk(dispatcher)
        assert vars(dispatcher) == before
