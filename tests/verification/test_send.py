"""The load generator: requests go out when they were meant to, each to the replica that a balancer would pick."""

import asyncio
import errno
import gc
import math
import os
import signal
import socket
from itertools import count

import aiohttp
import numpy as np
import pytest
from fake_server import Reply, serving
from virtual_time import VirtualClock, run

from capacity.errors import DependencyError, InputError
from capacity.measurement.http import TooLongError, parse_address
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.run import (
    EXHAUSTED,
    NOT_CONNECTED,
    TIMED_OUT,
    TOO_LONG,
    UNKNOWN,
    LoadRun,
    Schedule,
)
from capacity.verification.send import Balancer, Sent, Target, check_reachable, connected, send_all
from capacity.verification.validity import faults
from simulations.routing.candidates import Counted
from simulations.routing.policies import router


class OneServer:
    """FIFO, one at a time, each for the same time."""

    def __init__(self, service_s):
        self.service_s, self.free_s, self.seen = service_s, 0.0, []

    async def __call__(self, replica, tokens=None):
        now_s = asyncio.get_running_loop().time()
        self.seen.append(replica)
        self.free_s = max(now_s, self.free_s) + self.service_s
        await asyncio.sleep(self.free_s - now_s)
        return Sent(200)


def poisson(requests=2000, rate_rps=100.0, seed=5):
    instants_s = np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate_rps, requests))
    return Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]))


def every(gap_s, requests):
    instants_s = gap_s * np.arange(1.0, requests + 1.0)
    return Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]))


def drive(schedule, send, *, stalls_s=None, in_flight_max=900, replicas=1, warm_up_s=0.0):
    found = LoadRun.blank(schedule, warm_up_s)
    balancer = Balancer(Routing.ROUND_ROBIN, replicas, np.random.default_rng(0))
    run(send_all(found, send, balancer, VirtualClock(stalls_s), in_flight_max))
    assert balancer.outstanding == [0] * replicas
    return found


def lindley(instants_s, service_s):
    free_s, responses_s = 0.0, []
    for instant_s in instants_s:
        free_s = max(instant_s, free_s) + service_s
        responses_s.append(free_s - instant_s)
    return responses_s


def test_responses_are_those_of_the_queue():
    schedule = poisson()
    found = drive(schedule, OneServer(0.008))
    assert found.responses_s == pytest.approx(lindley(schedule.instants_s, 0.008), abs=1e-9)
    assert found.lags_s() == pytest.approx(0.0, abs=1e-9)
    assert (found.sent, found.statuses) == (2000, {"200": 2000})
    assert list(faults(found, 900)) == []


def test_slow_answers_hold_up_no_request():
    found = drive(every(0.001, 500), OneServer(1.0))
    assert found.lags_s() == pytest.approx(0.0, abs=1e-9)
    assert found.responses_s[-1] == pytest.approx(500.0 - 0.499)


def test_what_is_sent_late_counts_from_when_it_was_meant_to_be_sent():
    """Coordinated omission: a generator that stands still for a second must not look fast."""
    found = drive(every(0.01, 200), OneServer(0.001), stalls_s={0.495: 1.0})
    late = np.flatnonzero(found.lags_s() > 1e-9)
    assert found.lags_s().max() == pytest.approx(1.0 - 0.0, abs=0.011)
    assert len(late) == pytest.approx(100, abs=2)
    assert found.responses_s.max() >= found.lags_s().max()
    assert found.responses_s.min() == pytest.approx(0.001)
    (said,) = faults(found, 900)
    assert said.startswith("the load generator fell behind: P99 of its lag is ")
    assert "or lower --rate" in said


def test_too_many_in_flight_end_the_run_instead_of_waiting():
    async def late(replica, tokens=None):
        await asyncio.sleep(0.4)  # so that places would be free again later
        return Sent(TIMED_OUT)

    found = drive(every(0.01, 1000), late, in_flight_max=25)
    assert (found.sent, found.schedule.requests, found.is_overflowed) == (25, 1000, True)
    assert found.statuses == {"timeout": 25}
    assert "25 requests were in flight, the most allowed: 25 of 1000 were sent" in "".join(faults(found, 25))


def test_as_many_in_flight_as_allowed_are_no_fault():
    found = drive(every(0.01, 25), OneServer(10.0), in_flight_max=25)
    assert (found.sent, found.is_overflowed) == (25, False)


def test_failures_are_counted_by_kind_and_are_in_no_response():
    outcomes = [200, 503, 200, TIMED_OUT, 307, NOT_CONNECTED, 200, 503]

    async def send(replica, tokens=None):
        await asyncio.sleep(0.001)
        return Sent(outcomes.pop(0))

    found = drive(every(0.01, 8), send)
    assert found.statuses == {"connection": 1, "timeout": 1, "200": 3, "307": 1, "503": 2}
    assert len(found.responses_s) == 3
    assert found.losses.tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert found.given_up.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]


