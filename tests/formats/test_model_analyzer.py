"""Tables of Model Analyzer, written by the names of its columns; nothing here is a file of its own."""

import pytest
from reading import load_test, only_run, refusal

from capacity.formats.load_test import Loop

HEADER = "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,Throughput (infer/sec),p99 Latency (ms)"
CLOSED = (
    f"{HEADER}\nnet,4,2,net_config_3,1:GPU,8,Yes,1000,12.5\nnet,1,8,net_config_default,1:GPU,8,No,300,30\n"
)
CHOSEN = (
    "p95 Latency (ms),Avg Latency (ms),Request Rate,Model,Server Queue time (ms),Satisfies Constraints\n"
    "9.0,4.0,100,net,0.5,Yes\n"
)
GPU = "Model,GPU UUID,Batch,Concurrency,GPU Memory Usage (MB)\nnet,GPU-1,1,1,800\n"
EXAMPLES = {"closed": CLOSED.encode(), "chosen": CHOSEN.encode()}


def test_requests_are_batches_of_the_client() -> None:
    first, second = load_test(CLOSED).runs
    assert (first.name, first.loop, first.users) == ("net_config_3, batch 4, concurrency 2", Loop.CLOSED, 2.0)
    assert (first.batch_size, first.throughput_rps) == (4, 250.0)
    assert first.quantiles_s[0.99].value == pytest.approx(0.0125)
    assert (second.batch_size, second.throughput_rps) == (1, 300.0)


def test_columns_are_those_that_the_user_chose() -> None:
    run = only_run(CHOSEN)
    assert (run.loop, run.rate_asked_rps, run.throughput_rps) == (Loop.OPEN, 100.0, None)
    assert run.mean_s == pytest.approx(0.004)
    assert run.stages_s == pytest.approx({"queue": 0.0005})
    assert list(run.quantiles_s) == [0.95]
    assert "without a column Batch" in load_test(CHOSEN).notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GPU, "is a table of Model Analyzer without latencies; give metrics-model-inference.csv"),
        ("Model,GPU UUID,GPU Memory Usage (MB)\ntriton-server,GPU-1,800\n", "without latencies"),
        (HEADER + "\n", "holds no run"),
        (CLOSED.replace("net,4", "net,0.5"), "line 2: column 'Batch' must be a whole number from 1, got 0.5"),
        (CLOSED.replace("12.5", "12.5 ms"), "line 2, 'p99 Latency (ms)' must be a number from 0, got '12.5 ms'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_long_name_is_cut() -> None:
    first, _ = load_test(CLOSED.replace("net_config_3", "n" * 201)).runs
    assert first.name == "n" * 200
