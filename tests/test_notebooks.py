"""Notebooks: pairs in step, outputs that tell nothing of the machine, the public API alone, run from the top."""

import ast
import math
import re
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from notebook_pairs import run

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
MACHINE = {
    "a path of the machine": re.compile(r"(?<![\w.])/(home|root|tmp|Users|work|mnt|var|usr|opt)/\w"),
    "a path of Windows": re.compile(r"\b[A-Z]:\\\\?\w"),
    "an instant": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d"),
    "the address of an object": re.compile(r"\bat 0x[0-9a-f]{6,}"),
    "an escape sequence": re.compile(r"\\u001b|\x1b"),
}
each = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def read(source: Path) -> Any:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks_and_every_one_is_a_pair() -> None:
    assert SOURCES
    written = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert written == {path.stem for path in SOURCES}


@each
def test_the_pair_is_in_step(source: Path) -> None:
    text, notebook = jupytext.read(source), read(source)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ]


@each
def test_no_cell_is_empty(source: Path) -> None:
    cells = read(source).cells
    assert [number for number, cell in enumerate(cells) if not cell.source.strip()] == []


@each
def test_nothing_tells_of_the_machine_that_ran_it(source: Path) -> None:
    for path in (source, source.with_suffix(".ipynb")):
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
        told = {what: found.group(0) for what, how in MACHINE.items() if (found := how.search(text))}
        assert told == {}, path.name


@each
def test_metadata_are_those_of_any_machine(source: Path) -> None:
    notebook = read(source)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    assert not [cell for cell in notebook.cells if "execution" in cell.metadata]


@each
def test_outputs_are_committed_and_none_is_an_error(source: Path) -> None:
    cells = code_cells(read(source))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell.source for cell in cells if displays(cell.source) and not cell.outputs] == []


@each
def test_a_figure_is_seen_as_a_picture(source: Path) -> None:
    shown = [output.data for cell in code_cells(read(source)) for output in cell.outputs if "data" in output]
    figures = [data for data in shown if data.get("text/plain", "").startswith("<capacity.render.plot")]
    assert [data["text/plain"] for data in figures if "image/png" not in data] == []


def displays(code: str) -> bool:
    """Whether a cell prints outside of its functions, or ends in an expression: such a cell has an output."""
    body = ast.parse(code).body
    outside = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    prints = any(is_call(node, "print", "display") for statement in outside for node in ast.walk(statement))
    return prints or (bool(body) and isinstance(body[-1], ast.Expr))


def is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


@pytest.mark.parametrize(
    ("code", "has_output"),
    [
        ("plot = new_plot()\nplot", True),
        ("picture(4, 1.0)", True),
        ("widgets.VBox([a, b])", True),
        ("values[0]", True),
        ("for x in (1, 2):\n    print(x)\nassert x", True),
        ("def told(x):\n    print(x)", False),
        ("class Told:\n    def tell(self):\n        print(1)", False),
        ("x = f(1)", False),
        ("", False),
    ],
)
def test_which_cells_display(code: str, has_output: bool) -> None:
    assert displays(code) is has_output


IMPORTS_MAX = 3
EASY = {"capacity", "numpy", "pandas", "IPython.display", "ipywidgets"}


@each
def test_it_takes_the_public_face_and_little_else(source: Path) -> None:
    """At most three lines of imports, and of this project `import capacity` alone."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [
        *(alias.name for node in lines if isinstance(node, ast.Import) for alias in node.names),
        *(node.module for node in lines if isinstance(node, ast.ImportFrom)),
    ]
    assert len(lines) <= IMPORTS_MAX
    assert set(modules) <= EASY
    assert "capacity" not in {node.module for node in lines if isinstance(node, ast.ImportFrom)}
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert [name for name in names if name[0] == "_" and not is_dunder(name)] == []


@each
def test_it_opens_with_a_question_and_ends_with_what_to_do(source: Path) -> None:
    first, *_, last = jupytext.read(source).cells
    assert first.cell_type == last.cell_type == "markdown"
    title = first.source.splitlines()[0]
    assert title.startswith("# ")
    assert title.endswith("?")
    assert "## What to do" in last.source


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


@pytest.mark.notebook
@each
def test_it_runs_from_the_top(source: Path) -> None:
    run(source)  # raises where a cell does, or takes too long


REDRAWN_WITHIN_S, ROUNDS = 0.2, 5


@pytest.mark.notebook
def test_each_slider_redraws_at_once() -> None:
    """Processor time of each move, the best of some, since a machine may pause."""
    cells: dict[str, Any] = {}
    text = (ROOT / "notebooks" / "02_utilization_curves.py").read_text(encoding="utf-8")
    exec(compile(text, "02_utilization_curves.py", "exec"), cells)
    sliders = [cells[name] for name in ("servers", "cv", "rate_rps", "objective_s")]
    slow = []
    for slider in sliders:
        home = slider.value
        for _, value in slider.options:
            best_s = math.inf
            for _ in range(ROUNDS):
                slider.value = home
                begun_s = time.thread_time()
                slider.value = value
                best_s = min(best_s, time.thread_time() - begun_s)
                if best_s < REDRAWN_WITHIN_S:
                    break
            slow += [(slider.description, value)] if best_s >= REDRAWN_WITHIN_S else []
        slider.value = home
    assert slow == []
    assert cells["text"].value.startswith('<b class="knee">P99 within 1 s: knee at 87.')
