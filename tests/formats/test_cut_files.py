"""Files that were cut off: refused, or read as what is whole in them; never with half a number or half a text."""

import json
from typing import Any

import pytest
from reading import BY_NAME, examples
from test_packed_and_large_files import outcome

from capacity.formats.document import Document

# Of these each line is a JSON object, which is whole or not whatever stands behind it.
LINES_OF_JSON = {"k6_points", "vegeta", "aiperf", "otlp_metrics"}
# What people write by hand, of which a part may be all there is.
BY_HAND = {"triton_config"}
CUTS = 60  # of each example


def refused(found: Any) -> bool:
    return isinstance(found, str)


def lines_of(text: str) -> str:
    """The lines that are whole, of a text of JSON objects."""
    whole = [line for line in text.splitlines() if is_json(line)]
    return "".join(f"{line}\n" for line in whole)


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@pytest.mark.parametrize("name", BY_NAME)
def test_a_file_that_was_cut_within_a_line_is_refused_or_read_as_its_whole_lines(name: str) -> None:
    for data in examples(name).values():
        text = data.decode("utf-8-sig").rstrip("\n") + "\n"
        for kind in BY_NAME[name].READERS:
            whole = outcome(Document("f", text), kind)
            if refused(whole):
                continue
            for at in {len(text) * part // CUTS for part in range(1, CUTS)} | {len(text) - 2, len(text) - 3}:
                found = outcome(Document("f", text[:at]), kind)
                to_line_end = text[: text.index("\n", at - 1) + 1]
                if (
                    text[at - 1] == "\n"
                    or refused(found)
                    or found == outcome(Document("f", to_line_end), kind)
                ):
                    continue  # nothing that is read was cut off
                assert name in LINES_OF_JSON | BY_HAND, text[:at][-80:]
                if name in LINES_OF_JSON:
                    assert found == outcome(Document("f", lines_of(text[:at])), kind)


# Their last line shows by itself that nothing is missing from it.
WHOLE = [
    "access_log", "apache_bench", "gatling", "haproxy_log", "hey_text", "ingress_log", "jmeter_csv", "k6_csv", "locust_csv",
    "siege", "vegeta", "wrk_text",
]  # fmt: skip
# Examples whose last line may have been the beginning of another.
OPEN_ENDED = {"others", "without percentiles", "few columns"}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_report_needs_no_line_end(name: str) -> None:
    """As it is pasted, or stripped by a script."""
    count = 0
    for key, data in examples(name).items():
        if key in OPEN_ENDED:
            continue
        text = data.decode("utf-8-sig").rstrip()
        for kind in BY_NAME[name].READERS:
            whole = outcome(Document("f", text + "\n"), kind)
            if not refused(whole) and "\n" in text:
                found = outcome(Document("f", text), kind)
                assert found == whole, (text[-80:], found)
                count += 1
    assert count


PASTED = ["apache_bench", "siege", "wrk_text"]  # of which the last line that the tool prints is known


@pytest.mark.parametrize("name", PASTED)
def test_a_report_may_be_pasted_with_the_lines_around_it(name: str) -> None:
    for key, data in examples(name).items():
        text = data.decode("utf-8-sig")
        if key in {"distribution", *OPEN_ENDED}:  # the first is of wrk2 alone, without its first line
            continue
        whole = outcome(Document("f", text), "load-test")
        assert outcome(Document("f", f"{text}user@host:~$ "), "load-test") == whole


@pytest.mark.parametrize("name", ["apache_bench", "hey_text", "siege", "wrk_text"])
def test_a_report_may_have_its_command_above_it(name: str) -> None:
    text = next(iter(examples(name).values())).decode("utf-8-sig")
    whole = outcome(Document("f", text), "load-test")
    assert outcome(Document("f", f"user@host:~$ tool -c 4 http://127.0.0.1/\n{text}"), "load-test") == whole


def test_a_row_with_all_decimals_needs_no_line_end() -> None:
    """hey writes four; where one of them is missing, or rows are too few to tell, the row may have been cut."""
    header = "response-time,DNS+dialup,status-code,offset\n"
    rows = [f"0.0101,0.0000,200,{number}.2500\n" for number in range(12)]
    whole = outcome(Document("f", header + "".join(rows)), "load-test")
    assert outcome(Document("f", (header + "".join(rows))[:-1]), "load-test") == whole
    for text in (header + "".join(rows)[:-2], (header + "".join(rows[:10]))[:-1]):
        assert "has no line end: was the file cut off there?" in outcome(Document("f", text), "load-test")


def test_rows_of_whole_numbers_or_of_different_decimals_need_a_line_end() -> None:
    header = "response-time,DNS+dialup,status-code,offset\n"
    for offsets in (range(12), [*range(10), "0.25", "0.75"], ["0.5"] * 10 + ["0.25", "0.5"]):
        text = header + "\n".join(f"0.0101,0.0000,200,{offset}" for offset in offsets)
        assert "has no line end" in outcome(Document("f", text), "load-test")


def test_a_maximum_that_is_not_that_of_the_row_was_cut() -> None:
    """Locust's 100 % is the maximum, rounded: of 103.2 ms 100, and neither 10 nor 1."""
    text = examples("locust_csv")["stats"].decode().rstrip()
    assert text.endswith(",100")
    for cut in (1, 2, 3):
        assert "has no line end" in outcome(Document("f", text[:-cut]), "load-test")
