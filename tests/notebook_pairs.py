"""Notebooks from their text: `python tests/notebook_pairs.py --write [NAME ...]` runs them and writes the .ipynb."""

import argparse
import re
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
TIMEOUT_S = 240  # of a cell
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def run(source: Path) -> Any:
    """The notebook of a text with its outputs; raises where a cell does."""
    notebook = jupytext.read(source)
    resources = {"metadata": {"path": str(source.parent)}}
    client = nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources=resources,
        record_timing=False,
        coalesce_streams=True,  # else how what is printed falls into pieces is chance
    )
    client.store_widget_state = False
    client.execute()
    return notebook


def write(source: Path) -> None:
    """Run a text and write its pair, without what differs from machine to machine or from run to run."""
    notebook = run(source)
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    notebook.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            steady(output)
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def steady(output: Any) -> None:
    """A widget's model has a new name at each run; its plain text has its place in memory."""
    data = output.get("data", {})
    data.pop("application/vnd.jupyter.widget-view+json", None)
    if "text/plain" in data:
        data["text/plain"] = re.sub(r" at 0x[0-9a-f]+", "", data["text/plain"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", required=True)
    parser.add_argument("names", nargs="*", help="stems of the texts; all where none is given")
    names = parser.parse_args().names
    for source in sorted(FOLDER.glob("*.py")):
        if not names or source.stem in names:
            write(source)
            print(source.stem)


if __name__ == "__main__":
    main()
