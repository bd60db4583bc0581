"""The English of the code: docstrings begin with a subject, and words that only their writer understands stay out."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for folder in ("capacity", "serve_api", "simulations", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
DOCSTRING = re.compile(r'(?:\A|:\n)\s*r?"""(.*?)"""', re.DOTALL)
WITHOUT_SUBJECT = re.compile(
    r"(Of|In|As|By|For|To|From|With|Without|So|At|On|Under|Until|While|Since|After|Before|When|Between|Among|Over|"
    r"Within|Through|Per|Into|Beside|Besides|Below|Above|Beyond|Than|Also|Not|Nothing|Others?|That|Those)\b"
)
# It is a limit or an objective that is met; a request or a server that waits; a message that says something.
RIDDLES = re.compile(r"\b(promises?|promised|nobody|somebody|is told|are told|told by|came of|became of)\b")
NAMES = re.compile(r"def (_?told|_?one|_?does|_?beside|came_of)\(")


def docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring of the code, and its file."""
    for path in FILES:
        for text in DOCSTRING.findall(path.read_text(encoding="utf-8")):
            yield path.relative_to(ROOT).as_posix(), text


def test_docstrings_begin_with_a_subject() -> None:
    assert [f"{file}: {text[:60]}" for file, text in docstrings() if WITHOUT_SUBJECT.match(text)] == []


def test_docstrings_have_no_riddles() -> None:
    """Names of arguments and code in backticks may be such words."""
    prose = ((file, re.sub(r"(?m)^\s+\w+: |`[^`]*`", "", text)) for file, text in docstrings())
    assert [f"{file}: {found[0]}" for file, text in prose for found in RIDDLES.finditer(text)] == []


def test_functions_are_named_for_what_they_return() -> None:
    named = ((path, NAMES.search(path.read_text(encoding="utf-8"))) for path in FILES)
    assert [f"{path.relative_to(ROOT)}: {found[0]}" for path, found in named if found] == []
