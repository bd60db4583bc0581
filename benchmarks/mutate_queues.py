"""Mutate queues: changes one operator or number of a law at a time and runs the tests that import it.

    python benchmarks/mutate_queues.py [--count 150] [--seed 0] [module ...]

Where `mutants.py` plants bugs by hand, this one draws them: sites are spread over the files of
`capacity/queues` in proportion to what is computed there. The working tree is never touched. Prints each
survivor with its change, and the share killed; exits with 1 below 95 %.
"""

import argparse
import ast
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mutants import AT_ONCE, ROOT, copy_to, failure

KILLED_MIN = 0.95
MORE_WORK = "more work than is needed, for the same digits"
# Changes that leave every answer as it is, by file, line and change; they are drawn, run, and not counted.
EQUIVALENT = {
    ("batches/jitter_chain.py", "roots = math.sqrt(", "size * chain.shape"): MORE_WORK,
    ("batches/jitter_law.py", "end = max(min(", "2.0"): MORE_WORK,
    (
        "batches/jitter_mesh.py",
        "least, most = np.maximum(",
        "total + first",
    ): "there the density is nothing",
    ("batches/jitter_mesh.py", "table = values.reshape(", "2"): "any negative number tells numpy to count",
    (
        "batches/load.py",
        'require_positive("load", _as_float(',
        "needed * servers",
    ): "only its sign is looked at",
    ("closed_sums.py", "if departures > 2.0 * (", "4.0"): MORE_WORK,
    ("closed_sums.py", "first = max(0, int(mean - 40.0", "80.0"): MORE_WORK,
    ("batches/jitter_chain.py", "roots = math.sqrt(", "2.0 / math.pi"): MORE_WORK,
    ("departures.py", "width = 60 + ", "61"): MORE_WORK,
    ("departures.py", "width = 60 + ", "22.0"): MORE_WORK,
    ("general/backlog.py", "high = 3.0 - 2.0 * math.log(rho)", "6.0"): "a wider bracket, halved once more",
    ("general/backlog.py", "high = 3.0 - 2.0 * math.log(rho)", "4.0"): "a wider bracket, halved once more",
    ("general/residual.py", "near = np.abs(s) * max(c, 1.0) < 0.3", "0.6"): "both series converge there",
    ("general/residual.py", "return np.sum(second * weights, axis=-1)", "1"): "the last axis is the second",
    ("general/roads.py", "return np.zeros(0)", "1"): "an atom at 0 that is not there is looked at in vain",
    ("offered_wait.py", "return -math.log1p(ratio) if", "0.5"): "two forms of one logarithm",
    (
        "scalability_fit.py",
        "start = np.array(slopes)",
        "np.array(slopes) * inverse",
    ): "another start, the same end",
    ("time_varying.py", "durations = (1.0,) * len(", "2.0"): "only ratios of durations count",
    ("numerics/banded.py", "base = as_strided(", "2"): "a view one row larger, which nobody reads",
}
FOLDERS = ("capacity/queues", "capacity/numerics")
SWAPS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
NEGATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


@dataclass(frozen=True)
class Site:
    """A place in a file and what it becomes."""

    path: Path
    line: int
    start: int
    end: int
    last_line: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old} -> {self.new}"


def sites(path: Path) -> list[Site]:
    """All places in the bodies of a file's functions, messages of errors left out."""
    text = (ROOT / path).read_text()
    found: list[Site] = []
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                found.extend(_within(path, text, statement))
    unique = {(site.line, site.start, site.end, site.new): site for site in found}
    return [unique[key] for key in sorted(unique)]


def _within(path: Path, text: str, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.FunctionDef | ast.AnnAssign):
        value = getattr(node, "value", None)
        if isinstance(node, ast.AnnAssign) and value is not None:
            yield from _within(path, text, value)
        return
    new = _mutated(node)
    if new is not None:
        yield _site(path, text, node, new)
    for child in ast.iter_child_nodes(node):
        yield from _within(path, text, child)


def _mutated(node: ast.AST) -> str | None:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPS:
            return f"({ast.unparse(ast.BinOp(left=left, op=SWAPS[type(op)](), right=right))})"
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in NEGATIONS:
            swapped = ast.Compare(left=left, ops=[NEGATIONS[type(op)]()], comparators=[right])
            return f"({ast.unparse(swapped)})"
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"({ast.unparse(operand)})"
        case ast.Constant(value=value) if type(value) is int:
            return repr(value + 1)
        case ast.Constant(value=value) if type(value) is float and value != float("inf"):
            return repr(2.0 * value if value else 1.0)
        case _:
            return None


