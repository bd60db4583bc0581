"""Endpoints that are measured: addresses, bodies, headers, and servers that misbehave."""

import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from fake_server import Reply, predicting, serving
from measurements import batch_body, http_exchange

from capacity.errors import DependencyError, InputError
from capacity.measurement.endpoint import EndpointSubject, read_body
from capacity.measurement.http import Exchange, check_told, parse_address, parse_server_timing

SIZES = (1, 2, 4)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def body(tmp_path):
    (tmp_path / "row.json").write_text('{"instances": [[1, 2.5], [9, 9]], "model": "m"}', encoding="utf-8")
    return read_body(tmp_path / "row.json", "instances")


def asked_once(answer, body, batch_size=2, timeout_s=5.0):
    """What an endpoint that answers so makes of a request, and what it saw."""
    with serving(answer) as seen:
        address = parse_address(f"{seen.url}/predict", "--url")
        with closing(Exchange(address, timeout_s=timeout_s)) as exchange:
            return EndpointSubject(exchange, body, SIZES).serve(batch_size), seen


def failure(answer, body, **settings) -> str:
    with pytest.raises(DependencyError) as caught:
        asked_once(answer, body, **settings)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 500
    return text


def test_a_batch_is_the_first_row_so_many_times(body):
    found, seen = asked_once(predicting(lambda rows: 0.001 * rows), body)
    assert found.service_s == pytest.approx(0.002)
    ((method, target, sent),) = seen.asked
    assert (method, target) == ("POST", "/predict")
    assert json.loads(sent) == {"instances": [[1, 2.5], [1, 2.5]], "model": "m"}


def test_what_is_beside_the_batch_is_without_the_wait_in_the_queue(body):
    """By a clock that says 50 ms: 40 ms of batch and 7 ms of queue leave 3 ms."""
    ticks = iter([1.0, 1.05])
    said = {"Server-Timing": "queue;dur=7, batch;dur=40"}
    with serving(lambda target, sent: Reply(headers=said)) as seen:
        address = parse_address(seen.url, "--url")
        with closing(Exchange(address, timeout_s=5.0, clock=lambda: next(ticks))) as exchange:
            found = EndpointSubject(exchange, body, SIZES).serve(1)
    assert found.service_s == pytest.approx(0.040)
    assert found.beside_s == pytest.approx(0.003)


def test_without_server_timing_all_that_the_client_sees_is_service(body):
    ticks = iter([1.0, 1.05])
    with serving(lambda target, sent: Reply()) as seen:
        address = parse_address(seen.url, "--url")
        with closing(Exchange(address, timeout_s=5.0, clock=lambda: next(ticks))) as exchange:
            subject = EndpointSubject(exchange, body, SIZES)
            found = subject.serve(1)
    assert (found.service_s, found.beside_s) == (pytest.approx(0.05), None)
    assert subject.tells_batch is False


def test_one_connection_is_kept_and_one_that_was_closed_is_opened_again(body):
    for then, connections in (("stay", 1), ("hang up", 6)):
        with serving(predicting(lambda rows: 0.001, **{"X-Then": then})) as seen:
            address = parse_address(f"{seen.url}/predict", "--url")
            with closing(Exchange(address, timeout_s=5.0)) as exchange:
                subject = EndpointSubject(exchange, body, SIZES)
                for size in (1, 2, 4, 1, 2, 4):
                    subject.serve(size)
                assert exchange.connections == connections
            assert seen.connections == connections
            assert len(seen.asked) == 6


def test_who_closes_meanwhile_is_not_connected_again():
    """As an interrupt does while users ask in threads; the server then hangs up too."""

    def closes(target: str, body: bytes) -> Reply:
        if body == b"first":
            return Reply()
        exchange.close()
        return Reply(raw=b"")

    with serving(closes) as seen:
        exchange = Exchange(parse_address(seen.url, "--url"), timeout_s=5.0)
        exchange.ask("POST", b"first", {})
        with pytest.raises(DependencyError, match="is not asked any more, since its connection was closed"):
            exchange.ask("POST", b"second", {})
        assert (seen.connections, len(seen.asked)) == (1, 2)


