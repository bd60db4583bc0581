"""Parsing: sessions as they are typed, as laws, by a bundled name or in a file."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from capacity.errors import InputError
from capacity.files import csv_rows, is_read_once, printable, read_parts, read_text
from capacity.traffic.sessions.bailian import read_bailian
from capacity.traffic.sessions.jsonl import json_lines
from capacity.traffic.sessions.laws import SessionLaws, is_laws, parse_laws
from capacity.traffic.sessions.mooncake import read_mooncake
from capacity.traffic.sessions.rows import SessionRows
from capacity.traffic.sessions.table import is_sessions, read_table

FILE_BYTES_MAX = 256 * 2**20

AnySessions = SessionRows | SessionLaws


def parse_sessions(text: str) -> AnySessions:
    """Sessions from `--sessions`: laws, a bundled name, or a file.

    Raises:
        InputError: none of these.
    """
    if is_laws(text):
        return parse_laws(text)
    if text in bundled_sessions():
        return read_bundled(text)
    return read_sessions(Path(text))


def bundled_sessions() -> list[str]:
    """Names of the bundled sessions, sorted."""
    return sorted(
        entry.name.removesuffix(".jsonl") for entry in _bundled().iterdir() if entry.name.endswith(".jsonl")
    )


def read_bundled(name: str) -> SessionRows:
    """Bundled sessions."""
    return _read(_bundled().joinpath(f"{name}.jsonl").read_text(), name)


def read_sessions(path: Path) -> SessionRows:
    """Sessions from a file: our CSV, or JSON lines as in the traces of Mooncake or of Bailian.

    Raises:
        InputError: names the file and the line that does not fit.
    """
    return _read(read_text(path, FILE_BYTES_MAX, "keep fewer sessions"), printable(path.name))


def has_sessions(path: Path) -> bool:
    """Whether a file is one of sessions, by its beginning; a pipe, which can be read only once, is not asked."""
    if is_read_once(path):
        return False
    start = next(read_parts(path), b"").decode("utf-8-sig", errors="replace").lstrip()
    if start.startswith("{"):
        return '"hash_ids"' in start
    try:
        _, header = next(csv_rows(f"{start}\n", printable(path.name), ""), (1, []))
    except InputError:
        return False
    return is_sessions([cell.strip().lower() for cell in header])


def _bundled() -> Traversable:
    return files("capacity").joinpath("traffic", "bundled")


def _read(text: str, shown: str) -> SessionRows:
    if not text.lstrip().startswith("{"):
        return read_table(text, shown)
    first = next(json_lines(text.lstrip().partition("\n")[0], shown))
    return read_bailian(text, shown) if "chat_id" in first.values else read_mooncake(text, shown)
