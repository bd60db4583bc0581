"""Answers as HTML: real tables, sentences, drawings with their blanks, and no text of an input taken for markup."""

from html.parser import HTMLParser

import pytest
from rich.text import Text

from capacity.render.html import as_html
from capacity.render.tables import table


class Strict(HTMLParser):
    """Text by the tags around it; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, str]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open += [] if tag == "br" else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.found += [(self.open[-1], data)] if data.strip() else []


def test_a_table_is_a_table() -> None:
    shown = table(
        ("<fleet", "rate", "<verdict"), [("a", "5 rps", "met"), ("b", "6 rps", "missed")], title="Fleets"
    )
    found = Strict(as_html([shown], 80)).found
    assert '<td style="text-align: right">5 rps</td>' in as_html([shown], 80)
    assert found == [
        ("caption", "Fleets"),
        *(("th", head) for head in ("fleet", "rate", "verdict")),
        ("td", "a"), ("td", "5 rps"), ("span", "met"),
        ("td", "b"), ("td", "6 rps"), ("span", "missed"),
    ]  # fmt: skip


def test_a_list_of_facts_has_no_heads() -> None:
    page = as_html([table(("<", "<"), [("load", "0.5")])], 80)
    assert "<th" not in page
    assert '<td style="text-align: left">load</td><td style="text-align: left">0.5</td>' in page


def test_sentences_are_paragraphs_and_a_drawing_keeps_its_blanks() -> None:
    pieces = [
        Text("P99 is 5 ms.", style="bold"),
        Text(""),
        Text("  |    *"),
        Text("  | *"),
        Text("Note: short."),
    ]
    assert as_html(pieces, 80).splitlines() == [
        "<p><strong>P99 is 5 ms.</strong></p>",
        "<pre>",
        "  |    *",
        "  | *",
        "</pre>",
        "<p>Note: short.</p>",
    ]
    assert as_html([Text("")], 80) == ""


@pytest.mark.parametrize("kind", ["table", "title", "sentence", "drawing"])
def test_text_from_outside_is_no_markup(kind: str) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m"
    piece = {
        "table": table(("<name",), [(hostile,)]),
        "title": table(("<name",), [("a",)], title=hostile),
        "sentence": Text(hostile),
        "drawing": Text(f"{hostile}  x"),
    }[kind]
    page = as_html([piece], 80)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
