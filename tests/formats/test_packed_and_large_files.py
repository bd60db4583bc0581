"""Files that are packed by gzip, and files larger than memory: read as their text is, or refused in one line."""

import gzip
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import BY_NAME, examples
from test_k6_points import DECLARED, as_text, point

from capacity import files
from capacity.errors import CapacityError, InputError
from capacity.files import read_lines, read_text
from capacity.formats.document import Document
from capacity.formats.registry import Kind, known_format, read, read_document
from capacity.profile.load import load_profile
from capacity.traffic.trace import read_trace


def seen(value: Any) -> Any:
    """What was read, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: seen(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {key: seen(one) for key, one in value.items()}
    return [seen(one) for one in value] if isinstance(value, list | tuple) else value


def outcome(document: Document, kind: str) -> Any:
    try:
        return seen(read_document(document, Kind(kind)))
    except CapacityError as error:
        return str(error)


@pytest.mark.parametrize("name", BY_NAME)
def test_packed_and_large_files_are_read_as_their_text(name: str, tmp_path: Path) -> None:
    """A large one from its path, of which only the start is in memory."""
    path, packed = tmp_path / "file", tmp_path / "file.gz"
    for data in examples(name).values():
        path.write_bytes(data)
        packed.write_bytes(gzip.compress(data))
        small = Document("file", data.decode("utf-8-sig"))
        for kind in BY_NAME[name].READERS:
            expected = outcome(small, kind)
            for file in (path, packed):
                assert outcome(Document("file", read_text(file)), kind) == expected
                if known_format(Document("file", small.start, file)) is not None:
                    assert outcome(Document("file", small.start, file), kind) == expected


@contextmanager
def parts_of(count: int) -> Iterator[None]:
    """Within, files are read by parts of this many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK_BYTES", count)
        yield


def test_lines_are_whole_wherever_a_part_ends(tmp_path: Path) -> None:
    text = "\ufeffa\r\nbé\n\n" + "c" * 50 + "\nlast"
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8", newline="")
    for count in range(1, 70):
        with parts_of(count):
            found = list(read_lines(path))
            assert found[1:] == ["bé\n", "\n", "c" * 50 + "\n", "last"]
            assert found[0] == "a\n" or count < 4  # the mark, of three bytes, is then no part of its own


def test_a_large_file_is_told_by_its_start_and_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "points.json.gz"
    requests = [point("http_req_duration", f"{second:02d}", 100.0) for second in range(50)]
    path.write_bytes(gzip.compress(as_text([DECLARED, *requests]).encode()))
    with parts_of(5000):
        document = Document.read(path)
        assert document.path == path
        assert len(document.start) == 5000
        (run,) = read(path, Kind.LOAD_TEST).runs
    assert run.succeeded == 50


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"x,y\n" * 99, mtime=0)[:-9], "file is gzip that was cut off; copy it again"),
        (gzip.compress(b"x,y\n" * 99, mtime=0)[:-8] + b"01234567", "file is gzip that is damaged; copy it again"),
        (b"\x1f\x8b", "file is gzip that was cut off; copy it again"),
        (b"\x1f\x8b\x08" + b"\x00" * 99, "file is gzip that is damaged; copy it again"),
        (b"\x1f\x8b\x09" + b"\x00" * 99, "file is gzip that is damaged; copy it again"),
        (gzip.compress(b"\xff\xfe\xfd", mtime=0), "file is not UTF-8 text (byte 0); save it as UTF-8"),
    ],
)  # fmt: skip
def test_gzip_that_is_not_whole_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for act in (read_text, lambda path: list(read_lines(path)), lambda path: read(path, Kind.LOAD_TEST)):
        with pytest.raises(InputError) as refused:
            act(path)
        assert str(refused.value).replace(" line 1 is", " is") == said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_what_powershell_redirects_is_read(encoding: str, tmp_path: Path) -> None:
    """`>` of PowerShell 5 writes UTF-16 with its mark and Windows' line ends."""
    path, mark = tmp_path / "file", "\ufeff" if encoding == "utf-16-be" else ""
    for name in ("wrk_text", "locust_csv", "k6_summary"):
        for data in examples(name).values():
            text = data.decode("utf-8-sig")
            expected = outcome(Document("file", text), "load-test")
            path.write_bytes((mark + text.replace("\n", "\r\n")).encode(encoding))
            assert outcome(Document.read(path), "load-test") == expected
            for count in (2, 101):
                with parts_of(count):
                    assert read_text(path).replace("\r", "") == text
    profile = tmp_path / "mine.csv"
    profile.write_bytes((mark + "batch_size,mean_ms\r\n1,5\r\n8,12\r\n").encode(encoding))
    assert load_profile(profile).name == "mine"


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_made(tmp_path: Path) -> None:
    """A decompression bomb: 100 MB of blanks in 100 kB, one line, which is no text that a tool writes."""
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b" " * 100_000_000))
    tracemalloc.start()
    try:
        for act in (lambda: read(path, Kind.LOAD_TEST), lambda: load_profile(path), lambda: read_trace(path)):
            with pytest.raises(
                InputError, match="larger than 67108864 bytes|a line of more than|none of the"
            ):
                act()
        assert tracemalloc.get_traced_memory()[1] < 2.2 * files.FILE_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_lines_are_limited_in_length_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LINE_BYTES_MAX", 10)
    monkeypatch.setattr(files, "LINES_MAX", 3)
    path = tmp_path / "file"
    for text, said in (("a\n" * 4, "file has more than 3 lines"), ("a" * 11, "a line of more than 10 bytes")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            list(read_lines(path))


def test_profiles_and_traces_may_be_packed(tmp_path: Path) -> None:
    profile, trace = tmp_path / "mine.csv.gz", tmp_path / "trace.csv.gz"
    profile.write_bytes(gzip.compress(b"batch_size,mean_ms\n1,5\n8,12\n"))
    trace.write_bytes(gzip.compress(b"t_s\n0\n1\n"))
    assert load_profile(profile).name == "mine"
    assert read_trace(trace).instants_s == (0.0, 1.0)


LOGS = {
    "k6_points": (as_text([DECLARED]) + "\n", as_text([point("http_req_duration", "01", 100.0)]) + "\n"),
    "access_log": ("", '127.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 23 "-" "-" 0.010\n'),
    "hey_csv": ("response-time,DNS+dialup,status-code,offset\n", "0.0101,0.0,200,0.25\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_of_a_log_only_its_requests_take_memory(name, tmp_path, monkeypatch) -> None:
    """300,000 lines without a request more: what reading takes does not grow with them."""
    start, line = LOGS[name]
    path = tmp_path / "log"
    path.write_text(start + line * 3 + "\n" * 300_000)
    monkeypatch.setattr(files, "_CHUNK_BYTES", 10_000)
    tracemalloc.start()
    try:
        assert read(path, Kind.LOAD_TEST).runs[-1].succeeded == 3
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
