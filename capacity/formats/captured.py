"""Captured logs: the lines as their server wrote them, without what log collectors put around each.

Docker's json-file driver makes an object of each line. A container runtime of Kubernetes puts the instant, the stream
and whether the line is whole before it; `kubectl logs` and `docker logs` the instant or the pod, if asked; `docker
compose logs` the container. Terminals get colours, which a capture keeps.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from capacity.errors import InputError
from capacity.json_text import parse_object

Unwrap = Callable[[Iterable[str]], Iterator[str]]
_DOCKER = {"log", "stream", "time"}
_STAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2}) "
_BEFORE = re.compile(
    rf"[A-Za-z0-9_.-]{{1,200}} +\| |(?:\[pod/\S{{1,500}}\] )?(?:{_STAMP}(?:std(?:out|err) (?P<part>[FP]) )?)?"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")
_LINES = 20  # lines that must all have a prefix for it not to be part of the log
_LENGTH_MAX = 8 * 2**20


def unwrapping(start: str, shown: str) -> Unwrap | None:
    """A function that unwraps the lines of a text; None if they are not wrapped.

    Args:
        start: the text, or its beginning.
        shown: name of the file in messages.
    """
    has_colours = _COLOUR.search(start) is not None
    plain = _COLOUR.sub("", start) if has_colours else start
    first = [line for line in islice(plain.split("\n", _LINES + 1), _LINES) if line.strip()]
    if first and first[0].startswith("{") and _is_of_docker(first[0]):
        return partial(_from_docker, shown=shown)
    if first and all(found.end() for line in first if (found := _BEFORE.match(line))):
        return partial(_behind, has_colours=has_colours)
    return _without_colours if has_colours else None


def _is_of_docker(line: str) -> bool:
    try:
        found = parse_object(line, "", "")
    except InputError:
        return False
    return set(found) >= _DOCKER and isinstance(found["log"], str)


def _from_docker(lines: Iterable[str], shown: str) -> Iterator[str]:
    """The logged lines; a line of more than 16 kB is in several objects."""
    return _joined(
        (_log(line, f"{shown} line {number}") for number, line in enumerate(lines, 1) if line.strip()), shown
    )


def _log(line: str, where: str) -> str:
    try:
        found = parse_object(line, where, "").get("log")
    except InputError:
        found = None
    if not isinstance(found, str):
        raise InputError(
            f"{where} is not of Docker's json-file log; was the file cut off? fix or drop the line"
        )
    return _COLOUR.sub("", found)


def _behind(lines: Iterable[str], *, has_colours: bool) -> Iterator[str]:
    """The line after the instant, the pod or the container; a line without them is unchanged."""
    return _joined(map(_rest, _without_colours(lines) if has_colours else lines), "")


def _rest(line: str) -> str:
    found = _BEFORE.match(line)
    if found is None:
        return line
    rest = line[found.end() :]
    return rest.removesuffix("\n") if found["part"] == "P" else rest


def _joined(parts: Iterable[str], shown: str) -> Iterator[str]:
    """Whole lines, each from one part or from several."""
    line = ""
    for part in parts:
        line += part
        if len(line) > _LENGTH_MAX:
            raise InputError(f"{shown} has a line of more than {_LENGTH_MAX} characters; is it a text file?")
        if line.endswith("\n"):
            yield line.rstrip("\r\n") + "\n"
            line = ""
    if line:
        yield line


def _without_colours(lines: Iterable[str]) -> Iterator[str]:
    return (_COLOUR.sub("", line) for line in lines)
