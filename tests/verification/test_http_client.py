"""The HTTP client: what this machine lacks is not the server's fault, and `select` is given no descriptor too many."""

import asyncio
import errno
import socket

import pytest
from fake_server import Reply, serving

from capacity.errors import DependencyError
from capacity.verification.load_test import IN_FLIGHT_MAX, connections_max
from capacity.verification.run import EXHAUSTED, NOT_CONNECTED
from capacity.verification.send import Target, check_reachable, connected


def outcomes(url: str, times: int = 1, heard=None) -> list[int]:
    """Of so many requests one after another."""

    async def ask():
        target = Target(urls=(url,), body=b"{}", timeout_s=5.0)
        async with connected(target, heard) as send:
            return [await send(0) for _ in range(times)]

    return asyncio.run(ask())


def test_a_descriptor_that_select_cannot_wait_for_is_never_made(monkeypatch):
    monkeypatch.setattr("measurements.http_client._DESCRIPTORS", 1)
    with serving(lambda *_: Reply()) as server:
        assert outcomes(server.url) == [EXHAUSTED]
    assert server.asked == []


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (errno.EMFILE, EXHAUSTED),
        (errno.EADDRNOTAVAIL, EXHAUSTED),
        (errno.ECONNREFUSED, NOT_CONNECTED),
        (errno.EHOSTUNREACH, NOT_CONNECTED),
    ],
)
def test_whose_fault_it_is_that_there_is_no_connection(monkeypatch, number, outcome):
    def none(*_):
        raise OSError(number, "no")

    monkeypatch.setattr("measurements.http_client._socket", none)
    assert outcomes("http://127.0.0.1:9/") == [outcome]


def test_nobody_who_listens_is_no_want_of_descriptors():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert outcomes(f"http://127.0.0.1:{free.getsockname()[1]}/") == [NOT_CONNECTED]


def test_what_good_answers_tell_is_heard_in_the_order_of_their_ends():
    statuses = [200, 503, 200]

    def answer(target, body):
        status = statuses.pop(0)
        return Reply(status=status, headers={"Server-Timing": f"batch;dur={len(statuses)}"})

    heard: list[str] = []
    with serving(answer) as server:
        assert outcomes(server.url, 3, heard.append) == [200, 503, 200]
    assert heard == ["batch;dur=2", "batch;dur=0"]


def test_a_first_request_that_finds_no_descriptor_says_so():
    async def send(replica):
        return EXHAUSTED

    target = Target(urls=("http://127.0.0.1:9/",), body=b"{}", timeout_s=5.0)
    with pytest.raises(Exception, match="this machine has no descriptor or port left"):
        asyncio.run(check_reachable(send, target))


def test_what_is_secret_in_an_address_is_not_told():
    async def send(replica):
        return 503

    target = Target(urls=("http://127.0.0.1:9/predict?api_key=secret",), body=b"{}", timeout_s=5.0)
    with pytest.raises(DependencyError) as refused:
        asyncio.run(check_reachable(send, target))
    assert "http://127.0.0.1:9/predict answered the first request by 503" in str(refused.value)


@pytest.mark.parametrize(
    ("files", "most"),
    [(256, 192), (64, 1), (1024, IN_FLIGHT_MAX), (-1, IN_FLIGHT_MAX), (10**6, IN_FLIGHT_MAX)],
)
def test_no_more_connections_than_descriptors(monkeypatch, files, most):
    resource = pytest.importorskip("resource")
    files = resource.RLIM_INFINITY if files == -1 else files
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connections_max() == most
