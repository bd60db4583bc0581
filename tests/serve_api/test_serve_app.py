"""The endpoints: what is answered, what is refused, and what is reported."""

import asyncio
import json
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from serving import FAR, ROW, MadeUp, alive, ask, instances, metric, service_of

from serve_api.server.app import Marks
from serve_api.server.refusal import STATUS, Reason

GREEDY = {"batch_wait_max_s": 0.0}


def answers(*requests, model=None, canary=None, **given):
    """Answers to requests, one after the other, and the text of the metrics after them."""

    async def story():
        service = service_of(model or MadeUp(), canary, **{**GREEDY, **given})
        async with alive(service) as app:
            found = [await ask(app, **request) for request in requests]
        return found, service.metrics.text().decode()

    return asyncio.run(story())


def answer(body=None, model=None, **request):
    (found,), _ = answers({"body": instances() if body is None else body, **request}, model=model)
    return found


def refused(found):
    """Why it was refused, if the status is that of the reason."""
    assert found.status == STATUS[Reason(found.json["reason"])]
    return found.json["reason"]


# Predictions.


def test_rows_are_answered_in_their_order():
    found = answer(instances(*[[float(i), 0.0, 0.0] for i in (3, 1, 2)]))
    assert found.status == 200
    assert found.json == {
        "predictions": [3, 1, 2],
        "probabilities": [[0.25, 0.75]] * 3,
        "model_version": "v1.0.0",
    }


def test_headers_tell_of_queue_and_batch():
    headers = answer(instances(ROW, ROW)).headers
    assert headers["content-type"] == "application/json"
    assert re.fullmatch(r"queue;dur=\d+\.\d{3}, batch;dur=\d+\.\d{3}", headers["server-timing"])
    assert headers["x-batch-size"] == "2"


@pytest.mark.parametrize(
    ("given", "kept"), [("a-b_1.~", True), ("a b", False), ("", False), ("x" * 128, True), ("x" * 129, False)]
)
def test_a_request_id_is_taken_over_if_it_is_fit_for_a_header(given, kept):
    assert (answer(headers={"X-Request-ID": given}).headers["x-request-id"] == given) == kept


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/predict", 422), ("GET", "/livez", 200), ("GET", "/nothing", 404), ("GET", "/predict", 405)],
)
def test_each_answer_says_which_request_it_is_to_and_how_long_it_took(method, path, status):
    found = answer(b"{}", method=method, path=path)
    assert found.status == status
    assert len(found.headers["x-request-id"]) == 32
    assert 0.0 < float(found.headers["x-process-time"]) < 30.0


def test_probabilities_survive_the_way_to_the_client_to_the_last_digit():
    class Odd(MadeUp):
        def predict(self, rows):
            odd = np.float32(1.0) / np.float32(3.0)
            return super().predict(rows)._replace(probabilities=[[float(odd), 1e-38]])

    assert answer(model=Odd()).json["probabilities"] == [[float(np.float32(1 / 3)), 1e-38]]


async def test_requests_that_come_together_are_served_together():
    model = MadeUp()
    async with alive(service_of(model, batch_size_max=8, batch_wait_max_s=60.0)) as app:
        found = await asyncio.gather(*(ask(app, instances([float(i), 0, 0])) for i in range(8)))
    assert [one.json["predictions"] for one in found] == [[i] for i in range(8)]
    assert model.sizes == [8]


# Refusals.


