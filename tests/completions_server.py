"""A server of completions as OpenAI's, whose engine's steps take known times on a real clock; on 127.0.0.1.

It notes what each step had in it and how long that really took, so that a measurement is held against what
happened and not against what was meant to: on a busy machine sleeps are longer.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from engine_on_paper import Engine, Job, Law


@dataclass(frozen=True)
class Step:
    """What a step had in it, and how long it took. [s]"""

    prompt_tokens: int
    decode_requests: int
    decode_read: int
    seconds: float


@dataclass
class CompletionsServer:
    """What was asked of it, and what its engine did."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


Spoil = Callable[[dict[str, Any]], dict[str, Any] | None]


class _Server:
    """The engine's loop, and an answer for each request."""

    def __init__(self, engine: Engine, seen: CompletionsServer, spoil: Spoil, status: int) -> None:
        self.engine, self.seen, self.spoil, self.status = engine, seen, spoil, status
        self.news: dict[int, asyncio.Queue[None]] = {}

    async def compute(self) -> None:
        """One step after another; from the end of one to that of the next, unless there was nothing to do."""
        before_s = time.perf_counter()
        while True:
            parts, step_s = self.engine.compose()
            if not parts:
                await asyncio.sleep(5e-4)
                before_s = time.perf_counter()
                continue
            decode = [job for job, _ in parts if job.stamps_s]
            prompt_tokens = sum(tokens for job, tokens in parts if not job.stamps_s)
            read = sum(job.computed + 1 for job in decode)
            await asyncio.sleep(step_s)
            ended_s = time.perf_counter()
            self.seen.steps.append(Step(prompt_tokens, len(decode), read, ended_s - before_s))
            before_s = ended_s
            for job in self.engine.hand_out(parts, ended_s):
                self.news[id(job)].put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """An event for each token, as it comes, and one that counts them."""
        body = await request.json()
        self.seen.asked.append(body)
        if self.status != 200:
            return web.json_response({"error": "overloaded"}, status=self.status)
        job = Job(len(body["prompt"]), body["max_tokens"])
        self.news[id(job)] = asyncio.Queue()
        self.engine.waiting.append(job)
        self.seen.jobs.append(job)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(1, job.output_tokens + 1):
            await self.news[id(job)].get()
            reason = "length" if number == job.output_tokens else None
            choice = {"index": 0, "text": " a", "finish_reason": reason}
            await self._tell(response, {"choices": [choice], "usage": None})
        usage = {"prompt_tokens": job.input_tokens, "completion_tokens": job.output_tokens}
        await self._tell(response, {"choices": [], "usage": usage})
        await response.write(b": a comment\n\ndata: [DONE]\n\n")
        return response

    async def _tell(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        told = self.spoil(event)
        if told is not None:
            await response.write(f"data: {json.dumps(told)}\n\n".encode())

    async def run(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Until it is told to stop."""
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/completions", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.seen.url = "http://{}:{}".format(*runner.addresses[0])
        computing = asyncio.create_task(self.compute())
        ready.set()
        await stop.wait()
        computing.cancel()
        await runner.cleanup()


@contextmanager
def completing(
    law: Law, *, sequences_max: int, tokens_max: int, spoil: Spoil = lambda event: event, status: int = 200
) -> Iterator[CompletionsServer]:
    """Serve until the end of the block; `spoil` may change each event, or keep it back."""
    server = _Server(Engine(law, sequences_max, tokens_max), CompletionsServer(), spoil, status)
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(ready, stop)), daemon=True)
    thread.start()
    assert ready.wait(10.0)
    try:
        yield server.seen
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10.0)
        loop.close()
