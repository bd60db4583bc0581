"""Files that are damaged in every way: a reader answers or refuses in one line, and never fails otherwise.

Each test of a format has EXAMPLES, files that its reader takes. They are cut off, shuffled, and given values that no
tool writes; whatever comes of it, `read` returns, or raises one of the package's own errors, soon.
"""

import json
import os
import random
import re
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from reading import BY_NAME, examples

from capacity.errors import CapacityError
from capacity.files import TEXT_LENGTH_MAX
from capacity.formats.document import Document
from capacity.formats.registry import FORMATS, Kind, format_of, read

SECONDS_MAX = 5.0  # for a file of some kilobytes; a thousand times what it takes
MESSAGE_LENGTH_MAX = 4 * TEXT_LENGTH_MAX
NAMES = list(BY_NAME)

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NO_NUMBERS = (
    b"NaN", b"Infinity", b"-inf", b"1e999", b"-1e999", b"1e308", b"5e-324", b"-1", b"0", b"-0.0", b"1e18", b'"7"', b'"x"',
    b"", b"null", b"true", b"[]", b"{}", b"9" * 30, b"9" * 5000, b"0x10", b"1_000", b"1,5", b"\xd9\xa3", b"\xff",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2.5, -0.0, 1e308, -1e308, 5e-324, 10**99, 2**64, "", "x", "NaN", "+Inf", "-1", "1e999", "a\nb",
    [], [[]], [1], {}, {"a": 1}, [None], ["x"],
)  # fmt: skip
Damage = Callable[[random.Random, bytes], bytes]


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def scribble(rng: random.Random, data: bytes) -> bytes:
    """Some bytes are others."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if found:
            found[rng.randrange(len(found))] = (
                rng.randrange(256) if rng.random() < 0.3 else rng.choice(b'{}[]",:\n#=1e-')
            )
    return bytes(found)


def drop(rng: random.Random, data: bytes) -> bytes:
    """A part is gone."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randint(1, 40) :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    """A part is there again."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.randint(1, 80)]
    return data[:start] + part * rng.choice((2, 3, 50)) + data[start:]


def lines(rng: random.Random, data: bytes) -> bytes:
    """Lines are in another order, missing or doubled."""
    found = data.split(b"\n")
    way = rng.randrange(3)
    at = rng.randrange(len(found))
    if way == 0:
        rng.shuffle(found)
    elif way == 1:
        del found[at]
    else:
        found.insert(at, found[rng.randrange(len(found))])
    return b"\n".join(found)


def columns(rng: random.Random, data: bytes) -> bytes:
    """Two cells of a line have changed places, or a cell is missing."""
    found = data.split(b"\n")
    at = rng.randrange(len(found))
    cells = found[at].split(b",")
    one, other = rng.randrange(len(cells)), rng.randrange(len(cells))
    cells[one], cells[other] = cells[other], cells[one]
    if rng.random() < 0.3:
        del cells[one]
    found[at] = b",".join(cells)
    return b"\n".join(found)


def numbers(rng: random.Random, data: bytes) -> bytes:
    """Some numbers are none, or none that can be."""
    places = [match.span() for match in NUMBER.finditer(data)]
    for start, end in sorted(rng.sample(places, min(len(places), rng.randint(1, 3))), reverse=True):
        data = data[:start] + rng.choice(NO_NUMBERS) + data[end:]
    return data


def keys(rng: random.Random, data: bytes) -> bytes:
    """In a file of JSON, values are gone or of another kind."""
    try:
        document = json.loads(data)
    except ValueError:
        return numbers(rng, data)
    for _ in range(rng.randint(1, 3)):
        places = list(containers(document))
        if not places:
            break
        place = rng.choice(places)
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if rng.random() < 0.25:
            del place[key]
        else:
            place[key] = deepcopy(rng.choice(ODD_VALUES))
    return json.dumps(document).encode()


def containers(value: Any) -> list[Any]:
    """All objects and lists within that are not empty."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if parts else []) + [one for part in parts for one in containers(part)]


DAMAGES: tuple[Damage, ...] = (cut, scribble, drop, repeat, lines, columns, numbers, keys, keys)


def suffer(path: Path, data: bytes, kind: Kind) -> None:
    path.write_bytes(data)
    began = time.monotonic()
    try:
        read(path, kind)
    except CapacityError as error:
        said = str(error)
        assert said.isprintable(), (said, data)
        assert 0 < len(said) < MESSAGE_LENGTH_MAX, (said, data)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {kind} of {data!r}") from error
    assert time.monotonic() - began < SECONDS_MAX, data


def suffer_all(folder: Path, name: str, rounds: int, seed: str) -> None:
    """Each round damages an example, a third of the time twice."""
    rng = random.Random(f"{name} {seed}")
    found = sorted(examples(name).items())
    for _ in range(rounds):
        _, data = rng.choice(found)
        kinds = format_of(Document("example", data.decode())).READERS
        for damage in rng.sample(DAMAGES, rng.choice((1, 1, 2))):
            data = damage(rng, data)
        suffer(folder / "file.txt", data, Kind(rng.choice(list(kinds))))


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    for data in examples(name).values():
        for mark in (b"", b"\xef\xbb\xbf"):
            path.write_bytes(mark + data)
            takers = [one for one in FORMATS if one.recognises(Document.read(path))]
            assert [one.__name__ for one in takers] == [f"capacity.formats.{name}"]
            holds_nothing = name == "json_schema"  # which is known only to be refused with a reason
            assert any(is_read(path, Kind(kind)) for kind in takers[0].READERS) != holds_nothing


def is_read(path: Path, kind: Kind) -> bool:
    """A file may lack what one purpose needs."""
    try:
        read(path, kind)
    except CapacityError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    suffer_all(tmp_path, name, 2000 // len(NAMES) + 1, "short")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    """In CI 10,000 over all formats; HOSTILE_FILES=100000 asks for more."""
    files = int(os.environ.get("HOSTILE_FILES", "10000"))
    suffer_all(tmp_path, name, files // len(NAMES) + 1, "long")


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"{" * 50_000, b"[" * 50_000, b"\xff\xfe", b"a,b\n" * 5, bytes(range(256))]
)
def test_files_of_no_format_are_refused(data: bytes, tmp_path: Path) -> None:
    for kind in Kind:
        suffer(tmp_path / "file.txt", data, kind)
