"""Draw mutants: changes one place at a time, drawn at random, and runs the tests nearest to the module.

    python benchmarks/draw_mutants.py [--count 100] [--seed 0] [--minutes 60] [path ...]

Where `planted_bugs.py` plants bugs by hand, cosmic-ray makes these: `cosmic-ray.toml` says where and which.
A path, such as capacity/queues, draws in that file or folder alone. The working tree is never touched.
Prints each survivor with its change when it is found, and the share killed at the end. Not counted are
mutants that cannot be imported or whose test fails without them too; if there are any of these it exits
with 2. Starts a worker for each core that it may use: `taskset -c 1` holds it to one.
"""

import argparse
import ast
import math
import os
import random
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.commands.init import init
from cosmic_ray.config import load_config
from cosmic_ray.modules import filter_paths, find_modules
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.tools.filters.operators_filter import OperatorsFilter
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec
from planted_bugs import AT_ONCE, ENVIRONMENT, ROOT, copy_to

CONFIG_FILE = ROOT / "benchmarks" / "cosmic-ray.toml"
CONFIG = load_config(CONFIG_FILE)
TESTS_MIN, TESTS_MAX = 3, 8  # test files that judge a module, from importers too
TESTS_ALIKE = 4  # and those that share most of its words, which find tests that run it by a command
KEPT_ALIKE = 2  # likewise topics of kept answers; all of them for what commands print and answer
KEPT = "tests/test_kept_answers.py::test_commands_answer_as_kept"
MEMORY_MAX = 8 * 2**30
PAGES = "tests/test_readme.py::test_reference_pages_are_what_help_and_docstrings_say"  # with each default
FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)
PYTEST = f"{shlex.quote(sys.executable)} {CONFIG.test_command}"


class Judged(NamedTuple):
    """A mutant's place, its change, and the test that killed it: empty for a survivor."""

    place: str
    diff: str
    killed_by: str


@cache
def imported(file: Path) -> frozenset[str]:
    """Modules that a file imports, at any depth of its code, by dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(found)


def tests_of(module: Path) -> list[str]:
    """Tests of a module: its examples, tests by its name, words and nearest imports, kept answers, its pages."""
    tests = sorted(set(Path("tests").rglob("test_*.py")) - {Path(KEPT.partition("::")[0])})
    helpers = [file for file in Path("tests").rglob("*.py") if file not in tests]
    sources = [file for name in (*CONFIG["module-path"], "cli.py") for file in find_modules([Path(name)])]
    names = {dotted(module)}
    alike = sorted(tests, key=lambda test: -likeness(module, test))[:TESTS_ALIKE]
    found = list(dict.fromkeys(alike + [test for test in tests if test.stem == f"test_{module.stem}"]))
    for _ in range(5):
        near = [test for test in tests if imported(test) & names]
        near = sorted(set(near) - set(found), key=lambda test: (-share(imported(test), names), test))
        found += near[:TESTS_MAX]
        if len(found) >= TESTS_ALIKE + TESTS_MIN:
            break
        names |= {dotted(file) for file in (*sources, *helpers) if imported(file) & names}
    pages = [PAGES] if module.parts[0] == "capacity" else []
    topics = sorted(Path("tests/kept").glob("*.txt"), key=lambda topic: -likeness(module, topic))
    kept = [f"{KEPT}[{topic.stem}]" for topic in topics[: None if pages else KEPT_ALIKE]]
    return [*(str(file) for file in (module, *found)), *kept, *pages]


def share(imports: frozenset[str], names: set[str]) -> float:
    """Share of a test's imports that are the modules: a test that imports little else is theirs."""
    return sum(name in names or name.rpartition(".")[0] in names for name in imports) / len(imports)


@cache
def words(file: Path) -> frozenset[str]:
    """The words of a file: its names, and the parts of these."""
    text = file.read_text()
    parts = re.sub(r"([a-z])([A-Z])", r"\1_\2", text).lower().replace("_", " ")
    return frozenset((*re.findall(r"\w{5,}", text), *re.findall(r"\w{3,}", parts)))


@cache
def weights() -> dict[str, float]:
    """Weights of words, by how few test files have them: the squared logarithm of one over their share."""
    files = [words(test) for test in (*Path("tests").rglob("test_*.py"), *Path("tests/kept").glob("*.txt"))]
    counts = Counter(word for file in files for word in file)
    return {word: math.log(len(files) / count) ** 2 for word, count in counts.items()}


