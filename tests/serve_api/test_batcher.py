"""The rule of batching, with models that are made up and held."""

import asyncio
import random
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from serving import FAR, PATIENCE_S, MadeUp, metric, service_of
from virtual_time import run as virtual

from serve_api.server.backend import Answers
from serve_api.server.batcher import Served, _compute
from serve_api.server.breaker import CircuitState
from serve_api.server.refusal import Reason, Refused

FOR_EVER_S = 1e9


def rows(first, count=1):
    return np.full((count, 3), first, dtype=np.float32)


@asynccontextmanager
async def batching(model, canary=None, **given):
    """A model that is held hangs only where the test is about that."""
    wanted = {"inference_time_max_s": PATIENCE_S, "canary_share": 1.0, **given}
    batcher = service_of(model, canary, **wanted).batcher
    running = asyncio.create_task(batcher.run())
    yield batcher
    for held in (model, canary or model):
        held.gate.set()
    running.cancel()


async def all_of(futures):
    return await asyncio.wait_for(asyncio.gather(*futures), PATIENCE_S)


async def ends_of(futures):
    """What became of requests: their labels, or why they were refused."""
    done = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), PATIENCE_S)
    return [end.reason if isinstance(end, Refused) else end.labels for end in done]


def state_of(deployment):
    return deployment.breaker.state(asyncio.get_running_loop().time())


def counted(batcher, family, **labels):
    return getattr(batcher._metrics, family).labels(**labels)._value.get()


async def entered(model):
    assert await asyncio.to_thread(model.entered.wait, PATIENCE_S)


def run(story):
    asyncio.run(story())


async def test_a_full_batch_starts_without_waiting():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=60.0) as batcher:
        served = await all_of(batcher.submit(rows(i), FOR_EVER_S) for i in range(4))
    assert model.sizes == [4]
    assert [s.labels for s in served] == [[0], [1], [2], [3]]
    assert {s.batch_size for s in served} == {4}


async def test_one_row_too_few_waits_for_the_timer_of_the_oldest():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=0.05) as batcher:
        oldest = batcher.submit(rows(1), FOR_EVER_S)
        await asyncio.sleep(0.02)
        served = await all_of([oldest, batcher.submit(rows(2, count=2), FOR_EVER_S)])
    assert model.sizes == [3]
    assert served[0].queue_s >= 0.05 - 0.001
    assert served[0].queue_s - served[1].queue_s >= 0.02 - 0.001  # the timer is not the younger one's


async def test_with_wait_0_what_is_there_goes_at_once():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=0.0) as batcher:
        for i in range(3):
            await all_of([batcher.submit(rows(i), FOR_EVER_S)])
    assert model.sizes == [1, 1, 1]


async def test_while_one_batch_is_served_the_queue_fills_and_no_other_starts():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=0.0) as batcher:
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


async def test_rows_of_a_request_are_never_split_and_nobody_overtakes():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=0.0) as batcher:
        model.gate.clear()
        futures = [batcher.submit(rows(0), FOR_EVER_S)]
        await entered(model)
        futures += [batcher.submit(rows(i, count=n), FOR_EVER_S) for i, n in ((1, 3), (2, 2), (3, 1))]
        model.gate.set()
        served = await all_of(futures)
    assert model.sizes == [1, 3, 3]
    assert [len(s.labels) for s in served] == [1, 3, 2, 1]
    assert [s.labels[0] for s in served] == [0, 1, 2, 3]


async def test_who_waited_long_enough_behind_a_batch_waits_no_more_after_it():
    model = MadeUp()
    async with batching(model, batch_size_max=4, batch_wait_max_s=1.0) as batcher:
        model.gate.clear()
        first = [batcher.submit(rows(0), FOR_EVER_S) for _ in range(4)]
        await entered(model)
        behind = batcher.submit(rows(1), FOR_EVER_S)
        await asyncio.sleep(1.05)
        model.gate.set()
        served = await all_of([*first, behind])
    assert 1.0 <= served[-1].queue_s < 1.9  # a timer that began with the end of the batch would give 2


async def test_a_request_that_waited_is_in_its_batch_from_the_end_of_the_one_before():
    """Between two batches no time of the server is in neither, or its batches would take less than they cost."""
    async with batching(MadeUp(), batch_size_max=1, batch_wait_max_s=0.0) as batcher:
        futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(4)]
        arrived_s = [waiting.arrived_s for waiting in batcher._queue]
        served = await all_of(futures)
    starts_s = [one + it.queue_s for one, it in zip(arrived_s, served, strict=True)]
    ends_s = [start + it.batch_s for start, it in zip(starts_s, served, strict=True)]
    assert starts_s[1:] == pytest.approx(ends_s[:-1], abs=1e-9, rel=0.0)


