"""The registry: each module of the folder is listed, has a test, and none takes another's file."""

import json
from pathlib import Path

import pytest
from engine_on_paper import as_aiperf, as_guidellm, as_vllm_bench, closed_loop
from reading import BY_NAME, examples

from capacity.errors import InputError
from capacity.formats.document import Document, seconds_per
from capacity.formats.load_test import SERVER_STAGES
from capacity.formats.registry import FORMATS, Kind, format_of, read_document

SEEN = closed_loop([(16, 3)], 1)
SAMPLES = {
    "vllm_bench": json.dumps(as_vllm_bench(SEEN)),
    "guidellm": json.dumps(as_guidellm([SEEN])),
    "aiperf": json.dumps(as_aiperf(SEEN)[0]),
}


def test_each_format_has_a_test() -> None:
    assert len(FORMATS) > 20
    for one in FORMATS:
        name = one.__name__.rpartition(".")[2]
        assert (Path(__file__).parent / f"test_{name}.py").exists(), name
        assert set(one.READERS) <= set(Kind)
        assert one.NAME


@pytest.mark.parametrize(
    "text", ["", " ", "null", "nan", '"', "{}", '{"metadata": 1, "benchmarks": 2}', "\u2028", "<x/>"]
)
def test_no_recogniser_fails(text: str) -> None:
    document = Document("a file", text)
    assert not any(one.recognises(document) for one in FORMATS)
    with pytest.raises(InputError, match="is of none of the"):
        format_of(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"model_stats": [\n  {"name": "m",', "line 2 column 16"),
        ('[{"sent": 1}\n,', "line 2 column 2"),
        ('{"a": 1,\n "a": 2}', "key 'a' appears twice"),
        ('{"a": NaN}', "NaN is not a number"),
    ],
)
def test_json_that_was_cut_off_is_told_by_line_and_column(text: str, said: str) -> None:
    with pytest.raises(InputError, match="a file: not valid JSON") as refused:
        format_of(Document("a file", text))
    assert said in str(refused.value)


def test_several_objects_of_no_known_format_are_no_broken_json() -> None:
    with pytest.raises(InputError, match="is of none of the"):
        format_of(Document("a file", '{"a": 1}\n{"a": 2}\n'))


def test_units_are_those_that_tools_write() -> None:
    assert [seconds_per(unit, "x") for unit in ("ns", "us", "ms", "s", "milliseconds")] == [
        1e-9, 1e-6, 1e-3, 1.0, 1e-3,
    ]  # fmt: skip
    with pytest.raises(InputError, match="x has the unit 'ticks'"):
        seconds_per("ticks", "x")


def test_stages_have_one_name_whatever_the_tool_calls_them() -> None:
    """What explains a queue looks for these names."""
    beside = {"client send", "client receive", "network", "overhead"}
    seen = set()
    for name, one in BY_NAME.items():
        for data in examples(name).values():
            if "load-test" in one.READERS:
                try:
                    test = one.READERS["load-test"](Document("a file", data.decode("utf-8-sig")))
                except InputError:
                    continue
                seen |= {stage for run in test.runs for stage in run.stages_s}
    assert {"queue", "compute infer"} <= seen
    assert seen <= beside | set(SERVER_STAGES)


def test_what_a_file_serves_is_told() -> None:
    with pytest.raises(InputError, match="a file is from .*, which has no plan in it, only: "):
        read_document(Document("a file", SAMPLES["guidellm"]), Kind.PLAN)


def test_a_refusal_names_the_file_once() -> None:
    """What a noun refuses, which does not know its file, and what a reader refuses."""
    single = "Concurrency,Inferences/Second\n"
    with pytest.raises(InputError) as refused:
        read_document(Document("a file", single), Kind.LOAD_TEST)
    assert str(refused.value).startswith("a file holds no run")
    with pytest.raises(InputError) as refused:
        read_document(Document("a file", "timeStamp,elapsed,success\n"), Kind.LOAD_TEST)
    assert str(refused.value) == "a file: all requests: there are no requests; run the load test again"


def test_json_that_is_whole_is_of_no_known_format() -> None:
    for text in ('{"a": 1}', '[{"a": 1}]', "[]"):
        with pytest.raises(InputError, match=r"is of none of the \d+ formats that are known"):
            format_of(Document("a file", text))


def test_no_format_is_told_by_one_key_alone() -> None:
    """Of each example that is one JSON object, a file that has only one of its keys is of no format."""
    known = {"$schema", "format", "model_stats", "resourceMetrics"}  # which no other format has
    for name, key, data in [(format_, *one) for format_ in BY_NAME for one in examples(format_).items()]:
        try:
            whole = Document("a file", data.decode("utf-8-sig")).object
        except InputError:
            continue
        for one in set(whole) - known:
            text = json.dumps({one: whole[one]})
            takers = [other.__name__ for other in FORMATS if other.recognises(Document("a file", text))]
            assert not takers or one in ("metrics", "results"), (name, key, one, takers)
