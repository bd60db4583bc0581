"""JSON as types: an error names the path, what stands there, and what may."""

import socket
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest

from capacity.errors import DomainError, InputError
from capacity.files import ROWS_MAX, check_target, csv_rows, holds, read_text, versions
from capacity.json_text import Line, parse_list, parse_object, read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A noun that is valid or not born."""

    seats: int
    height_m: float | None = None

    def __post_init__(self) -> None:
        if self.seats < 1:
            raise DomainError(f"a room has a seat at least, got {self.seats}")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    rooms: tuple[Room, ...]
    kind: Literal["hall", "school"]
    name: Line = "house"
    heights_m: dict[float, Room] | None = None


GOOD: dict[str, Any] = {"rooms": [{"seats": 3, "height_m": 2}], "kind": "hall"}


def test_a_document_is_the_noun() -> None:
    assert read_as(House, GOOD) == House(rooms=(Room(seats=3, height_m=2.0),), kind="hall")
    tall = read_as(House, {**GOOD, "heights_m": {"2.5": {"seats": 1}}})
    assert tall.heights_m == {2.5: Room(seats=1)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rooms": 3}, "street[2].rooms must be a list, got 3"),
        ({"rooms": {"a": 1}}, "street[2].rooms must be a list, got an object"),
        ({"rooms": [3]}, "street[2].rooms[0] must be an object, got 3"),
        ({"rooms": [{}]}, "street[2].rooms[0] has no key seats"),
        ({"rooms": [{"seats": 1}, {"seats": 2.0}]}, "street[2].rooms[1].seats must be a whole number, got 2.0"),
        ({"rooms": [{"seats": True}]}, "street[2].rooms[0].seats must be a whole number, got True"),
        ({"rooms": [{"seats": "1"}]}, "street[2].rooms[0].seats must be a whole number, got '1'"),
        ({"rooms": [{"seats": 0}]}, "street[2].rooms[0]: a room has a seat at least, got 0"),
        ({"rooms": [{"seats": 1, "doors": 1}]}, "street[2].rooms[0] has an unknown key 'doors'; known keys are height_m, seats"),
        ({"rooms": [{"seats": 1, "height_m": "2"}]}, "street[2].rooms[0].height_m must be a number, got '2'"),
        ({"kind": "barn"}, "street[2].kind must be one of hall, school, got 'barn'"),
        ({"name": 5}, "street[2].name must be a text, got 5"),
        ({"name": "a\nb"}, "street[2].name must be a text of one line, 500 characters at most"),
        ({"heights_m": {"tall": {"seats": 1}}}, "street[2].heights_m: each key must be a number, got 'tall'"),
        ({"heights_m": {"2": {"x\x1b": 1}}}, "street[2].heights_m.2 has no key seats"),
        ({"heights_m": {"2": {"seats": 1, "x": 1}}}, "street[2].heights_m.2 has an unknown key 'x'; known keys are height_m, seats"),
        ({"rooms": [{"seats": 1, "y" * 50: 1}]}, f"street[2].rooms[0] has an unknown key {'y' * 40!r}; known keys are height_m, seats"),
        ({"kind": "b" * 100}, f"street[2].kind must be one of hall, school, got '{'b' * 79}"),
        ({"extra": 1}, "street[2] has an unknown key 'extra'; known keys are heights_m, kind, name, rooms"),
    ],
    ids=range(19),
)  # fmt: skip
def test_what_does_not_fit_is_told_by_its_path(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_as(House, {**GOOD, **changed}, "street[2]")
    assert str(caught.value) == message


def test_of_a_whole_file_paths_begin_within() -> None:
    with pytest.raises(InputError, match="^the file has no key kind$"):
        read_as(House, {"rooms": []})
    with pytest.raises(InputError, match=r"^rooms\[0\]\.seats must be a whole number, got a list$"):
        read_as(House, {**GOOD, "rooms": [{"seats": []}]})
    assert read_as(House, {**GOOD, "more": 1}, ignore_extra=True).kind == "hall"


@pytest.mark.parametrize("depth", [300, 100_000])
def test_what_is_nested_too_deeply_is_refused(depth: int) -> None:
    """300 is too deep for pydantic, and 100,000 for the JSON encoder too."""
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    for where, named in (("street", "street" if depth > 300 else "the file"), ("", "the file")):
        with pytest.raises(InputError, match=f"^{named} is nested too deeply$"):
            read_as(House, {**GOOD, "rooms": deep}, where)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 100, "-1" + "0" * 100])
def test_numbers_beyond_all_bounds_are_refused_wherever_they_stand(number: str) -> None:
    with pytest.raises(InputError, match=r"^a\.json: b\[1\]\.c is too large; keep it below 1e100$"):
        parse_object(f'{{"b": [0, {{"c": {number}}}]}}', "a.json", "an object")


def test_whole_numbers_have_at_most_100_digits() -> None:
    most = 10**100 - 1
    assert parse_list(f"[{most}, {-most}]", "a.json", "a list") == [most, -most]


def test_lists_are_of_limited_length() -> None:
    ones = ",".join("1" * (ROWS_MAX + 1))
    with pytest.raises(InputError, match=r"^a\.json: b must be a list, of 1000000 at most$"):
        parse_object(f'{{"b": [{ones}]}}', "a.json", "an object")
    assert len(parse_object(f'{{"b": [{ones[2:]}]}}', "a.json", "an object")["b"]) == ROWS_MAX


def test_a_list_and_an_object_are_told_apart() -> None:
    assert parse_list("[1, 2]", "a.json", "give a list") == [1, 2]
    with pytest.raises(InputError, match=r"^a\.json: give a list$"):
        parse_list('{"b": 1}', "a.json", "give a list")
    with pytest.raises(InputError, match=r"^a\.json: give an object$"):
        parse_object("[1]", "a.json", "give an object")


def test_the_number_of_values_counts_containers_and_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.json_text.VALUES_MAX", 3)
    assert parse_list("[{}, 2]", "a.json", "a list") == [{}, 2]
    for text in ("[{}, 2, 3]", "[{}, {}]", "[[], []]"):
        with pytest.raises(InputError, match="has more than 3 values; keep fewer"):
            parse_list(text, "a.json", "a list")


def test_long_keys_are_cut_in_messages() -> None:
    with pytest.raises(InputError, match=f"^a.json: {'k' * 40} is too large"):
        parse_object(f'{{"{"k" * 41}": 1e999}}', "a.json", "an object")
    with pytest.raises(InputError, match=f"^{'w' * 80} must be a whole number, got 'x'$"):
        read_as(int, "x", "w" * 81)


def test_a_file_is_read_up_to_its_largest_size(tmp_path: Path) -> None:
    """A mebibyte is one chunk of the reader, and the next byte begins another."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"x" * 2**20)
    assert len(read_text(path, bytes_max=2**20)) == 2**20
    path.write_bytes(b"x" * (2**20 + 1))
    assert len(read_text(path, bytes_max=2**20 + 1)) == 2**20 + 1
    with pytest.raises(InputError, match="is larger than 1048576 bytes; keep fewer samples"):
        read_text(path, bytes_max=2**20)


