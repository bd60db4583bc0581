"""Sweeps: requests to a language model's server whose answers tell how long each step takes.

Prompts of several lengths with one output token, one at a time; short prompts at one request at a time up to the
maximum; long prompts at several; and last a run in which requests always wait, which checks the rest. The requests of
a wave are sent at once, and the next wave follows when the last has ended, so that between the first tokens and the
end all decode together and no prompt is computed.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from capacity.errors import DependencyError, InconclusiveError, InputError
from capacity.formats.prometheus_text import ACCEPTED, DRAFTS, drafts_of
from capacity.measurement.completions import Prompt, complete
from capacity.measurement.http import Address, session
from capacity.measurement.metrics import Scrape, gain, scrape
from capacity.measurement.url import Page
from capacity.profile.llm_runs import SeenRequest, SeenRun
from capacity.profile.llm_sweeps import EngineSettings
from capacity.profile.speculation import Speculation
from capacity.units import format_percent

if TYPE_CHECKING:
    import aiohttp

Report = Callable[[str], None]
Lengths = tuple[int, int]

# Tokens of the shortest prompts, and the step from one length to the next.
_SHORTEST, _RATIO = 16, 4
_CONTEXT_MIN = 256
# Prompts of each length, waves of each number of requests, and steps that a wave decodes together.
_SAMPLES, _WAVES, _STEPS = 8, 3, 64
# Requests of the saturated run and those in flight, in multiples of those that run at once; their lengths.
_SATURATED, _IN_FLIGHT, _INPUT, _OUTPUT = 6, 2, 512, 128
# Token ids that every model has and that mean nothing special.
_TOKENS = (100, 10_000)
# A client that takes this share of a core may see tokens late.
_CPU_SHARE_MAX = 0.8
# A page of metrics is near, or there is none.
_PAGE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRun:
    """Requests by input and output tokens, in waves; at most this many of each wave are in flight at once."""

    name: str
    waves: tuple[tuple[Lengths, ...], ...]
    in_flight: int

    @property
    def requests(self) -> int:
        """Number of requests."""
        return sum(map(len, self.waves))


def sweeps_of(settings: EngineSettings, context_tokens_max: int, seed: int) -> list[AskedRun]:
    """The runs that reveal an engine's steps up to its settings and up to this context.

    Raises:
        InputError: a context too short to show the cost of reading the cache, or one that the cache cannot hold.
    """
    if not _CONTEXT_MIN <= context_tokens_max <= settings.kv.usable_tokens:
        raise InputError(
            f"--context-tokens-max must be from {_CONTEXT_MIN} to the {settings.kv.usable_tokens} tokens that the KV "
            f"cache can use, got {context_tokens_max}"
        )
    most = settings.sequences_max
    runs = [_prompts_run(settings.batched_tokens_max, context_tokens_max, seed)]
    room = settings.kv.usable_tokens // (_SHORTEST + _STEPS)
    runs += [
        _together(f"short-{count}", (_SHORTEST, _STEPS), count, _WAVES)
        for count in _counts(most)
        if count <= room
    ]
    fits = min(most, settings.kv.usable_tokens // context_tokens_max)
    runs += [
        _long_run(settings.batched_tokens_max, context_tokens_max, count)
        for count in sorted({1, max(1, fits // 2), fits})
    ]
    lengths = (min(context_tokens_max // 2, _INPUT), min(context_tokens_max // 4, _OUTPUT))
    runs.append(
        AskedRun(name="saturated", waves=((lengths,) * (_SATURATED * most),), in_flight=_IN_FLIGHT * most)
    )
    return runs


def _prompts_run(batched_tokens_max: int, context_tokens_max: int, seed: int) -> AskedRun:
    """Prompts up to one pass; longer ones in pairs that differ by one pass."""
    longest = min(batched_tokens_max, context_tokens_max - 1)
    lengths = {_SHORTEST * _RATIO**k for k in range(12)} | {longest // 2, longest}
    lengths = {tokens for tokens in lengths if 1 <= tokens <= longest}
    passes = 1
    while (passes + 1) * batched_tokens_max < context_tokens_max:
        lengths |= {passes * batched_tokens_max, (passes + 1) * batched_tokens_max}
        passes *= 2
    last = (context_tokens_max - 1) // batched_tokens_max * batched_tokens_max
    if last:  # the longest prompt ends with a pass after these
        lengths |= {last, context_tokens_max - 1}
    ordered = sorted(lengths) * _SAMPLES
    random.Random(seed).shuffle(ordered)  # noqa: S311  (nothing secret)
    return AskedRun(name="prompts", waves=tuple(((tokens, 1),) for tokens in ordered), in_flight=1)


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... and the largest."""
    powers = [2**k for k in range(most.bit_length())]
    return sorted({count for power in powers for count in (power, 3 * power // 2) if count <= most} | {most})


def _together(name: str, lengths: Lengths, count: int, waves: int) -> AskedRun:
    return AskedRun(name=name, waves=((lengths,) * count,) * waves, in_flight=count)


def _long_run(batched_tokens_max: int, context_tokens_max: int, count: int) -> AskedRun:
    """Long prompts that decode together for a while after the last of them was computed."""
    output = _STEPS + 2 * math.ceil(count * context_tokens_max / batched_tokens_max)
    output = min(output, context_tokens_max // 2)
    return _together(f"long-{count}", (context_tokens_max - output, output), count, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, the model to ask for, and the timeout of a request. [s]"""

    address: Address
    model: str
    timeout_s: float

    def measure(self, runs: list[AskedRun], seed: int, report: Report) -> list[SeenRun]:
        """Send the runs one after another, after one request that does not count.

        Raises:
            DependencyError: a request failed, or the server is not OpenAI-compatible.
            InconclusiveError: this client was too slow to see when tokens came.
        """
        with asyncio.Runner() as runner:
            return runner.run(self._measure(runs, random.Random(seed), report))  # noqa: S311

    async def _measure(self, runs: list[AskedRun], dice: random.Random, report: Report) -> list[SeenRun]:
        found = []
        async with session(self.timeout_s) as client:
            await self._request(client, (_SHORTEST, 2), dice)
            for number, run in enumerate(runs, 1):
                report(f"{run.name}: {run.requests} requests (run {number} of {len(runs)})")
                before = self._counters()
                began_s, began_cpu_s = time.perf_counter(), time.thread_time()
                requests = [
                    one for wave in run.waves for one in await self._wave(client, wave, run.in_flight, dice)
                ]
                share = (time.thread_time() - began_cpu_s) / (time.perf_counter() - began_s)
                if share > _CPU_SHARE_MAX:
                    raise InconclusiveError(
                        f"{run.name}: reading {run.in_flight} streams took {format_percent(share)} of a core, so "
                        "that tokens may have come earlier than they were seen; measure from a faster machine, "
                        "or a smaller --sequences-max"
                    )
                drafts = _drafts(before, self._counters())
                seen = SeenRun(name=run.name, requests=tuple(requests), speculation=drafts)
                found.append(_since(seen, began_s))
        return found

    def _counters(self) -> Scrape | None:
        """The server's counters, as vLLM shows them; None if it shows none."""
        page = Page(address=replace(self.address, target="/metrics"), timeout_s=min(self.timeout_s, _PAGE_S))
        with suppress(DependencyError):
            return scrape(page)
        return None

    async def _wave(
        self, client: "aiohttp.ClientSession", wave: tuple[Lengths, ...], in_flight: int, dice: random.Random
    ) -> list[SeenRequest]:
        """Send all requests of a wave, by users who each send one after another."""
        todo, seen = deque(wave), []

        async def user() -> None:
            while todo:
                seen.append(await self._request(client, todo.popleft(), dice))

        try:
            async with asyncio.TaskGroup() as users:
                for _ in range(min(in_flight, len(wave))):
                    users.create_task(user())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return seen

    async def _request(
        self, client: "aiohttp.ClientSession", lengths: Lengths, dice: random.Random
    ) -> SeenRequest:
        """A prompt with a beginning of its own, so that nothing of it is cached."""
        tokens = tuple(dice.randrange(*_TOKENS) for _ in range(lengths[0]))
        return await complete(
            client, self.address, Prompt(model=self.model, tokens=tokens, output_tokens=lengths[1])
        )


def _drafts(before: Scrape | None, after: Scrape | None) -> Speculation | None:
    """What was drafted between two scrapes, and accepted; None if the server does not count that."""
    if before is None or after is None:
        return None
    return drafts_of(
        (name, dict(labels), rise)
        for name in (DRAFTS, ACCEPTED)
        for labels, rise in gain(before, after, name).items()
    )


def _since(run: SeenRun, began_s: float) -> SeenRun:
    """The run on a clock that starts with it."""
    shifted = tuple(
        replace(
            one, start_s=one.start_s - began_s, first_s=one.first_s - began_s, last_s=one.last_s - began_s
        )
        for one in run.requests
    )
    return replace(run, requests=shifted)