@pytest.mark.parametrize("body", [b"", b"{", b'{"instances": [[1, 2, 3]]', b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body):
    assert refused(answer(body)) == "invalid_json"


@pytest.mark.parametrize(
    "document",
    [
        [ROW], {"rows": [ROW]}, {"instances": [ROW], "more": 1}, {"instances": []}, {"instances": ROW},
        {"instances": [[1.0, 2.0]]}, {"instances": [[*ROW, 4.0]]}, {"instances": [["1", 2, 3]]},
        {"instances": [[True, 2, 3]]}, {"instances": [[None, 2, 3]]}, {"instances": [ROW] * 33},
    ],
)  # fmt: skip
def test_rows_of_another_shape_are_refused(document):
    found = answer(json.dumps(document).encode())
    assert refused(found) == "wrong_shape"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e39", "1e999"])
def test_numbers_that_float32_does_not_hold_are_refused(number):
    assert refused(answer(b'{"instances": [[%s, 2, 3]]}' % number.encode())) == "not_finite"


def test_a_body_may_be_as_large_as_allowed():
    long = instances(*[[0.123456789, 1.5, 2.5]] * 3)
    for request in ({"body": long, "headers": {"Content-Length": str(len(long))}}, {"body": [long]}):
        for most, status in ((len(long), 200), (len(long) - 1, 413)):
            assert answers(request, body_bytes_max=most)[0][0].status == status


def test_requests_in_flight_are_counted_until_they_are_answered():
    async def story():
        model = MadeUp()
        service = service_of(model, **GREEDY, batch_size_max=1)
        async with alive(service) as app:
            model.gate.clear()
            asked = [asyncio.create_task(ask(app, instances())) for _ in range(2)]
            assert await asyncio.to_thread(model.entered.wait, 30.0)
            while len(service.batcher) < 1:
                await asyncio.sleep(0.001)
            told = (await ask(app, method="GET", path="/health")).json
            text = service.metrics.text()
            model.gate.set()
            await asyncio.gather(*asked)
            return told, text, service.in_flight

    told, text, after = asyncio.run(story())
    assert (told["in_flight"], told["queue_length"], told["ready"]) == (2, 1, True)
    assert (told["draining"], told["model_hung"]) == (False, False)
    assert (metric(text, "serve_in_flight"), metric(text, "serve_queue_length")) == (2, 1)
    assert after == 0


def test_metrics_are_text_at_their_own_path():
    found, _ = answers({"method": "GET", "path": "/metrics"})
    assert found[0].status == 200
    assert found[0].headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert metric(found[0].body, "serve_ready") == 1


def test_other_events_than_requests_are_passed_on():
    passed = []

    async def inner(*given):
        passed.append(given)

    marks = Marks(inner, service_of(MadeUp()))
    asyncio.run(marks({"type": "lifespan"}, "receive", "send"))
    assert passed == [({"type": "lifespan"}, "receive", "send")]


def test_browsers_may_send_and_read_the_headers():
    origin = {"Origin": "https://shop.example"}
    preflight = {
        "method": "OPTIONS",
        "headers": {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-request-id,x-request-timeout-ms",
        },
    }
    found, _ = answers(
        preflight, {"body": instances(), "headers": origin}, cors_origin=("https://shop.example",)
    )
    assert found[0].status == 200
    assert {"x-request-id", "x-request-timeout-ms"} <= set(
        found[0].headers["access-control-allow-headers"].lower().split(", ")
    )
    assert set(found[1].headers["access-control-expose-headers"].split(", ")) == {
        "x-request-id", "x-process-time", "x-batch-size", "server-timing", "retry-after",
    }  # fmt: skip


def test_a_body_may_come_in_parts():
    body = instances()
    assert answer([body[:5], body[5:9], body[9:]]).status == 200


def test_fewer_rows_may_be_allowed_than_a_batch_holds():
    found, _ = answers({"body": instances(ROW, ROW)}, {"body": instances(ROW, ROW, ROW)}, rows_max=2)
    assert [one.status for one in found] == [200, 422]


def test_a_request_may_set_an_earlier_deadline_but_no_later_one():
    async def story():
        model = MadeUp()
        async with alive(service_of(model, **GREEDY, batch_size_max=1, deadline_s=0.2)) as app:
            model.gate.clear()
            first = asyncio.create_task(ask(app, instances()))
            assert await asyncio.to_thread(model.entered.wait, 30.0)
            began_s = asyncio.get_running_loop().time()
            for given, least_s in (("50", 0.05), ("60000", 0.2)):
                found = await ask(app, instances(), headers={"X-Request-Timeout-Ms": given})
                assert refused(found) == "deadline"
                assert asyncio.get_running_loop().time() - began_s >= least_s - 0.001
            model.gate.set()
            assert (await first).status == 200

    asyncio.run(story())
    assert refused(answer(headers={"X-Request-Timeout-Ms": "soon"})) == "invalid_timeout"


def test_a_row_that_is_too_far_is_refused():
    assert refused(answer(instances([FAR, 0.0, 0.0]))) == "no_answer"


def test_a_model_that_raises_is_an_answer_without_its_words(capsys):
    model = MadeUp()
    model.failing = True
    found = answer(model=model)
    assert refused(found) == "model_failed"
    assert "SECRET" not in found.body.decode() + capsys.readouterr().err


def test_a_bug_is_an_answer_with_its_id_in_the_log(monkeypatch, capsys):
    monkeypatch.setattr("serve_api.server.app.parse_rows", lambda *_: 1 / 0)
    found = answer(headers={"X-Request-ID": "mine"})
    assert refused(found) == "internal"
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["request_id"]) == ("internal_error", "mine")
    assert logged["failure"].startswith("ZeroDivisionError in <lambda>")


def test_when_the_circuit_is_open_the_body_is_not_even_read():
    model = MadeUp()
    model.failing = True
    requests = [{"body": instances()}, {"body": []}]  # to read the second would take half a minute
    found, text = answers(*requests, model=model, breaker_failures=1)
    assert [refused(one) for one in found] == ["model_failed", "circuit_open"]
    assert found[1].headers["retry-after"] == "5"
    assert metric(text, "serve_circuit_state", version="v1.0.0") == 2


# Metrics, probes, browsers.