async def test_after_a_rest_a_batch_begins_when_it_is_taken():
    async with batching(MadeUp(), batch_size_max=1, batch_wait_max_s=0.0) as batcher:
        await all_of([batcher.submit(rows(0), FOR_EVER_S)])
        await asyncio.sleep(0.2)
        (served,) = await all_of([batcher.submit(rows(1), FOR_EVER_S)])
    assert served.queue_s + served.batch_s < 0.2


async def test_the_next_batch_is_on_its_way_before_the_answers_are_written():
    model = MadeUp()
    async with batching(model, batch_size_max=1, batch_wait_max_s=0.0) as batcher:
        first, second = (batcher.submit(rows(i), FOR_EVER_S) for i in range(2))
        waiting: list[int] = []
        first.add_done_callback(lambda _: waiting.append(len(batcher)))
        await all_of([first, second])
    assert waiting == [0]  # the second had left the queue already


async def test_a_full_queue_refuses_one_more():
    model = MadeUp()
    async with batching(model, batch_wait_max_s=0.0, queue_max=2) as batcher:
        model.gate.clear()
        futures = [batcher.submit(rows(0), FOR_EVER_S)]
        await entered(model)
        futures += [batcher.submit(rows(i), FOR_EVER_S) for i in (1, 2)]
        with pytest.raises(Refused) as refused:
            batcher.submit(rows(3), FOR_EVER_S)
        assert refused.value.reason is Reason.QUEUE_FULL
        model.gate.set()
        await all_of(futures)
    assert 3 not in model.rows


async def test_who_waits_is_told_when_its_deadline_passes_and_is_never_computed():
    model = MadeUp()
    async with batching(model, batch_size_max=2, batch_wait_max_s=0.0) as batcher:
        model.gate.clear()
        futures = [batcher.submit(rows(0), FOR_EVER_S)]
        await entered(model)
        soon_s = asyncio.get_running_loop().time() + 0.05
        late = batcher.submit(rows(1), soon_s)
        assert await ends_of([late]) == [Reason.DEADLINE]  # while the batch before is still served
        assert len(batcher) == 0
        futures += [batcher.submit(rows(i), FOR_EVER_S) for i in (2, 3)]
        model.gate.set()
        await all_of(futures)
    assert model.rows == [0, 2, 3]
    assert model.sizes == [1, 2]


async def test_a_request_with_less_time_than_the_wait_has_its_batch_in_time():
    async with batching(MadeUp(), batch_wait_max_s=60.0) as batcher:
        now_s = asyncio.get_running_loop().time()
        (served,) = await all_of([batcher.submit(rows(1), now_s + 0.4)])
    assert 0.19 <= served.queue_s < 0.4


async def test_the_circuit_opens_refuses_and_closes_again_after_a_batch():
    model = MadeUp()
    limits = {"breaker_failures": 2, "breaker_cooldown_s": 0.2}
    async with batching(model, batch_size_max=1, batch_wait_max_s=0.0, **limits) as batcher:
        model.failing = True
        model.gate.clear()
        futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(4)]
        model.gate.set()
        failed, open_ = [Reason.MODEL_FAILED] * 2, [Reason.CIRCUIT_OPEN] * 2
        assert await ends_of(futures) == failed + open_  # those who wait when it opens are refused
        with pytest.raises(Refused) as refused:
            batcher.submit(rows(4), FOR_EVER_S)
        assert refused.value.reason is Reason.CIRCUIT_OPEN
        assert refused.value.headers == {"Retry-After": "1"}
        await asyncio.sleep(0.25)
        model.failing = False
        await all_of([batcher.submit(rows(5), FOR_EVER_S)])
        assert state_of(batcher._versions.serving) is CircuitState.CLOSED
    assert counted(batcher, "batches", version="v1.0.0", outcome="failed") == 2


async def test_a_model_that_hangs_is_given_up_and_taken_back_when_it_answers():
    model = MadeUp()
    limits = {"inference_time_max_s": 0.1, "breaker_cooldown_s": 0.1}
    async with batching(model, batch_size_max=1, batch_wait_max_s=0.0, **limits) as batcher:
        model.gate.clear()
        futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(2)]
        assert await ends_of(futures) == [Reason.MODEL_HUNG] * 2
        assert batcher.hung
        assert not batcher.abandoned
        with pytest.raises(Refused, match="does not answer"):
            batcher.submit(rows(2), FOR_EVER_S)
        model.gate.set()
        while batcher.hung:
            await asyncio.sleep(0.01)
        assert state_of(batcher._versions.serving) is CircuitState.OPEN  # it cools down first
        await asyncio.sleep(0.15)
        assert await ends_of([batcher.submit(rows(3), FOR_EVER_S)]) == [[3]]
    assert model.rows == [0, 3]


