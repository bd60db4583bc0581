"""What the application answers, with a made-up model in this process."""

import asyncio
import json
import math
import re

import numpy as np
import pytest
from serving import (
    FAR,
    FEATURES,
    NAMES,
    PATIENCE_S,
    ROW,
    MadeUp,
    alive,
    application,
    ask,
    instances,
    metric,
    onnx_model,
)

from serve_api.backend import OnnxBackend, Predictions
from serve_api.deployment import Deployment
from serve_api.metadata import Feature
from serve_api.refusal import Reason
from serve_api.settings import BreakerSettings

GREEDY = {"batch": {"size_max": 4, "wait_max_s": 0.0}}
TOKEN = "0123456789abcdef"


def told(*requests, app=None, **parts):
    """Answers to requests one after the other, and the metrics afterwards."""
    app = app or application(MadeUp(), **{**GREEDY, **parts})

    async def story():
        async with alive(app):
            answers = [await ask(app, body, **keywords) for body, keywords in requests]
            return answers, (await ask(app, method="GET", path="/metrics")).body.decode()

    return asyncio.run(story())


def one(body, app=None, headers=None, **parts):
    (answer,), text = told((body, {"headers": headers}), app=app, **parts)
    return answer, text


def refused(body, status, reason, headers=None, **parts):
    """The request is refused so, and the metrics say it."""
    answer, text = one(body, headers=headers, **parts)
    assert (answer.status, answer.json["reason"]) == (status, reason)
    assert metric(text, "serve_rejected_total", reason=reason) == 1
    assert metric(text, "serve_requests_total", status=str(status), version="v1.0.0") == 1
    return answer


def test_rows_are_answered_in_their_order():
    answer, text = one(instances([7.0, 0, 0], [8.0, 0, 0]))
    assert answer.status == 200
    assert answer.json == {
        "predictions": [7, 8],
        "probabilities": [[0.25, 0.75], [0.25, 0.75]],
        "model_version": "v1.0.0",
    }
    assert metric(text, "serve_requests_total", status="200", version="v1.0.0") == 1


def test_headers_are_those_of_the_contract():
    answer, _ = one(instances(ROW, ROW, ROW))
    queue_ms, batch_ms = map(
        float,
        re.fullmatch(
            r"queue;dur=(\d+\.\d{3}), batch;dur=(\d+\.\d{3})", answer.headers["server-timing"]
        ).groups(),
    )
    assert answer.headers["x-batch-size"] == "3"
    assert answer.headers["content-type"] == "application/json"
    took_s = float(answer.headers["x-process-time"])
    assert 0.0 < batch_ms / 1e3 <= took_s + 1e-6
    assert queue_ms == 0.0
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1.2_3~", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ("a\nb", False),
        ("ä", False),
    ],
)
def test_a_request_id_is_taken_over_if_it_is_fit_for_a_header(given, kept):
    answer, _ = one(instances(), headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept


def test_made_request_ids_differ_and_refusals_carry_them_too():
    answers, _ = told((instances(), {}), (b"", {}), (instances(), {}))
    assert len({a.headers["x-request-id"] for a in answers}) == 3
    assert [a.status for a in answers] == [200, 400, 200]
    assert "x-process-time" in answers[1].headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/livez", 200), ("GET", "/readyz", 200), ("GET", "/health", 200), ("GET", "/metrics", 401),
     ("GET", "/openapi.json", 200), ("GET", "/nothing", 404), ("GET", "/predict", 405), ("POST", "/livez", 405)],
)  # fmt: skip
def test_each_answer_says_which_request_it_is_to_and_how_long_it_took(method, path, status):
    ask_so = {"method": method, "path": path}
    answers, _ = told(
        (b"", {**ask_so, "headers": {"X-Request-ID": "mine"}}), (b"", ask_so),
        access={"token": TOKEN, "metrics_too": True},
    )  # fmt: skip
    assert [a.status for a in answers] == [status] * 2
    assert answers[0].headers["x-request-id"] == "mine"
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answers[1].headers["x-request-id"])
    assert all(0.0 <= float(a.headers["x-process-time"]) < PATIENCE_S for a in answers)