def test_metrics_are_counted():
    requests = [{"body": instances(ROW, ROW)}, {"body": instances()}, {"body": b"{"}]
    _, text = answers(*requests, batch_size_max=8, batch_wait_max_s=0.003)
    assert metric(text, "serve_requests_total", status="200", version="v1.0.0") == 2
    assert metric(text, "serve_requests_total", status="400") == 1
    assert metric(text, "serve_rejected_total", reason="invalid_json") == 1
    assert metric(text, "serve_request_seconds_count", version="v1.0.0") == 2
    assert metric(text, "serve_queue_wait_seconds_count") == 2
    assert metric(text, "serve_queue_wait_seconds_sum") >= 2 * 0.0029
    for size in ("1", "2"):
        assert metric(text, "serve_batch_seconds_count", version="v1.0.0", batch_size=size) == 1
    assert metric(text, "serve_batches_total", outcome="ok") == 2
    assert metric(text, "serve_batch_cpu_seconds_total") > 0.0
    assert metric(text, "serve_model_info", version="v1.0.0", role="serving") == 1
    assert (metric(text, "serve_batch_size_max"), metric(text, "serve_batch_wait_max_seconds")) == (8, 0.003)
    assert metric(text, "serve_environment_info", threads="1") == 1
    bounds = {float(le) for le in re.findall(r'serve_queue_wait_seconds_bucket\{le="([\d.]+)"\}', text)}
    assert (len(bounds), min(bounds), max(bounds)) == (121, 0.0001, 10.0)


def test_probes_tell_of_a_server_that_is_well_drains_or_hangs():
    async def statuses(service):
        async with alive(service) as app:
            return [(await ask(app, method="GET", path=path)).status for path in ("/livez", "/readyz")]

    for change, expected in (
        (lambda service: None, [200, 200]),
        (lambda service: setattr(service, "draining", True), [200, 503]),
        (lambda service: setattr(service.batcher, "hung", True), [503, 503]),
    ):
        service = service_of(MadeUp())
        change(service)
        assert asyncio.run(statuses(service)) == expected
        assert metric(service.metrics.text(), "serve_ready") == (expected == [200, 200])


def test_health_tells_people_what_is_served():
    found, _ = answers({"method": "GET", "path": "/health"}, canary=MadeUp("v1.1.0"))
    assert found[0].json["ready"]
    assert found[0].json["versions"] == {
        "serving": {"version": "v1.0.0", "circuit": "closed"},
        "canary": {"version": "v1.1.0", "circuit": "closed"},
    }


def test_while_it_drains_answers_send_clients_elsewhere():
    async def story():
        service = service_of(MadeUp(), **GREEDY)
        async with alive(service) as app:
            service.draining = True
            return await ask(app, instances())

    found = asyncio.run(story())
    assert (found.status, found.headers["connection"]) == (200, "close")


def test_browsers_of_other_origins_are_let_in_only_by_name():
    preflight = {
        "method": "OPTIONS",
        "headers": {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"},
    }
    for origins, allowed in (((), None), (("https://shop.example",), "https://shop.example")):
        asked = {"body": instances(), "headers": {"Origin": "https://shop.example"}}
        found, _ = answers(preflight, asked, cors_origin=origins)
        assert [one.headers.get("access-control-allow-origin") for one in found] == [allowed] * 2
        assert found[1].status == 200


def test_a_canary_takes_its_share_of_the_batches_and_is_told_apart():
    requests = [{"body": instances()}] * 200
    found, text = answers(*requests, canary=MadeUp("v1.1.0"), canary_share=0.5)
    versions = [one.json["model_version"] for one in found]
    assert 60 <= versions.count("v1.1.0") <= 140  # six standard deviations
    for version in ("v1.0.0", "v1.1.0"):
        assert metric(text, "serve_requests_total", version=version) == versions.count(version)


def test_the_documentation_tells_of_bodies_and_refusals():
    found, _ = answers({"method": "GET", "path": "/openapi.json"})
    predict = found[0].json["paths"]["/predict"]["post"]
    assert set(map(int, predict["responses"])) == {200, *STATUS.values()}
    assert "instances" in json.dumps(predict["requestBody"])
    assert predict["requestBody"]["required"] is True


def test_the_process_time_counts_from_the_headers_of_a_request(monkeypatch):
    """They come at 0 s; the prediction takes from 1 s to 1.5 s, and the answer begins at 3 s."""
    began_s = time.monotonic()
    ticks = iter([0.0, 1.0, 1.5, 3.0, 10.0, 10.25])
    clock = SimpleNamespace(monotonic=lambda: began_s + next(ticks))
    monkeypatch.setattr("serve_api.server.app.time", clock)
    found, text = answers({"body": instances()}, {"method": "GET", "path": "/livez"})
    assert [float(one.headers["x-process-time"]) for one in found] == pytest.approx([3.0, 0.25])
    assert metric(text, "serve_request_seconds_sum", version="v1.0.0") == pytest.approx(0.5)
