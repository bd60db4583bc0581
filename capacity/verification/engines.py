"""Engines: what a load test sends to servers of a language model, and what is compared.

Each request is a prompt of its own, of as many tokens as the plan's lengths say, and asks for as many tokens. The
answer is streamed, so that the time of each token is seen.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from capacity.errors import InputError
from capacity.measurement.completions import Prompt, completions_address, stream
from capacity.measurement.http import Address, parse_address
from capacity.measurement.metrics import Scrape
from capacity.question.arguments import Asked
from capacity.verification.conversations import TOKENS, Turn
from capacity.verification.quantities import QUANTITIES_OF_TOKENS
from capacity.verification.run import OK
from capacity.verification.send import Asks, Sent, Target
from capacity.verification.subject import Subject
from capacity.verification.watch import look

if TYPE_CHECKING:
    import aiohttp

CACHE = "vllm:cache_config_info"
_TIMEOUT_S = 600.0  # unless one is given: answers of a language model may be long
_PROBE = (16, 2)  # tokens of a request that shows whether a server answers


@dataclass(frozen=True, kw_only=True)
class Prompts(Target):
    """Requests to complete prompts, each of which begins as all others do or is random from its first token.

    Attributes:
        cached_share: share of each prompt that it has in common with all others.
    """

    model: str
    seed: int
    cached_share: float = 0.0

    async def exchange(self, client: "aiohttp.ClientSession", address: Address, asks: Asks) -> Sent:
        """The outcome of one request, with its tokens if it was answered well."""
        if isinstance(asks, Turn):
            return await self._turn(client, address, asks)
        given, got = asks or _PROBE
        prompt = Prompt(model=self.model, tokens=self.prompt(given), output_tokens=got)
        streamed = await stream(client, address, prompt.body)
        return Sent(streamed.status, seen=streamed.seen(address) if streamed.status == OK else None)

    async def _turn(self, client: "aiohttp.ClientSession", address: Address, turn: Turn) -> Sent:
        """The outcome of a turn, whose answer the next one repeats."""
        conversation, (_, got) = turn.conversation, turn.tokens
        tokens = conversation.prompt(turn.row)
        prompt = Prompt(model=self.model, tokens=tokens, output_tokens=got, tells_tokens=True)
        streamed = await stream(client, address, prompt.body, conversation.headers)
        if streamed.status != OK:
            return Sent(streamed.status)
        conversation.keep(streamed.headers)
        text = streamed.text(address)
        conversation.answered(text.tokens)
        seen = streamed.seen(address)
        return Sent(OK, seen=seen, cached_tokens=text.cached_tokens, is_untold=not text.tokens)

    def prompt(self, tokens: int) -> tuple[int, ...]:
        """The next prompt of this many tokens."""
        common = int(self.cached_share * tokens)
        return (*self._common(common), *self._random.integers(*TOKENS, tokens - common).tolist())

    def _common(self, tokens: int) -> list[int]:
        """What prompts have in common: the beginning of one endless text."""
        found: list[int] = np.random.default_rng([self.seed, 1]).integers(*TOKENS, tokens).tolist()
        return found

    @cached_property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0])


class Engines:
    """A `capacity.verification.kinds.Kind` of servers of language models."""

    quantities = QUANTITIES_OF_TOKENS
    is_calibrated = False
    told_by_metrics = "sizes of KV caches"

    def require_answerable(self, subject: Subject) -> None:
        """Refuse nothing: that takes a simulation, which comes before anything is sent."""

    def target(self, asked: Asked, subject: Subject) -> Target:
        """Prompts of the plan's lengths."""
        if asked.body is not None:
            raise InputError(
                "a language model is sent prompts of the plan's lengths, and no body; leave out --body"
            )
        model = asked.model or subject.profile.model
        if model is None:
            raise InputError("--model is needed, since the profile does not name its model")
        return Prompts(
            addresses=tuple(completions_address(parse_address(each, "--url")) for each in asked.url),
            timeout_s=asked.timeout if asked.is_told("timeout") else _TIMEOUT_S,
            model=model,
            seed=asked.seed,
            cached_share=subject.requests["cached_share"],
            drafts=subject.profile.speculation is not None,
        )

    def look(
        self, addresses: tuple[Address, ...], subject: Subject
    ) -> tuple[tuple[Address, ...], tuple[str, ...]]:
        """No address, as these metrics tell nothing that is compared; a note if a cache has another size."""
        return (), cache_notes(addresses, look(addresses), subject)


def cache_notes(addresses: tuple[Address, ...], pages: list[Scrape], subject: Subject) -> tuple[str, ...]:
    """A note if a server reports a KV cache of another size than the profile's.

    A prediction is then for another server. Servers that report nothing are assumed to be as planned.
    """
    planned = subject.profile.kv.known_tokens
    for address, page in zip(addresses, pages, strict=True):
        for labels in page.series(CACHE):
            told = dict(labels)
            counts = [told.get(name, "") for name in ("num_gpu_blocks", "block_size")]
            if not all(count.isascii() and count.isdigit() for count in counts):
                continue
            blocks, block_tokens = map(int, counts)
            if blocks * block_tokens != planned // block_tokens * block_tokens:
                return (
                    f"{address.host}:{address.port} reports a KV cache of {blocks * block_tokens} tokens, but the plan "
                    f"has {planned}: predictions are for another server",
                )
    return ()