async def test_a_row_without_a_finite_answer_is_the_refusal_of_its_own_request():
    async with batching(MadeUp(), batch_size_max=3, batch_wait_max_s=60.0) as batcher:
        futures = [batcher.submit(rows(first), FOR_EVER_S) for first in (1, FAR, 2)]
        assert await ends_of(futures) == [[1], Reason.NO_ANSWER, [2]]
        assert state_of(batcher._versions.serving) is CircuitState.CLOSED


async def test_nobody_sees_that_a_canary_fails_and_in_the_end_it_is_left_alone():
    model, canary = MadeUp(), MadeUp("v1.1.0")
    canary.failing = True
    async with batching(model, canary, batch_size_max=1, batch_wait_max_s=0.0) as batcher:
        for first in range(5):
            (served,) = await all_of([batcher.submit(rows(first), FOR_EVER_S)])
            assert (served.version, served.labels) == ("v1.0.0", [first])
    assert canary.rows == [0, 1, 2]  # then its own circuit is open


@pytest.mark.parametrize("seed", range(3))
async def test_each_request_has_one_end_and_batches_keep_the_order(seed):
    """Conservation: what was submitted is answered with its own rows, or refused, and nothing is computed twice."""
    chance, model, canary = random.Random(seed), MadeUp(), MadeUp("v1.1.0")
    canary.failing = True
    wanted = {"batch_size_max": 4, "batch_wait_max_s": 0.002, "queue_max": 20, "canary_share": 0.2}
    ends, refusals = {}, set()
    async with batching(model, canary, **wanted) as batcher:
        now_s = asyncio.get_running_loop().time
        for first in range(300):
            patience_s = 0.001 if chance.random() < 0.1 else FOR_EVER_S
            try:
                ends[first] = batcher.submit(rows(first, count=chance.randint(1, 4)), now_s() + patience_s)
            except Refused as refused:
                refusals.add(refused.reason)
            if chance.random() < 0.2:
                await asyncio.sleep(0.002 * chance.random())
        found = dict(zip(ends, await ends_of(ends.values()), strict=True))
        assert (len(batcher), batcher._rows) == (0, 0)
    answered = [first for first, end in found.items() if end is not Reason.DEADLINE]
    assert all(set(found[first]) == {first} for first in answered)
    assert max(model.sizes) <= 4
    assert refusals <= {Reason.QUEUE_FULL}
    assert model.rows == [first for first in answered for _ in found[first]]  # first come, first served
    assert answered


def test_a_bug_of_the_batcher_is_seen_from_outside(capsys):
    async def story():
        async with batching(MadeUp(), batch_wait_max_s=0.0) as batcher:
            batcher._metrics.batch_seconds = None
            assert await ends_of([batcher.submit(rows(1), FOR_EVER_S)]) == [Reason.MODEL_HUNG]
            assert batcher.hung

    run(story)
    assert "internal_error" in capsys.readouterr().err


async def test_a_canary_that_hangs_is_left_alone_and_the_other_version_serves_on():
    model, canary = MadeUp(), MadeUp("v1.1.0")
    canary.gate.clear()
    wanted = {"batch_size_max": 1, "batch_wait_max_s": 0.0, "inference_time_max_s": 0.1}
    async with batching(model, canary, **wanted) as batcher:
        for first in range(3):
            (served,) = await all_of([batcher.submit(rows(first), FOR_EVER_S)])
            assert (served.version, served.labels) == ("v1.0.0", [first])
        assert not batcher.hung
        assert batcher.abandoned  # its thread would keep the process
        assert counted(batcher, "batches", version="v1.1.0", outcome="hung") == 1
        assert counted(batcher, "batches", version="v1.0.0", outcome="ok") == 3
        assert state_of(batcher._versions.canary) is CircuitState.OPEN
    assert canary.rows == [0]


async def test_the_loop_goes_on_while_the_model_computes():
    model = MadeUp()
    async with batching(model, batch_wait_max_s=0.0) as batcher:
        model.gate.clear()
        future = batcher.submit(rows(0), FOR_EVER_S)
        await entered(model)
        await asyncio.sleep(0.01)
        assert not future.done()
        model.gate.set()
        await all_of([future])


# Parts of the batcher, in virtual time.


