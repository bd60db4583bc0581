"""The event loop of load tests: that it waits precisely, and what it tells of."""

import asyncio
import gc
import os
import signal

import pytest

from capacity.interrupts import Terminated, interrupts_raised
from capacity.verification.clock import WallClock, precise_runner


async def beside(error: BaseException) -> None:
    """A request that ends by an error nobody asks for."""

    async def request() -> None:
        raise error

    task = asyncio.get_running_loop().create_task(request())
    await asyncio.sleep(0.01)
    del task
    gc.collect()


@pytest.mark.parametrize("error", [Terminated(), KeyboardInterrupt()])
def test_a_signal_that_meets_a_request_is_raised_and_told_by_no_traceback(caplog, error):
    with (
        pytest.raises(type(error)),
        precise_runner() as runner,
    ):
        runner.run(beside(error))
    del runner
    error.__traceback__ = None
    gc.collect()
    assert not caplog.records


def test_ctrl_c_cancels_what_runs_where_it_can_end_in_order():
    ended = []

    async def load():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(20.0)
        except asyncio.CancelledError:
            ended.append("in order")
            raise

    with interrupts_raised(), pytest.raises(KeyboardInterrupt), precise_runner() as runner:
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
