"""CSVs of perf_analyzer, written by its list of columns; nothing here is a file of its own."""

import pytest
from reading import load_test, only_run

from capacity.errors import InputError
from capacity.formats.perf_analyzer_csv import quantile_of

HEADER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p99 latency"
)
CLOSED = f"{HEADER}\n1,100,10,290,100,50,9000,40,10,9400,9900\n8,120,10,90,60000,50,6000,40,10,66000,70000\n2,110,10,90,9000,50,9000,40,10,18000,19000\n"
OPEN = (
    "p95 latency,Request Rate,Inferences/Second,Avg latency,Avg GPU Utilization,Server Queue\r\n"
    '12000,50.5,50.1,8000,"GPU-1:0.5;GPU-2:0.25;",100\r\n'
)
EXAMPLES = {"concurrency": CLOSED, "rate": OPEN}


def test_stages_longer_than_the_response_give_no_mean() -> None:
    """The network is what the server's stages leave, and written as 0 where they leave nothing."""
    assert only_run(f"{HEADER}\n1,100,10,0,100,50,9000,40,10,9400,9900\n").mean_s is None


REFUSED = [
        (f"{HEADER}\n", "holds no run"),
        (f"{HEADER}\n1,100,10\n", "line 2 has 3 cells under 11 columns"),
        (
            f"{HEADER}\n1,fast,10,0,100,50,9000,40,10,1,1\n",
            "line 2, 'Inferences/Second' must be a number from 0, got 'fast'",
        ),
        (f"{HEADER}\n1,1,10,0,-100,50,9000,40,10,1,1\n", "'Server Queue' must be a number from 0, got '-100'"),
        (f"{HEADER}\n1,1,10,0,1e999,50,9000,40,10,1,1\n", "got '1e999'"),
        (f"{HEADER}\n,1,10,0,1,50,9000,40,10,1,1\n", "has no 'Concurrency'"),
        (f"{HEADER},p99 latency\n", "has the column 'p99 latency' twice"),
        ("Concurrency,Inferences/Second,p101 latency\n1,2,3\n", "no percentile from 0 to 100"),
    ]  # fmt: skip


def test_rates_rise_too() -> None:
    text = "Request Rate,Inferences/Second\n0.5,0.4\n0,0\n20,19\n"
    assert [run.rate_asked_rps for run in load_test(text).runs] == [0.0, 0.5, 20.0]


@pytest.mark.parametrize(
    ("column", "quantile"),
    [("p0 latency", 0.0), ("p100 latency", 1.0), ("p latency", None), ("x9 latency", None), ("p9 y", None)],
)
def test_columns_of_percentiles(column: str, quantile: float | None) -> None:
    assert quantile_of(column) == quantile
    with pytest.raises(InputError, match=f"column 'p{'9' * 59}' is of no percentile"):
        quantile_of(f"p{'9' * 60} latency")