def test_the_long_way_says_it_once():
    (answer,), _ = told((instances(), {}), access={"cors_origins": ("https://a.example",)})
    assert [name for name, _ in answer.pairs].count(b"x-request-id") == 1


def test_metrics_are_those_of_the_contract():
    answers, text = told((instances(), {}), (instances(ROW, ROW), {}), (b"{", {}))
    assert [a.status for a in answers] == [200, 200, 400]
    for size in ("1", "2"):
        count = metric(text, "serve_batch_seconds_count", version="v1.0.0", batch_size=size)
        assert count == metric(text, "serve_batch_seconds_bucket", batch_size=size, le="+Inf") == 1
    assert metric(text, "serve_batch_seconds_sum") > 0
    assert metric(text, "serve_queue_wait_seconds_count") == 2
    assert metric(text, "serve_request_seconds_count", version="v1.0.0") == 2  # of answers, not of refusals
    assert metric(text, "serve_batches_total", version="v1.0.0", outcome="ok") == 2
    assert "serve_ready 1.0" in text
    assert "serve_model_hung 0.0" in text
    assert metric(text, "serve_batch_cpu_seconds_total") > 0
    assert metric(text, "process_cpu_seconds_total") > 0
    assert metric(text, "serve_circuit_state", version="v1.0.0") == 0
    assert metric(text, "serve_model_info", version="v1.0.0", role="serving") == 1
    assert "serve_queue_length 0.0" in text
    assert 'serve_rejected_total{reason="queue_full"} 0.0' in text


def test_the_metrics_tell_how_requests_are_put_together():
    _, text = told((instances(), {}), batch={"size_max": 3, "wait_max_s": 0.002})
    assert metric(text, "serve_batch_size_max") == 3
    assert metric(text, "serve_batch_wait_max_seconds") == 0.002


def test_the_cpu_time_of_a_batch_is_that_of_its_thread():
    class Busy(MadeUp):
        def predict(self, rows):
            for _ in range(200_000):
                math.sqrt(2.0)
            return super().predict(rows)

    class Sleepy(MadeUp):
        def predict(self, rows):
            asyncio.run(asyncio.sleep(0.05))
            return super().predict(rows)

    failing = Busy()
    failing.failing = True
    busy_s, failing_s, sleepy_s = (
        metric(one(instances(), app=application(model, **GREEDY))[1], "serve_batch_cpu_seconds_total")
        for model in (Busy(), failing, Sleepy())
    )
    assert busy_s > 0.0005
    assert failing_s > 0.0005  # work that led to nothing is work
    assert sleepy_s < 0.045


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[[1,2,3]", b"\xff\xfe", b'{"instances": [[1,2,3]]} x', b"[" * 100_000, b'{"instances": [[1,2,' + b"9" * 5000 + b"]]}",
     b'{"instances": [[1,2,3]], "instances": [[1,2,3]]}'],
)  # fmt: skip
def test_what_is_no_json_is_refused(body):
    refused(body, 400, "invalid_json")


@pytest.mark.parametrize(
    "document",
    [[], 1, None, {}, {"rows": [ROW]}, {"instances": [ROW], "more": 1}, {"instances": []}, {"instances": ROW},
     {"instances": [[]]}, {"instances": [[1.0, 2.0]]}, {"instances": [[*ROW, 4.0]]}, {"instances": [ROW, [1.0]]},
     {"instances": [[1.0, 2.0, "3"]]}, {"instances": [[1.0, 2.0, None]]}, {"instances": [[1.0, 2.0, True]]},
     {"instances": [[1.0, 2.0, [3.0]]]}, {"instances": {"0": ROW}}, {"instances": [ROW] * 5}],
    ids=str,
)  # fmt: skip
def test_rows_of_another_shape_are_refused(document):
    refused(json.dumps(document).encode(), 422, "wrong_shape")


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "1e39", "-1e39", "1" + "0" * 400]
)
def test_numbers_that_float32_does_not_hold_are_refused(number):
    refused(f'{{"instances": [[1, 2, {number}]]}}'.encode(), 422, "not_finite")


