"""Saved plans and their report pages, made once for the tests that read them, and a reader of the pages."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import capacity as cap

VOID = {"meta", "br", "input", "path", "use", "rect", "image"}
ENGINE = Path(__file__).parent / "kept" / "files" / "line.json"
QUICK = {"precision": 0.2, "batch_wait": "0ms"}


def save(answer: Any, path: Path) -> Path:
    answer.save(path)
    return path


def resnet_plan(path: Path) -> Path:
    """Simulated, with a price, refused neighbours and four replicas."""
    return save(
        cap.plan("resnet50-t4-fp16", rate="3200rps", slo_p99="40ms", requests_max=10_000_000, **QUICK), path
    )


def engine_plan(path: Path) -> Path:
    """Of a language model, with two limits and a price."""
    lengths = "input=uniform:low=20,high=60;output=geometric:mean=20"
    limits = {"slo_ttft_p99": "300ms", "slo_tpot_p99": "20ms"}
    return save(
        cap.plan(ENGINE, rate="60rps", lengths=lengths, requests_max=400_000, precision=0.2, **limits), path
    )


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: "list[Element | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(one if isinstance(one, str) else one.text for one in self.children).strip()

    def all(self, *tags: str) -> "list[Element]":
        found = [self] if self.tag in tags else []
        for one in self.children:
            found += one.all(*tags) if isinstance(one, Element) else []
        return found


class Page(HTMLParser):
    """A page as a tree; what is not closed, or closed twice, is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert [one.tag for one in self.open] == [""], "left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute of {tag} stands twice"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop().tag == tag, f"closed {tag}"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def all(self, *tags: str) -> list[Element]:
        return self.root.all(*tags)

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of the table whose caption begins so."""
        (table,) = [one for one in self.all("table") if one.all("caption")[0].text.startswith(caption)]
        return [[cell.text for cell in row.all("th", "td")] for row in table.all("tbody")[0].all("tr")]
