"""Files that were cut off: refused, or read as what is whole in them; never with half a number or half a text."""

import json
from typing import Any

import pytest
from test_hostile_formats import NAMES, examples
from test_packed_and_large_files import BY_NAME, outcome

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


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_cut_within_a_line_is_refused_or_read_as_its_whole_lines(name: str) -> None:
    for data in examples(name).values():
        text = data.decode("utf-8-sig").rstrip("\n") + "\n"
        for kind in BY_NAME[name].READERS:
            whole = outcome(Document("f", text), kind)
            if refused(whole):
                continue
            for at in {len(text) * part // CUTS for part in range(1, CUTS)} | {len(text) - 2, len(text) - 3}:
                found = outcome(Document("f", text[:at]), kind)
                if text[at - 1] == "\n" or refused(found) or found == whole:
                    continue
                assert name in LINES_OF_JSON | BY_HAND, text[:at][-80:]
                if name in LINES_OF_JSON:
                    assert found == outcome(Document("f", lines_of(text[:at])), kind)
