"""What crowds tell of a server's work beside its batches, and the crowd itself against a server made for it."""

import asyncio
import random
import threading
import time
from itertools import count

import numpy as np
import pytest
from fake_server import Reply, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DependencyError, InconclusiveError
from capacity.measurement.http import Answer, parse_address
from capacity.measurement.users import Stretch, Told, Users, WorkBeside, _read

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)
WORK_S = st.floats(0.0, 1e-3)


def stretch(size: int, beside_s: float, *, batches: int = 100, computed_s: float = 0.01) -> Stretch:
    """Batches of one size that each take `beside_s` more than is computed."""
    return Stretch(
        batches=batches,
        requests_within=batches * size,
        batches_s=batches * (computed_s + beside_s),
        computed_s=batches * computed_s,
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
    found = WorkBeside.of(alone, crowds)
    assert found.batch_s == pytest.approx(batch_s, abs=1e-9)
    assert found.request_s == pytest.approx(request_s, abs=1e-9)
    assert found.crowds == tuple(crowds)


def test_crowds_that_disagree_are_fitted_by_relative_least_squares():
    """Each error counts relative to the time of a batch; the solution is numpy's."""
    alone = stretch(1, 0.0)
    crowds = [
        stretch(size, beside_s, batches=count, computed_s=computed_s)
        for size, beside_s, count, computed_s in (
            (1, 0.002, 50, 0.01),
            (4, 0.002, 100, 0.03),
            (8, 0.006, 20, 0.05),
        )
    ]
    weights = 1.0 / np.array([0.012, 0.032, 0.056])
    terms = np.array([[1.0, 1.0], [1.0, 4.0], [1.0, 8.0]]) * weights[:, None]
    expected = np.linalg.lstsq(terms, np.array([0.002, 0.002, 0.006]) * weights, rcond=None)[0]
    found = WorkBeside.of(alone, crowds)
    assert min(expected) > 0.0
    assert (found.batch_s, found.request_s) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("size", "read"), [("3", 3), ("123456789", 123_456_789), ("1234567891", 123_456_789)]
)
def test_nine_digits_of_a_size_are_read(size, read):
    headers = {"X-Batch-Size": size, "Server-Timing": "batch;dur=250, queue;dur=125"}
    assert _read(Answer(status=200, headers=headers, body=b"", seconds=0.5)) == Told(read, 0.25, 0.125)


def test_work_is_never_below_nothing():
    found = WorkBeside.of(stretch(1, 0.002), [stretch(1, 0.001), stretch(8, 0.0015)])
    assert (found.batch_s, found.request_s) == (0.0, 0.0)


@pytest.fixture
def crowd(monkeypatch):
    """What users of a server that answers so are told, within a third of a second, and what it saw."""
    monkeypatch.setattr("capacity.measurement.users._DURATION_S", 0.3)

    def ask(reply, users: int, think_s: float = 0.002, has_counter: bool = True):
        looks = count(5)

        def answer(target: str, body: bytes) -> Reply:
            if target == "/predict":
                return reply()
            name = "serve_batch_cpu_seconds_total" if has_counter else "other"
            return Reply(body=f"{name} {next(looks)}\n".encode())

        with serving(answer) as seen:
            asking = Users(
                address=parse_address(f"{seen.url}/predict", "--url"),
                body=b'{"instances": [[1.0]]}',
                timeout_s=5.0,
                counters=parse_address(f"{seen.url}/metrics", "--counters"),
            )
            return asyncio.run(asking.ask(users, think_s, seed=1)), seen

    return ask


def batch(size: str = "1", timing: str = "batch;dur=1") -> Reply:
    return Reply(headers={"X-Batch-Size": size, "Server-Timing": timing})


def test_all_users_ask_at_once_and_again(crowd):
    at_once, most, lock = 0, 0, threading.Lock()

    def reply() -> Reply:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return batch("2", "batch;dur=20")

    found, seen = crowd(reply, 8)
    assert most == 8
    requests = len(seen.asked) - 8 - 2  # each was warmed up by one, and the counter was looked at
    assert found.computed_s == 1.0
    assert found.batches == pytest.approx(requests / 2)
    assert found.batches_s == pytest.approx(0.02 * found.batches)
    assert 0.0 < found.requests_within <= requests


