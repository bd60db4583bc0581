"""What the server logs: a line each, and nothing of what was sent."""

import json
import logging
import sys

import pytest

from serve_api.log import OneLine, Seldom, place_of, say


@pytest.fixture
def library():
    """A library that logs through our handler."""
    logger = logging.getLogger("a.library")
    logger.propagate = False
    logger.addHandler(OneLine())
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def raised():
    """An error that some function raised."""
    with pytest.raises(ValueError, match="SECRET") as error:
        broken()
    return error.value


def broken():
    raise ValueError("SECRET\nof two lines")


def test_an_event_is_one_line_whatever_is_in_it(capsys):
    say("happened", what="two\nlines", count=3)
    (line,) = lines(capsys)
    assert (line["event"], line["what"], line["count"]) == ("happened", "two\nlines", 3)
    assert line["time_s"] > 1.6e9


def test_an_error_is_told_by_kind_and_place(capsys):
    assert place_of(raised()).startswith("ValueError in broken:")
    assert place_of(ValueError("SECRET")) == "ValueError"  # that was never raised


def test_what_a_library_says_is_told_without_what_it_says_it_of(library, capsys):
    library.error("cannot read %s", "SECRET")
    library.error("Exception in the application\n", exc_info=raised())
    first, second = lines(capsys)
    assert (first["logger"], first["level"], first["text"]) == ("a.library", "error", "cannot read %s")
    assert second["text"].startswith("ValueError in broken:")


def test_nobody_who_reads_is_no_reason_to_stop(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    say("happened")


def test_what_comes_often_is_said_once_in_a_while_and_counted(capsys):
    failing = Seldom("failed", interval_s=1.0)
    for now_s in (10.0, 10.1, 10.9, 11.0, 11.5, 13.0):
        failing.say(now_s, at_s=now_s)
    assert [(line["at_s"], line["left_out"]) for line in lines(capsys)] == [(10.0, 0), (11.0, 2), (13.0, 1)]
