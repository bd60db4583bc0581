"""A server among clients that mean it no good, and with a model that fails: it stays up, small, and says so."""

import asyncio
import json
import re
import resource
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from deployment import DEPLOY
from deployment_agreement import CONNECTION_MIB
from serving import PATIENCE_S, ROOT, ROW, a_store, instances, metric
from serving_process import not_reading, running, until

from serve_api.http_protocol import UNSENT_BYTES_MAX
from serve_api.settings import LimitSettings

SERVER = str(ROOT / "tests" / "made_up_server.py")
README = (ROOT / "serve_api" / "README.md").read_text(encoding="utf-8")
MIB = 2**20
GROWTH_MAX = 32 * MIB
PARTS = {
    "batch": {"size_max": 32, "wait_max_s": 0.001},
    "limits": {
        "body_time_max_s": 0.5,
        "header_time_max_s": 0.5,
        "answer_time_max_s": 0.5,
        "connections_max": 3000,
        "in_flight_max": 500,
    },
    "breaker": {"failures_max": 2, "cooldown_s": 0.5},
}


@pytest.fixture(scope="module")
def server():
    with running(json.dumps(PARTS), script=SERVER) as started:
        yield started


@pytest.fixture(autouse=True)
def _is_well_afterwards(request):
    """Whatever was done to it, it predicts, and memory stays where it was."""
    server = request.getfixturevalue("server")
    before = server.rss_bytes()
    yield
    until(lambda: server.ask(instances())[0].status == 200)
    assert server.rss_bytes() - before < GROWTH_MAX
    assert "Traceback" not in " ".join(server.lines)


