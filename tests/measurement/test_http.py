"""Addresses, headers, and servers that misbehave: each request is within limits of time and size."""

import asyncio
import errno
import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fake_server import Reply, serving

from capacity.errors import DependencyError, InputError
from capacity.measurement.http import (
    Answer,
    Exchange,
    TooLongError,
    _socket,
    ask,
    check_server_times,
    explained,
    parse_address,
    parse_server_timing,
    require_success,
    server_times,
    session,
)
from capacity.measurement.url import Page, read_url

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=["aiohttp", "standard library"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients: that of measurements, and that which reads a page."""
    if request.param != "aiohttp":
        monkeypatch.setitem(globals(), "asked", read)


def read(url: str, times: int = 1, timeout_s: float = 5.0):
    page = Page(address=parse_address(url, "--url"), timeout_s=timeout_s)
    return [page.ask() for _ in range(times)]


def asked(url: str, times: int = 1, timeout_s: float = 5.0):
    with Exchange(parse_address(url, "--url"), timeout_s=timeout_s) as exchange:
        return [exchange.ask(b"{}") for _ in range(times)]


def failure(reply: Reply) -> str:
    with serving(lambda *_: reply) as seen, pytest.raises(DependencyError) as caught:
        asked(seen.url)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 500
    return text


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=500, body=b"no\x1b[31m way"), "answered 500: no?[31m way"),
        (Reply(status=404, body=b"x" * 10_000), "answered 404: xxx"),
        (Reply(status=302, headers={"Location": "http://elsewhere.example/"}), "redirects to http://elsewhere"),
        (Reply(status=307), "redirects to nowhere"),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n"), "cannot be reached"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}"), "cannot be reached"),
        (Reply(raw=CHUNKED + b"-5\r\nxxxxx\r\n0\r\n\r\n"), "cannot be reached"),
        (Reply(raw=CHUNKED + b"-" + b"f" * 40 + b"\r\nxxxxx"), "cannot be reached"),
        (Reply(raw=CHUNKED + b"five\r\nxxxxx"), "cannot be reached"),
        (Reply(raw=b""), "cannot be reached"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000 + b"\r\n"), "cannot be reached"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"), "cannot be reached"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)  # fmt: skip
def test_servers_that_misbehave(reply, said):
    assert said in failure(reply)


@pytest.mark.usefixtures("client")
def test_redirects_are_not_followed():
    with serving(lambda *_: Reply()) as other:
        moved = Reply(status=302, headers={"Location": f"{other.url}/elsewhere"})
        assert "which is not followed" in failure(moved)
        assert other.asked == []


@pytest.mark.usefixtures("client")
def test_a_huge_answer_is_not_read(monkeypatch):
    for module in ("http", "url"):
        monkeypatch.setattr(f"capacity.measurement.{module}.ANSWER_BYTES_MAX", 1000)
    assert "more than 1000 bytes" in failure(Reply(body=b"x" * 5000))
    with serving(lambda *_: Reply(body=b"x" * 1000)) as seen:
        assert len(asked(seen.url)[0].body) == 1000
    assert "more than 1000 bytes" in failure(Reply(body=b"x" * 1001))


def test_an_answer_has_at_most_16_mebibytes():
    class Long:
        """An answer of `length` bytes, without a network."""

        status, headers = 200, {}

        def __init__(self, length):
            self.parts = [b"x" * 2**20] * (length >> 20) + [b"x" * (length % 2**20)]
            self.content = self

        async def readany(self):
            return self.parts.pop(0) if self.parts else b""

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

    def read(length):
        client = SimpleNamespace(request=lambda *_, **__: Long(length))
        return asyncio.run(ask(client, parse_address("http://a/", "--url"))).body

    assert len(read(2**24)) == 2**24
    with pytest.raises(TooLongError, match="more than 16777216 bytes"):
        read(2**24 + 1)


@pytest.mark.usefixtures("client")
def test_a_target_is_sent_as_it_was_given():
    with serving(lambda *_: Reply()) as seen:
        asked(f"{seen.url}/%7Ea?key=%41+b")
    assert [target for _, target, _ in seen.asked] == ["/%7Ea?key=%41+b"]


def test_one_connection_is_kept_and_one_that_was_closed_is_opened_again():
    for then, connections in (("stay", 1), ("hang up", 3)):
        with serving(lambda *_, then=then: Reply(headers={"X-Then": then})) as seen:
            assert [answer.status for answer in asked(seen.url, 3)] == [200] * 3
            assert (seen.connections, len(seen.asked)) == (connections, 3)


def test_the_time_is_that_of_the_answer_and_what_the_server_tells_is_taken_off():
    def answer(*_: object) -> Reply:
        time.sleep(0.05)
        return Reply(headers={"Server-Timing": "queue;dur=7, batch;dur=40"})

    with serving(answer) as seen:
        (found,) = asked(seen.url)
    assert 0.05 <= found.seconds < 1.0
    assert server_times(found) == (pytest.approx(0.040), pytest.approx(found.seconds - 0.047))


@pytest.mark.usefixtures("client")
def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DependencyError, match="cannot be reached: Connection refused; is it running"):
        asked(f"http://127.0.0.1:{port}/predict")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
)
def test_a_server_that_drips_is_left_in_time(head):
    """Each byte comes in time, all of them never would."""
    with raw_server(head, b"x", 0.02) as (url, _):
        began_s = time.monotonic()
        with pytest.raises(DependencyError, match=r"gave no complete answer within 0\.3 s; raise --timeout"):
            asked(url, timeout_s=0.3)
        assert time.monotonic() - began_s < 20.0


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: "])
def test_no_thread_goes_on_reading_a_server_that_drips(head):
    before = threading.active_count()
    with raw_server(head, b"x", 0.02) as (url, _):
        with pytest.raises(DependencyError, match="gave no complete answer"):
            read(url, timeout_s=0.3)
        assert threading.active_count() <= before + 1  # that of the server


def test_a_url_that_is_read_as_a_file_names_no_flag_that_its_command_lacks():
    with (
        raw_server(b"HTTP/1.1 200 OK\r\nA: ", b"x", 0.02) as (url, _),
        pytest.raises(DependencyError, match=r"within 0\.3 s; save what it answers to a file") as refused,
    ):
        read_url(url, timeout_s=0.3)
    assert "--timeout" not in str(refused.value)


@pytest.mark.usefixtures("client")
def test_no_answer_may_be_endless(monkeypatch):
    for module in ("http", "url"):
        monkeypatch.setattr(f"capacity.measurement.{module}.ANSWER_BYTES_MAX", 1000)
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096, 0.0) as (url, sent):
        with pytest.raises(DependencyError, match="answered more than 1000 bytes"):
            asked(url, timeout_s=2.0)
        assert sent[0] < 2**25  # what lies in the sockets


@pytest.mark.usefixtures("client")
def test_a_chunk_of_a_negative_length_does_not_take_all_there_is(monkeypatch):
    for module in ("http", "url"):
        monkeypatch.setattr(f"capacity.measurement.{module}.ANSWER_BYTES_MAX", 1000)
    with raw_server(CHUNKED + b"-1\r\n", b"x" * 4096, 0.0) as (url, sent):
        with pytest.raises(DependencyError, match="answered more than 1000 bytes|cannot be reached"):
            asked(url, timeout_s=5.0)
        assert sent[0] < 2**25


def test_a_page_is_read_without_a_proxy_and_compressed_only_as_a_file(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(lambda *_: Reply(body=gzip.compress(b"a 1\n"))) as seen:
        assert read_url(f"{seen.url}/metrics") == "a 1\n"


def test_a_page_without_tls_is_not_read_by_https():
    with (
        serving(lambda *_: Reply()) as seen,
        pytest.raises(DependencyError, match=r"cannot be reached: .*SSL"),
    ):
        read_url(seen.url.replace("http:", "https:"))


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
    ("beside_s", "is_refused"),
    [
        ([], False),
        ([0.001] * 20, False),
        ([-0.0019] * 20, False),  # both rounded up to whole milliseconds
        ([-1.0, -1.0] + [0.001] * 18, False),  # a clock that was set meanwhile
        ([-1.0, -1.0, -1.0] + [0.001] * 18, True),
        ([-0.0021] * 20, True),
        ([-0.002] * 20, False),
    ],
)
def test_what_contradicts_the_clients_clock(beside_s, is_refused):
    if is_refused:
        with pytest.raises(DependencyError, match="is its dur in milliseconds"):
            check_server_times(iter(beside_s))
    else:
        check_server_times(iter(beside_s))


def test_the_worst_contradiction_is_reported():
    with pytest.raises(DependencyError, match="by Server-Timing 3 of 4 requests .* by up to 3 s; is"):
        check_server_times([-1.0, -3.0, 0.5, -2.0])


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", None),
        ("queue;dur=1", None),
        ("batch;dur=100", (0.1, 0.9)),
        ("batch;dur=100, queue;dur=200", (0.1, 0.7)),
    ],
)
def test_batch_time_and_the_rest_of_a_response_of_one_second(header, told):
    headers = {"Server-Timing": header} if header else {}
    found = server_times(Answer(status=200, headers=headers, body=b"", seconds=1.0))
    assert found == (None if told is None else pytest.approx(told))


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
        ("batch;dur=" + "9" * 15, {"batch": 999_999_999_999.999}),
        ("batch;dur=" + "9" * 16, {}),
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
    assert parse_address("http://a", "--url").port == 80
    assert parse_address("http://a:0/", "--url").port == 0


def test_an_address_has_at_most_2000_characters():
    long = "http://a/" + "x" * 1991
    assert parse_address(long, "--url").target == long.removeprefix("http://a")
    with pytest.raises(InputError) as caught:
        parse_address(long + "x", "--url")
    assert str(caught.value) == (
        f"--url '{long[:80]}' is too long or has a character that must be escaped by %"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, None),
        (299, None),
        (300, "redirects to"),
        (399, "redirects to"),
        (400, "answered 400: "),
        (199, "answered 199"),
    ],
)
def test_only_statuses_from_200_to_299_are_a_success(status, said):
    address = parse_address("http://a/" + "p" * 200, "--url")
    headers, body = {"Location": "l" * 200}, b"b" * 200
    if said is None:
        require_success(address, status, headers, body)
        return
    with pytest.raises(DependencyError) as caught:
        require_success(address, status, headers, body)
    text = str(caught.value)
    assert text.startswith(f"a:80/{'p' * 119} {said}")
    assert f" {'l' * 120}, which" in text or text.endswith(f": {'b' * 120}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "whatever"),
            "cannot be reached: Connection refused; is it running?",
        ),
        (OSError(1, "whatever"), "cannot be reached: Operation not permitted; is it running?"),
        (socket.gaierror(-2, "Name unknown"), "cannot be reached: Name unknown; is it running?"),
        (ValueError("x" * 200), f"cannot be reached: ValueError {'x' * 109}; is it running?"),
        (TimeoutError(), "gave no complete answer within 2.5 s; raise --timeout, or fix the server"),
        (TooLongError("is long"), "is long"),
    ],
)
def test_errors_of_the_network_are_explained(error, said):
    client = SimpleNamespace(timeout=SimpleNamespace(total=2.5))
    with pytest.raises(DependencyError) as caught, explained(client, parse_address("http://a/p", "--url")):
        raise error
    assert str(caught.value) == f"a:80/p {said}"


def test_a_client_has_no_proxy_no_cookies_and_no_limit_of_connections():
    async def made():
        async with session(2.5) as client:
            jar, connector = client.cookie_jar, client.connector
            jar.update_cookies({"a": "b"})
            return client.timeout.total, connector.limit, client.trust_env, client.auto_decompress, list(jar)

    assert asyncio.run(made()) == (2.5, 0, False, False, [])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere select knows any descriptor")
@pytest.mark.parametrize(("number", "is_refused"), [(1023, False), (1024, True)])
def test_a_socket_that_select_cannot_wait_for_is_not_opened(monkeypatch, number, is_refused):
    closed = []

    class Made:
        def __init__(self, *kind):
            self.kind = kind

        def fileno(self):
            return number

        def close(self):
            closed.append(self.kind)

    monkeypatch.setattr(socket, "socket", Made)
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    if is_refused:
        with pytest.raises(OSError, match="Too many open files"):
            _socket(info)
    else:
        assert _socket(info).kind == (socket.AF_INET, socket.SOCK_STREAM, 6)
    assert bool(closed) == is_refused


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
