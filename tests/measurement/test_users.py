"""What a crowd tells of a server's work beside its batches, and the crowd itself against a server made for it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest
from fake_server import Reply, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from measurements import crowd as crowd_module
from measurements.crowd import CrowdRun, Manner, Told, crowd
from measurements.work_beside import work_beside

from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.http import Exchange, parse_address
from capacity.measurement.users import Stretch

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)
WORK_S = st.floats(0.0, 1e-3)
TIMED = {"Server-Timing": "batch;dur=0.3"}
TOLD = Told(batch_size=1, batch_s=0.01)


def manner(duration_s: float) -> Manner:
    return Manner(body=b'{"instances": [[1.0]]}', think_s=0.002, duration_s=duration_s, seed=1)


def stretch(size: int, beside_s: float, *, batches: int = 100, computed_s: float = 0.01) -> Stretch:
    """Batches of one size that each take `beside_s` more than is computed."""
    lasted_s = batches * (computed_s + beside_s)
    return Stretch(
        batches=batches, requests=batches * size, lasted_s=lasted_s, computed_s=batches * computed_s
    )


@given(batch_s=WORK_S, request_s=WORK_S, handed_over_s=WORK_S, computed_s=st.floats(1e-3, 1e-1))
@laws_hold
def test_crowds_without_noise_tell_the_very_work(batch_s, request_s, handed_over_s, computed_s):
    alone = stretch(1, handed_over_s, computed_s=computed_s)
    crowds = [
        stretch(
            size,
            handed_over_s + batch_s + size * request_s,
            computed_s=computed_s * size * speed,  # the machine is faster or slower now
        )
        for size, speed in [(1, 1.0), (4, 0.7), (32, 1.3)]
    ]
    found = work_beside(alone, crowds)
    assert found.batch_s == pytest.approx(batch_s, abs=1e-9)
    assert found.request_s == pytest.approx(request_s, abs=1e-9)
    assert found.crowds == tuple(crowds)


def test_work_is_never_below_nothing():
    found = work_beside(stretch(1, 0.002), [stretch(1, 0.001), stretch(8, 0.0015)])
    assert (found.batch_s, found.request_s) == (0.0, 0.0)


def test_a_requests_batch_is_shared_out():
    """Forty batches of one and twenty of two, of 10 ms each, in a second: they last 0.6 of it."""
    told = [TOLD] * 40 + [Told(batch_size=2, batch_s=0.01)] * 40
    run = CrowdRun(users=3, told=told, lasted_s=1.0, computed_s=0.3, cpu_share=0.1)
    assert (run.requests, run.batches, run.batches_s) == (80, 60.0, pytest.approx(0.6))
    found = Stretch.of(run)
    assert found.beside_s == pytest.approx(0.3 / 60)
    assert found.requests_per_batch == pytest.approx(0.6 * 80 / 60)


def test_a_crowd_that_is_short_of_time_itself_tells_nothing():
    run = CrowdRun(users=64, told=[TOLD] * 50, lasted_s=1.0, computed_s=0.4, cpu_share=0.95)
    with pytest.raises(InconclusiveError, match="asking took 95% of a core with 64 users"):
        Stretch.of(run)
    few = CrowdRun(users=4, told=[TOLD] * 10, lasted_s=1.0, computed_s=0.05, cpu_share=0.1)
    with pytest.raises(InconclusiveError, match="4 users were answered in 10 batches, and 20 tell"):
        Stretch.of(few)


def counted() -> Callable[[], float]:
    """A counter that has grown by a second at each look."""
    return count(5.0, 1.0).__next__


@contextmanager
def connected(url: str, users: int) -> Iterator[list[Exchange]]:
    exchanges = [Exchange(parse_address(url, "--url"), timeout_s=5.0) for _ in range(users)]
    try:
        yield exchanges
    finally:
        for exchange in exchanges:
            exchange.close()


def test_all_users_ask_at_once_and_again():
    at_once, most, lock = 0, 0, threading.Lock()

    def reply(*_: object) -> Reply:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return Reply(body=b"{}", headers={"X-Batch-Size": "2", "Server-Timing": "batch;dur=20"})

    with serving(reply) as server, connected(server.url, 4) as users:
        run = crowd(users, manner(0.3), counted())
    assert most == 4
    assert run.users == 4
    assert run.computed_s == 1.0
    assert run.requests == len(server.asked) - 4  # each was warmed up by one
    assert set(run.told) == {Told(batch_size=2, batch_s=0.02)}
    assert run.requests >= 8
    assert 0.2 < run.lasted_s < 0.6
    assert 0.0 < run.cpu_share < 1.0


def test_it_is_over_with_the_last_answer_and_not_with_the_last_thought():
    """Of thoughts of 1 s in the mean, few are over within 0.3 s, and one of the others would take a second."""
    reply = Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "1"})
    with serving(lambda *_: reply) as server, connected(server.url, 16) as users:
        began_s = time.perf_counter()
        run = crowd(users, replace(manner(0.3), think_s=1.0), counted())
    assert time.perf_counter() - began_s < 1.0
    assert run.requests > 0
    assert 0.0 < run.lasted_s < 0.6


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(body=b"{}"), "does not tell each request's batch"),
        (Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "0"}), "does not tell each request's batch"),
        (Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "1e3"}), "does not tell each request's batch"),
        (Reply(body=b"{}", headers={"X-Batch-Size": "1"}), "does not tell each request's batch"),
        (Reply(status=503, body=b"busy"), "answered 503: busy"),
    ],
    ids=["nothing", "zero", "no count", "no time", "an error"],
)
def test_a_crowd_that_is_not_told_or_not_served_says_so(reply, message):
    refused = pytest.raises(DependencyError, match=message)
    with serving(lambda *_: reply) as server, connected(server.url, 3) as users, refused:
        crowd(users, manner(0.2), counted())


def test_a_counter_that_fails_ends_the_crowd():
    def fails() -> float:
        raise DependencyError("no counter")

    reply = Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "1"})
    refused = pytest.raises(DependencyError, match="no counter")
    with serving(lambda *_: reply) as server, connected(server.url, 3) as users, refused:
        crowd(users, manner(0.2), fails)
    assert len(server.asked) == 3


def test_a_crowd_that_is_told_longer_batches_than_it_saw_says_so():
    reply = Reply(body=b"{}", headers={"Server-Timing": "batch;dur=3000", "X-Batch-Size": "1"})
    refused = pytest.raises(DependencyError, match=r"by Server-Timing .*; is its dur in milliseconds\?")
    with serving(lambda *_: reply) as server, connected(server.url, 3) as users, refused:
        crowd(users, manner(0.1), counted())


def test_after_an_interrupt_nobody_asks_any_more():
    """Even over connections that are still open."""

    def begins() -> float:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        return 5.0

    reply = Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "1"})
    with serving(lambda *_: reply) as server, connected(server.url, 4) as users:
        with pytest.raises(KeyboardInterrupt):
            crowd(users, manner(3.0), begins)
        time.sleep(0.1)  # for what was under way
        asked = len(server.asked)
        time.sleep(0.2)
        assert len(server.asked) == asked > 8


def test_whatever_a_user_meets_is_told():
    class Broken:
        def ask(self, *_: object) -> None:
            raise RuntimeError("no such luck")

    with pytest.raises(
        DependencyError, match="a user of the crowd failed: RuntimeError no such luck"
    ) as caught:
        crowd([Broken(), Broken()], manner(0.2), counted())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_crowd_that_does_not_gather_says_so(monkeypatch):
    monkeypatch.setattr(crowd_module, "_GATHER_S", 0.1)
    first = count()

    def reply(*_: object) -> Reply:
        time.sleep(0.0 if next(first) == 0 else 0.4)
        return Reply(body=b"{}", headers=TIMED | {"X-Batch-Size": "1"})

    refused = pytest.raises(
        DependencyError, match=r"2 of 3 users had no first answer 0\.1 s after others had"
    )
    with serving(reply) as server, connected(server.url, 3) as users, refused:
        crowd(users, manner(0.2), counted())
    assert len(server.asked) == 3
