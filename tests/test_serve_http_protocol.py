"""A connection of the server by itself: what it lets its client do, and what it keeps of it."""

import asyncio
import gc
import time
import weakref

import pytest
import uvicorn
from serving import FEATURES, PATIENCE_S, MadeUp, alive, application, instances, metric
from uvicorn.server import ServerState

from serve_api import http_protocol
from serve_api.http_protocol import HEADERS_MAX, UNSENT_BYTES_MAX, ConnectionLimits, LimitedProtocol, Round
from serve_api.metrics import BatchEnd
from serve_api.refusal import Reason

GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"


class Wire:
    """A transport: what was written to it, and what its client has not read."""

    def __init__(self):
        self.written, self.unread_bytes, self.pauses = [], 0, None
        self.reading, self.closing, self.aborted, self.lost, self.late = True, False, False, False, 0

    def write(self, data):
        if self.lost:
            self.late += 1
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop has it
        self.written.append(bytes(data))
        if self.pauses is not None and data == b"ok":  # that is more than its client reads
            self.pauses.pause_writing()

    def get_write_buffer_size(self):
        return self.unread_bytes

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def is_closing(self):
        return self.closing

    def set_write_buffer_limits(self, high):
        self.high_bytes = high

    def get_extra_info(self, name, default=None):
        return default


def predict(first):
    """A request to predict a row."""
    body = instances([first] * FEATURES)
    return b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def come_true(what):
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.001)


