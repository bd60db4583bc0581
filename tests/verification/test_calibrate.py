"""Lone requests: what lies outside the server is this client's, and a batch that takes something else is reported."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_server import Reply, predicting, serving
from virtual_time import VirtualClock, run

from capacity.errors import InconclusiveError
from capacity.measurement.http import parse_address
from capacity.measurement.sections import mean_interval
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.verification import calibrate
from capacity.verification.calibrate import (
    REQUESTS,
    LoneRequests,
    _at_rate,
    _one_by_one,
    lone_requests,
    lone_requests_max,
)
from capacity.verification.run import TIMED_OUT
from capacity.verification.send import Sent, Target

PROFILE = ServiceProfile(
    name="one",
    timings=(BatchTiming(batch_size=1, mean_s=0.004),),
    batch_work_s=0.0001,
    request_work_s=0.0002,
    request_overhead_s=0.0005,
)


def asked_of(url: str) -> Target:
    return Target(
        addresses=(parse_address(f"{url}/predict", "--url"),), body=b'{"instances": [[1]]}', timeout_s=5.0
    )


def asked(url: str, rate_rps: float, in_flight_max: int = 900) -> LoneRequests:
    return lone_requests(asked_of(url), rate_rps, 0, 0.95, in_flight_max=in_flight_max)


def lone(beside_s: float = 0.001, batch_s: float = 0.004, half_width_s: float = 1e-5) -> LoneRequests:
    batch = Interval(value=batch_s, low=batch_s - half_width_s, high=batch_s + half_width_s)
    return LoneRequests(beside_s=beside_s, batch_s=batch)


def test_they_are_told_by_the_server(monkeypatch):
    monkeypatch.setattr("capacity.verification.calibrate._AT_RATE_S", 1.0)
    with serving(predicting(lambda rows: 1e-4)) as server:
        found = asked(server.url, 1000.0)
    assert len(server.asked) == lone_requests_max(1000.0) == REQUESTS + 1000
    assert found.batch_s.value == pytest.approx(1e-4)
    assert found.beside_s > 0.0


@pytest.mark.parametrize(("rate_rps", "count"), [(0.1, 0), (12.0, 0), (12.5, 50), (75.0, 300), (1e6, 4000)])
def test_a_rate_is_tried_for_some_seconds_at_most(rate_rps, count):
    assert lone_requests_max(rate_rps) == 150 + count


@pytest.mark.long
def test_a_stretch_that_stalled_is_not_the_usual_one(monkeypatch):
    """Connections that are opened at once, or a pause of the machine, hold up many requests in a row."""
    monkeypatch.setattr("capacity.verification.calibrate._AT_RATE_S", 2.0)
    served = iter(range(10_000))

    def answer(target, body):
        time.sleep(0.5 if REQUESTS + 100 <= next(served) < REQUESTS + 220 else 0.002)
        return Reply(headers={"Server-Timing": "batch;dur=1"})

    with serving(answer) as server:
        found = asked(server.url, 200.0)
    assert 0.001 < found.beside_s < 0.02  # 1 ms and the way; the mean of all would be 75 ms


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(), "have no Server-Timing header"),
        (Reply(status=503), "was answered with status 503"),
        (Reply(raw=b"nonsense"), "failed: the server cannot be reached"),
    ],
    ids=str,
)
def test_a_server_that_does_not_tell_is_asked_once_and_said_to(reply, said):
    with serving(lambda *_: reply) as server, pytest.raises(InconclusiveError, match=said):
        asked(server.url, 1000.0)
    assert len(server.asked) == 1


TELLS = Reply(headers={"Server-Timing": "batch;dur=0.1"})


@pytest.mark.parametrize(("nth", "is_enough"), [(50, True), (5, False)])
def test_a_few_answers_that_tell_nothing_are_left_out_and_told(monkeypatch, nth, is_enough):
    monkeypatch.setattr("capacity.verification.calibrate._AT_RATE_S", 0.5)
    served = itertools.count(1)
    with serving(lambda *_: Reply(status=503) if next(served) % nth == 0 else TELLS) as server:
        if is_enough:
            found = asked(server.url, 400.0)
            assert found.silent == lone_requests_max(400.0) // nth
            assert list(found.notes(PROFILE))[1].startswith(
                "7 of the requests before the load had no usable answer"
            )
        else:
            with pytest.raises(InconclusiveError, match="answered with status 503"):
                asked(server.url, 400.0)


def test_the_requests_before_the_load_are_bounded_as_the_load_is():
    """A pause of the server must not open connections without end, nor fail with a traceback."""
    served = itertools.count(1)

    def answer(target, body):
        if next(served) > REQUESTS:
            time.sleep(0.6)  # far longer than 20 requests take to be sent, also by a busy machine
        return TELLS

    with serving(answer) as server, pytest.raises(InconclusiveError, match="20 requests were in flight"):
        asked(server.url, 1000.0, in_flight_max=20)
    assert len(server.asked) <= REQUESTS + 20


def test_a_slow_server_is_asked_for_so_long_and_no_longer(monkeypatch):
    monkeypatch.setattr("capacity.verification.calibrate._TOGETHER_MAX_S", 0.2)
    slow = serving(lambda *_: time.sleep(0.6) or TELLS)
    with slow as server, pytest.raises(InconclusiveError, match="took more than 0.2 s"):
        asked(server.url, 10.0)
    monkeypatch.setattr("capacity.verification.calibrate._TOGETHER_MAX_S", 60.0)
    monkeypatch.setattr("capacity.verification.calibrate._ONE_BY_ONE_MAX_S", 0.1)
    with serving(lambda *_: time.sleep(0.02) or TELLS) as server:
        with pytest.raises(InconclusiveError, match="one by one took 100 ms, and 20 are needed"):
            asked(server.url, 1000.0)
        assert len(server.asked) < 20


def test_what_lies_outside_is_the_clients_and_what_the_batch_holds_is_not_counted_again():
    seen = lone(beside_s=0.001).seen_by(PROFILE)
    assert seen.request_overhead_s == pytest.approx(0.001 - 0.0003)
    assert seen.service_mean_s(1) == PROFILE.service_mean_s(1)
    assert lone(beside_s=0.0001).seen_by(PROFILE).request_overhead_s == 0.0


@pytest.mark.parametrize(
    ("found", "is_of_note"),
    [
        (lone(batch_s=0.00401), False),  # a quarter of a per cent
        (lone(batch_s=0.0041), False),
        (lone(batch_s=0.00414), True),
        (lone(batch_s=0.00386), True),
        (lone(batch_s=0.0045), True),
        (lone(batch_s=0.0035), True),
        (lone(batch_s=0.0045, half_width_s=0.001), False),  # chance explains it
    ],
)
def test_a_batch_that_takes_something_else_now_is_told(found, is_of_note):
    notes = list(found.notes(PROFILE))
    assert "a request takes this client 1 ms outside its batch, of which 700 µs" in notes[0]
    assert (len(notes) == 2) == is_of_note
    if is_of_note:
        assert "from the profile's 4 ms; measure the profile again" in notes[1]


def test_a_lone_batch_finds_its_replica_at_rest_and_is_held_against_that():
    waking = replace(PROFILE, wake_s=0.0005)
    assert len(list(lone(batch_s=0.0045).notes(waking))) == 1
    assert "from the profile's 4.5 ms" in list(lone(batch_s=0.004).notes(waking))[1]


class Server:
    """In virtual time: an answer takes `took_s`, of which the batch is 1 ms and the queue 0.5 ms.

    Args:
        others: other answers, by the number of the request from 1.
    """

    def __init__(self, took_s=0.003, others=None):
        self.took_s, self.others = took_s, others or {}
        self.asked = []

    async def __call__(self, replica, tokens=None):
        self.asked.append((replica, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.took_s)
        return self.others.get(len(self.asked), Sent(200, 0.001, 0.0005))


@pytest.fixture
def virtual(monkeypatch):
    """Runs a coroutine of a calibration in virtual time."""
    clock = SimpleNamespace(perf_counter=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(calibrate, "time", clock)
    monkeypatch.setattr(calibrate, "WallClock", VirtualClock)
    return run


def test_one_by_one_each_request_follows_an_answer_and_a_pause(virtual):
    server = Server()
    batches_s, besides_s, silent = virtual(_one_by_one(server, 2, np.array([0.01, 0.2] * 75)))
    assert batches_s == [0.001] * 150
    assert besides_s == pytest.approx([0.0015] * 150)
    assert silent == 0
    assert [replica for replica, _ in server.asked] == [0, 1] * 75
    # Pauses of 10 ms and 200 ms, the latter cut to 50 ms, and 3 ms for each answer.
    assert [at_s for _, at_s in server.asked[:4]] == pytest.approx([0.01, 0.063, 0.076, 0.129])


@pytest.mark.parametrize(
    "other", [Sent(503), Sent(200), Sent(TIMED_OUT), Sent(103, 0.001), Sent(503, 0.001)], ids=str
)
def test_a_tenth_of_lone_requests_may_report_no_batch_time(virtual, other):
    silent = dict.fromkeys(range(2, 17), other)
    batches_s, besides_s, count = virtual(_one_by_one(Server(others=silent), 1, np.zeros(150)))
    assert (len(batches_s), len(besides_s), count) == (135, 135, 15)
    said = {
        103: "status 103",
        503: "status 503",
        200: "no Server-Timing header",
        TIMED_OUT: "did not answer in time",
    }
    with pytest.raises(InconclusiveError, match=said[other.outcome]):
        virtual(_one_by_one(Server(others=silent | {17: other}), 1, np.zeros(150)))


@pytest.mark.parametrize(("took_s", "count"), [(1.0, 31), (1.51, 20), (1.58, None)])
def test_lone_requests_end_after_half_a_minute_and_need_twenty(virtual, took_s, count):
    """Each begins with the answer to the one before, and none after 30 s."""
    if count is None:
        with pytest.raises(InconclusiveError, match="19 requests one by one took 30 s, and 20 are needed"):
            virtual(_one_by_one(Server(took_s), 1, np.zeros(150)))
    else:
        assert len(virtual(_one_by_one(Server(took_s), 1, np.zeros(150)))[0]) == count


def test_at_the_rate_requests_do_not_wait_for_each_other(virtual):
    server = Server(took_s=0.5)
    besides_s = virtual(_at_rate(server, 3, np.full(60, 0.01), 900))
    assert besides_s == pytest.approx([0.4985] * 60)
    assert [replica for replica, _ in server.asked] == [0, 1, 2] * 20
    with pytest.raises(
        InconclusiveError, match="49 requests were in flight before the load, and no more are"
    ):
        virtual(_at_rate(server, 3, np.full(60, 0.01), 49))


@pytest.mark.parametrize(("other", "said"), [(Sent(503), "status 503"), (Sent(200), "status 429")])
def test_a_tenth_of_requests_at_the_rate_may_report_no_batch_time(virtual, other, said):
    silent = dict.fromkeys(range(1, 11), other)
    assert len(virtual(_at_rate(Server(others=silent), 1, np.full(100, 0.01), 900))) == 90
    with pytest.raises(InconclusiveError, match=said):
        virtual(_at_rate(Server(others=silent | {11: Sent(429)}), 1, np.full(100, 0.01), 900))


def test_answers_at_the_rate_need_a_batch_time(virtual):
    silent = dict.fromkeys(range(1, 12), Sent(200))
    with pytest.raises(InconclusiveError, match="no Server-Timing header"):
        virtual(_at_rate(Server(others=silent), 1, np.full(100, 0.01), 900))


@pytest.fixture
def told(virtual, monkeypatch):
    """The calibration of a server by requests with these gaps."""

    def of(server, gaps_s):
        @asynccontextmanager
        async def connected(target):
            yield server

        monkeypatch.setattr(calibrate, "connected", connected)
        return virtual(calibrate._told_in_time(asked_of("http://127.0.0.1:9"), gaps_s, 900))

    return of


def test_at_a_slow_rate_lone_requests_give_both_times(told):
    batches_s, besides_s, silent = told(Server(others={5: Sent(503)}), np.full(150, 0.01))
    assert (len(batches_s), besides_s, silent) == (149, pytest.approx([0.0015] * 149), 1)


def test_silent_requests_of_both_kinds_are_counted(told):
    server = Server(others=dict.fromkeys((5, 160, 170), Sent(503)))
    batches_s, besides_s, silent = told(server, np.full(200, 0.01))
    assert (len(batches_s), len(besides_s), silent) == (149, 48, 3)


def test_a_calibration_ends_after_a_minute(told):
    with pytest.raises(InconclusiveError, match="1 requests one by one took 30 s"):
        told(Server(took_s=59.0), np.zeros(150))
    with pytest.raises(InconclusiveError, match="the requests before the load took more than 60 s"):
        told(Server(took_s=61.0), np.zeros(150))


def test_the_time_outside_the_batch_is_the_median_of_ten_stretches(monkeypatch):
    """Two requests each, with a mean of 100 for a stretch that stalled, and then of 1 to 9."""
    given = []

    async def told_in_time(target, gaps_s, in_flight_max):
        given.append((gaps_s, in_flight_max))
        return [0.001, 0.003], [k + apart for k in (100, *range(1, 10)) for apart in (0.5, -0.5)], 2

    monkeypatch.setattr(calibrate, "_told_in_time", told_in_time)
    found = lone_requests(asked_of("http://127.0.0.1:9"), 20.0, 7, 0.9, in_flight_max=33)
    assert found == LoneRequests(beside_s=5.5, batch_s=mean_interval([0.001, 0.003], 0.9), silent=2)
    ((gaps_s, in_flight_max),) = given
    assert gaps_s.tolist() == np.random.default_rng(7).exponential(0.05, 150 + 80).tolist()
    assert in_flight_max == 33