def test_words_that_are_no_json_are_told_from_numbers_that_are_too_large():
    answer, _ = one(b'{"instances": [[1, 2, -Infinity]]}')
    assert answer.json["error"] == "-Infinity is not a number; send finite numbers"


def test_the_largest_float32_is_a_number():
    answer, _ = one(instances([1.0, 3.4028234e38, -3.4028234e38]))
    assert answer.status == 200


def test_fewer_rows_may_be_allowed_than_a_batch_holds():
    refused(instances(ROW, ROW), 422, "wrong_shape", limits={"rows_max": 1})


def test_a_body_that_is_announced_too_large_is_not_read():
    app = application(MadeUp(), limits={"body_bytes_max": 100}, **GREEDY)

    async def story():
        async with alive(app):
            never = [b"<wait>"]  # a read would wait for the next part
            return await asyncio.wait_for(ask(app, never, headers={"Content-Length": "101"}), PATIENCE_S / 2)

    answer = asyncio.run(story())
    assert (answer.status, answer.json["reason"]) == (413, "body_too_large")


def test_a_body_that_grows_too_large_is_not_read_to_its_end():
    parts = [b" " * 60] * 1000
    answer = refused(parts, 413, "body_too_large", limits={"body_bytes_max": 100})
    assert answer.json["error"] == "the body is larger than 100 bytes"


def test_a_body_may_come_in_parts():
    body = instances()
    answer, _ = one([body[:10], body[10:20], body[20:]])
    assert answer.status == 200


def test_a_body_in_one_part_has_the_same_limit():
    refused(b" " * 101, 413, "body_too_large", limits={"body_bytes_max": 100})


def test_bodies_that_come_slowly_have_room_together_and_give_it_back():
    app = application(MadeUp(), limits={"open_bytes_max": 100, "body_time_max_s": 0.2}, **GREEDY)
    parts = [b" " * 80, b"<wait>"]

    async def story():
        async with alive(app):
            slow = asyncio.create_task(ask(app, parts))
            await asyncio.sleep(0.01)
            beside = await ask(app, [b" " * 80, instances()])
            whole = await ask(app, b" " * 80 + instances())  # is not open
            return beside, whole, await slow, await ask(app, [b" " * 80, instances()])

    beside, whole, slow, after = asyncio.run(story())
    assert (beside.status, beside.json["reason"]) == (503, "open_bodies")
    assert beside.headers["retry-after"] == "1"
    assert (whole.status, slow.status, after.status) == (200, 408, 200)


def test_a_slow_body_is_given_up():
    answer = refused([b"<wait>"], 408, "body_too_slow", limits={"body_time_max_s": 0.05})
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("given", ["", "soon", "-1", "1.5", "9" * 10])
def test_a_timeout_that_is_no_number_is_refused(given):
    refused(instances(), 400, "invalid_timeout", headers={"X-Request-Timeout-Ms": given})


def test_a_request_may_set_its_own_deadline():
    refused(instances(), 504, "deadline", headers={"X-Request-Timeout-Ms": "0"})


@pytest.mark.parametrize("given", [{}, {"X-Request-Timeout-Ms": "60000"}])
def test_the_deadline_of_the_server_holds_for_whoever_sets_none_or_a_later_one(given):
    model = MadeUp()
    app = application(model, limits={"deadline_s": 0.02}, **GREEDY)

    async def story():
        async with alive(app):
            model.gate.clear()
            first = asyncio.create_task(ask(app, instances()))
            await asyncio.sleep(0)
            behind = await asyncio.wait_for(ask(app, instances(), headers=given), PATIENCE_S / 2)
            model.gate.set()
            return behind, await first

    behind, first = asyncio.run(story())
    assert (behind.status, behind.json["reason"], first.status) == (504, "deadline", 200)