def test_the_warm_up_counts_for_nothing():
    found = drive(every(0.01, 100), OneServer(0.001), warm_up_s=0.505)
    assert (found.sent, found.counted, len(found.responses_s), len(found.lags_s())) == (100, 50, 50, 50)
    assert found.window_s == (0.505, 1.0)
    # Answers come a millisecond later: that of 0.5 s within the warm-up, and that of 1 s after the end.
    assert len(found.answered_at_s) == 49


def test_requests_go_round_the_urls():
    server = OneServer(0.001)
    found = drive(every(0.01, 9), server, replicas=3)
    assert server.seen == [0, 1, 2] * 3
    assert found.replicas.tolist() == server.seen


def test_a_run_that_is_broken_off_leaves_what_there_is():
    found = LoadRun.blank(every(0.01, 1000))
    balancer = Balancer(Routing.ROUND_ROBIN, 1, np.random.default_rng(0))

    async def broken_off():
        task = asyncio.create_task(send_all(found, OneServer(0.015), balancer, VirtualClock(), 900))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(broken_off())
    assert not found.is_complete
    assert 90 <= found.sent <= 100
    assert 55 <= len(found.responses_s) <= 66
    assert found.statuses["unanswered"] == found.sent - len(found.responses_s)
    assert found.window_s == (0.0, pytest.approx(np.nanmax(found.sent_s)))
    (said,) = faults(found, 900)
    assert said.startswith(f"the run was stopped after {found.sent} of 1000")
    assert UNKNOWN in found.outcomes
    settled = found.sent - found.statuses["unanswered"]  # of the others nobody knows
    assert len(found.losses) == len(found.given_up) == len(found.endured_s(with_losses=True)) == settled


SEVERAL = [routing for routing in PLAIN_ROUTINGS if routing is not Routing.SHARED_QUEUE]


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
@pytest.mark.parametrize("routing", SEVERAL)
def test_it_picks_what_the_simulator_would_pick(routing, replicas):
    requests, ends = 6000, np.random.default_rng(1)
    balancer = Balancer(routing, replicas, np.random.default_rng(7))
    uniforms = np.random.default_rng(7).random(2 * requests)
    if routing is Routing.RANDOM:  # takes one a request, and the simulator the first of two
        uniforms = np.repeat(uniforms, 2)
    changes = count(1)
    stand_ins = [Counted(i, changes) for i in range(replicas)]
    route = router(routing, stand_ins, uniforms)
    flying = []
    for request in range(requests):
        wanted = route(request).index
        assert balancer.pick() == wanted
        stand_ins[wanted].count(1)
        flying.append(wanted)
        while flying and ends.random() < 0.55:
            ended = flying.pop(ends.integers(len(flying)))
            stand_ins[ended].count(-1)
            balancer.release(ended)
        assert balancer.outstanding == [one.outstanding for one in stand_ins]


