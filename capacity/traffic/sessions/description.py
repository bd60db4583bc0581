"""Description of recorded sessions: how their contexts grow, how fast they go on, and what a cache would find."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from capacity.traffic.lengths import TokenCounts
from capacity.traffic.sessions.reuse import Depths, Requests
from capacity.traffic.sessions.rows import SessionRows
from capacity.traffic.sessions.turns import Floats, Integers

BLOCK_TOKENS = 16
REPLICAS = (1, 4, 8)
HIT_SHARE = 0.9  # of the hits of an infinite cache, for which the room is given
GAP_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class InfiniteCache:
    """What caches that forget nothing find, if replicas serve requests in turn.

    Attributes:
        hit_tokens: tokens of prompts that are found.
        hit_share: their share of all tokens of prompts.
    """

    replicas: int
    hit_tokens: int
    hit_share: float


@dataclass(frozen=True, kw_only=True)
class SessionsDescription:
    """What a file says about its sessions, with caches of blocks of 16 tokens.

    Attributes:
        replicas: numbers of replicas with caches that forget nothing.
    """

    rows: SessionRows
    replicas: tuple[int, ...] = REPLICAS

    @property
    def turns(self) -> int:
        """How many turns there are, which are requests."""
        return len(self.rows.input_tokens)

    @cached_property
    def served_s(self) -> Floats:
        """Times of all turns; without a recorded one, the delay after the turn before, shape `(turns,)`. [s]"""
        served = self.rows.arrived_s.copy()
        for turn in np.flatnonzero(np.isnan(served)):
            served[turn] = served[turn - 1] + self.rows.think_s[turn]
        return served

    @property
    def duration_s(self) -> float:
        """Time from the first turn to the last. [s]"""
        return float(self.served_s.max() - self.served_s.min())

    @property
    def counts(self) -> tuple[TokenCounts, TokenCounts]:
        """Distributions of prompts and of answers."""
        return TokenCounts.of(self.rows.input_tokens), TokenCounts.of(self.rows.output_tokens)

    @cached_property
    def _later(self) -> Integers:
        """Turns that are not the first of their session."""
        return np.setdiff1d(np.arange(self.turns), self.rows.first[:-1])

    @property
    def growth_tokens_mean(self) -> float | None:
        """Mean number of tokens by which a prompt is longer than the one before; None without later turns."""
        given, later = self.rows.input_tokens, self._later
        return float((given[later] - given[later - 1]).mean()) if len(later) else None

    @property
    def gaps_are_think_times(self) -> bool | None:
        """Whether gaps are from an answer to the next turn, or from one turn to the next; None without later turns."""
        return not self.rows.pace_s.any() if len(self._later) else None

    @property
    def gap_quantiles_s(self) -> dict[float, float]:
        """Quantiles of the gaps between the turns of a session; empty without later turns. [s]"""
        gaps = np.sort((self.rows.think_s + self.rows.pace_s)[self._later])
        return {q: float(gaps[math.ceil(q * len(gaps)) - 1]) for q in GAP_QUANTILES if len(gaps)}

    @property
    def sessions_live_mean(self) -> float | None:
        """Mean number of sessions between their first and their last turn; None if all turns are at one time."""
        served, first = self.served_s, self.rows.first
        if self.duration_s == 0.0:
            return None
        return float((served[first[1:] - 1] - served[first[:-1]]).sum() / self.duration_s)

    @cached_property
    def requests(self) -> Requests:
        """The turns in the order in which they are sent."""
        turns, _ = self.rows.as_recorded(BLOCK_TOKENS)
        return Requests.of(turns, np.argsort(self.served_s, kind="stable"), BLOCK_TOKENS)

    @cached_property
    def infinite_caches(self) -> tuple[InfiniteCache, ...]:
        """What caches that forget nothing find, for each number of replicas."""
        prompts, found = int(self.rows.input_tokens.sum()), []
        for replicas in self.replicas:
            hit_tokens = int(self.requests.hits(replicas).sum()) * BLOCK_TOKENS
            found.append(
                InfiniteCache(replicas=replicas, hit_tokens=hit_tokens, hit_share=hit_tokens / prompts)
            )
        return tuple(found)

    @cached_property
    def depths(self) -> Depths:
        """Room that one replica needs for what it finds."""
        return self.requests.depths()

    def kv_tokens_for(self, share: float) -> int | None:
        """Tokens of cache with which one replica finds a share of what it finds at all; None if that is nothing."""
        total = self.depths.total
        if not total:
            return None
        return int(self.depths.room_for(np.array([max(1, math.ceil(share * total))]))[0]) * BLOCK_TOKENS
