"""Seen: what a router of conversations sees of requests and replicas, and what all such routers have in common."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from capacity.server.engine.router import RouterRules
from simulations.compiled import inlined


class Asked(Protocol):
    """A request as a router sees it.

    Attributes:
        number: the request among all.
        session, turn: the conversation that it belongs to, and its place in it.
        input: tokens of its prompt.
    """

    number: int
    session: int
    turn: int
    input: int

    def content(self, block: int) -> int:
        """The content of a full block of its prompt, by the block's number from 0 on."""


class Engine(Protocol):
    """A replica as a router may see it.

    Attributes:
        outstanding: requests that were sent there and are not answered.
        blocks: of its KV cache; a free one may hold a content.
    """

    index: int
    outstanding: int
    blocks: int

    @property
    def waiting(self) -> int:
        """Requests without a place among the running ones."""

    @property
    def blocks_free(self) -> int:
        """Blocks that no request uses."""

    def holds(self, content: int) -> bool:
        """Whether a block of its cache has this content now."""


Seen = TypeVar("Seen", bound=Engine)


class Fleet(NamedTuple):
    """What a router is made for.

    Attributes:
        replicas: most that there are.
        blocks, block_tokens: of the KV cache of each.
        prefill_tokens_per_s: tokens of prompts that a replica computes in a second if it does nothing else.
        seed: by which runs differ that hash sessions.
        rules: what the router was told.
        names: of the sessions, by their numbers; empty if they are not known.
    """

    replicas: int
    blocks: int
    block_tokens: int
    prefill_tokens_per_s: float
    seed: int
    rules: RouterRules = RouterRules()
    names: tuple[str, ...] = ()


class Router:
    """Picks a replica for each request, and remembers what it needs of those that it has sent.

    Attributes:
        tick_s: time between two readings of the replicas; None if the router reads nothing. [s]
    """

    tick_s: float | None = None

    def choose(
        self, engines: Sequence[Seen], request: Asked, uniforms: Sequence[float], now_s: float
    ) -> Seen:
        """The replica that a request is sent to, which the router notes.

        Args:
            engines: those that are there, at least one, in order of their index.
            uniforms: of the request; the first decides among equal replicas.
        """
        raise NotImplementedError

    def first_token(self, request: int) -> None:
        """A request has its first token, at the end of a pass, or is lost."""

    def done(self, request: int) -> None:
        """A request has its answer, or is lost."""

    def left(self, replica: int) -> None:
        """A replica has left the pool; its cache and its requests are lost."""

    def read(self, engines: Sequence[Engine]) -> None:
        """A reading of the replicas: `tick_s` after the one before."""


def least(engines: Sequence[Seen], costs: Sequence[float], uniform: float) -> Seen:
    """The replica that costs least; of equal ones any, by a uniform number."""
    lowest = min(costs)
    equal = [engine for engine, cost in zip(engines, costs, strict=True) if cost == lowest]
    return equal[int(uniform * len(equal))]


def least_loaded(engines: Sequence[Seen], uniform: float) -> Seen:
    """The replica with the fewest requests outstanding; of equal ones any, by a uniform number."""
    return least(engines, [engine.outstanding for engine in engines], uniform)


def last_reading_s(now_s: float, tick_s: float) -> float:
    """The last multiple of a tick up to now, at which replicas were read last. [s]"""
    ticks = math.floor(now_s / tick_s)
    return ticks * tick_s if ticks * tick_s <= now_s else (ticks - 1) * tick_s


last_reading = inlined(last_reading_s)  # the same, compiled
