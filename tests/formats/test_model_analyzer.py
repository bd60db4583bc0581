"""Tables of Model Analyzer, written by the names of its columns; nothing here is a file of its own."""

from reading import load_test

HEADER = "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,Throughput (infer/sec),p99 Latency (ms)"
CLOSED = (
    f"{HEADER}\nnet,4,2,net_config_3,1:GPU,8,Yes,1000,12.5\nnet,1,8,net_config_default,1:GPU,8,No,300,30\n"
)
CHOSEN = (
    "p95 Latency (ms),Avg Latency (ms),Request Rate,Model,Server Queue time (ms),Satisfies Constraints\n"
    "9.0,4.0,100,net,0.5,Yes\n"
)
GPU = "Model,GPU UUID,Batch,Concurrency,GPU Memory Usage (MB)\nnet,GPU-1,1,1,800\n"
EXAMPLES = {"closed": CLOSED, "chosen": CHOSEN}


REFUSED = [
        (GPU, "is a table of Model Analyzer without latencies; give metrics-model-inference.csv"),
        ("Model,GPU UUID,GPU Memory Usage (MB)\ntriton-server,GPU-1,800\n", "without latencies"),
        (HEADER + "\n", "holds no run"),
        (CLOSED.replace("net,4", "net,0.5"), "line 2: column 'Batch' must be a whole number from 1, got 0.5"),
        (CLOSED.replace("12.5", "12.5 ms"), "line 2, 'p99 Latency (ms)' must be a number from 0, got '12.5 ms'"),
    ]  # fmt: skip


def test_a_long_name_is_cut() -> None:
    first, _ = load_test(CLOSED.replace("net_config_3", "n" * 201)).runs
    assert first.name == "n" * 200
