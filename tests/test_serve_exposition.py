"""The text of the metrics: never older than the question, and not written for each one alone."""

import asyncio
import threading
import time

from serving import PATIENCE_S, MadeUp, application, ask

from serve_api.exposition import Exposition


class Writer:
    """Numbers its texts; it can be held at the first."""

    def __init__(self):
        self.count, self.at_once, self.at_once_max = 0, 0, 0
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self):
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self.count += 1
        number = self.count
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        self.at_once -= 1
        return b"%d" % number


def test_who_asks_while_a_text_is_written_shares_the_next():
    async def story():
        writer = Writer()
        exposition = Exposition(writer)
        writer.gate.clear()
        first = asyncio.create_task(exposition.read())
        while not writer.entered.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(exposition.read()) for _ in range(100)]
        await asyncio.sleep(0)
        others.pop().cancel()  # one leaves
        writer.gate.set()
        texts = await asyncio.gather(*others)
        assert await first == b"1"
        assert set(texts) == {b"2"}  # not the first, which does not hold what was counted since
        assert len({id(text) for text in texts}) == 1
        assert writer.at_once_max == 1

    asyncio.run(story())


def test_texts_are_not_written_without_end():
    async def story():
        writer = Writer()
        exposition = Exposition(writer)
        end_s = time.monotonic() + 0.5
        while time.monotonic() < end_s:
            await exposition.read()
        return writer.count

    assert 5 <= asyncio.run(story()) <= 18  # ten after a rest, then one each tenth of a second


def test_the_application_asks_for_it():
    texts = []

    async def story():
        app = application(MadeUp())
        app.exposition = Exposition(lambda: texts.append(b"serve_x %d\n" % len(texts)) or texts[-1])
        answers = await asyncio.gather(*[ask(app, method="GET", path="/metrics") for _ in range(50)])
        return {answer.body for answer in answers}

    assert asyncio.run(story()) <= set(texts)
    assert len(texts) <= 2
