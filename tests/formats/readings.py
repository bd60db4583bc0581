"""What is read of each example of each format, kept in `read/`: compare, or write it again (`--write [format ...]`).

A file is a format, and a block is an example read for one purpose: all that was read, but for what is as by default.
Durations have eight digits, and their ends in brackets where they are not exact. A refusal stands behind a `!`. After a
change that is meant, write again and read the difference: what is kept is no proof that it is right.
"""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, whatever is installed
from reading import BY_NAME, examples

from capacity.errors import CapacityError
from capacity.formats.document import Document
from capacity.formats.registry import Kind, read_document
from capacity.performance import Interval

FOLDER = Path(__file__).parent / "read"
_LONG = 48  # values of a list or object that are shown


def blocks(name: str) -> Iterator[str]:
    """The examples of a format as each of its purposes reads them."""
    for key, data in examples(name).items():
        for kind in BY_NAME[name].READERS:
            yield "\n".join([f"{key}, {kind}:", *_lines(data, kind)])


def _lines(data: bytes, kind: str) -> list[str]:
    try:
        found = read_document(Document("file", data.decode("utf-8-sig")), Kind(kind))
    except CapacityError as error:
        return [f"! {error}"]
    parts = found if isinstance(found, tuple) else [found, *getattr(found, "runs", ())]
    return [line for one in parts for line in textwrap.wrap(_told(one), 118, initial_indent="  ",
            subsequent_indent="      ", break_long_words=False, break_on_hyphens=False)]  # fmt: skip


def _told(value: Any) -> str:
    if isinstance(value, Interval):
        ends = "" if value.low == value.value == value.high else f" ({value.low:.8g} to {value.high:.8g})"
        return f"{value.value:.8g}{ends}"
    if is_dataclass(value):
        told = [f"{key}={_told(one)}" for key, one in _given(value) if key != "runs"]
        return f"{type(value).__name__}: {', '.join(told)}"
    if isinstance(value, dict):
        return f"{{{_several([f'{_told(key)}: {_told(one)}' for key, one in value.items()])}}}"
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{_several([_told(one) for one in value])}]"
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:.{8 if abs(value) < 1e6 else 13}g}" if isinstance(value, float) else repr(value)


def _several(told: list[str]) -> str:
    return ", ".join(told[:_LONG]) + (f" and {len(told) - _LONG} more" if len(told) > _LONG else "")


def _given(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields that are not as by default."""
    for field in fields(value):
        usual = field.default if field.default_factory is MISSING else field.default_factory()
        found = getattr(value, field.name)
        if not field.name.startswith("_") and _told(found) != _told(usual):
            yield field.name, found


def text(name: str) -> str:
    return "\n\n".join(blocks(name)) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit("usage: python tests/formats/readings.py --write [format ...]")
    for name in sys.argv[2:] or BY_NAME:
        (FOLDER / f"{name}.txt").write_text(text(name), encoding="utf-8")