def test_round_robin_takes_turns_and_ties_go_to_the_lowest():
    generator = np.random.default_rng(0)
    turns = Balancer(Routing.ROUND_ROBIN, 3, generator)
    assert [turns.pick() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    least = Balancer(Routing.LEAST_OUTSTANDING, 3, generator)
    assert [least.pick() for _ in range(4)] == [0, 1, 2, 0]
    least.release(2)
    assert least.pick() == 2
    assert least.outstanding == [2, 1, 1]


def test_a_shared_queue_is_behind_one_url_or_nowhere():
    assert Balancer(Routing.SHARED_QUEUE, 1, np.random.default_rng(0)).pick() == 0
    with pytest.raises(InputError, match="2 urls cannot share a queue"):
        Balancer(Routing.SHARED_QUEUE, 2, np.random.default_rng(0))


async def beside(error: BaseException) -> None:
    """A request that ends by an error nobody asks for."""

    async def request() -> None:
        raise error

    task = asyncio.get_running_loop().create_task(request())
    await asyncio.sleep(0.01)
    del task
    gc.collect()


def test_ctrl_c_cancels_what_runs_where_it_can_end_in_order():
    ended = []

    async def load():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(20.0)
        except asyncio.CancelledError:
            ended.append("in order")
            raise

    with pytest.raises(KeyboardInterrupt), precise_runner() as runner:
        runner.run(load())
    assert ended == ["in order"]


def test_a_request_that_fails_is_told(caplog):
    with precise_runner() as runner:
        runner.run(beside(ValueError("a fault")))
    assert any("never retrieved" in record.getMessage() for record in caplog.records)


def test_an_instant_is_met_to_less_than_a_millisecond():
    async def lateness_s() -> float:
        clock = WallClock()
        instant_s = clock.now_s() + 0.0055
        await clock.sleep_until(instant_s)
        return clock.now_s() - instant_s

    with precise_runner() as runner:
        late_s = [runner.run(lateness_s()) for _ in range(20)]
    assert min(late_s) >= 0.0
    assert sorted(late_s)[4] < 5e-4


def target_of(url: str) -> Target:
    return Target(addresses=(parse_address(url, "--url"),), body=b"{}", timeout_s=5.0)


def outcomes(url: str, times: int = 1) -> list[int]:
    """A run of this many requests, one after another."""

    async def ask():
        async with connected(target_of(url)) as send:
            return [(await send(0, None)).outcome for _ in range(times)]

    return asyncio.run(ask())


def test_a_descriptor_that_select_cannot_wait_for_is_never_made(monkeypatch):
    monkeypatch.setattr("capacity.measurement.http._DESCRIPTORS", 1)
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

    monkeypatch.setattr("capacity.measurement.http._socket", none)
    assert outcomes("http://127.0.0.1:9/") == [outcome]


def test_nobody_who_listens_is_no_want_of_descriptors():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert outcomes(f"http://127.0.0.1:{free.getsockname()[1]}/") == [NOT_CONNECTED]


def test_a_first_request_that_finds_no_descriptor_says_so():
    async def send(replica, tokens=None):
        return Sent(EXHAUSTED)

    target = target_of("http://127.0.0.1:9/")
    with pytest.raises(Exception, match="this machine has no descriptor or port left"):
        asyncio.run(check_reachable(send, target))


def test_what_is_secret_in_an_address_is_not_told():
    async def send(replica, tokens=None):
        return Sent(503)

    target = target_of("http://127.0.0.1:9/predict?api_key=secret")
    with pytest.raises(DependencyError) as refused:
        asyncio.run(check_reachable(send, target))
    assert "http://127.0.0.1:9/predict answered the first request with status 503" in str(refused.value)


def test_what_good_answers_tell_is_kept():
    timings = ["batch;dur=2, queue;dur=3", ""]

    async def ask(url: str):
        async with connected(target_of(url)) as send:
            return [await send(0, None) for _ in range(2)]

    with serving(lambda *_: Reply(headers={"Server-Timing": timings.pop(0)})) as server:
        told, silent = asyncio.run(ask(server.url))
    assert told == Sent(200, 0.002, 0.003)
    assert math.isnan(silent.batch_s)


def test_sending_begins_after_50_ms():
    at_s = []

    async def send(replica, tokens=None):
        at_s.append(asyncio.get_running_loop().time())
        return Sent(200)

    drive(Schedule(instants_s=np.array([0.0, 0.25]), duration_s=1.0), send)
    assert at_s == pytest.approx([0.05, 0.3])


def test_the_time_inside_the_server_is_batch_and_queue():
    async def send(replica, tokens=None):
        return Sent(200, 0.25, 0.5)

    assert drive(every(0.01, 2), send).inside_s.tolist() == [0.75, 0.75]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 600.5, math.nan])
def test_a_timeout_is_within_limits(timeout_s):
    with pytest.raises(InputError, match="--timeout must be above 0 and at most 600s, got"):
        Target(addresses=(), body=b"", timeout_s=timeout_s)
    Target(addresses=(), body=b"", timeout_s=600.0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError(), TIMED_OUT),
        (TooLongError("long"), TOO_LONG),
        (ValueError("bad"), NOT_CONNECTED),
        (aiohttp.ClientError("bad"), NOT_CONNECTED),
        *((OSError(number, "no"), EXHAUSTED) for number in (errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)),
    ],
    ids=repr,
)
def test_each_failure_of_a_request_has_its_outcome(monkeypatch, error, outcome):
    async def ask(*_):
        raise error

    monkeypatch.setattr("capacity.verification.send.ask", ask)
    assert outcomes("http://127.0.0.1:9/") == [outcome]


@pytest.mark.parametrize(
    ("outcome", "kind", "said"),
    [
        (200, None, None),
        (201, InputError, "answered the first request with status 201; check --url and --body"),
        (299, InputError, "status 299; check --url and --body"),
        (300, InputError, "status 300, a redirect, which is not followed; give the final address"),
        (399, InputError, "status 399, a redirect"),
        (400, InputError, "status 400; check --url and --body"),
        (499, InputError, "status 499; check --url and --body"),
        (500, DependencyError, "status 500; wait until it is ready"),
        (TIMED_OUT, DependencyError, "did not answer in time; is the server up, and is the address right?"),
        (NOT_CONNECTED, DependencyError, "cannot be reached; is the server up"),
        (TOO_LONG, DependencyError, "answered more than 16777216 bytes; is the server up"),
    ],
)
def test_the_first_answer_of_each_replica_is_checked(outcome, kind, said):

    asked = []

    async def send(replica, tokens=None):
        asked.append(replica)
        return Sent(200 if replica < 2 else outcome)

    addresses = tuple(parse_address(f"http://h{number}/{'p' * 99}", "--url") for number in range(3))
    target = Target(addresses=addresses, body=b"{}", timeout_s=5.0)
    if kind is None:
        asyncio.run(check_reachable(send, target))
    else:
        with pytest.raises(kind) as refused:
            asyncio.run(check_reachable(send, target))
        assert str(refused.value).startswith(f"http://h2:80/{'p' * 67} ")
        assert said in str(refused.value)
    assert asked == [0, 1, 2]