def test_a_request_alone_is_served_though_its_time_is_shorter_than_the_wait():
    patient = {"batch": {"size_max": 4, "wait_max_s": 60.0}}
    answer, _ = one(instances(), headers={"X-Request-Timeout-Ms": "400"}, **patient)
    assert answer.status == 200
    assert 0.19 < float(answer.headers["x-process-time"]) < 0.4


def far_and_near(model):
    """A row far from any that it was trained on between two others, and what the metrics say."""
    app = application(model, batch={"size_max": 3, "wait_max_s": 60.0}, breaker={"failures_max": 1})

    async def story():
        async with alive(app):
            asked = [instances(ROW), instances([FAR] * FEATURES), instances(ROW)]
            answers = await asyncio.gather(*[ask(app, body) for body in asked])
            return answers, (await ask(app, method="GET", path="/metrics")).body.decode()

    return asyncio.run(story())


@pytest.mark.parametrize("real", [False, True])
def test_a_row_that_is_too_far_is_refused_alone_and_says_nothing_of_the_model(real):
    features = [Feature(name=name, mean=1.0, low=0.0, high=2.0) for name in NAMES]
    onnx = OnnxBackend(onnx_model(weight=1e3), version="v1.0.0", features=features, threads=1)
    answers, text = far_and_near(onnx if real else MadeUp())
    assert [a.status for a in answers] == [200, 422, 200]
    assert answers[1].json["reason"] == "no_answer"
    assert metric(text, "serve_requests_total", status="422", version="v1.0.0") == 1
    assert metric(text, "serve_batches_total", outcome="ok") == 1
    assert metric(text, "serve_circuit_state", version="v1.0.0") == 0


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_without_the_token_nothing_is_predicted(given):
    headers = None if given is None else {"Authorization": given}
    answer = refused(instances(), 401, "unauthorized", headers=headers, access={"token": TOKEN})
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_opens_and_is_compared_in_constant_time(monkeypatch):
    import serve_api.asked

    compared = []
    digest = serve_api.asked.hmac.compare_digest
    monkeypatch.setattr(
        serve_api.asked.hmac, "compare_digest", lambda a, b: (compared.append((a, b)), digest(a, b))[1]
    )
    answer, _ = one(instances(), headers={"Authorization": f"Bearer {TOKEN}"}, access={"token": TOKEN})
    assert answer.status == 200
    assert compared == [(f"Bearer {TOKEN}".encode(),) * 2]


