"""Endpoints that are measured: bodies, what a server tells of its batches, and answers that are none."""

import itertools
import json
import time
from dataclasses import replace

import pytest
from fake_server import Reply, predicting, serving

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.measurement.endpoint import Endpoint, EndpointSubject, measure_endpoint, read_request
from capacity.measurement.http import Exchange, parse_address
from capacity.measurement.rounds import Rounds
from capacity.measurement.users import Stretch
from capacity.question.caveat import CaveatCode

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
        ('{"instances": []}', "'instances' must be a list with at least one row; set --rows-key to one of instances"),
        ('{"inputs": [[1]]}', "set --rows-key to one of inputs"),
        ('{"instances": 3}', "must be a list"),
        ('{"instances": [1], "instances": [2]}', "appears twice"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(tmp_path, text, said):
    path = tmp_path / "row.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_request(path, "instances")
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_bodies_that_would_be_too_large_together(tmp_path, monkeypatch):
    monkeypatch.setattr("capacity.measurement.endpoint.BODIES_BYTES_MAX", 56)  # seven rows of eight bytes
    assert set(endpoint(tmp_path).bodies(SIZES)) == set(SIZES)
    with pytest.raises(InputError, match="batches of 4 and smaller .* more than 56 bytes together; measure"):
        endpoint(tmp_path).bodies((1, 3, 4))


def test_bodies_take_at_most_a_quarter_of_a_gibibyte(tmp_path):
    row = "x" * (2**20 - 2)  # a mebibyte with its quotes
    with pytest.raises(InputError, match="would have more than 268435456 bytes together"):
        replace(endpoint(tmp_path), request={"instances": [row]}).bodies((257,))


def test_names_of_lists_are_cut_in_messages(tmp_path):
    path = tmp_path / "row.json"
    keys = [letter * 50 for letter in "abcdef"]
    path.write_text(json.dumps({key: [1] for key in keys} | {"model": "m"}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_request(path, "instances")
    known = ", ".join(key[:40] for key in keys)
    assert str(caught.value).endswith(f"set --rows-key to one of {known[:200]}")


@pytest.mark.parametrize(
    ("size", "told"),
    [("2", None), ("02", None), ("many", None), ("", None), ("3" * 50, "3" * 12), ("20", "20")],
)
def test_a_server_that_reports_another_batch_size_is_refused(bodies, size, told):
    def asked():
        asked_once(lambda *_: Reply(headers={"X-Batch-Size": size}), bodies)

    if told is None:
        asked()
    else:
        with pytest.raises(DependencyError, match=f"of 2 rows was served in a batch of {told}; measure"):
            asked()


@pytest.mark.parametrize(
    "body", [b"[]", b'{"predictions": 3}', b'{"predictions": [1, 2]}', b'{"scores": [1]}']
)
def test_answers_without_a_prediction_for_each_row_are_accepted(bodies, body):
    assert asked_once(lambda *_: Reply(body=body), bodies)[0].beside_s is None


def counted(answered):
    """Answers requests by `answered`, and looks at the metrics by a counter that rises by a CPU second each."""
    looks = itertools.count(5)

    def answer(target, body):
        if target == "/metrics":
            return Reply(body=f"serve_batch_cpu_seconds_total {next(looks)}\n".encode())
        return answered(target, body)

    return answer


def measured_with_counters(tmp_path, answered, rounds):
    with serving(counted(answered)) as seen:
        counters = parse_address(f"{seen.url}/metrics", "--counters")
        asked = endpoint(tmp_path, f"{seen.url}/predict", counters=counters)
        return measure_endpoint(asked, rounds, confidence=0.95, report=print)


TOLD = Reply(headers={"Server-Timing": "batch;dur=0.25"})


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), DependencyError("gone"), InconclusiveError("few")])
def test_crowds_that_end_early_leave_the_findings_of_the_rounds(tmp_path, monkeypatch, stop):
    given = []

    def fails(users, alone, means_s, report):
        given.append((alone, means_s, json.loads(users.body)))
        raise stop

    monkeypatch.setattr("capacity.measurement.endpoint.Users.work_beside", fails)
    rounds = Rounds(batch_sizes=(1, 2), samples=3, warm_up=1)
    found = measured_with_counters(tmp_path, lambda *_: TOLD, rounds)
    assert (found.stop, found.beside) == (stop, None)
    assert [one.count for one in found.findings] == [3, 3]
    ((alone, means_s, body),) = given
    # The batches of the warm-up were computed too. The counter rose by a second between the looks before and after.
    assert alone == Stretch(batches=8, requests_within=8, batches_s=pytest.approx(0.002), computed_s=1.0)
    assert means_s == {1: pytest.approx(0.00025), 2: pytest.approx(0.00025)}
    assert body == {"instances": [[1, 2.5]], "model": "m"}


def test_no_crowd_is_sent_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("capacity.measurement.endpoint.Users.work_beside", None)
    replies = itertools.chain([TOLD] * 3, itertools.repeat(Reply(status=503)))
    rounds = Rounds(batch_sizes=(1,), samples=9, warm_up=1)
    found = measured_with_counters(tmp_path, lambda *_: next(replies), rounds)
    assert isinstance(found.stop, DependencyError)
    assert ([one.count for one in found.findings], found.beside) == ([2], None)


@pytest.mark.parametrize(
    ("reply", "told", "codes"),
    [
        (TOLD, "the server's batch time, from Server-Timing", set()),
        (Reply(), "everything that the client saw", {CaveatCode.MEASURED_BY_CLIENT}),
    ],
)
def test_the_source_says_whose_clock_measured(tmp_path, reply, told, codes):
    rounds = Rounds(batch_sizes=(1,), samples=3, warm_up=0)
    with serving(lambda *_: reply) as seen:
        found = measure_endpoint(endpoint(tmp_path, seen.url), rounds, confidence=0.95, report=print)
    assert found.source["service_time"] == told
    assert found.source["threads"] == "not told by the server"
    assert {one.code for one in found.caveats} & {CaveatCode.MEASURED_BY_CLIENT} == codes