def test_who_closes_between_our_looking_and_our_sending_is_not_connected_again():
    def closes() -> float:
        exchange.close()
        return 0.0

    with serving(lambda *_: Reply()) as seen:
        exchange = Exchange(parse_address(seen.url, "--url"), timeout_s=5.0, clock=closes)
        with pytest.raises(DependencyError, match="is not asked any more"):
            exchange.ask("GET", None, {})
        assert seen.asked == []


@pytest.mark.parametrize(("is_closed", "error"), [(False, AttributeError), (True, DependencyError)])
def test_a_socket_that_is_closed_under_http_client_is_told_as_such(monkeypatch, is_closed, error):
    def misses_its_socket(*_: object, **__: object) -> None:
        if is_closed:
            exchange.close()
        raise AttributeError("'NoneType' object has no attribute 'sendall'")

    monkeypatch.setattr(http.client.HTTPConnection, "request", misses_its_socket)
    with (
        serving(lambda *_: Reply()) as seen,
        closing(Exchange(parse_address(seen.url, "--url"), timeout_s=5.0)) as exchange,
        pytest.raises(error),
    ):
        exchange.ask("GET", None, {})


def test_who_closes_while_it_connects_is_left_without_a_connection(monkeypatch):
    def connect(connection: http.client.HTTPConnection) -> None:
        exchange.close()
        connects(connection)
        made.append(connection)

    made: list[http.client.HTTPConnection] = []
    connects = http.client.HTTPConnection.connect
    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    with serving(lambda *_: Reply()) as seen:
        exchange = Exchange(parse_address(seen.url, "--url"), timeout_s=5.0)
        for _ in range(2):  # the second does not even try
            with pytest.raises(DependencyError, match="is not asked any more"):
                exchange.ask("GET", None, {})
        assert [connection.sock for connection in made] == [None]
        assert seen.asked == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=500, body=b"no\x1b[31m way"), "answered 500: no?[31m way"),
        (Reply(status=404, body=b"x" * 10_000), "answered 404: xxx"),
        (
            Reply(status=302, headers={"Location": "http://elsewhere.example/"}),
            "redirects to http://elsewhere",
        ),
        (Reply(status=307), "redirects to nowhere"),
        (Reply(body=b"<html>welcome</html>"), "is not JSON"),
        (Reply(body=b""), "is not JSON"),
        (Reply(body=b"3"), "is not JSON"),
        (Reply(body=b"[" * 100_000), "is not JSON"),
        (Reply(headers={"X-Batch-Size": "3"}), "a request of 2 rows was served in a batch of 3"),
        (Reply(body=b'{"predictions": [1]}'), "a batch of 2 has 1 predictions; check that --rows-key"),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n"), "cannot be asked: BadStatusLine"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}"), "cannot be asked: IncompleteRead"),
        (Reply(raw=CHUNKED + b"-5\r\nxxxxx\r\n0\r\n\r\n"), "cannot be asked"),
        (Reply(raw=CHUNKED + b"-" + b"f" * 40 + b"\r\nxxxxx"), "cannot be asked"),
        (Reply(raw=CHUNKED + b"five\r\nxxxxx"), "cannot be asked"),
        (Reply(raw=b""), "cannot be asked"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n"), "cannot be asked"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"), "cannot be asked"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_servers_that_misbehave(body, reply, said):
    assert said in failure(lambda target, sent: reply, body)


@pytest.mark.parametrize(
    ("status", "batch_size", "is_told"),
    [(400, 2, True), (413, 2, True), (422, 4, True), (422, 1, False), (500, 2, False)],
)
def test_more_rows_than_a_server_takes_are_to_be_left_out(body, status, batch_size, is_told):
    with pytest.raises(DependencyError, match=f"answered {status}") as caught:
        asked_once(lambda target, sent: Reply(status=status), body, batch_size)
    said = f"if {batch_size} rows are too many for it, leave them out of --batch-sizes"
    assert getattr(caught.value, "__notes__", []) == [said] * is_told


def test_redirects_are_not_followed(body):
    with serving(lambda target, sent: Reply()) as other:
        moved = Reply(status=302, headers={"Location": f"{other.url}/elsewhere"})
        assert "which is not followed" in failure(lambda target, sent: moved, body)
        assert other.asked == []


