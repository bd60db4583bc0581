"""The rule of batching, with models that are made up and held."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from serving import PATIENCE_S, MadeUp, settings

import serve_api.batcher
from serve_api.batcher import Batcher
from serve_api.breaker import CircuitState
from serve_api.deployment import Deployment
from serve_api.metrics import Metrics
from serve_api.refusal import Reason, Refused
from serve_api.rollout import Rollout

FOR_EVER_S = 1e9


def rows(first, count=1):
    return np.full((count, 3), first, dtype=np.float32)


@asynccontextmanager
async def batching(model, **parts):
    wanted, metrics = settings(**parts), Metrics()
    batcher = Batcher(wanted, Rollout(Deployment(model, wanted.breaker, metrics), metrics), metrics)
    batcher.start()
    yield batcher
    model.gate.set()
    batcher.stop()


async def all_of(futures):
    return await asyncio.wait_for(asyncio.gather(*futures), PATIENCE_S)


async def entered(model):
    assert await asyncio.to_thread(model.entered.wait, PATIENCE_S)


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_full_batch_starts_without_waiting():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 60.0}) as batcher:
            served = await all_of(batcher.submit(rows(i), FOR_EVER_S) for i in range(4))
        assert model.sizes == [4]
        assert [s.labels for s in served] == [[0], [1], [2], [3]]
        assert {s.batch_size for s in served} == {4}

    run(story())


def test_one_row_too_few_waits_for_the_timer_of_the_oldest():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 0.05}) as batcher:
            oldest = batcher.submit(rows(1), FOR_EVER_S)
            await asyncio.sleep(0.02)
            served = await all_of([oldest, batcher.submit(rows(2, count=2), FOR_EVER_S)])
        assert model.sizes == [3]
        assert served[0].queue_s >= 0.05
        assert served[0].queue_s - served[1].queue_s >= 0.02 - 0.001  # the timer is not the younger one's

    run(story())


def test_with_wait_0_what_is_there_goes_at_once():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 0.0}) as batcher:
            served = [await all_of([batcher.submit(rows(i), FOR_EVER_S)]) for i in range(3)]
        assert model.sizes == [1, 1, 1]
        assert [s[0].queue_s for s in served] == [0.0, 0.0, 0.0]

    run(story())


def test_while_one_batch_is_served_the_queue_fills_and_no_other_starts():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(0), FOR_EVER_S)]
            await entered(model)
            futures += [batcher.submit(rows(i), FOR_EVER_S) for i in range(1, 7)]
            await asyncio.sleep(0.05)
            assert model.sizes == [1]
            assert len(batcher) == 6
            model.gate.set()
            await all_of(futures)
        assert model.sizes == [1, 4, 2]
        assert model.rows == [0, 1, 2, 3, 4, 5, 6]  # first come, first served
        assert len(model.threads) == 1

    run(story())


def test_rows_of_a_request_are_never_split_and_nobody_overtakes():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(0), FOR_EVER_S)]
            await entered(model)
            futures += [batcher.submit(rows(i, count=n), FOR_EVER_S) for i, n in ((1, 3), (2, 2), (3, 1))]
            model.gate.set()
            served = await all_of(futures)
        assert model.sizes == [1, 3, 3]
        assert [len(s.labels) for s in served] == [1, 3, 2, 1]
        assert [s.labels[0] for s in served] == [0, 1, 2, 3]

    run(story())


def test_who_waited_long_enough_behind_a_batch_waits_no_more_after_it():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 4, "wait_max_s": 1.0}) as batcher:
            model.gate.clear()
            first = [batcher.submit(rows(0), FOR_EVER_S) for _ in range(4)]
            await entered(model)
            behind = batcher.submit(rows(1), FOR_EVER_S)
            await asyncio.sleep(1.05)
            model.gate.set()
            served = await all_of([*first, behind])
        assert 1.0 <= served[-1].queue_s < 1.9  # a timer that began with the end of the batch would give 2

    run(story())


def test_the_next_batch_is_on_its_way_before_the_answers_are_written(monkeypatch):
    order = []
    answer = serve_api.batcher._answer

    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 1, "wait_max_s": 0.0}) as batcher:
            give = batcher._thread.give
            batcher._thread.give = lambda batch: (order.append("given"), give(batch))
            await all_of([batcher.submit(rows(i), FOR_EVER_S) for i in range(2)])

    def answered(*arguments):
        order.append("answered")
        answer(*arguments)

    monkeypatch.setattr(serve_api.batcher, "_answer", answered)
    run(story())
    assert order == ["given", "given", "answered", "answered"]


def test_a_full_queue_refuses_one_more():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}, limits={"queue_max": 2}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(0), FOR_EVER_S)]
            futures += [batcher.submit(rows(i), FOR_EVER_S) for i in (1, 2)]
            with pytest.raises(Refused) as refused:
                batcher.submit(rows(3), FOR_EVER_S)
            assert (refused.value.reason, refused.value.status) == (Reason.QUEUE_FULL, 503)
            assert (b"retry-after", b"1") in refused.value.headers()
            model.gate.set()
            await all_of(futures)
        assert model.rows == [0, 1, 2]

    run(story())


def test_a_request_whose_deadline_passed_is_never_computed():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(0), FOR_EVER_S)]
            late = batcher.submit(rows(1), 0.0)
            futures.append(batcher.submit(rows(2), FOR_EVER_S))
            model.gate.set()
            await all_of(futures)
            with pytest.raises(Refused) as refused:
                await late
        assert (refused.value.reason, refused.value.status) == (Reason.DEADLINE, 504)
        assert model.rows == [0, 2]

    run(story())


def test_the_circuit_opens_refuses_and_closes_again_after_a_probe():
    async def story():
        model = MadeUp()
        parts = {"batch": {"wait_max_s": 0.0}, "breaker": {"failures_max": 2, "cooldown_s": 0.2}}
        async with batching(model, **parts) as batcher:
            breaker = batcher._versions.serving.breaker
            now_s = asyncio.get_running_loop().time
            model.failing = True
            for _ in range(2):
                with pytest.raises(Refused, match="the model failed"):
                    await batcher.submit(rows(0), FOR_EVER_S)
            assert breaker.state(now_s()) is CircuitState.OPEN
            with pytest.raises(Refused) as refused:
                batcher.submit(rows(0), FOR_EVER_S)
            assert refused.value.reason is Reason.CIRCUIT_OPEN
            assert len(model.sizes) == 2  # the model is left alone
            await asyncio.sleep(0.25)
            model.failing = False
            model.gate.clear()
            probe = batcher.submit(rows(0), FOR_EVER_S)
            with pytest.raises(Refused):  # one probe at a time
                batcher.submit(rows(0), FOR_EVER_S)
            model.gate.set()
            await all_of([probe])
            assert breaker.state(now_s()) is CircuitState.CLOSED
            await all_of([batcher.submit(rows(0), FOR_EVER_S)])

    run(story())


def test_those_who_wait_when_the_circuit_opens_are_refused_at_once():
    async def story():
        model = MadeUp()
        parts = {"batch": {"size_max": 1, "wait_max_s": 0.0}, "breaker": {"failures_max": 1}}
        async with batching(model, **parts) as batcher:
            model.failing = True
            model.gate.clear()
            futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(3)]
            model.gate.set()
            done = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), PATIENCE_S)
        reasons = [refused.reason for refused in done]
        assert reasons == [Reason.MODEL_FAILED, Reason.CIRCUIT_OPEN, Reason.CIRCUIT_OPEN]
        assert model.sizes == [1]

    run(story())


def test_a_model_that_hangs_is_given_up_and_taken_back_when_it_answers():
    async def story():
        model = MadeUp()
        parts = {"batch": {"size_max": 1, "wait_max_s": 0.0}, "breaker": {"cooldown_s": 0.05}}
        async with batching(model, inference={"time_max_s": 0.1}, **parts) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(2)]
            done = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), PATIENCE_S)
            assert [refused.reason for refused in done] == [Reason.MODEL_HUNG, Reason.MODEL_HUNG]
            assert batcher.hung
            with pytest.raises(Refused) as refused:
                batcher.submit(rows(2), FOR_EVER_S)
            assert refused.value.reason is Reason.MODEL_HUNG
            model.gate.set()
            while batcher.hung:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.06)
            assert (await all_of([batcher.submit(rows(5), FOR_EVER_S)]))[0].labels == [5]
        assert model.rows == [0, 5]

    run(story())


def test_the_loop_goes_on_while_the_model_computes():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            future = batcher.submit(rows(0), FOR_EVER_S)
            await entered(model)
            for _ in range(100):
                await asyncio.sleep(0)
            assert not future.done()
            model.gate.set()
            await all_of([future])

    run(story())
