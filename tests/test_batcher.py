"""The rule of batching, with models that are made up and held."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from serving import FAR, PATIENCE_S, MadeUp, settings

from serve_api.batch import Batch
from serve_api.batcher import Batcher
from serve_api.breaker import CircuitState
from serve_api.deployment import Deployment
from serve_api.metrics import Metrics
from serve_api.refusal import Reason, Refused
from serve_api.rollout import Rollout
from serve_api.settings import InferenceSettings, LimitSettings

FOR_EVER_S = 1e9
FULL_ONLY = {"size_max": 4, "wait_max_s": 60.0}


def rows(first, count=1):
    return np.full((count, 3), first, dtype=np.float32)


@asynccontextmanager
async def batching(model, canary=None, **parts):
    """A model that is held hangs only where the test is about that."""
    wanted, metrics = settings(**{"inference": {"time_max_s": PATIENCE_S}, **parts}), Metrics()
    second = None if canary is None else Deployment(canary, wanted.breaker, metrics)
    serving = Deployment(model, wanted.breaker, metrics)
    batcher = Batcher(wanted, Rollout(serving, metrics, canary=second, canary_share=1.0), metrics)
    batcher.start()
    yield batcher
    for held in (model, canary or model):
        held.gate.set()
    batcher.stop()


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


def test_the_oldest_does_not_wait_for_those_who_come_after_it():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 1000, "wait_max_s": 0.3}) as batcher:
            oldest = batcher.submit(rows(0), FOR_EVER_S)
            for _ in range(100):
                batcher.submit(rows(1), FOR_EVER_S)
                await asyncio.sleep(0.05)
                if oldest.done():
                    return
        pytest.fail("its timer began anew with each of them")

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
    answer = Batch.answer

    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 1, "wait_max_s": 0.0}) as batcher:
            give = batcher._thread.give
            batcher._thread.give = lambda batch: (order.append("given"), give(batch))
            await all_of([batcher.submit(rows(i), FOR_EVER_S) for i in range(2)])

    def answered(*arguments):
        order.append("answered")
        answer(*arguments)

    monkeypatch.setattr(Batch, "answer", answered)
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
            await asyncio.sleep(0.06)  # beyond the cool-down: there is nothing to be tried yet
            assert state_of(batcher._versions.serving) is CircuitState.OPEN
            assert counted(batcher, "batches", version="v1.0.0", outcome="hung") == 1
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


def test_a_model_that_hung_is_left_alone_for_the_cool_down():
    async def story():
        model = MadeUp()
        parts = {"batch": {"size_max": 1, "wait_max_s": 0.0}, "breaker": {"cooldown_s": 600.0}}
        async with batching(model, inference={"time_max_s": 0.1}, **parts) as batcher:
            model.gate.clear()
            with pytest.raises(Refused):
                await batcher.submit(rows(0), FOR_EVER_S)
            model.gate.set()
            while batcher.hung:
                await asyncio.sleep(0.01)
            with pytest.raises(Refused) as refused:
                batcher.submit(rows(1), FOR_EVER_S)
            assert refused.value.reason is Reason.CIRCUIT_OPEN

    run(story())


def test_a_request_that_the_model_cannot_bear_fails_alone():
    async def story():
        model = MadeUp()
        model.unbearable = 3.0
        async with batching(model, batch=FULL_ONLY, breaker={"failures_max": 1}) as batcher:
            ends = await ends_of([batcher.submit(rows(i), FOR_EVER_S) for i in range(4)])
            assert state_of(batcher._versions.serving) is CircuitState.CLOSED
            assert counted(batcher, "batches", version="v1.0.0", outcome="failed") == 3
            assert counted(batcher, "batches", version="v1.0.0", outcome="ok") == 2
        assert ends == [[0], [1], [2], Reason.MODEL_FAILED]
        assert model.sizes == [4, 2, 2, 1, 1]
        assert len(batcher) == 0

    run(story())


def test_who_is_served_again_goes_before_those_who_came_later():
    async def story():
        model = MadeUp()
        model.unbearable = 1.0
        async with batching(model, batch={"size_max": 2, "wait_max_s": 60.0}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(4)]
            await entered(model)
            model.gate.set()
            assert await ends_of(futures) == [[0], Reason.MODEL_FAILED, [2], [3]]
        assert model.rows == [0, 1, 0, 1, 2, 3]

    run(story())


def test_one_clients_requests_do_not_open_the_circuit_for_all():
    async def story():
        model = MadeUp()
        model.unbearable = 3.0
        async with batching(model, batch={"wait_max_s": 0.0}, breaker={"failures_max": 2}) as batcher:
            for first, end in ((3, Reason.MODEL_FAILED), (FAR, Reason.NO_ANSWER)):
                assert [(await ends_of([batcher.submit(rows(first), FOR_EVER_S)]))[0] for _ in range(4)] == [
                    end
                ] * 4
            assert await ends_of([batcher.submit(rows(5), FOR_EVER_S)]) == [[5]]

    run(story())


def test_a_model_that_fails_altogether_is_not_asked_again_for_each():
    async def story():
        model = MadeUp()
        model.failing = True
        async with batching(model, batch=FULL_ONLY, breaker={"failures_max": 2}) as batcher:
            ends = await ends_of([batcher.submit(rows(i), FOR_EVER_S) for i in range(4)])
            assert state_of(batcher._versions.serving) is CircuitState.CLOSED  # a batch is one failure
        assert ends == [Reason.MODEL_FAILED] * 4
        assert (model.sizes, model.probes) == ([4], 1)

    run(story())


def test_a_row_without_a_finite_answer_is_the_refusal_of_its_own_request():
    async def story():
        model = MadeUp()
        async with batching(model, batch=FULL_ONLY, breaker={"failures_max": 1}) as batcher:
            two = np.concatenate([rows(1), rows(FAR)])
            futures = [batcher.submit(each, FOR_EVER_S) for each in (rows(0), two, rows(2))]
            ends = await ends_of(futures)
            assert str(futures[1].exception()).startswith("row 1: the model has no finite answer")
            assert futures[1].exception().status == 422
            assert state_of(batcher._versions.serving) is CircuitState.CLOSED
        assert ends == [[0], Reason.NO_ANSWER, [2]]
        assert (model.sizes, model.probes) == ([4], 0)

    run(story())


def test_a_model_without_a_finite_answer_to_anything_has_failed():
    async def story():
        model = MadeUp()
        model.blank = True
        async with batching(model, batch={"wait_max_s": 0.0}, breaker={"failures_max": 1}) as batcher:
            assert await ends_of([batcher.submit(rows(0), FOR_EVER_S)]) == [Reason.MODEL_FAILED]
            assert state_of(batcher._versions.serving) is CircuitState.OPEN

    run(story())


@pytest.mark.parametrize("flaw", ["failing", "blank"])
def test_nobody_sees_that_a_canary_fails(flaw):
    async def story():
        model, canary = MadeUp(), MadeUp("v1.1.0")
        setattr(canary, flaw, True)
        parts = {"batch": FULL_ONLY, "breaker": {"failures_max": 1, "cooldown_s": 600.0}}
        async with batching(model, canary, **parts) as batcher:
            served = await all_of(batcher.submit(rows(i), FOR_EVER_S) for i in range(4))
            assert counted(batcher, "batches", version="v1.1.0", outcome="failed") == 1
            assert counted(batcher, "batches", version="v1.0.0", outcome="ok") == 1
            assert state_of(batcher._versions.canary) is CircuitState.OPEN
            assert state_of(batcher._versions.serving) is CircuitState.CLOSED
        assert [(s.labels, s.deployment.version) for s in served] == [([i], "v1.0.0") for i in range(4)]
        assert (canary.sizes, model.sizes) == ([4], [4])

    run(story())


def test_rows_that_a_canary_cannot_answer_are_given_to_the_other_version():
    async def story():
        model, canary = MadeUp(), MadeUp("v1.1.0")
        async with batching(model, canary, batch=FULL_ONLY) as batcher:
            ends = await ends_of([batcher.submit(rows(first), FOR_EVER_S) for first in (0, 1, 2, FAR)])
        assert ends == [[0], [1], [2], Reason.NO_ANSWER]
        assert (canary.sizes, model.sizes) == ([4], [4])

    run(story())


class Narrow(MadeUp):
    """A model that raises at 3, or has no finite answer to it."""

    def __init__(self, version, flaw):
        super().__init__(version)
        self.flaw = flaw

    def predict(self, rows):
        answer = super().predict(rows)
        at_3 = {row for row, first in enumerate(rows[:, 0]) if first == 3.0}
        if at_3 and self.flaw == "raises":
            raise RuntimeError
        return answer._replace(unanswered=answer.unanswered | at_3)


@pytest.mark.parametrize("flaw", ["raises", "has no answer"])
@pytest.mark.parametrize(("first", "end"), [(0, [0]), (FAR, Reason.NO_ANSWER)], ids=["near", "far"])
def test_a_canary_that_fails_what_the_other_version_answers_is_left_alone(flaw, first, end):
    async def story():
        model, canary = MadeUp(), Narrow("v1.1.0", flaw)
        parts = {"batch": FULL_ONLY, "breaker": {"failures_max": 2, "cooldown_s": 600.0}}
        async with batching(model, canary, **parts) as batcher:
            states = []
            for _ in range(3):
                ends = await ends_of([batcher.submit(rows(x), FOR_EVER_S) for x in (first, 1, 2, 3)])
                assert ends == [end, [1], [2], [3]]
                states.append(state_of(batcher._versions.canary))
        assert states == [CircuitState.CLOSED, CircuitState.OPEN, CircuitState.OPEN]
        assert canary.sizes == [4, 4]

    run(story())


@pytest.mark.parametrize("flaw", ["raises", "has no answer"])
def test_rows_that_neither_version_answers_say_nothing_of_the_canary(flaw):
    async def story():
        model, canary = Narrow("v1.0.0", flaw), Narrow("v1.1.0", flaw)
        parts = {"batch": {"wait_max_s": 0.0}, "breaker": {"failures_max": 1, "cooldown_s": 600.0}}
        async with batching(model, canary, **parts) as batcher:
            bad = Reason.MODEL_FAILED if flaw == "raises" else Reason.NO_ANSWER
            for _ in range(3):
                assert await ends_of([batcher.submit(rows(3), FOR_EVER_S)]) == [bad]
            assert counted(batcher, "batches", version="v1.1.0", outcome="failed") == 3
            assert state_of(batcher._versions.canary) is CircuitState.CLOSED
            (served,) = await all_of([batcher.submit(rows(5), FOR_EVER_S)])
        assert served.deployment.version == "v1.1.0"

    run(story())


def test_a_canary_is_probed_with_as_many_requests_as_a_probe_may_have():
    async def story():
        model, canary = MadeUp(), MadeUp("v1.1.0")
        batch, breaker = {"size_max": 4, "wait_max_s": 0.05}, {"cooldown_s": 0.001, "probes_max": 2}
        canary.failing = True
        async with batching(model, canary, batch=batch, breaker=breaker) as batcher:
            batcher._versions.canary.breaker.trip(-1e9)  # cooled long ago
            ends = await ends_of([batcher.submit(rows(i), FOR_EVER_S) for i in range(4)])
        assert ends == [[0], [1], [2], [3]]
        assert canary.sizes[0] == 2

    run(story())


def test_a_canary_that_hangs_is_left_alone_and_the_other_version_serves_on(capsys):
    async def story():
        model, canary = MadeUp(), MadeUp("v1.1.0")
        parts = {"batch": {"wait_max_s": 0.0}, "inference": {"time_max_s": 0.1}}
        async with batching(model, canary, **parts) as batcher:
            canary.gate.clear()
            assert await ends_of([batcher.submit(rows(0), FOR_EVER_S)]) == [[0]]
            assert not batcher.hung
            assert counted(batcher, "batches", version="v1.1.0", outcome="hung") == 1
            assert await ends_of([batcher.submit(rows(1), FOR_EVER_S)]) == [[1]]
            assert canary.sizes == [1]
            assert batcher._versions.canary.breaker.state(1e9) is CircuitState.OPEN
            model.gate.clear()
            assert await ends_of([batcher.submit(rows(2), FOR_EVER_S)]) == [Reason.MODEL_HUNG]
            canary.gate.set()  # what comes back now is not the one that hangs
            logged = ""
            while "model_back" not in logged:
                await asyncio.sleep(0.005)
                logged += capsys.readouterr().err
            assert batcher.hung
            assert batcher._versions.canary.breaker.state(1e9) is CircuitState.HALF_OPEN
        assert model.threads.isdisjoint(canary.threads)

    run(story())


def test_as_a_rule_who_is_in_a_batch_that_a_canary_hangs_in_is_answered_before_its_deadline():
    async def story():
        model, canary = MadeUp(), MadeUp("v1.1.0")
        share = 0.1  # of the usual times, so that it takes no seconds
        time_max_s, deadline_s = share * InferenceSettings().time_max_s, share * LimitSettings().deadline_s
        parts = {"batch": {"wait_max_s": 0.0}, "inference": {"time_max_s": time_max_s}}
        async with batching(model, canary, **parts) as batcher:
            canary.gate.clear()
            now_s = asyncio.get_running_loop().time()
            assert await ends_of([batcher.submit(rows(0), now_s + deadline_s)]) == [[0]]
            assert counted(batcher, "batches", version="v1.1.0", outcome="hung") == 1

    run(story())


def test_a_request_with_less_time_than_the_wait_has_its_batch_in_time():
    async def story():
        model = MadeUp()
        async with batching(model, batch=FULL_ONLY) as batcher:
            now_s = asyncio.get_running_loop().time()
            patient = batcher.submit(rows(0), FOR_EVER_S)
            served = await all_of([patient, batcher.submit(rows(1), now_s + 0.4)])
        assert model.sizes == [2]
        assert 0.19 <= served[1].queue_s < 0.4

    run(story())


def test_who_waits_is_told_when_its_deadline_passes():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            first = batcher.submit(rows(0), FOR_EVER_S)
            now_s = asyncio.get_running_loop().time()
            late = [batcher.submit(rows(1), now_s + after_s) for after_s in (0.03, 0.06)]
            behind = batcher.submit(rows(2), FOR_EVER_S)
            assert await ends_of(late) == [Reason.DEADLINE] * 2
            assert not first.done()  # the model is at it yet
            assert len(batcher) == 1
            model.gate.set()
            await all_of([first, behind])
        assert model.rows == [0, 2]

    run(story())


@pytest.mark.parametrize("gone", ["late", "left"])
def test_who_is_late_or_left_makes_no_batch_full(gone):
    async def story():
        model = MadeUp()
        async with batching(model, batch={"size_max": 2, "wait_max_s": 0.3}) as batcher:
            model.gate.clear()
            first = [batcher.submit(rows(i), FOR_EVER_S) for i in range(2)]
            second = batcher.submit(rows(2), 0.0 if gone == "late" else FOR_EVER_S)
            patient = batcher.submit(rows(3), FOR_EVER_S)
            if gone == "left":
                second.cancel()
                batcher.left()
            model.gate.set()  # before any timer of the queue has come
            served = await all_of([*first, patient])
            if gone == "late":
                assert await ends_of([second]) == [Reason.DEADLINE]
        assert model.sizes == [2, 1]
        assert served[2].queue_s >= 0.29

    run(story())


@pytest.mark.parametrize("gone", ["late", "left"])
def test_who_is_late_or_left_takes_no_place_in_the_queue(gone):
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}, limits={"queue_max": 1}) as batcher:
            model.gate.clear()
            first = batcher.submit(rows(0), FOR_EVER_S)
            second = batcher.submit(rows(1), 0.0 if gone == "late" else FOR_EVER_S)
            if gone == "left":
                second.cancel()
            third = batcher.submit(rows(2), FOR_EVER_S)
            with pytest.raises(Refused, match="too many requests wait"):
                batcher.submit(rows(3), FOR_EVER_S)
            model.gate.set()
            await all_of([first, third])
        assert model.rows == [0, 2]

    run(story())


def test_who_left_is_not_computed():
    async def story():
        model = MadeUp()
        async with batching(model, batch={"wait_max_s": 0.0}) as batcher:
            model.gate.clear()
            futures = [batcher.submit(rows(i), FOR_EVER_S) for i in range(3)]
            futures[1].cancel()
            batcher.left()
            async with asyncio.timeout(PATIENCE_S):
                while len(batcher) == 2:  # it takes no place either
                    await asyncio.sleep(0.005)
            model.gate.set()
            await all_of([futures[0], futures[2]])
        assert model.rows == [0, 2]

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