@pytest.mark.parametrize(("too", "status"), [(False, 200), (True, 401)])
def test_metrics_ask_for_the_token_by_choice(too, status):
    app = application(MadeUp(), access={"token": TOKEN, "metrics_too": too})

    async def story():
        async with alive(app):
            without = await ask(app, method="GET", path="/metrics")
            with_it = await ask(
                app, method="GET", path="/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            return without.status, with_it.status

    assert asyncio.run(story()) == (status, 200)


@pytest.mark.parametrize(("origins", "allowed"), [((), None), (("https://a.example",), "https://a.example")])
def test_browsers_of_other_origins_are_let_in_only_by_name(origins, allowed):
    answer, _ = one(instances(), headers={"Origin": "https://a.example"}, access={"cors_origins": origins})
    assert answer.status == 200
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert answer.headers["x-batch-size"] == "1"  # the long way gives the same answer


def test_a_browser_may_send_the_token_after_it_asked():
    asking = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    app = application(MadeUp(), access={"cors_origins": ("https://a.example",)}, **GREEDY)
    (answer,), _ = told((b"", {"method": "OPTIONS", "headers": asking}), app=app)
    assert answer.status == 200
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_model_that_raises_is_an_answer_without_its_words(capsys):
    model = MadeUp()
    model.failing = True
    answer, text = one(instances(), app=application(model, **GREEDY))
    assert (answer.status, answer.json) == (500, {"error": "the model failed", "reason": "model_failed"})
    assert metric(text, "serve_rejected_total", reason="model_failed") == 1
    logged = capsys.readouterr().err
    assert "RuntimeError in predict" in logged
    assert "SECRET" not in logged


def test_a_bug_is_an_answer_too(monkeypatch, capsys):
    import serve_api.service

    def broken(*arguments):
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr(serve_api.service, "parse_rows", broken)
    answer = refused(instances(), 500, "internal")
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert line["event"] == "internal_error"
    assert line["failure"].startswith("ZeroDivisionError in broken:")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "SECRET" not in str(line)


def test_a_bug_beside_predictions_is_an_answer_with_its_id_in_the_log(monkeypatch, capsys):
    app = application(MadeUp())

    def broken():
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr(app.service, "summary", broken)
    (answer,), _ = told((b"", {"method": "GET", "path": "/health"}), app=app)
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert answer.status == 500
    assert line["failure"].startswith("ZeroDivisionError in broken:")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "SECRET" not in str(line) + answer.body.decode()


def test_when_the_circuit_is_open_the_body_is_not_even_read():
    model = MadeUp()
    model.failing = True
    app = application(model, breaker={"failures_max": 1, "cooldown_s": 60.0}, **GREEDY)
    answers, text = told((instances(), {}), ([b"<wait>"], {}), app=app)
    assert [a.json["reason"] for a in answers] == ["model_failed", "circuit_open"]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60
    assert metric(text, "serve_circuit_state", version="v1.0.0") == 2


def test_too_many_open_requests_are_refused_before_their_bodies_are_read():
    app = application(MadeUp(), limits={"in_flight_max": 1}, **GREEDY)

    async def story():
        async with alive(app):
            slow = asyncio.create_task(ask(app, [b"<wait>"]))
            await asyncio.sleep(0.01)
            answer = await ask(app, instances())
            slow.cancel()
            return answer

    answer = asyncio.run(story())
    assert (answer.status, answer.json["reason"]) == (503, "in_flight")
    assert answer.headers["retry-after"] == "1"


def test_probes_of_a_server_that_is_well():
    app = application(MadeUp())

    async def story():
        async with alive(app):
            return [await ask(app, method="GET", path=path) for path in ("/livez", "/readyz", "/health")]

    live, ready, health = asyncio.run(story())
    assert (live.status, ready.status, health.status) == (200, 200, 200)
    assert health.json["ready"] is True
    assert health.json["versions"] == {"serving": {"version": "v1.0.0", "circuit": "closed"}}


def test_while_it_drains_it_is_not_ready_and_sends_clients_elsewhere():
    app = application(MadeUp(), **GREEDY)

    async def story():
        async with alive(app):
            app.service.draining = True
            ready, answer = await ask(app, method="GET", path="/readyz"), await ask(app, instances())
            app.service.closed = True
            closed, told_by = await ask(app, instances()), await ask(app, method="GET", path="/metrics")
            return ready, answer, closed, told_by.body.decode()

    ready, answer, closed, text = asyncio.run(story())
    assert (ready.status, answer.status, closed.status) == (503, 200, 503)
    assert answer.headers["connection"] == closed.headers["connection"] == "close"
    assert closed.json["reason"] == "draining"
    assert "serve_ready 0.0" in text
    assert metric(text, "serve_rejected_total", reason="draining") == 1


def test_while_the_model_hangs_it_is_neither_ready_nor_worth_keeping():
    model = MadeUp()
    app = application(model, inference={"time_max_s": 0.05}, **GREEDY)

    async def story():
        async with alive(app):
            model.gate.clear()
            answer = await ask(app, instances())
            probes = [await ask(app, method="GET", path=path) for path in ("/livez", "/readyz", "/metrics")]
            model.gate.set()
            return answer, probes

    answer, (live, ready, told_by) = asyncio.run(story())
    text = told_by.body.decode()
    assert (answer.status, answer.json["reason"]) == (503, "model_hung")
    assert (live.status, ready.status) == (503, 503)
    assert "serve_ready 0.0" in text
    assert "serve_model_hung 1.0" in text
    assert metric(text, "serve_batches_total", version="v1.0.0", outcome="hung") == 1


def test_a_hang_is_counted_as_that_of_the_version_that_hangs():
    model = MadeUp()
    app = application(model, inference={"time_max_s": 0.05}, **GREEDY)

    async def story():
        async with alive(app):
            model.gate.clear()
            await ask(app, instances())
            service = app.service
            service.rollout.serve(Deployment(MadeUp("v1.1.0"), BreakerSettings(), service.metrics))
            await ask(app, instances())
            text = (await ask(app, method="GET", path="/metrics")).body.decode()
            model.gate.set()
            return text

    text = asyncio.run(story())
    assert metric(text, "serve_requests_total", status="503", version="v1.0.0") == 2
    assert metric(text, "serve_requests_total", version="v1.1.0") == 0


def test_a_canary_takes_its_share_of_the_batches_and_is_told_apart():
    canary = MadeUp("v1.1.0")
    app = application(MadeUp(), canary, share=0.5, **GREEDY)
    answers, text = told(*[(instances(), {})] * 60, app=app)
    versions = [a.json["model_version"] for a in answers]
    taken = versions.count("v1.1.0")
    assert 10 <= taken <= 50  # outside once in 10 million
    assert len(canary.sizes) == taken
    assert metric(text, "serve_requests_total", version="v1.1.0") == taken
    assert metric(text, "serve_batch_seconds_count", version="v1.0.0") == 60 - taken
    assert metric(text, "serve_model_info", version="v1.1.0", role="canary") == 1


def test_a_canary_that_fails_is_left_alone_and_the_others_serve_on():
    canary = MadeUp("v1.1.0")
    canary.failing = True
    app = application(MadeUp(), canary, share=1.0, breaker={"failures_max": 2, "cooldown_s": 60.0}, **GREEDY)
    answers, text = told(*[(instances(), {})] * 4, app=app)
    assert [a.status for a in answers] == [200] * 4
    assert {a.json["model_version"] for a in answers} == {"v1.0.0"}
    assert metric(text, "serve_batches_total", version="v1.1.0", outcome="failed") == 2
    assert metric(text, "serve_batches_total", version="v1.0.0", outcome="ok") == 4
    assert metric(text, "serve_requests_total", version="v1.1.0") == 0
    assert metric(text, "serve_circuit_state", version="v1.1.0") == 2
    assert metric(text, "serve_circuit_state", version="v1.0.0") == 0


def test_the_documentation_tells_of_bodies_and_refusals():
    document = application(MadeUp()).openapi()
    predict = document["paths"]["/predict"]["post"]
    assert predict["requestBody"]["content"]["application/json"]["schema"]["required"] == ["instances"]
    statuses = {str(s) for s in (200, 400, 401, 408, 413, 422, 500, 503, 504)}
    assert statuses <= set(predict["responses"])


def test_get_is_no_way_to_predict():
    (answer,), _ = told((b"", {"method": "GET"}))
    assert answer.status == 405


def test_every_reason_of_http_has_a_status():
    from serve_api.refusal import STATUS

    below = {Reason.CONNECTIONS, Reason.HEADERS_TOO_LARGE, Reason.REQUEST_TOO_SLOW}
    below |= {Reason.PIPELINED, Reason.ANSWER_UNREAD, Reason.INVALID_HTTP}
    assert set(STATUS) == set(Reason) - below


def test_probabilities_survive_the_way_to_the_client_to_the_last_digit():
    numbers = np.array([[1e-45, 0.1], [3.4e38, 1e-7]], dtype=np.float32)

    class Exact(MadeUp):
        def predict(self, rows):
            return Predictions([0, 1], numbers.tolist())

    answer, _ = one(instances([0.0] * FEATURES, ROW), app=application(Exact(), **GREEDY))
    assert np.array_equal(np.array(answer.json["probabilities"], dtype=np.float32), numbers)
