"""What an answer and a refusal say, word by word, and what becomes of them on the way."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from serve_api.server.app import Instances, _answer, _patience_s, _read_body, parse_rows
from serve_api.server.batcher import Served
from serve_api.server.log import kind_of, say
from serve_api.server.refusal import STATUS, Reason, Refused


def test_an_answer_tells_its_times_in_milliseconds():
    served = Served([1], [[0.25, 0.75]], "v1.0.0", 0.0123456, 0.5, 7)
    response = _answer(served)
    assert response.headers["server-timing"] == "queue;dur=12.346, batch;dur=500.000"
    assert response.headers["x-batch-size"] == "7"
    assert json.loads(response.body) == {
        "predictions": [1], "probabilities": [[0.25, 0.75]], "model_version": "v1.0.0"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "patience_s"), [(None, 10.0), ("250", 0.25), ("60000", 10.0), ("0", 0.0), ("1" * 9, 10.0)]
)
def test_a_request_may_have_less_patience_than_the_server(given, patience_s):
    headers = Headers({} if given is None else {"X-Request-Timeout-Ms": given})
    assert _patience_s(headers, 10.0) == patience_s


@pytest.mark.parametrize("given", ["1" * 10, "", "-1", "2.5", "soon"])
def test_patience_is_a_whole_number_of_milliseconds(given):
    with pytest.raises(
        Refused, match="^X-Request-Timeout-Ms must be a whole number of milliseconds, such as 250$"
    ):
        _patience_s(Headers({"X-Request-Timeout-Ms": given}), 10.0)


def body_of(*parts, announced=None, bytes_max=10):
    async def stream():
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    headers = {} if announced is None else {"content-length": str(announced)}
    return asyncio.run(_read_body(SimpleNamespace(headers=headers, stream=stream), bytes_max))


def test_a_body_has_as_many_bytes_as_are_allowed():
    assert body_of(b"12345", b"67890", announced=10) == b"1234567890"
    for parts, announced in (((b"",), 11), ((b"12345", b"678901"), None)):
        with pytest.raises(Refused, match="^the body is larger than 10 bytes$"):
            body_of(*parts, announced=announced)
    with pytest.raises(Refused, match="^the client left$"):
        body_of(b"1", ClientDisconnect())


@pytest.mark.parametrize(
    ("instances_given", "said"),
    [
        ([[1.0, 2.0]] * 4, "instances must be a list of 1 to 3 rows"),
        ([[1.0, 2.0], [1.0]], "each row must be a list of 2 numbers"),
        ([[1.0, 1e39]], "a number is beyond what float32 holds; send finite numbers"),
        ([["1", 2.0]], 'the body must be {"instances": [[numbers], ...]} and nothing else'),
    ],
)
def test_rows_that_are_refused_are_told_their_shape(instances_given, said):
    body = json.dumps({"instances": instances_given}).encode()
    with pytest.raises(Refused) as caught:
        parse_rows(body, 2, 3)
    assert str(caught.value) == said


def test_what_is_no_number_at_all_is_told_apart():
    for body, said in ((b"{", "the body is not valid JSON"), (b'{"instances": [[NaN, 1]]}', "a number is not finite; send finite numbers")):  # fmt: skip
        with pytest.raises(Refused) as caught:
            parse_rows(body, 2, 3)
        assert str(caught.value) == said
    rows = parse_rows(b'{"instances": [[1, 2.5], [3, 4], [5, 6]]}', 2, 3)
    assert rows.tolist() == [[1.0, 2.5], [3.0, 4.0], [5.0, 6.0]]
    assert Instances.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("reason", "retry_after_s", "header"),
    [
        (Reason.QUEUE_FULL, 1.0, "1"),
        (Reason.CIRCUIT_OPEN, 4.2, "5"),
        (Reason.MODEL_HUNG, 0.0, "1"),
        (Reason.QUEUE_FULL, None, None),
        (Reason.MODEL_FAILED, 4.0, None),  # it will fail again
        (Reason.DEADLINE, 4.0, None),
    ],
)
def test_only_who_may_come_again_is_told_when(reason, retry_after_s, header):
    refused = Refused(reason, "why", retry_after_s=retry_after_s)
    assert (str(refused), refused.status) == ("why", STATUS[reason])
    assert refused.headers.get("Retry-After") == header


def test_each_reason_has_the_status_that_clients_know():
    by_status: dict[int, set[str]] = {}
    for reason, status in STATUS.items():
        by_status.setdefault(status, set()).add(reason.value)
    assert by_status == {
        400: {"invalid_json", "invalid_timeout", "disconnected"},
        413: {"body_too_large"},
        422: {"wrong_shape", "not_finite", "no_answer"},
        500: {"model_failed", "internal"},
        503: {"queue_full", "circuit_open", "model_hung"},
        504: {"deadline"},
    }


def test_an_event_is_a_line_of_json(capsys, monkeypatch):
    monkeypatch.setattr("serve_api.server.log.time.time", lambda: 12.34567)
    say("event", version="v1.0.0", after_s=None)
    assert capsys.readouterr().err == (
        '{"time_s": 12.346, "event": "event", "version": "v1.0.0", "after_s": null}\n'
    )
    assert kind_of(ValueError("SECRET")) == "ValueError"