@contextmanager
def connected(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        yield connection


def read(connection):
    """All that comes until the other end closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def rejected(server, reason):
    return metric(server.metrics(), "serve_rejected_total", reason=reason)


def test_a_body_of_60_mb_is_refused_by_its_announcement(server):
    before, small = rejected(server, "body_too_large"), server.rss_bytes()
    with connected(server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n")
        head = connection.recv(65_536)  # before a byte of the body was sent
        assert head.startswith(b"HTTP/1.1 413 ")
        send_all_that_is_taken(connection, [b"x" * MIB] * 57)
    assert server.rss_bytes() - small < GROWTH_MAX
    assert rejected(server, "body_too_large") == before + 1


def test_a_body_of_60_mb_that_announces_nothing_is_refused_on_the_way(server):
    before, small = rejected(server, "body_too_large"), server.rss_bytes()
    with connected(server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
        send_all_that_is_taken(connection, [chunk] * 57)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")
    assert server.rss_bytes() - small < GROWTH_MAX
    assert rejected(server, "body_too_large") == before + 1


def send_all_that_is_taken(connection, parts):
    for part in parts:
        try:
            connection.sendall(part)
        except (ConnectionResetError, BrokenPipeError):  # a server may hang up on it
            return


def test_a_body_that_never_ends_is_cut_off(server):
    before = rejected(server, "request_too_slow")
    with connected(server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n")
        until(lambda: refuses(connection))
    assert rejected(server, "request_too_slow") == before + 1


def refuses(connection):
    try:
        connection.sendall(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_a_slow_body_is_answered_408(server):
    before = rejected(server, "body_too_slow")
    with connected(server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        answer = read(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert rejected(server, "body_too_slow") == before + 1


@pytest.mark.parametrize("sent", [b"", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nhost: x\r\nx-slow: "])
def test_headers_that_do_not_come_end_the_connection(server, sent):
    before = rejected(server, "request_too_slow")
    with connected(server) as connection:
        connection.sendall(sent)
        assert read(connection) == b""
    assert rejected(server, "request_too_slow") == before + 1


def live(connection):
    """Ask and read to the end of the answer."""
    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"ok"):
        part = connection.recv(65_536)
        assert part, answer
        answer += part
    return answer


def test_an_empty_line_after_a_request_holds_no_connection(server):
    before = rejected(server, "request_too_slow")
    with connected(server) as connection:
        live(connection)
        connection.sendall(b"\r\n")
        assert read(connection) == b""
    assert rejected(server, "request_too_slow") == before + 1


def test_who_reads_no_answers_is_cut_off(server):
    before = rejected(server, "answer_unread")
    with not_reading(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 25)
        until(lambda: rejected(server, "answer_unread") == before + 1)


def test_a_second_request_has_the_same_time_for_its_headers(server):
    with connected(server) as connection:
        live(connection)
        time.sleep(2.6)  # between two requests it may be silent, longer than a request may take
        live(connection)
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        assert read(connection) == b""


@pytest.mark.parametrize(
    "endless", [b"x-much: " + b"y" * 1000 + b"\r\n", b"y" * 1000], ids=["many headers", "one header"]
)
def test_headers_without_end_are_cut_off(server, endless):
    before, small = rejected(server, "headers_too_large"), server.rss_bytes()
    with connected(server) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nx: ")
        send_all_that_is_taken(connection, [endless] * 60_000)
    assert rejected(server, "headers_too_large") == before + 1
    assert server.rss_bytes() - small < GROWTH_MAX


def test_trailers_without_end_are_cut_off(server):
    before = rejected(server, "headers_too_large")
    with connected(server) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        send_all_that_is_taken(connection, [b"x-much: " + b"y" * 1000 + b"\r\n"] * 10_000)
    assert rejected(server, "headers_too_large") == before + 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1e39"])
def test_numbers_that_are_none_are_refused(server, number):
    before = rejected(server, "not_finite")
    response, _ = server.ask(f'{{"instances": [[1, 2, {number}]]}}'.encode())
    assert response.status == 422
    assert rejected(server, "not_finite") == before + 1


@pytest.mark.parametrize(
    "sent",
    [b"\x00" * 100, b"GET\r\n\r\n", b"POST /predict HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n{}",
     b"POST /predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"],
)  # fmt: skip
def test_what_is_no_http_is_refused(server, sent):
    before = rejected(server, "invalid_http")
    with connected(server) as connection:
        connection.sendall(sent)
        assert read(connection).startswith(b"HTTP/1.1 400 ")
    assert rejected(server, "invalid_http") == before + 1


async def flood(port, clients, body):
    """One request of each client, all at once; how many got which status, 0 for none."""
    counts = {}

    async def one():
        status = 0
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            status = int((await asyncio.wait_for(reader.readline(), PATIENCE_S)).split()[1])
            writer.close()
        except (OSError, TimeoutError, IndexError):
            pass
        counts[status] = counts.get(status, 0) + 1

    await asyncio.gather(*[one() for _ in range(clients)])
    return counts


def test_two_thousand_at_once_are_answered_or_refused_and_none_is_left_hanging():
    clients = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, clients + 500)), hard))
    patient = {"batch": PARTS["batch"], "limits": {"in_flight_max": 500, "header_time_max_s": 60.0}}
    with running(json.dumps(patient), script=SERVER) as server:
        small = server.rss_bytes()
        counts = asyncio.run(flood(server.port, clients, instances([20.0, *ROW[1:]])))
        refused = sum(rejected(server, reason) for reason in ("queue_full", "in_flight"))
        grown = server.rss_bytes() - small
    assert sum(counts.values()) == clients
    assert set(counts) <= {200, 503}
    assert counts[200] > 0
    assert counts.get(503, 0) == refused
    assert grown < 2 * GROWTH_MAX


@pytest.mark.long
def test_ten_thousand_at_once_are_answered_or_refused_and_it_is_told_in_the_memory_that_is_promised(tmp_path):
    from hostile_serving import (
        CLIENTS,
        GROWTH_MAX_MIB,
        HEAD,
        lack_of_files,
        together,
    )  # mutants do without it

    if lack := lack_of_files(CLIENTS):
        pytest.skip(lack)
    store, body = a_store(tmp_path), instances()
    with running("--artifacts", str(store.root), "--header-time-max", "60s") as server:
        until(lambda: server.ask(body)[0].status == 200)
        rest = memory_bytes(server, "VmRSS")
        counts = asyncio.run(together(server.port, CLIENTS, HEAD % len(body) + body))
        peak = memory_bytes(server, "VmHWM")
        until(lambda: server.ask(body)[0].status == 200)
        told = {
            reason: rejected(server, reason)
            for reason in ("connections", "queue_full", "in_flight", "deadline")
        }
        assert server.terminate() == 0
    assert counts.total() == CLIENTS
    assert set(counts) <= {200, 503, 504}
    assert counts[200] > 0
    assert sum(told.values()) >= CLIENTS - counts[200]
    assert told["connections"] >= CLIENTS - LimitSettings().connections_max
    assert peak - rest < GROWTH_MAX_MIB * MIB
    assert f"less than {GROWTH_MAX_MIB} MiB more than at rest" in README
    assert "Traceback" not in " ".join(server.lines)


def memory_bytes(server, name):
    """VmRSS, or VmHWM: the most that it ever was."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)[1])


def test_a_connection_can_be_made_to_hold_no_more_than_memory_is_planned_for():
    """One request waits, two are sent ahead whose paths take four bytes a letter, and a next one never ends."""
    held, body = 300, instances([20_000.0, *ROW[1:]])  # ms, longer than this takes
    many = b"".join(b"x-%03d: %s\r\n" % (number, b"y" * 110) for number in range(110))
    waiting = b"POST /predict HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n" % (many, len(body)) + body
    wide = b"GET /%F0%9F%98%80" + b"a" * 14_900 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    sent = waiting + 2 * wide + b"GET / HTTP/1.1\r\n" + many
    parts = {"limits": {"deadline_s": 60.0, "header_time_max_s": 60.0}, "inference": {"time_max_s": 60.0}}
    with running(json.dumps(parts), script=SERVER) as patient:
        patient.ask(instances())
        small = patient.rss_bytes()
        connections = [opened(patient) for _ in range(held)]
        try:
            for connection in connections:
                connection.sendall(sent)
            until(lambda: metric(patient.metrics(), "serve_in_flight") == held)
            grown = patient.rss_bytes() - small
            assert rejected(patient, "pipelined") + rejected(patient, "headers_too_large") == 0
        finally:
            for connection in connections:
                connection.close()
    assert grown / held + UNSENT_BYTES_MAX < CONNECTION_MIB * MIB  # an answer that is not read comes on top


def test_what_a_connection_can_hold_is_one_number_wherever_memory_is_added_up():
    assert f"{CONNECTION_MIB} MiB for a connection of the worst kind" in README
    text = (DEPLOY / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8")
    assert f"{CONNECTION_MIB} for a connection of the worst kind" in text


def test_a_model_that_raises_opens_the_circuit_and_is_tried_again(server):
    broken = instances([-4.0, *ROW[1:]])
    statuses = [server.ask(body)[0].status for body in (broken, instances())]
    assert statuses == [500, 500]
    response, body = server.ask(instances())
    assert (response.status, json.loads(body)["reason"]) == (503, "circuit_open")
    assert response.headers["Retry-After"] == "1"
    assert metric(server.metrics(), "serve_circuit_state", version="v1.0.0") == 2
    until(lambda: server.ask(instances())[0].status == 200)
    assert metric(server.metrics(), "serve_circuit_state", version="v1.0.0") == 0
    assert "SECRET" not in " ".join(server.lines)
    failures = {event["failure"].split(":")[0] for event in server.events("batch_failed")}
    assert failures == {"RuntimeError in predict"}


@pytest.mark.parametrize(("first", "status"), [(-1.0, 500), (3.4e38, 422)], ids=["it raises", "no answer"])
def test_one_clients_rows_that_the_model_cannot_bear_are_refused_and_all_others_are_served(
    server, first, status
):
    bad, many = instances([first, *ROW[1:]]), PARTS["breaker"]["failures_max"] + 1
    assert [server.ask(bad)[0].status for _ in range(many)] == [status] * many
    assert server.ask(instances())[0].status == 200
    assert metric(server.metrics(), "serve_circuit_state", version="v1.0.0") == 0
    counts = asyncio.run(flood(server.port, 4, bad)), asyncio.run(flood(server.port, 4, instances()))
    assert counts == ({status: 4}, {200: 4})


def test_connections_beyond_the_limit_are_refused_and_said():
    parts = {**PARTS, "limits": {"connections_max": 20}}
    with running(json.dumps(parts), script=SERVER) as small:
        held = [opened(small) for _ in range(20)]
        try:
            assert_probes_alone_are_answered(small)
            held += [opened(small) for _ in range(20)]
            until(lambda: closed_by_server(held) == 20)
        finally:
            for connection in held:
                connection.close()
        until(lambda: small.ask(instances())[0].status == 200)
        assert rejected(small, "connections") >= 21


def opened(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def assert_probes_alone_are_answered(server):
    for path in ("/livez", "/readyz", "/metrics"):
        response, _ = server.ask(path=path)
        assert (response.status, response.headers["Connection"]) == (200, "close")
    response, _ = server.ask(path="/health")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert rejected(server, "connections") == 1


def closed_by_server(connections):
    """How many were told that there is no room."""
    told = 0
    for connection in connections:
        connection.setblocking(False)
        with suppress(BlockingIOError):
            told += connection.recv(65_536, socket.MSG_PEEK).startswith(b"HTTP/1.1 503 ")
    return told
