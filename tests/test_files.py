"""JSON as types: what does not fit is told by its path, what stands there, and what may."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from capacity.errors import DomainError, InputError
from capacity.files import ROWS_MAX, Line, parse_object, read_as


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
        ({"extra": 1}, "street[2] has an unknown key 'extra'; known keys are heights_m, kind, name, rooms"),
    ],
    ids=range(16),
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


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deeply"):
        read_as(House, {**GOOD, "rooms": deep})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 100, "-1" + "0" * 100])
def test_numbers_beyond_all_bounds_are_refused_wherever_they_stand(number: str) -> None:
    with pytest.raises(InputError, match=r"^a\.json: b\[1\]\.c is too large; keep it below 1e100$"):
        parse_object(f'{{"b": [0, {{"c": {number}}}]}}', "a.json", "an object")


def test_lists_are_of_limited_length() -> None:
    ones = ",".join("1" * (ROWS_MAX + 1))
    with pytest.raises(InputError, match=r"^a\.json: b must be a list, of 1000000 at most$"):
        parse_object(f'{{"b": [{ones}]}}', "a.json", "an object")
    assert len(parse_object(f'{{"b": [{ones[2:]}]}}', "a.json", "an object")["b"]) == ROWS_MAX
