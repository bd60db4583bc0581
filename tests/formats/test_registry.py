"""The registry: each module of the folder is listed, has a test, and none takes another's file."""

import importlib
import json
from pathlib import Path

import pytest
from engine_on_paper import as_aiperf, as_guidellm, as_vllm_bench, closed_loop

import capacity.formats
from capacity.errors import InputError
from capacity.formats.document import Document, seconds_per
from capacity.formats.registry import FORMATS, Kind, format_of

FOLDER = Path(capacity.formats.__file__).parent
NO_FORMATS = {"__init__", "registry", "document", "load_test", "running_plan", "table", "buckets"}
SEEN = closed_loop([(16, 3)], 1)
SAMPLES = {
    "vllm_bench": json.dumps(as_vllm_bench(SEEN)),
    "guidellm": json.dumps(as_guidellm([SEEN])),
    "aiperf": json.dumps(as_aiperf(SEEN)[0]),
}


def test_each_module_is_listed_and_has_a_test() -> None:
    names = sorted({path.stem for path in FOLDER.glob("*.py")} - NO_FORMATS)
    modules = [importlib.import_module(f"capacity.formats.{name}") for name in names]
    assert list(FORMATS) == modules
    for name, one in zip(names, FORMATS, strict=True):
        assert (Path(__file__).parent / f"test_{name}.py").exists()
        assert set(one.READERS) <= set(Kind)
        assert one.READERS


@pytest.mark.parametrize("name", SAMPLES)
def test_no_format_takes_the_file_of_another(name: str) -> None:
    document = Document("a file", SAMPLES[name])
    takers = [one for one in FORMATS if one.recognises(document)]
    assert takers == [importlib.import_module(f"capacity.formats.{name}")]
    assert format_of(document) is takers[0]


@pytest.mark.parametrize(
    "text", ["", " ", "null", "nan", '"', "{}", '{"metadata": 1, "benchmarks": 2}', "\u2028", "<x/>"]
)
def test_no_recogniser_fails(text: str) -> None:
    document = Document("a file", text)
    assert not any(one.recognises(document) for one in FORMATS)
    with pytest.raises(InputError, match="of no format"):
        format_of(document)


def test_units_are_those_that_tools_write() -> None:
    assert [seconds_per(unit, "x") for unit in ("ns", "us", "ms", "s", "milliseconds")] == [
        1e-9,
        1e-6,
        1e-3,
        1.0,
        1e-3,
    ]
    with pytest.raises(InputError, match="x has the unit 'ticks'"):
        seconds_per("ticks", "x")
