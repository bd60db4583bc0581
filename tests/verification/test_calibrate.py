"""Lone requests: what lies outside the server is this client's, and a batch that takes something else is told."""

import itertools
import time
from dataclasses import replace

import pytest
from fake_server import Reply, predicting, serving

from capacity.errors import InconclusiveError
from capacity.measurement.http import parse_address
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.verification.calibrate import REQUESTS, LoneRequests, lone_requests, lone_requests_max
from capacity.verification.send import Target

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
    assert lone_requests_max(rate_rps) == REQUESTS + count


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
            time.sleep(0.1)
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