def test_a_word_is_looked_for_in_the_first_1000_characters_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("é" * 996 + "plan", encoding="utf-8")
    assert holds(path, "plan")
    path.write_text("é" * 997 + "plan", encoding="utf-8")
    assert not holds(path, "plan")
    path.write_bytes(b"plan\xff")
    assert not holds(path, "plan")
    assert not holds(tmp_path / "missing", "plan")
    assert not holds(tmp_path / "nul\0", "plan")


def test_a_socket_is_not_written_over() -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{name}/x.json")
        with pytest.raises(InputError, match=r"x\.json: it is not a file; give a file name$"):
            check_target(Path(name, "x.json"), "a plan", (".json",))


def test_versions_name_the_packages_that_compute() -> None:
    found = versions()
    assert list(found) == ["capacity", "numpy", "scipy", "simpy", "numba", "python"]
    assert found["capacity"] == version("capacity-planner")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("end", "is_whole"),
    [
        ("0.125\n", True), ("0.125", True), ("0.12", False), ("0.", False), ("0", False), ("0.1\n", True), ("0.1\r\n", True),
        ("0.1250", True), ("x", True), ("", True),
    ],
)  # fmt: skip
def test_a_csv_that_ends_within_a_number_is_refused(end: str, is_whole: bool) -> None:
    """Of many rows with three decimals each; a short one, as people write it, tells nothing."""
    text = "size,t_s\n" + "".join(f"1,{at}.125\n" for at in range(30)) + f"1,{end}"
    if is_whole:
        assert list(csv_rows(text, "f", "cut it"))
    else:
        with pytest.raises(InputError, match="f ends in .*: was the file cut off"):
            list(csv_rows(text, "f", "cut it"))
    assert list(csv_rows(f"size,t_s\n1,0.125\n1,0.250\n1,{end}", "f", "cut it"))