def parts(monkeypatch, story, **given):
    """Runs a story with a batcher that takes no batches by itself, from 0 s on."""
    clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time(), thread_time=time.thread_time)
    monkeypatch.setattr("serve_api.server.batcher.time", clock)

    async def told():
        return await story(service_of(MadeUp(), **given).batcher)

    return virtual(told())


@pytest.mark.parametrize(("deadline_s", "due_s"), [(10.0, 1.05), (1.1, 1.05), (1.0625, 1.03125)])
def test_a_request_is_due_after_the_wait_or_half_of_its_time(monkeypatch, deadline_s, due_s):
    async def story(batcher):
        await asyncio.sleep(1.0)
        batcher.submit(rows(0, count=2), deadline_s)
        (waiting,) = batcher._queue
        assert (waiting.arrived_s, waiting.due_s) == (1.0, pytest.approx(due_s))
        assert waiting.expiry.when() == pytest.approx(deadline_s)
        assert (batcher._rows, len(batcher)) == (2, 1)
        await batcher._until_due()
        assert asyncio.get_running_loop().time() == pytest.approx(due_s)

    parts(monkeypatch, story, batch_wait_max_s=0.05)


def test_the_first_due_request_need_not_be_the_oldest(monkeypatch):
    async def story(batcher):
        batcher.submit(rows(0), 100.0)
        batcher.submit(rows(1), 4.0)
        await batcher._until_due()
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)

    parts(monkeypatch, story, batch_wait_max_s=3.0)


def test_a_full_batch_is_due_at_once(monkeypatch):
    async def story(batcher):
        waiting = asyncio.create_task(batcher._until_due())
        await asyncio.sleep(1.0)
        batcher.submit(rows(0, count=3), 100.0)
        await asyncio.sleep(1.0)
        assert not waiting.done()
        batcher.submit(rows(1), 100.0)
        await waiting
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)
        taken = batcher._take()
        assert [len(one.rows) for one in taken] == [3, 1]
        assert (batcher._rows, len(batcher)) == (0, 0)
        assert all(one.expiry.cancelled() for one in taken)

    parts(monkeypatch, story, batch_wait_max_s=50.0, batch_size_max=4)


def test_each_answer_has_its_wait_and_its_batch(monkeypatch):
    async def story(batcher):
        first = batcher.submit(rows(1, count=2), 100.0)
        await asyncio.sleep(0.25)
        second = batcher.submit(rows(5), 100.0)
        members = batcher._take()
        await asyncio.sleep(0.5)
        taken_s = asyncio.get_running_loop().time()
        await asyncio.sleep(2.0)
        answers = Answers([1, 2, 5], [[0.1], [0.2], [0.5]], [True] * 3)
        batcher._answer(members, "v1.0.0", answers, taken_s)
        assert first.result() == Served([1, 2], [[0.1], [0.2]], "v1.0.0", 0.75, 2.0, 3)
        assert second.result() == Served([5], [[0.5]], "v1.0.0", 0.5, 2.0, 3)
        text = batcher._metrics.text()
        assert metric(text, "serve_batch_seconds_sum", version="v1.0.0", batch_size="3") == 2.0
        assert metric(text, "serve_queue_wait_seconds_sum") == 1.25

    parts(monkeypatch, story)


def test_a_refusal_says_when_to_retry(monkeypatch):
    async def story(batcher):
        batcher.submit(rows(0), 100.0)
        with pytest.raises(Refused) as full:
            batcher.check_room(0.0)
        breaker = batcher._versions.serving.breaker
        breaker.failed(0.0)
        with pytest.raises(Refused) as broken:
            batcher.check_room(1.5)
        batcher.hung = True
        with pytest.raises(Refused) as hung:
            batcher.check_room(1.5)
        waits = [refused.value.headers["Retry-After"] for refused in (full, broken, hung)]
        assert waits == ["1", "4", "3"]

    parts(
        monkeypatch, story, queue_max=1, breaker_failures=1, breaker_cooldown_s=5.0, inference_time_max_s=2.5
    )


def test_a_model_must_answer_each_row_once():
    class Short(MadeUp):
        def predict(self, given):
            return super().predict(given[:-1])

    with pytest.raises(ValueError, match="not exactly one answer for each row"):
        _compute(Short(), rows(1, count=3))
    answers, cpu_s = _compute(MadeUp(), rows(1, count=3))
    assert (answers.labels, 0.0 <= cpu_s < 1.0) == ([1, 1, 1], True)


def test_cpu_time_of_a_batch_is_that_of_its_thread(monkeypatch):
    ticks = iter([5.0, 5.75])
    monkeypatch.setattr("serve_api.server.batcher.time", SimpleNamespace(thread_time=lambda: next(ticks)))
    assert _compute(MadeUp(), rows(1))[1] == 0.75