async def at_once(scope, receive, send):
    """An application that answers before it reads."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Held:
    """An application that answers once it may."""

    def __init__(self):
        self.gate, self.asked = asyncio.Event(), 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        await self.gate.wait()
        await at_once(scope, receive, send)


def connected(app=at_once, connections_max=10, round_bytes_max=2**20):
    """A connection to an application, its wire, and why it refused."""
    refused = []
    limits = ConnectionLimits(
        connections_max=connections_max, header_time_max_s=10.0, request_time_max_s=20.0, answer_time_max_s=10.0,
        reject=refused.append, round=Round(round_bytes_max),
    )  # fmt: skip
    protocol = LimitedProtocol(
        config=uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False),
        server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop(), limits=limits,
    )  # fmt: skip
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire, refused


async def answers(wire, count=1):
    """Wait for so many of them."""
    async with asyncio.timeout(PATIENCE_S):
        while sum(part.startswith(b"HTTP/1.1 ") for part in wire.written) < count:
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def told(story):
    """Within a loop, and without a word of asyncio about what nobody caught."""
    complaints = []

    async def heard():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await story()
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(heard())
    assert complaints == []


def test_nothing_is_kept_of_a_body_that_was_refused():
    async def story():
        protocol, wire, _ = connected()
        protocol.data_received(POST + b"x" * 60_000)
        assert len(protocol.cycle.body) == 60_000
        await answers(wire)
        assert len(protocol.cycle.body) == 0
        protocol.data_received(b"x" * 1000)
        assert len(protocol.cycle.body) == 0
        protocol.connection_lost(None)

    told(story)


def test_after_the_rest_of_a_refused_body_the_connection_does_not_live_for_ever():
    async def story():
        protocol, wire, refused = connected()
        protocol.data_received(POST)
        await answers(wire)
        protocol.data_received(b"x" * 100_000)
        assert protocol.timeout_keep_alive_task is not None  # idle, as after any other request
        protocol.check_time(1e12)
        assert refused == []
        protocol.data_received(GET)
        await answers(wire, 2)
        protocol.connection_lost(None)

    told(story)


def test_nothing_is_left_of_a_connection_that_its_client_reset():
    async def story():
        protocol, wire, _ = connected()
        protocol.data_received(GET)
        await answers(wire)
        protocol.connection_lost(ConnectionResetError())
        left = weakref.ref(protocol)
        del protocol
        gc.collect()
        assert left() is None

    told(story)


@pytest.mark.parametrize("closing", [False, True])
def test_an_answer_that_is_not_read_ends_the_connection(closing):
    async def story():
        protocol, wire, refused = connected()
        protocol.data_received(GET)
        await answers(wire)
        wire.closing = closing
        for unread_bytes, now_s in ((5, 100.0), (0, 109.0), (5, 109.5), (5, 119.0)):
            wire.unread_bytes = unread_bytes
            protocol.check_time(now_s)
        assert not wire.aborted  # it was read in between
        protocol.check_time(120.0)
        assert wire.aborted
        assert refused == [Reason.ANSWER_UNREAD]
        protocol.connection_lost(None)

    told(story)


def test_who_does_not_read_is_not_read():
    async def story():
        protocol, wire, _ = connected()
        assert wire.high_bytes == UNSENT_BYTES_MAX  # from which on uvloop calls it
        protocol.pause_writing()
        assert not wire.reading
        protocol.resume_writing()
        assert wire.reading
        wire.pauses = protocol
        protocol.data_received(GET)
        await answers(wire)
        assert not wire.reading  # though the answer is complete
        protocol.resume_writing()
        assert wire.reading
        protocol.connection_lost(None)

    told(story)


@pytest.mark.parametrize(
    "headers",
    [b"a:\r\n" * (HEADERS_MAX + 1), b"".join(b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(60))],
    ids=["many", "large"],
)
@pytest.mark.parametrize(
    "end",
    [b"\r\n", b"\r\n" + GET, b"transfer-encoding: chunked\r\n\r\n"],
    ids=["whole", "another after it", "body to come"],
)
def test_headers_that_came_at_once_have_the_same_limits(headers, end):
    async def story():
        protocol, wire, refused = connected()
        protocol.data_received(b"GET /livez HTTP/1.1\r\n" + headers + end)
        assert wire.aborted
        assert refused == [Reason.HEADERS_TOO_LARGE]
        protocol.connection_lost(None)
        await asyncio.sleep(0)

    told(story)


def test_as_many_headers_as_allowed_are_allowed():
    async def story():
        protocol, wire, refused = connected()
        protocol.data_received(b"GET /livez HTTP/1.1\r\n" + b"a:\r\n" * HEADERS_MAX + b"\r\n")
        await answers(wire)
        assert refused == []
        protocol.connection_lost(None)

    told(story)


def test_requests_ahead_of_their_turn_are_answered_in_it():
    async def story():
        held = Held()
        protocol, wire, refused = connected(held)
        protocol.data_received(GET * 6)
        await asyncio.sleep(0)
        assert held.asked == 1
        held.gate.set()
        await answers(wire, 6)
        assert refused == []
        protocol.connection_lost(None)

    told(story)


@pytest.mark.parametrize("ahead", [GET * 1000, POST + b"x" * 90_000], ids=["many", "large"])
def test_requests_ahead_of_their_turn_take_up_little(ahead):
    async def story():
        held = Held()
        protocol, wire, refused = connected(held)
        protocol.data_received(GET + ahead)
        await asyncio.sleep(0)
        assert wire.aborted
        assert refused == [Reason.PIPELINED]
        assert len(protocol.pipeline) < 300
        protocol.connection_lost(None)
        held.gate.set()
        await asyncio.sleep(0)

    told(story)


def test_nobody_writes_to_a_client_that_left_with_requests_ahead():
    async def story():
        held = Held()
        protocol, wire, _ = connected(held)
        protocol.data_received(GET * 2)
        await asyncio.sleep(0)
        protocol.connection_lost(None)
        wire.lost = True
        held.gate.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert wire.late == 0

    told(story)


def test_beyond_the_limit_there_is_a_second_for_a_probe_and_for_nothing_else():
    async def story():
        protocol, wire, refused = connected(connections_max=0)
        now_s = time.monotonic()
        protocol.check_time(now_s + 0.9)
        assert (wire.written, refused) == ([], [])
        protocol.check_time(now_s + 1.5)
        assert wire.written[0].startswith(b"HTTP/1.1 503 ")
        assert wire.closing
        assert not wire.aborted  # it is told
        protocol.connection_lost(None)
        protocol, wire, more_refused = connected(connections_max=0)
        protocol.data_received(GET)
        await answers(wire)
        assert b"connection: close" in wire.written[0]
        wire.unread_bytes = 5
        for now_s in (100.0, 101.5):
            protocol.check_time(now_s)
        assert wire.aborted
        protocol.connection_lost(None)
        assert (refused, more_refused) == ([Reason.CONNECTIONS], [Reason.ANSWER_UNREAD])

    told(story)


def test_beyond_those_for_probes_a_connection_is_turned_away_at_once(monkeypatch):
    monkeypatch.setattr(http_protocol, "PROBE_CONNECTIONS", 0)

    async def story():
        protocol, wire, refused = connected(connections_max=0)
        assert wire.written[0].startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in wire.written[0]
        assert (wire.closing, wire.aborted) == (True, False)  # it is told
        assert refused == [Reason.CONNECTIONS]
        protocol.connection_lost(None)

    told(story)


def test_what_comes_in_one_round_of_the_loop_is_bounded_before_anybody_looks_at_it():
    async def story():
        protocol, wire, refused = connected(round_bytes_max=50_000)
        protocol.data_received(POST + b"x" * 30_000)
        await answers(wire)
        protocol.data_received(b"x" * 30_000)  # another round
        assert not wire.closing
        protocol.data_received(b"x" * 30_000)
        assert wire.aborted  # it has an answer already
        protocol.connection_lost(None)
        await asyncio.sleep(0)
        protocol, wire, more_refused = connected(round_bytes_max=50_000)
        protocol.data_received(POST + b"x" * 60_000)
        assert wire.written[0].startswith(b"HTTP/1.1 503 ")
        assert protocol.cycle is None
        protocol.connection_lost(None)
        assert refused == more_refused == [Reason.OPEN_BODIES]

    told(story)


@pytest.mark.parametrize("origins", [(), ("https://a.example",)], ids=["short way", "long way"])
def test_who_leaves_while_it_waits_is_not_computed(origins):
    model = MadeUp()
    app = application(model, batch={"size_max": 1, "wait_max_s": 0.0}, access={"cors_origins": origins})

    async def story():
        async with alive(app):
            model.gate.clear()
            staying, wire, _ = connected(app)
            staying.data_received(predict(1.0))
            await come_true(model.entered.is_set)
            leaving, _, _ = connected(app)
            leaving.data_received(predict(2.0))
            await come_true(lambda: len(app.service.batcher) == 1)
            leaving.connection_lost(None)
            await come_true(lambda: app.service.in_flight == 1)
            await come_true(lambda: len(app.service.batcher) == 0)  # it takes no place in the queue
            model.gate.set()
            await answers(wire)
            staying.data_received(predict(3.0))
            await answers(wire, 2)
            staying.connection_lost(None)

    told(story)
    text = app.service.metrics.text().decode()
    assert model.rows == [1.0, 3.0]
    assert metric(text, "serve_rejected_total", reason="disconnected") == 1
    assert metric(text, "serve_requests_total", status="400") == 1
    assert metric(text, "serve_requests_total", status="200") == 2
    assert metric(text, "serve_request_seconds_count") == 2


def test_who_leaves_while_it_is_computed_is_not_counted_as_answered(capsys):
    model = MadeUp()
    app = application(model, batch={"size_max": 1, "wait_max_s": 0.0})

    async def story():
        async with alive(app):
            model.gate.clear()
            protocol, wire, _ = connected(app)
            protocol.data_received(predict(1.0))
            await come_true(model.entered.is_set)
            protocol.connection_lost(ConnectionResetError())
            wire.lost = True
            await come_true(lambda: app.service.in_flight == 0)
            model.gate.set()
            batches = app.service.rollout.serving.batches[BatchEnd.OK]
            await come_true(lambda: batches._value.get() == 1)
            assert wire.late == 0

    told(story)
    text = app.service.metrics.text().decode()
    assert metric(text, "serve_rejected_total", reason="disconnected") == 1
    assert metric(text, "serve_requests_total") == 1
    assert metric(text, "serve_requests_total", status="400") == 1
    assert capsys.readouterr().err == ""  # nobody takes it for an error


def test_an_answer_that_is_given_is_not_kept_for_a_client_that_may_leave():
    model = MadeUp()
    app = application(model, batch={"size_max": 1, "wait_max_s": 0.0})

    async def story():
        async with alive(app):
            protocol, wire, _ = connected(app)
            protocol.data_received(predict(1.0))
            await answers(wire)
            assert protocol._departure.then is None
            protocol.connection_lost(None)

    told(story)


def test_while_a_large_request_is_answered_its_client_is_still_heard():
    async def story():
        gate = asyncio.Event()

        async def reading(scope, receive, send):
            while (await receive())["more_body"]:
                pass
            await gate.wait()
            await at_once(scope, receive, send)

        protocol, wire, _ = connected(reading)
        protocol.data_received(POST)
        await asyncio.sleep(0.01)  # so that it waits for the body
        protocol.data_received(b"x" * 100_000)  # more than uvicorn reads ahead
        await asyncio.sleep(0.01)
        assert wire.reading
        protocol.data_received(GET)
        assert not wire.reading  # as ever behind a request that is sent ahead
        gate.set()
        await answers(wire, 2)
        protocol.connection_lost(None)

    told(story)


@pytest.mark.parametrize(
    ("ahead", "time_max_s"),
    [(POST + b"x" * 1000, 20.0), (GET + b"GET /livez HTTP/1.1\r\n", 10.0)],
    ids=["body", "headers"],
)
def test_a_request_that_is_not_read_on_has_its_time_from_when_it_is(ahead, time_max_s):
    async def story():
        held = Held()
        protocol, wire, refused = connected(held)
        protocol.data_received(GET + ahead)
        await asyncio.sleep(0)
        assert not wire.reading
        read_s = time.monotonic() + 1000.0
        protocol.check_time(read_s - 500.0)
        protocol.check_time(read_s)
        assert (wire.aborted, refused) == (False, [])  # or the first would never have its answer
        held.gate.set()
        await answers(wire, 2)
        assert wire.reading
        protocol.check_time(read_s + time_max_s - 0.1)
        assert not wire.aborted
        protocol.check_time(read_s + time_max_s + 0.1)
        assert wire.aborted
        assert refused == [Reason.REQUEST_TOO_SLOW]
        protocol.connection_lost(None)

    told(story)
