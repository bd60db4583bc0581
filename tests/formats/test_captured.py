"""Logs as Docker, Kubernetes, kubectl, compose and terminals wrap them: read as what was logged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_access_log import NGINX
from test_haproxy_log import LOG as HAPROXY
from test_ingress_log import LOG as INGRESS
from test_k6_points import DECLARED, as_text, point
from test_packed_and_large_files import outcome, parts_of

from capacity.errors import InputError
from capacity.formats.document import Document

K6 = as_text([DECLARED, *(point("http_req_duration", f"{second:02d}", 100.0) for second in range(3))]) + "\n"
LOGS = {"nginx": NGINX, "ingress-nginx": INGRESS, "haproxy": HAPROXY, "k6": K6}
STAMP = "2026-11-30T10:00:00.000000001Z"


def docker(text: str, stream: str = "stdout") -> str:
    lines = text.splitlines(keepends=True)
    return "".join(json.dumps({"log": line, "stream": stream, "time": STAMP}) + "\n" for line in lines)


def docker_in_parts(text: str) -> str:
    """A line of more than 16 kB is in several objects, of which only the last has the line's end."""
    parts = [part for line in text.splitlines(keepends=True) for part in (line[:30], line[30:])]
    return "".join(json.dumps({"log": part, "stream": "stdout", "time": STAMP}) + "\n" for part in parts)


def before(prefix: str) -> Callable[[str], str]:
    return lambda text: "".join(prefix + line for line in text.splitlines(keepends=True))


def runtime_in_parts(text: str) -> str:
    lines = text.splitlines()
    return "".join(f"{STAMP} stdout P {line[:9]}\n{STAMP} stdout F {line[9:]}\n" for line in lines)


WRAPPINGS = {
    "docker": docker,
    "docker, by a terminal": lambda text: docker(text.replace("\n", "\r\n")),
    "docker in parts": docker_in_parts,
    "container runtime": before(f"{STAMP} stderr F "),
    "container runtime in parts": runtime_in_parts,
    "kubectl --timestamps": before(f"{STAMP} "),
    "kubectl --prefix": before("[pod/ingress-nginx-controller-6c/controller] "),
    "kubectl with both": before(f"[pod/ingress-nginx-controller-6c/controller] {STAMP} "),
    "compose": before("proxy-1  | "),
    "compose on a terminal": before("\x1b[36mproxy-1  |\x1b[0m "),
    "colours": lambda text: text.replace(" ", " \x1b[0;34m", 1).replace("\n", "\x1b[0m\n"),
}


def read_from(path: Path, text: str) -> object:
    path.write_text(text, newline="")
    return outcome(Document.read(path), "load-test")


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_wrapped_log_is_read_as_what_was_logged(wrapping: str, log: str, tmp_path: Path) -> None:
    plain, path = LOGS[log], tmp_path / "file"
    wrapped = WRAPPINGS[wrapping](plain)
    expected = read_from(path, plain)
    assert not isinstance(expected, str), expected
    assert wrapped != plain
    assert read_from(path, wrapped) == expected
    with parts_of(len(wrapped) * 2 // 3):
        assert Document.read(path).path == path
        assert outcome(Document.read(path), "load-test") == expected


def test_the_whole_text_of_a_large_file_is_unwrapped_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(docker(NGINX))
    with parts_of(500):
        assert Document.read(path).text == NGINX


def test_a_log_of_docker_that_was_cut_off_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_from(tmp_path / "file", docker(NGINX)[:-9])
    assert str(refused.value) == (
        "file line 4 is not of Docker's json-file log; was the file cut off? fix or drop the line"
    )
    assert "line 4 has no line end" in str(read_from(tmp_path / "file", docker(NGINX[:-3])))


def test_a_line_of_parts_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capacity.formats.captured._LENGTH_MAX", 100)
    path = tmp_path / "file"
    rows = "".join(json.dumps({"log": "x" * 60, "stream": "stdout", "time": STAMP}) + "\n" for _ in range(3))
    path.write_text(rows)
    with pytest.raises(InputError, match="file has a line of more than 100 characters"):
        Document.read(path)


@pytest.mark.parametrize(
    "text",
    [
        f"{STAMP} GET /\nGET /\n",  # not each line has it
        '{"log": 1, "stream": "stdout", "time": "x"}\n',
        '{"log": "a", "stream": "stdout"}\n',
        "| a | b |\n",
        "",
    ],
)
def test_what_is_not_wrapped_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert Document.read(path).text == text
