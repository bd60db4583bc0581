"""The house stays small: files, functions, their parameters, and how far one word reaches."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    path for top in ("capacity", "simulations", "serve_api") for path in sorted((ROOT / top).rglob("*.py"))
]
LINES_MAX, CODE_MAX, PARAMETERS_MAX = 600, 40, 12
COMPILED_LOOPS = {"simulations/kernel/continuous.py"}  # parts of one loop, inlined in one another
COMPILERS = {"compiled", "borrowing", "callee", "inlined"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
# Names of classes that say how they are passed, and not what they are.
BAGS = re.compile(r"(Args|Arguments|Bag|Config|Context|Kwargs|Options|Params|Parameters)$")
# Files that may use a word, outside of the rooms that know it.
WORDS = {"queue_limit": 16, "chunked_prefill": 6, "preferred_sizes": 8}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def functions() -> tuple[tuple[str, Function, int], ...]:
    """All functions that are not compiled, with their places and their numbers of lines of code."""
    return tuple(one for path in FILES for one in functions_in(path))


def functions_in(path: Path) -> Iterator[tuple[str, Function, int]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    waiting: list[ast.AST] = list(parsed(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function):
            if is_compiled(node):
                continue
            yield f"{shown(path)}:{node.name}", node, code_lines(node, lines)
        waiting += [
            one
            for one in ast.iter_child_nodes(node)
            if isinstance(one, ast.stmt | ast.ExceptHandler | ast.match_case)
        ]


def is_compiled(node: Function) -> bool:
    named = {one.id for deco in node.decorator_list for one in ast.walk(deco) if isinstance(one, ast.Name)}
    return not named.isdisjoint(COMPILERS)


def code_lines(node: Function, lines: list[str]) -> int:
    """Lines of a function's body that are neither empty, nor comments, nor its docstring."""
    first = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not first:
        return 0
    body = lines[first[0].lineno - 1 : node.end_lineno]
    return sum(1 for line in body if line.strip() and not line.strip().startswith("#"))


def parameters(node: Function) -> int:
    taken = node.args
    return len(taken.posonlyargs) + len(taken.args) + len(taken.kwonlyargs)


def test_no_file_is_too_long() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name for name, length in lengths.items() if length > LINES_MAX} == COMPILED_LOOPS


def test_no_function_is_too_long() -> None:
    assert [place for place, _, lines in functions() if lines > CODE_MAX] == []


def test_no_function_has_too_many_parameters() -> None:
    """Verbs have as many as the table of flags, and get them from there."""
    assert [place for place, node, _ in functions() if parameters(node) > PARAMETERS_MAX] == []


def test_no_class_is_a_bag_of_parameters() -> None:
    classes = [
        f"{shown(path)}:{node.name}"
        for path in FILES
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and BAGS.search(node.name)
    ]
    assert classes == []


@pytest.mark.parametrize(("word", "most"), WORDS.items())
def test_a_word_of_one_room_does_not_spread(word: str, most: int) -> None:
    rooms = ("capacity/server/", "capacity/formats/", "capacity/profile/")
    using = [
        shown(path)
        for path in FILES
        if shown(path).startswith("capacity/") and not shown(path).startswith(rooms)
        if re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))
    ]
    assert len(using) <= most, using


def test_what_is_too_large_is_seen() -> None:
    body = "\n".join(f"    x{number} = {number}" for number in range(41))
    names = ", ".join(f"a{number}" for number in range(13))
    text = f"def f({names}):\n    '''Text.\n\n    More.\n    '''\n    # a comment\n\n{body}\n"
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef)
    assert (code_lines(node, text.splitlines()), parameters(node)) == (41, 13)
    assert BAGS.search("PlanOptions")
