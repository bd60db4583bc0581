"""Memory: files that are made to take much of it are read or refused within a bound by their size."""

import tracemalloc
from pathlib import Path

import pytest

from capacity.errors import CapacityError
from capacity.formats.document import Document
from capacity.formats.registry import Kind, known_format, read
from capacity.json_text import VALUES_MAX

SIZE = 100_000  # bytes of each of the files below
# Bytes that one of a file may take, and what is taken whatever the file holds.
TIMES, BESIDES = 100, 3_000_000


def filled(head: str, part: str, tail: str = "") -> bytes:
    """A part again and again, up to the size."""
    return (head + part * (SIZE // len(part)) + tail).encode()


HOSTILE = {
    "lists": filled("[", "[],", "[]]"),
    "objects": filled('{"model_stats":[', "{},", "{}]}"),
    "numbers": filled('{"format":"capacity-workload","schema_version":1,"t_s":[', "1,", "1]}"),
    "keys": ("{" + ",".join(f'"{number}":1' for number in range(SIZE // 9)) + "}").encode(),
    "deep lists": filled("", "["),
    "deep objects": filled("", '{"a":'),
    "lines": filled("", '{"metric":"http_req_duration","type":"Point","data":{"time":"2025-01-01T00:00:00Z","value":1}}\n'),
    "short lines": filled("", "{}\n"),
    "rows": filled("response-time,DNS+dialup,status-code,offset\n", "1,1,1,1\n"),
    "columns": filled("", "a,"),
    "quotes": filled("", '"'),
    "blank lines": filled("", "\n"),
    "elements": filled("<testResults>", "<sample/>", "</testResults>"),
    "deep elements": filled("<testResults>", "<a>"),
    "buckets": (
        "# TYPE x_seconds histogram\n"
        + "".join(f'x_seconds_bucket{{le="{number}"}} 1\n' for number in range(SIZE // 28))
    ).encode(),
    "a long line": filled('# TYPE x_seconds histogram\nx_seconds{a="', "b", '"} 1\n'),
    "blocks": filled("max_batch_size: 4\n", "a{}"),
    "words": filled("max_batch_size: 4\nb: [", "1 "),
    "log": filled("", '127.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 23 "-" "-" 0.010\n'),
    "quantiles": filled("Running 1s test @ x\n", "  50%  1ms\n"),
    "requests": filled("[", '{"start_time":1,"end_time":2,"info":{}},', '{"start_time":2,"end_time":3,"info":{}}]'),
    "details": filled("", ':::MLLOG {"key": "result_query_count", "value": 1}\n'),
}  # fmt: skip


def peak_bytes(path: Path, kind: Kind) -> int:
    """What Python has taken at most while a file was read or refused."""
    tracemalloc.start()
    try:
        read(path, kind)
    except CapacityError:
        pass
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_memory_is_bounded_by_the_size_of_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(HOSTILE[name])
    found = known_format(Document.read(path))
    kind = Kind.LOAD_TEST if found is None else Kind(next(iter(found.READERS)))
    assert peak_bytes(path, kind) < BESIDES + TIMES * SIZE


def test_a_file_with_too_many_values_is_refused_before_they_are_made(tmp_path: Path) -> None:
    """Lists of three bytes take sixty each: of a file of 64 MiB more than a gigabyte."""
    path = tmp_path / "file.txt"
    data = b"[" + b"[]," * VALUES_MAX + b"[]]"
    path.write_bytes(data)
    assert peak_bytes(path, Kind.LOAD_TEST) < BESIDES + 8 * len(data)
    with pytest.raises(CapacityError, match="has more than 8000000 values; keep fewer"):
        _ = Document.read(path).parts
