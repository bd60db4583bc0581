"""Where a request's time goes in a server, and what its queue says, of the formats that have stages."""

import pytest

from capacity.evidence.stages import sentences, waiting_of
from capacity.formats.document import Document
from capacity.formats.registry import Kind, read_document

# Written here by the shape of Triton's page: batches of 8, 55 ms of inference after 220 ms in the queue.
PAGE = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="1"} 1000
nv_inference_count{model="m",version="1"} 1000
nv_inference_exec_count{model="m",version="1"} 125
nv_inference_request_duration_us{model="m",version="1"} 275000000
nv_inference_queue_duration_us{model="m",version="1"} 220000000
nv_inference_compute_input_duration_us{model="m",version="1"} 0
nv_inference_compute_infer_duration_us{model="m",version="1"} 55000000
nv_inference_compute_output_duration_us{model="m",version="1"} 0
"""
# Written here by the shape of perf_analyzer's text with -b 16, of which the text above the last lines is gone.
BATCHES = """\
Avg request latency: 21189 usec (overhead 3 usec + queue 19 usec + compute input 195 usec + compute infer 20921 usec + compute output 50 usec)

Inferences/Second vs. Client Average Batch Latency
Concurrency: 1, throughput: 656.63 infer/sec, latency 24282 usec
"""


def told(text: str) -> str:
    """What is said of the one run."""
    (run,) = read_document(Document("a file", text), Kind.LOAD_TEST).runs
    return " ".join(sentences(run))


def test_a_page_of_metrics_tells_why_the_queue_is_four_times_the_inference() -> None:
    said = told(PAGE)
    assert (
        "80 % of a request's 275 ms is queue. A request waits 220 ms, 4 times its inference of 55 ms." in said
    )
    # One instance is never idle if it answers 8 requests each 55 ms: 145 rps x 220 ms wait.
    assert "32 requests waiting and 8 being served, at 145 rps" in said
    assert "Batches hold 8 on average" in said


def test_client_batches_do_not_put_more_requests_into_a_server_than_there_are_users() -> None:
    (run,) = read_document(Document("a file", BATCHES), Kind.LOAD_TEST).runs
    found = waiting_of(run)
    assert found.client_batch == 16
    assert found.throughput_rps == pytest.approx(656.63 / 16)
    assert found.waiting + found.served <= 1.0
    assert "as each request must carry 16 inferences for the law to hold" in told(BATCHES)


def test_more_in_the_server_than_users_is_said_and_not_explained() -> None:
    said = told(BATCHES.replace("656.63", "1000.00"))
    assert "A closed loop of 1 cannot have that many" in said
    assert "capacity audit" in said
    assert "The queue is short" not in said
