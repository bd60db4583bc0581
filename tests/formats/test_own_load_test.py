"""Our own load test: what is written is read again, and what was edited badly is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.formats.load_test import Histogram, LoadRun, LoadTest, Loop, Moment, Samples, Times
from capacity.formats.own_load_test import load_test_to_document, read_load_test, recognises
from capacity.json_text import parse_object
from capacity.performance import Interval
from capacity.traffic.lengths import LengthRows

RUN = LoadRun(
    name="GET /predict",
    loop=Loop.CLOSED,
    users=50.0,
    throughput_rps=80.0,
    succeeded=800,
    failed=3,
    mean_s=0.02,
    max_s=0.3,
    is_corrected=True,
    counts_inferences=True,
    invalid_because="early stopping was not satisfied",
    quantiles_s={
        0.5: Interval(value=0.015, low=0.0145, high=0.0155),
        0.99: Interval(value=math.inf, low=0.1, high=math.inf),
    },
    histogram=Histogram((0.0, 0.1, math.inf), (790.0, 10.0)),
    samples=Samples.of([2.0, 1.0], [0.1, 0.2]),
    answered=Samples.of([1.0], [0.3], [0.5]),
    history=(Moment(1.0, users=10.0), Moment(2.0, users=50.0, rate_rps=80.0, median_s=0.015)),
    stages_s={"queue": 0.01, "compute infer": 0.005},
    lengths=LengthRows((100, 50), (40, 30)),
    measures={"ttft": Times(mean_s=0.02, quantiles_s={0.99: Interval.exact(0.05)})},
)
TEST = LoadTest(tool="locust", name="run.csv", runs=(RUN,), whole="GET /predict", notes=("a note",))
EXAMPLES = {"own_load_test": load_test_to_document(TEST)}


def written(**changes: object) -> Document:
    document = load_test_to_document(TEST) | changes
    return Document("load-test.json", json.dumps(document))


def test_what_is_written_is_read_again() -> None:
    assert recognises(written())
    found = read_load_test(written())
    assert load_test_to_document(found) == load_test_to_document(TEST)
    (run,) = found.runs
    assert run.quantiles_s == RUN.quantiles_s
    assert (run.loop, run.is_corrected, run.users) == (Loop.CLOSED, True, 50.0)
    assert (run.counts_inferences, run.invalid_because) == (True, "early stopping was not satisfied")
    assert run.samples.sent_s.tolist() == [1.0, 2.0]  # in the order of sending
    assert run.samples.response_s.tolist() == [0.2, 0.1]
    assert (run.answered.response_s.tolist(), run.answered.due_s.tolist()) == ([0.3], [0.5])
    assert run.histogram.edges_s == (0.0, 0.1, math.inf)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "a newer capacity"),
        ({"runs": []}, "no run with a measurement"),
        ({"runs": [{"name": "x", "loop": "round", "quantiles_s": {}}]}, r"runs\[0\].loop must be one of open"),
        ({"runs": [{"name": "x", "loop": "open", "quantiles_s": {"p": {}}}]}, "low, which is needed"),
        ({"runs": [{"name": "x", "loop": "open", "quantiles_s": {"p": {"low": 1}}}]}, "no quantile, such as 0.99"),
        ({"runs": [{"name": "x", "loop": "open", "quantiles_s": {}, "mean_s": -1.0}]}, "not below 0"),
    ],
)  # fmt: skip
def test_what_was_edited_badly_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_load_test(written(**changes))


def test_keys_that_are_not_needed_are_passed_over() -> None:
    run = {
        "name": "x",
        "loop": "open",
        "quantiles_s": {},
        "history": [{"t_s": 1.0, "users": 2.0, "more": 3.0}],
    }
    (found,) = read_load_test(written(runs=[run])).runs
    assert found.history == (Moment(1.0, users=2.0),)


def test_columns_of_single_requests_must_be_equally_long() -> None:
    for due in ((), (1.0,)):
        with pytest.raises(InputError, match="they must be as many"):
            Samples.of([1.0, 2.0], [0.1] if not due else [0.1, 0.2], due)


def test_an_answer_is_one_json_object() -> None:
    assert parse_object(json.dumps(load_test_to_document(TEST)), "x", "x")["format"] == "capacity-load-test"


@pytest.mark.parametrize(("count", "is_kept"), [(200_000, True), (200_001, False)])
def test_at_most_200_000_single_requests_are_saved(count: int, is_kept: bool) -> None:
    """Without them, the rest of the run is saved."""
    many = Samples.of(np.zeros(count), np.zeros(count))
    for samples, answered in ((many, RUN.answered), (RUN.samples, many)):
        one = replace(RUN, samples=samples, answered=answered)
        (run,) = load_test_to_document(replace(TEST, runs=(one,)))["runs"]
        assert ("samples" in run, "answered" in run) == (
            is_kept or samples is not many,
            is_kept or answered is not many,
        )
        assert run["name"] == RUN.name
