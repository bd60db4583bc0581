"""What all formats read by: the first characters of a file, its lines, rows, keys and numbers."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats import document as module
from capacity.formats.document import Document, Part, Row, each, number, parsed, placed, seconds_per, whole


def said(act: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as refused:
        act()
    return str(refused.value)


def test_a_format_is_told_by_4096_characters() -> None:
    assert Document("f", "  a" + "b" * 5000).head == "a" + "b" * 4093


def test_keys_are_those_of_an_object() -> None:
    assert Document("f", ' {"a": 1}').keys == {"a"}
    for text in ('["a"]', '{"a": ', "a"):
        assert Document("f", text).keys == frozenset()


def test_objects_of_a_list_are_counted_from_0() -> None:
    found = Document("f", '[{"a": 1}, {"a": "x"}]').parts
    assert [part.where for part in found] == ["f[0]", "f[1]"]
    assert said(lambda: found[1].number("a")) == "f[1].a must be a number, got 'x'"
    assert said(lambda: Document("f", "[{}, 3]").parts) == "f[1] must be an object, got 3"


def test_the_first_line_may_be_an_object() -> None:
    assert Document("f", '\n{"a": 1}\n{"b": 2}').first_line == {"a": 1}
    for text in ('{"a":\n1}', '["a"]', ""):
        assert Document("f", text).first_line == {}


def test_lines_are_counted_with_those_that_are_blank() -> None:
    found = Document("f", '{"a": 1}\n\n  \n{"b": 2}\n').lines()
    assert found == [("f line 1", {"a": 1}), ("f line 4", {"b": 2})]
    assert said(lambda: Document("f", '{"a": 1}\n3').lines()).startswith("f line 2")


def test_as_many_lines_as_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MAX", 2)
    assert len(Document("f", "{}\n{}\n").lines()) == 2
    assert said(lambda: Document("f", "{}\n{}\n{}").lines()) == "f has more than 2 lines; keep fewer requests"


def test_lines_are_found_by_a_pattern() -> None:
    ((where, match),) = Document("f", "x\n  a = 3 \nb\n").found(re.compile(r"a = (\d)"))
    assert (where, match[1]) == ("f line 2", "3")


def test_columns_are_those_of_a_csv() -> None:
    assert Document("f", "a, b\n1,2").columns == ("a", "b")
    for text in ('{"a", "b"}', "[a,b]", "<a>,b", ""):
        assert Document("f", text).columns == ()


def test_rows_are_counted_with_their_header() -> None:
    (row,) = Document("f", "a,b\n 1 ,\n").rows()
    assert (row.where, row.text("a"), row.whole("a")) == ("f line 2", "1", 1)
    assert ("a" in row, "b" in row, "c" in row) == (True, False, False)
    assert said(lambda: row.text("c")) == "f line 2 has no column c, which is needed"
    assert said(lambda: row.number("b")) == "f line 2 column b must be a number, got ''"
    (row,) = Document("f", "1,2\n").rows(["a", "b"])
    assert (row.where, row.number("b")) == ("f line 1", 2.0)


def test_columns_without_a_name_may_repeat() -> None:
    assert len(list(Document("f", "a,,\n1,2,3\n").rows())) == 1
    assert said(lambda: list(Document("f", "a,b,a\n1,2,3\n").rows())) == "f has two columns 'a'; keep one"
    assert "f line 2 has 1 cells for 2 columns" in said(lambda: list(Document("f", "a,b\n1\n").rows()))


def test_whole_numbers_of_40_digits_are_kept_in_full() -> None:
    """One of 41 is what a float makes of it."""
    row = Row("r", {"a": "9" * 40, "b": "9" * 41, "c": "12.0", "d": "1.5"})
    assert (row.whole("a"), row.whole("b"), row.whole("c")) == (10**40 - 1, int(float("9" * 41)), 12)
    assert said(lambda: row.whole("d")) == "r column d must be a whole number, got 1.5"


def test_a_place_is_told_once() -> None:
    def refuse(text: str) -> Callable[[], None]:
        def build() -> None:
            raise InputError(text)

        return build

    document = Document("f", "")
    for text in ("f line 3", "f.a is", "f: b", "f, c"):
        assert said(lambda text=text: placed(document, "f", refuse(text))) == text  # type: ignore[misc]
    assert said(lambda: placed(document, "f", refuse("of f"))) == "f: of f"
    assert placed(document, "f", lambda: 3) == 3


PART = Part(
    "p", {"a": 1, "none": None, "list": [{"x": 2}], "text": "t", "yes": True, "one": 1, "p": {"b": 3}}
)


def test_a_part_has_what_is_not_null() -> None:
    assert PART.keys == ("a", "list", "text", "yes", "one", "p")
    assert ("a" in PART, "none" in PART, "b" in PART) == (True, False, False)
    assert (PART.whole("a"), PART.text("text"), PART.part("p").number("b")) == (1, "t", 3.0)
    assert (PART.value("none"), PART.value("a"), PART.scalar("yes")) == (None, 1, True)
    assert (PART.is_true("yes"), PART.is_true("one"), PART.is_true("b")) == (True, False, False)
    assert (PART.values("none"), PART.values("list")) == ([], [{"x": 2}])
    assert [part.number("x") for part in PART.parts("list")] == [2.0]
    assert PART.parts("b") == []
    assert Part("p", {"a": 1, "b": 2.5}).numbers() == {"a": 1.0, "b": 2.5}
    assert Part("p", {"a": "x"}).texts() == {"a": "x"}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: PART.number("none"), "p has no none, which is needed"),
        (lambda: PART.number("k" * 81), f"p has no {'k' * 80}, which is needed"),
        (lambda: PART.number("yes"), "p.yes must be a number, got True"),
        (lambda: PART.number("list"), "p.list must be a number, got a list"),
        (lambda: PART.scalar("p"), "p.p must be a single value, got an object"),
        (lambda: PART.scalar("list"), "p.list must be a single value, got a list"),
        (lambda: PART.list("text"), "p.text must be a list, got 't'"),
        (lambda: PART.parts("list")[0].text("x"), "p.list[0].x must be a text, got 2"),
        (lambda: Part("p", {"k" * 81: 1}).text("k" * 81), f"p.{'k' * 80} must be a text, got 1"),
        (lambda: number("x" * 60, "p"), f"p must be a number, got '{'x' * 39}"),
        (lambda: number(math.inf, "p"), "p must be a number, got inf"),
        (lambda: whole(1.5, "p"), "p must be a whole number, got 1.5"),
        (lambda: parsed("1_0", "p"), "p must be a number, got '1_0'"),
        (lambda: each([1, None], "p", number), "p[1] must be a number, got None"),
        (lambda: seconds_per("h", "p"), "p has the unit 'h'; known are ns, us, µs, ms, s, sec"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_by_its_place(act: Callable[[], Any], message: str) -> None:
    assert said(act) == message


def test_numbers_are_what_is_written() -> None:
    assert [parsed(text, "p") for text in ("-1.5e3", ".5", "2.")] == [-1500.0, 0.5, 2.0]
    assert whole(json.loads("1700000000123456789"), "p") == 1_700_000_000_123_456_789
    assert each([1, 2.5], "p", number) == [1.0, 2.5]


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("sec", 1.0),
        ("nanoseconds", 1e-9),
        ("microseconds", 1e-6),
        ("milliseconds", 1e-3),
        ("seconds", 1.0),
    ],
)
def test_units_are_told_as_tools_name_them(unit: str, seconds: float) -> None:
    assert seconds_per(unit, "p") == seconds


def test_a_file_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a\tb").write_text("x")
    assert Document.read(tmp_path / "a\tb").name == "a?b"


def test_a_document_does_not_show_its_text() -> None:
    assert repr(Document("a.json", "secret")) == "Document(name='a.json')"
