"""Endpoints that are measured: bodies, what a server tells of its batches, and answers that are none."""

import json
import time

import pytest
from fake_server import Reply, predicting, serving

from capacity.errors import DependencyError, InputError
from capacity.measurement.endpoint import Endpoint, EndpointSubject, measure_endpoint, read_request
from capacity.measurement.http import Exchange, parse_address
from capacity.measurement.rounds import Rounds

SIZES = (1, 2, 4)


def endpoint(tmp_path, url: str = "http://127.0.0.1:9/predict", **others) -> Endpoint:
    path = tmp_path / "row.json"
    path.write_text('{"instances": [[1, 2.5], [9, 9]], "model": "m"}', encoding="utf-8")
    request = read_request(path, "instances")
    address = parse_address(url, "--url")
    return Endpoint(address=address, request=request, rows_key="instances", timeout_s=5.0, **others)


@pytest.fixture
def bodies(tmp_path):
    return endpoint(tmp_path).bodies(SIZES)


def asked_once(answer, bodies, batch_size=2):
    """What an endpoint that answers so makes of a request, and what it saw."""
    with serving(answer) as seen:
        address = parse_address(f"{seen.url}/predict", "--url")
        with Exchange(address, timeout_s=5.0) as exchange:
            return EndpointSubject(exchange, bodies).serve(batch_size), seen


def test_a_batch_is_the_first_row_so_many_times(bodies):
    found, seen = asked_once(predicting(lambda rows: 0.001 * rows), bodies)
    assert found.service_s == pytest.approx(0.002)
    assert 0.0 < found.beside_s < 0.1
    ((method, target, sent),) = seen.asked
    assert (method, target) == ("POST", "/predict")
    assert json.loads(sent) == {"instances": [[1, 2.5], [1, 2.5]], "model": "m"}


def test_without_server_timing_all_that_the_client_sees_is_service(bodies):
    found, _ = asked_once(lambda *_: time.sleep(0.03) or Reply(), bodies)
    assert (0.03 <= found.service_s < 1.0, found.beside_s) == (True, None)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(body=b"<html>welcome</html>"), "is not JSON"),
        (Reply(body=b""), "is not JSON"),
        (Reply(body=b"3"), "is not JSON"),
        (Reply(body=b"[" * 100_000), "is not JSON"),
        (Reply(headers={"X-Batch-Size": "3"}), "a request of 2 rows was served in a batch of 3"),
        (Reply(body=b'{"predictions": [1]}'), "a batch of 2 has 1 predictions; check that --rows-key"),
        (Reply(status=503, body=b"busy"), "answered 503: busy"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_answers_that_are_none(bodies, reply, said):
    with pytest.raises(DependencyError) as caught:
        asked_once(lambda *_: reply, bodies)
    assert said in str(caught.value)


def test_microseconds_for_milliseconds_are_refused(tmp_path):
    rounds = Rounds(batch_sizes=(1,), samples=20, warm_up=0)
    said = {"Server-Timing": "queue;dur=0.1, batch;dur=5700"}
    with (
        serving(lambda *_: Reply(headers=said)) as seen,
        pytest.raises(DependencyError, match=r"20 of 20 requests .* is its dur in milliseconds\?"),
    ):
        measure_endpoint(endpoint(tmp_path, seen.url), rounds, confidence=0.95, report=print)


def test_samples_of_two_kinds_are_not_mixed(bodies):
    replies = iter([Reply(headers={"Server-Timing": "batch;dur=3"}), Reply()])
    with (
        serving(lambda target, sent: next(replies)) as seen,
        Exchange(parse_address(seen.url, "--url"), timeout_s=5.0) as exchange,
    ):
        subject = EndpointSubject(exchange, bodies)
        subject.serve(1)
        with pytest.raises(DependencyError, match="cannot be mixed"):
            subject.serve(2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a request is a JSON object"),
        ("{", "not valid JSON"),
        ('{"instances": NaN}', "not valid JSON"),
        (
            '{"instances": []}',
            "'instances' must be a list with at least one row; set --rows-key to one of instances",
        ),
        ('{"inputs": [[1]]}', "set --rows-key to one of inputs"),
        ('{"instances": 3}', "must be a list"),
        ('{"instances": [1], "instances": [2]}', "appears twice"),
    ],
)
def test_bodies_that_are_none(tmp_path, text, said):
    path = tmp_path / "row.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_request(path, "instances")
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_bodies_that_would_be_too_large_together(tmp_path, monkeypatch):
    monkeypatch.setattr("capacity.measurement.endpoint.BODIES_BYTES_MAX", 80)
    assert set(endpoint(tmp_path).bodies(SIZES)) == set(SIZES)
    with pytest.raises(InputError, match="more than 80 bytes together; measure fewer or smaller"):
        endpoint(tmp_path).bodies((1, 2, 4, 8))
