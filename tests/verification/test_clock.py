"""The clock of load tests: how it waits for an instant, and which failures its loop reports."""

import asyncio
from types import SimpleNamespace

import pytest

from capacity.verification import clock
from capacity.verification.clock import WallClock, _tell, precise_runner


@pytest.mark.parametrize(
    ("wanted_s", "slept_s"),
    [
        (0.001, [0.00085, *[0.0] * 4]),  # asleep until 150 µs before it, then a look about each 50 µs
        (0.00015, [0.0] * 4),
        (0.0, [0.0]),
        (-1.0, [0.0]),
    ],
)
def test_the_end_of_a_wait_is_spent_polling(monkeypatch, wanted_s, slept_s):
    now_s, slept = [7.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now_s[0] += max(seconds, 5.01e-5)  # no sleep takes less

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    monkeypatch.setattr(clock, "asyncio", SimpleNamespace(sleep=sleep))
    asyncio.run(WallClock().sleep_until(7.0 + wanted_s))
    assert slept == pytest.approx(slept_s)
    assert now_s[0] >= 7.0 + wanted_s


def test_objects_are_frozen_for_the_garbage_collector_while_requests_are_sent(monkeypatch):
    called = []
    names = ("collect", "freeze", "unfreeze")
    spies = {name: lambda name=name: called.append(name) for name in names}
    monkeypatch.setattr(clock, "gc", SimpleNamespace(**spies))

    def fails():
        with precise_runner():
            assert called == ["collect", "freeze"]
            raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        fails()
    assert called == ["collect", "freeze", "unfreeze"]


@pytest.mark.parametrize(
    ("context", "is_told"),
    [({"exception": KeyboardInterrupt()}, False), ({"exception": ValueError()}, True), ({}, True)],
)
def test_an_interrupt_is_not_reported_as_a_failure(context, is_told):
    told = []
    _tell(SimpleNamespace(default_exception_handler=told.append), context)
    assert told == ([context] if is_told else [])