def test_a_huge_answer_is_not_read(body, monkeypatch):
    monkeypatch.setattr(http_exchange, "ANSWER_BYTES_MAX", 1000)
    assert "more than 1000 bytes" in failure(lambda target, sent: Reply(body=b'"' + b"x" * 5000 + b'"'), body)
    exact = b'["' + b"x" * 996 + b'"]'
    assert asked_once(lambda target, sent: Reply(body=exact), body)


@contextmanager
def raw_server(head: bytes, piece: bytes, pause_s: float) -> Iterator[tuple[str, list[int]]]:
    """Answers its one connection by `head` and pieces without end; how many bytes it got rid of."""
    stop, sent = threading.Event(), [0]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def go_on() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(1.0)
                connection.recv(65536)
                try:
                    connection.sendall(head)
                    while not stop.wait(pause_s):
                        connection.sendall(piece)
                        sent[0] += len(piece)
                except OSError:
                    return

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", sent
        stop.set()
        thread.join(10.0)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
)
def test_a_server_that_drips_is_left_in_time(body, head):
    """Each byte comes in time, all of them never would."""
    with raw_server(head, b"x", 0.02) as (url, _):
        began_s = time.monotonic()
        with (
            closing(Exchange(parse_address(url, "--url"), timeout_s=0.3)) as exchange,
            pytest.raises(DependencyError, match=r"gave no whole answer within 0\.3 s; raise --timeout"),
        ):
            EndpointSubject(exchange, body, SIZES).serve(1)
        assert time.monotonic() - began_s < 20.0