def test_it_is_over_with_the_last_answer_and_not_with_the_last_thought(crowd):
    began_s = time.perf_counter()
    found, _ = crowd(batch, 100, think_s=1.0)
    assert time.perf_counter() - began_s < 5.0
    assert found.batches >= 20.0


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(), "does not report each request's batch"),
        (batch("0"), "does not report each request's batch"),
        (batch("1e3"), "does not report each request's batch"),
        (batch("1", ""), "does not report each request's batch"),
        (batch("1", "batch;dur=3000"), r"by Server-Timing .*; is its dur in milliseconds\?"),
        (Reply(status=503, body=b"busy"), "answered 503: busy"),
    ],
    ids=["nothing", "zero", "no count", "no time", "longer than seen", "an error"],
)
def test_a_crowd_that_is_not_told_or_not_served_says_so(crowd, reply, message):
    with pytest.raises(DependencyError, match=message):
        crowd(lambda: reply, 3)


def test_a_server_without_a_counter_says_so(crowd):
    with pytest.raises(DependencyError, match="the metrics have no serve_batch_cpu_seconds_total"):
        crowd(batch, 3, has_counter=False)


def test_a_crowd_that_is_answered_seldom_or_asks_too_busily_tells_nothing(crowd, monkeypatch):
    with pytest.raises(InconclusiveError, match=r"2 users were answered in \d+ batches .at least 20"):
        crowd(lambda: time.sleep(0.1) or batch(), 2)
    monkeypatch.setattr("capacity.measurement.users._CPU_SHARE_MAX", 0.0)
    with pytest.raises(InconclusiveError, match="asking took .* of a core"):
        crowd(batch, 8)


@pytest.mark.parametrize(("share", "is_refused"), [(0.8, False), (0.95, True)])
def test_nine_tenths_of_a_core_for_asking_are_too_many(crowd, monkeypatch, share, is_refused):
    monkeypatch.setattr("capacity.measurement.users.time.process_time", lambda: share * time.perf_counter())
    if is_refused:
        with pytest.raises(InconclusiveError, match=r"asking took 95 % of a core \(at most 90 %\)"):
            crowd(batch, 8)
    else:
        assert crowd(batch, 8)[0].batches >= 20.0


def test_a_crowd_has_four_users_a_row_who_think_for_four_batches_or_as_long_as_asking_takes(monkeypatch):
    given, told = [], []

    async def ask(users, count, think_s, seed):
        given.append((count, think_s, seed))
        return stretch(seed, 0.001)

    monkeypatch.setattr(Users, "ask", ask)
    address = parse_address("http://127.0.0.1:9/", "--url")
    users = Users(address=address, body=b"{}", timeout_s=1.0, counters=address)
    users.work_beside(stretch(1, 0.001), {100: 0.5, 1: 0.01, 4: 1e-4}, told.append)
    assert [(count, seed) for count, _, seed in given] == [(4, 1), (16, 4), (256, 100)]
    # 4.2 batches; at most 1500 requests a second; and 256 users in the place of 400.
    assert [think_s for _, think_s, _ in given] == pytest.approx([0.042, 16 / 1500, 4.2 * 0.5 * 256 / 400])
    assert told == ["a crowd of 4 users", "a crowd of 16 users", "a crowd of 256 users"]


def test_a_user_asks_for_three_seconds(monkeypatch):
    """It thinks by the random numbers of its seed, and stops before a thought that would end later."""
    now = [100.0]

    async def sleep(seconds):
        now[0] += seconds

    async def once(users, client):
        now[0] += 0.125
        return Told(1, 0.1, 0.0)

    monkeypatch.setattr("capacity.measurement.users.asyncio.sleep", sleep)
    monkeypatch.setattr("capacity.measurement.users.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Users, "_once", once)
    address = parse_address("http://127.0.0.1:9/", "--url")
    users, told = Users(address=address, body=b"{}", timeout_s=1.0, counters=address), []
    asyncio.run(users._user(None, told, 0.01, "1-0"))
    dice, at_s, times = random.Random("1-0"), 0.0, 0
    while (thought_s := dice.expovariate(100.0)) < 3.0 - at_s:
        at_s += thought_s + 0.125
        times += 1
    assert (len(told), now[0]) == (times, pytest.approx(100.0 + at_s))
    assert 20 <= times <= 23
