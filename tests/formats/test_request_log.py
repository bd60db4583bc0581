"""Single requests as runs and as a trace: every figure by hand."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from capacity.errors import InputError
from capacity.formats.load_test import Loop
from capacity.formats.request_log import Request, around, nanoseconds, read_all, runs, trace, whole_of

S = 1_000_000_000
START = 1_700_000_000 * S  # of which a float of seconds keeps no nanosecond


def test_nanoseconds_since_1970_are_whole() -> None:
    assert nanoseconds(1_700_000_000_123_456, 1e3, "x") == 1_700_000_000_123_456_000
    assert nanoseconds(1.5, 1e6, "x") == 1_500_000
    assert nanoseconds(10**22, 1.0, "x") == 10**22
    for value in (10**22 + 1, -(10**22) - 1, math.inf, math.nan):
        with pytest.raises(InputError, match="x is too large for a time; is the unit right"):
            nanoseconds(value, 1.0, "x")


def test_a_trace_begins_at_its_first_request() -> None:
    found = trace([Request(START + 2 * S, 1), Request(START, 1), Request(START + 500, 1)], "t", ("cut",))
    assert found.instants_s == (0.0, 5e-7, 2.0)
    assert (found.name, found.remarks) == ("t", ("cut",))


def test_a_run_of_good_and_bad_requests() -> None:
    """Sent after 0, 1 and 4 s; the last answer comes after 6 s. The one that failed is in no statistic."""
    (run,) = runs(
        [Request(START + S, 3 * S), Request(START, S), Request(START + 4 * S, 2 * S, is_good=False)],
        loop=Loop.OPEN,
    )
    assert (run.name, run.loop, run.succeeded, run.failed) == ("all requests", Loop.OPEN, 2, 1)
    assert (run.duration_s, run.throughput_rps, run.rate_sent_rps) == (6.0, 0.5, 0.5)
    assert (run.mean_s, run.min_s, run.max_s) == (2.0, 1.0, 3.0)
    assert run.samples.sent_s.tolist() == [0.0, 1.0]
    assert run.samples.response_s.tolist() == [1.0, 3.0]
    assert run.answered.sent_s.tolist() == [0.0, 1.0, 4.0]
    assert run.answered.response_s.tolist() == [1.0, 3.0, 2.0]
    assert whole_of([run]) is None


def test_what_cannot_be_worked_out_is_not_told() -> None:
    (good,) = runs([Request(5, 0)])
    assert (good.duration_s, good.throughput_rps, good.rate_sent_rps, good.answered) == (
        0.0, None, None, None,
    )  # fmt: skip
    assert (good.failed, good.mean_s) == (0, 0.0)
    (bad,) = runs([Request(5, S, is_good=False)])
    assert (bad.succeeded, bad.failed, bad.mean_s, bad.samples) == (0, 1, None, None)
    assert (bad.duration_s, bad.throughput_rps) == (1.0, 1.0)


def test_each_endpoint_is_a_run_and_all_are_the_last() -> None:
    """On one clock: the second endpoint begins 2 s after the first."""
    requests = [Request(2 * S, S, name="b"), Request(0, S, name="a"), Request(3 * S, S, name="b")]
    found = runs(requests, "all", loop=Loop.CLOSED, resolution_s=0.5, users=4.0)
    assert [run.name for run in found] == ["a", "b", "all"]
    assert [run.succeeded for run in found] == [1, 2, 3]
    assert [run.users for run in found] == [None, None, 4.0]
    assert {(run.loop, run.resolution_s) for run in found} == {(Loop.CLOSED, 0.5)}
    assert found[1].samples.sent_s.tolist() == [2.0, 3.0]
    assert whole_of(found) == "all"


def test_requests_without_a_name_are_in_the_run_of_all_alone() -> None:
    found = runs([Request(2 * S, S, name="b"), Request(0, S), Request(3 * S, S, name="b")], "all")
    assert [(run.name, run.requests) for run in found] == [("b", 2), ("all", 3)]
    assert [run.name for run in runs([Request(0, S), Request(S, S)], "all")] == ["all"]


@pytest.mark.parametrize(("names", "count"), [(1, 1), (2, 3), (50, 51), (51, 1)])
def test_more_than_fifty_names_are_no_endpoints(names: int, count: int) -> None:
    assert len(runs([Request(at, 1, name=f"n{at}") for at in range(names)])) == count


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, []),
        (2, [0.5]),
        (9, [0.5]),
        (10, [0.5, 0.9]),
        (20, [0.5, 0.9, 0.95]),
        (100, [0.5, 0.9, 0.95, 0.99]),
        (1000, [0.5, 0.9, 0.95, 0.99, 0.999]),
    ],
)
def test_a_quantile_has_a_response_beyond_it(count: int, known: list[float]) -> None:
    """Of 1 to n seconds the q-quantile is the q n-th."""
    (run,) = runs([Request(at, at * S) for at in range(1, count + 1)], resolution_s=0.25)
    assert list(run.quantiles_s) == known
    for q, found in run.quantiles_s.items():
        value = math.ceil(round(q * count, 9))
        assert (found.low, found.value, found.high) == (value - 0.25, value, value + 0.25)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(1.0, 0.75, 1.25), (0.1, 0.0, 0.35), (0.0, 0.0, 0.25), (-1.0, -1.0, -0.75)]
)
def test_rounding_leaves_no_duration_below_0(value: float, low: float, high: float) -> None:
    found = around(value, 0.25)
    assert (found.low, found.value, found.high) == (low, value, high)


class Cell(NamedTuple):
    """A row with its place."""

    where: str
    took_ns: int


def test_a_duration_below_0_is_refused_by_its_place() -> None:
    def rows(*took_ns: int) -> Iterator[Cell]:
        return (Cell(f"f line {at}", one) for at, one in enumerate(took_ns, 1))

    assert read_all(lambda row: Request(0, row.took_ns), rows(3, 0)).took_ns.tolist() == [3, 0]
    with pytest.raises(InputError, match="f line 2 has a duration below 0; fix or drop the line"):
        read_all(lambda row: Request(0, row.took_ns), rows(3, -1))
    with pytest.raises(InputError, match="all: there are no requests; run the load test again"):
        runs([], "all")