def _site(path: Path, text: str, node: ast.AST, new: str) -> Site:
    assert isinstance(node, ast.expr)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return Site(
        path=path,
        line=node.lineno,
        start=node.col_offset,
        end=node.end_col_offset,
        last_line=node.end_lineno,
        old=ast.get_source_segment(text, node) or "",
        new=new,
    )


def planted(site: Site) -> str:
    """The file's text with the change; columns of the syntax tree count bytes."""
    lines = (ROOT / site.path).read_bytes().splitlines(keepends=True)
    before = b"".join(lines[: site.line - 1]) + lines[site.line - 1][: site.start]
    after = lines[site.last_line - 1][site.end :] + b"".join(lines[site.last_line :])
    return (before + site.new.encode() + after).decode()


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports by name, at any depth of the code."""
    found = re.findall(r"^\s*from (capacity[\w.]*|simulations[\w.]*) import", path.read_text(), re.MULTILINE)
    return set(found)


def tests_of(path: Path) -> list[str]:
    """The file's own examples, its own tests, then the tests of what imports it, nearest first.

    Tests that simulate say less of a law and later: they are taken where no others are as near.
    """
    users = {".".join(path.with_suffix("").parts)}
    own = Path("tests", f"test_{path.stem}.py")
    tests = [str(own)] if (ROOT / own).exists() else []
    for distance in range(6):
        if distance >= 3 and tests:
            break
        near = [test for test in sorted((ROOT / "tests").glob("test_*.py")) if imported(test) & users]
        fast = [test for test in near if not _is_slow(test)]
        names = [str(test.relative_to(ROOT)) for test in (fast if fast or tests else near)]
        tests += [name for name in names if name not in tests]
        users |= {
            ".".join(other.relative_to(ROOT).with_suffix("").parts)
            for folder in FOLDERS
            for other in (ROOT / folder).rglob("*.py")
            if imported(other) & users
        }
    return [str(path), *tests]


def _is_slow(test: Path) -> bool:
    """Tests that simulate, which say less of a law and later."""
    return "simulations" in test.read_text()


def reason(site: Site) -> str:
    """Why a change changes nothing; empty where it should be caught."""
    line = (ROOT / site.path).read_text().splitlines()[site.line - 1].strip()
    for (file, start, new), why in EQUIVALENT.items():
        if str(site.path).endswith(file) and line.startswith(start) and site.new.strip("()") == new:
            return why
    return ""


def judge(site: Site) -> tuple[Site, str]:
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy_to(folder)
        (folder / site.path).write_text(planted(site))
        return site, failure(folder, tests_of(site.path), may_break_imports=True)


def drawn(modules: Sequence[str], count: int, seed: int) -> list[Site]:
    """A sample of the sites, each file with its share, one at least."""
    paths = [
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not modules or path.stem in modules
    ]
    by_file = {path: sites(path) for path in paths}
    total = sum(len(found) for found in by_file.values())
    generator = random.Random(seed)
    sample: list[Site] = []
    for found in by_file.values():
        wanted = max(1, round(count * len(found) / total)) if found else 0
        sample.extend(generator.sample(found, min(wanted, len(found))))
    return sample


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun_s = time.monotonic()
    sample = drawn(arguments.modules, arguments.count, arguments.seed)
    survivors, equivalent = [], []
    with ThreadPoolExecutor(AT_ONCE) as executor:
        for number, (site, caught_by) in enumerate(executor.map(judge, sample), 1):
            if not caught_by:
                (equivalent if reason(site) else survivors).append(site)
            print(f"{number}/{len(sample)} {site}: {caught_by or 'SURVIVES'}", file=sys.stderr, flush=True)
    for site in equivalent:
        print(f"changes nothing: {site} ({reason(site)})")
    for site in survivors:
        print(f"survives: {site}")
    counted = len(sample) - len(equivalent)
    killed = 1.0 - len(survivors) / counted
    print(
        f"{counted - len(survivors)} of {len(sample)} killed, {len(equivalent)} change nothing: "
        f"{100.0 * killed:.1f} %; seed {arguments.seed}, {time.monotonic() - begun_s:.0f} s"
    )
    return 0 if killed >= KILLED_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