def likeness(module: Path, test: Path) -> float:
    """Weight of the words that a module and a test share, over the root of that of the test's."""
    known = weights()
    shared = sum(known.get(word, 0.0) for word in words(module) & words(test))
    return shared / math.sqrt(1.0 + sum(known[word] for word in words(test)))


def dotted(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__").removeprefix("tests.")


def mutations(module: Path) -> list[list[MutationSpec]]:
    """Possible changes, for each place of a module."""
    lines = module.read_text().splitlines()
    places: dict[tuple[object, object], list[MutationSpec]] = {}
    with use_db(":memory:", WorkDB.Mode.create) as session:
        init([module], session, CONFIG.operators_config)
        OperatorsFilter().filter(session, argparse.Namespace(config=CONFIG_FILE))
        for item in session.pending_work_items:
            (one,) = item.mutations
            if not lines[one.start_pos[0] - 1].lstrip().startswith("@"):
                places.setdefault((one.start_pos, one.end_pos), []).append(one)
    return [sorted(places[key], key=lambda one: one.operator_name) for key in sorted(places)]


def drawn(paths: Sequence[str], count: int, seed: int) -> list[tuple[Path, str]]:
    """Modules in proportion to their length, each with the seed of its draw, whatever the count."""
    given = [Path(path) for path in paths or CONFIG["module-path"]]
    modules = sorted(filter_paths(find_modules(given), () if paths else CONFIG["excluded-modules"]))
    lengths = [len(module.read_text().splitlines()) for module in modules]
    chosen = random.Random(seed).choices(modules, lengths, k=count)
    return [(module, f"{seed}, {number}") for number, module in enumerate(chosen)]


def start_worker(parent: Path) -> None:
    """Give each worker a copy of its own, compiled once, since cosmic-ray lets the tests write no bytecode.

    A mutant may ask for all memory in an endless loop: its process is limited, so that ours is not killed.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    folder = Path(tempfile.mkdtemp(dir=parent))
    copy_to(folder)
    os.chdir(folder)
    os.environ.update(ENVIRONMENT, PYTHONPATH=str(folder))
    subprocess.run([sys.executable, "-m", "compileall", "-q", "."], check=True)


def judge(draw: tuple[Path, str], deadline_s: float) -> Judged | None:
    """The judged mutant; None if there is nothing to change, or no time left."""
    module, seed = draw
    generator = random.Random(seed)
    if time.time() > deadline_s or not (places := mutations(module)):
        return None
    one = generator.choice(generator.choice(places))
    place = f"{module}:{one.start_pos[0]} {one.definition_name}: {one.operator_name}"
    tests = shlex.join(tests_of(module))
    result = mutate_and_test([one], f"{PYTEST} {tests}", CONFIG.timeout)
    if not result.is_killed:
        return Judged(place, f"{result.diff}\ntests: {tests}", "")
    return Judged(place, "", (FAILED.findall(result.output) or [result.output])[0])


def failing(tests: Sequence[str]) -> set[str]:
    """Tests that fail in the worker's copy without a mutant."""
    command = shlex.split(f"{PYTEST.replace(' -x', '')} {shlex.join(tests)}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(FAILED.findall(done.stdout)) if tests else set()


def report(judged: Sequence[Judged], broken: Set[str]) -> None:
    """Print the share killed of those that can be imported and whose test passes without."""
    survivors = [one for one in judged if not one.killed_by]
    killed = [one for one in judged if "::" in one.killed_by and one.killed_by not in broken]
    hung = [one for one in judged if one.killed_by == "timeout"]
    for test in sorted(broken):
        print(f"fails without a mutant: {test}")
    counted = len(survivors) + len(killed)
    rest = len(judged) - counted - len(hung)
    print(f"{len(killed)} of {counted} killed; {len(hung)} beyond the time limit, {rest} not counted")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", metavar="path")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120.0, help="draw no more after so long")
    given = parser.parse_args()
    os.chdir(ROOT)
    draws = drawn(given.paths, given.count, given.seed)
    deadlines_s = [time.time() + 60.0 * given.minutes] * len(draws)
    judged: list[Judged] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        with ProcessPoolExecutor(AT_ONCE, initializer=start_worker, initargs=(Path(name),)) as executor:
            for one in filter(None, executor.map(judge, draws, deadlines_s)):
                judged.append(one)
                print(f"{one.place}: {one.killed_by or 'SURVIVES'}", file=sys.stderr, flush=True)
                if not one.killed_by:
                    print(f"survives: {one.place}\n{one.diff}\n", flush=True)
        start_worker(Path(name))
        broken = failing(sorted({one.killed_by for one in judged if "::" in one.killed_by}))
    report(judged, broken)
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