@pytest.mark.parametrize(
    "head", [CHUNKED + b"-1\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["chunk of -1", "no length"]
)
def test_no_length_that_is_told_lets_an_answer_be_endless(body, monkeypatch, head):
    monkeypatch.setattr(http_exchange, "ANSWER_BYTES_MAX", 1000)
    with (
        raw_server(head, b"x" * 4096, 0.0) as (url, sent),
        closing(Exchange(parse_address(url, "--url"), timeout_s=2.0)) as exchange,
    ):
        with pytest.raises(DependencyError, match="answered more than 1000 bytes"):
            EndpointSubject(exchange, body, SIZES).serve(1)
        assert sent[0] < 2**25  # a budget of about 1 MiB, and what lies in the sockets


def test_nobody_listens(body):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = parse_address(f"http://127.0.0.1:{port}/predict", "--url")
    with (
        closing(Exchange(address, timeout_s=1.0)) as exchange,
        pytest.raises(DependencyError, match="cannot be asked: Connection refused; does it run"),
    ):
        EndpointSubject(exchange, body, SIZES).serve(1)


def told_by(milliseconds: float, body, requests: int) -> list[float]:
    """Service times that a server tells of requests of which the client's clock says 6 ms."""
    said = {"Server-Timing": f"queue;dur=0.1, batch;dur={milliseconds}"}
    with (
        serving(lambda target, sent: Reply(headers=said)) as seen,
        closing(
            Exchange(
                parse_address(seen.url, "--url"), timeout_s=5.0, clock=itertools.count(0.0, 0.006).__next__
            )
        ) as exchange,
    ):
        subject = EndpointSubject(exchange, body, SIZES)
        return [subject.serve(1).service_s for _ in range(requests)]


def test_microseconds_for_milliseconds_are_refused_after_ten_requests(body):
    assert told_by(5.7, body, 30) == pytest.approx([0.0057] * 30)
    with pytest.raises(
        DependencyError, match=r"10 of 10 requests .* by up to 5\.69 s; is its dur in milliseconds\?"
    ):
        told_by(5700.0, body, 30)
    assert len(told_by(5700.0, body, 9)) == 9


@pytest.mark.parametrize(
    ("beside_s", "is_refused"),
    [
        ([], False),
        ([0.001] * 20, False),
        ([-0.0019] * 20, False),  # both rounded up to whole milliseconds
        ([-1.0, -1.0] + [0.001] * 18, False),  # a clock that was set meanwhile
        ([-1.0, -1.0, -1.0] + [0.001] * 18, True),
        ([-0.0021] * 20, True),
    ],
)
def test_what_contradicts_the_clients_clock(beside_s, is_refused):
    if is_refused:
        with pytest.raises(DependencyError, match="is its dur in milliseconds"):
            check_told(iter(beside_s))
    else:
        check_told(iter(beside_s))


def test_samples_of_two_kinds_are_not_mixed(body):
    replies = iter([Reply(headers={"Server-Timing": "batch;dur=3"}), Reply()])
    with (
        serving(lambda target, sent: next(replies)) as seen,
        closing(Exchange(parse_address(seen.url, "--url"), timeout_s=5.0)) as exchange,
    ):
        subject = EndpointSubject(exchange, body, SIZES)
        subject.serve(1)
        with pytest.raises(DependencyError, match="are not of one thing"):
            subject.serve(2)


@pytest.mark.parametrize(
    ("header", "durations_s"),
    [
        ("queue;dur=1.234, batch;dur=5.678", {"queue": 0.001234, "batch": 0.005678}),
        ('batch;desc="a b";dur="20"', {"batch": 0.020}),
        ("batch ; DUR = 2", {"batch": 0.002}),
        ("batch;dur=1, batch;dur=2", {"batch": 0.001}),
        ("batch", {}),
        ("batch;dur=", {}),
        ("batch;dur=nan, queue;dur=-1, x;dur=inf, y;dur=1e999, z;dur=0x1", {}),
        ("", {}),
        (",;,;;=,=;dur", {}),
        ("batch;dur=" + "9" * 10_000, {}),
    ],
)
def test_server_timing(header, durations_s):
    assert parse_server_timing(header) == pytest.approx(durations_s)


def test_addresses():
    address = parse_address("http://127.0.0.1:8000/predict?model=a", "--url")
    assert (address.host, address.port, address.target) == ("127.0.0.1", 8000, "/predict?model=a")
    assert address.is_here
    far = parse_address("https://models.example", "--url")
    assert (far.scheme, far.port, far.target, far.is_here) == ("https", 443, "/", False)
    assert parse_address("http://[::1]:80/x", "--url").host == "::1"


@pytest.mark.parametrize(
    ("text", "is_here"),
    [
        ("http://localhost:8000/", True),
        ("http://127.0.0.2/", True),
        ("http://[::1]/", True),
        ("http://127.evil.example/", False),
        ("http://127.0.0.1.example/", False),
        ("http://10.0.0.1/", False),
        ("http://[2001:db8::1]/", False),
    ],
)
def test_this_machine_is_told_by_number(text, is_here):
    assert parse_address(text, "--url").is_here is is_here


def test_what_is_shown_of_an_address_has_no_query():
    for host in ("127.0.0.1", "[::1]"):
        address = parse_address(f"http://{host}:8000/predict?api_key=secret", "--url")
        assert address.shown == f"http://{host}:8000/predict"
        assert address.target == "/predict?api_key=secret"  # which is what is asked for


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:8000", "ftp://a/b", "http://", "http://:80/", "http://a:99999/", "http://a:b/", "http://[::1/",
     "http://u:p@a/", "http://u@a/", "http://a/b c", "http://a/\r\nX: y", "http://ä.example/", "http://a/" + "x" * 5000,
     "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(InputError, match="--url") as caught:
        parse_address(text, "--url")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert ":p@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a request is a JSON object"),
        ("{", "not valid JSON"),
        ('{"instances": NaN}', "not valid JSON"),
        (
            '{"instances": []}',
            "'instances' must be a list with a row at least; set --rows-key to one of instances",
        ),
        ('{"inputs": [[1]]}', "set --rows-key to one of inputs"),
        ('{"instances": 3}', "must be a list"),
        ('{"instances": [1], "instances": [2]}', "stands twice"),
    ],
)
def test_bodies_that_are_none(tmp_path, text, said):
    path = tmp_path / "row.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_body(path, "instances")
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_body_that_would_be_too_large(body):
    with pytest.raises(InputError, match="leave out that size"):
        body.of(1_000_000_0)


def test_bodies_that_would_be_too_large_together(body, monkeypatch):
    monkeypatch.setattr(batch_body, "BODIES_BYTES_MAX", 200)
    assert set(body.of_each((1, 2, 4))) == {1, 2, 4}
    with pytest.raises(
        InputError, match="for 4 batch sizes would have .* together, more than 200; measure fewer"
    ):
        body.of_each((1, 2, 4, 8))
