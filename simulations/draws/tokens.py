"""Token draws: requests of a language model, the rules of its engine, and the records of a run."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.profile.steps import StepTable
from simulations.draws.records import Floats, Integers

ALWAYS = (-math.inf, math.inf)  # a window of time in which everything counts


class EngineRules(NamedTuple):
    """Settings by which an engine composes its passes.

    Attributes:
        sequences_max: largest number of requests that run at once.
        tokens_max: largest number of tokens in one pass.
        blocks, block_tokens: usable blocks of the KV cache, and tokens in each.
        chunked: whether a prompt may be computed in parts.
        ahead: whether a pass is composed while the one before it is computed.
        caching: whether freed blocks keep their tokens until they are used again.
        reserve: whether a request starts only if all its known tokens would fit.
        scheduler: the engine's policy. llama.cpp's has slots, each with an equal share of the blocks, of one token
            each, and uses `sequences_max` and `tokens_max` alone.
    """

    sequences_max: int
    tokens_max: int
    blocks: int
    block_tokens: int = 16
    chunked: bool = True
    ahead: bool = False
    caching: bool = True
    reserve: bool = True
    scheduler: Scheduler = Scheduler.VLLM_V1

    @classmethod
    def of(cls, profile: LlmProfile, sequences_max: int, batched_tokens_max: int) -> "EngineRules":
        """The rules of a profile's engine at these settings."""
        if profile.engine.scheduler is Scheduler.LLAMA_CPP:
            return cls(
                sequences_max=sequences_max,
                tokens_max=batched_tokens_max,
                blocks=sequences_max * profile.kv.slot_tokens(sequences_max),
                block_tokens=1,
                caching=False,
                scheduler=Scheduler.LLAMA_CPP,
            )
        return cls(
            sequences_max=sequences_max,
            tokens_max=batched_tokens_max,
            blocks=profile.kv.blocks,
            block_tokens=profile.kv.block_tokens,
            chunked=profile.engine.chunked_prefill,
            ahead=profile.engine.async_scheduling,
            caching=profile.engine.prefix_caching,
            reserve=profile.kv.reserve_full_prompt,
        )


class Loop(NamedTuple):
    """Users in a closed loop, each of whom waits for the answer, thinks, and sends the next request.

    Attributes:
        think_s: time from the answer to a request until its user sends another, by request in order of arrival, shape
            `(requests,)`. [s]
        spread_s: time over which the first requests are evenly spread. [s]
        counted: numbers of the requests with whose arrivals time begins to count, and ends.
    """

    users: int
    think_s: Floats
    spread_s: float
    counted: tuple[int, int] = (0, 2**62)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenDraws:
    """The requests of one run; every array has the shape `(requests,)`.

    Attributes:
        arrived_s: instants from 0 on, in order; zeros of users in a closed loop, as they are not known before. [s]
        input_tokens, output_tokens: at least one of each.
        cached_tokens: input tokens that are assumed to be cached before the request comes.
        routing: uniforms in [0, 1), shape `(2 * requests,)`; two for each request.
        noise_seed: seed of the noise of passes.
        loop: users in a closed loop, who send these requests; None if they arrive from outside.
    """

    arrived_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    cached_tokens: Integers
    routing: Floats
    noise_seed: int = 0
    loop: Loop | None = None

    def __post_init__(self) -> None:
        count = len(self.arrived_s)
        if not (np.isfinite(self.arrived_s).all() and (np.diff(self.arrived_s, prepend=0.0) >= 0.0).all()):
            raise DomainError("instants of arrival must be finite, not negative, and must not fall")
        lengths = (self.input_tokens, self.output_tokens, self.cached_tokens)
        if any(len(one) != count for one in lengths) or len(self.routing) != 2 * count:
            raise DomainError("there must be lengths and two routing draws for each request")
        if count and min(int(self.input_tokens.min()), int(self.output_tokens.min())) < 1:
            raise DomainError("a request has at least one input token and one output token")
        if self.loop is not None and (len(self.loop.think_s) != count or self.loop.users < 1):
            raise DomainError(f"{count} requests of users need a user, and as many think times")

    def require_served(self, rules: EngineRules) -> None:
        """Refuse requests that these rules could never serve.

        Raises:
            DomainError: a request larger than the cache, or a prompt larger than a pass that takes no parts.
        """
        most = int((self.input_tokens + self.output_tokens).max(initial=2)) - 1
        if rules.scheduler is Scheduler.LLAMA_CPP:
            _require_slots(rules, most + 1)
        room = rules.blocks * rules.block_tokens
        if most > room:
            raise DomainError(
                f"a request computes {most} tokens, and the KV cache has room for {room}; raise "
                "--kv-tokens or drop it"
            )
        longest = int(self.input_tokens.max(initial=1))
        resumed = most if not rules.chunked else 0
        if not rules.chunked and longest > rules.tokens_max:
            raise DomainError(
                f"a prompt of {longest} tokens never fits a pass of {rules.tokens_max} without "
                "chunked prefill; "
                "raise --batched-tokens-max or turn chunked prefill on"
            )
        if resumed > rules.tokens_max and rules.blocks * rules.block_tokens < rules.sequences_max * most:
            raise DomainError(
                f"a preempted request may have to compute {resumed} tokens again, which never fit a pass of "
                f"{rules.tokens_max} without chunked prefill; raise --batched-tokens-max"
            )


def _require_slots(rules: EngineRules, longest: int) -> None:
    """Refuse a request that no slot holds, its last token included, and passes without room for every slot.

    Raises:
        DomainError: says both numbers.
    """
    share = rules.blocks // rules.sequences_max
    if longest > share:
        raise DomainError(
            f"a request has {longest} tokens, and a slot has room for {share}; raise --kv-tokens, lower "
            "--sequences-max, or drop it"
        )
    if rules.tokens_max < rules.sequences_max:
        raise DomainError(
            f"a pass of {rules.tokens_max} tokens has none for some of {rules.sequences_max} slots; raise "
            "--batched-tokens-max"
        )


_WORD = 2**64 - 1
# Odd numbers that spread the passes of replicas over 64 bits.
REPLICA_STEP, PASS_STEP = 0xD1B54A32D192ED03, 0x9E3779B97F4A7C15
MIX_ONE, MIX_TWO = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def pass_noise(noise: Floats, seed: int, replica: int, number: int) -> float:
    """Factor of a pass's duration, by its number and replica: a quantile at a hash of these.

    Source:
        Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, fig. 16 (SplitMix64).
    """
    if not len(noise):
        return 1.0
    word = (seed + replica * REPLICA_STEP + (number + 1) * PASS_STEP) & _WORD
    word = ((word ^ (word >> 30)) * MIX_ONE) & _WORD
    word = ((word ^ (word >> 27)) * MIX_TWO) & _WORD
    place = ((word ^ (word >> 31)) >> 11) * 2.0**-53 * (len(noise) - 1)
    low = int(place)
    return float(noise[low] + (place - low) * (noise[low + 1] - noise[low]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenRecords:
    """Records of all requests; every array of requests has the shape `(requests,)`.

    Where clients try again, a request is its attempt that was answered in time.

    Attributes:
        arrived_s: instants of arrival. [s]
        first_s, finished_s: instants of the first and of the last output token; NaN of a request without an answer.
            [s]
        preemptions: number of times each was preempted.
        replica: replica that served each; -1 of a request without an answer.
        gap_counts: times between output tokens of one request, counted by cell of `cells.CELLS`.
        steps, busy_s: number of passes, and their total time, over all replicas. [s]
        running_s, block_s: integrals over time of running requests, and of blocks in use. [s]
        computed, thrown_out, cached: tokens computed in all, tokens computed and lost at a preemption, and tokens
            that a request found cached when it started, or started again.
        allocated, freed: numbers of blocks.
        largest: largest number of decoding requests, of prompt tokens, of tokens that a decoding request reads and of
            a prompt's past, over all passes.
    """

    arrived_s: Floats
    first_s: Floats
    finished_s: Floats
    preemptions: Integers
    replica: Integers
    gap_counts: Integers
    steps: int
    busy_s: float
    running_s: float
    block_s: float
    computed: int
    thrown_out: int
    cached: int
    allocated: int
    freed: int
    largest: tuple[float, float, float, float]

    def stratum(self, share: float) -> Self:
        """The records with a share of what was counted over time."""
        return replace(
            self,
            busy_s=share * self.busy_s,
            running_s=share * self.running_s,
            block_s=share * self.block_s,
        )

    def require_measured(self, table: StepTable, name: str) -> None:
        """Refuse a run with a pass larger than any that was measured.

        Raises:
            DomainError: says the size, and how far the measurements reach.
        """
        require_measured(self.largest, table, name)


def require_measured(largest: tuple[float, float, float, float], table: StepTable, name: str) -> None:
    """Refuse passes larger than any that was measured.

    Args:
        largest: as in `TokenRecords`.

    Raises:
        DomainError: says the size, and how far the measurements reach.
    """
    reached = (table.decode_requests[-1], table.prefill_tokens[-1], table.context[-1], table.past[-1])
    what = (
        "decoding requests",
        "prompt tokens",
        "tokens read by a decoding request",
        "tokens before a prompt's part",
    )
    for found, most, size in zip(largest, reached, what, strict=True):
        if found > most:
            raise DomainError(
                f"profile {name} was measured up to {most:g} {size} in a step, and {found:g} came up; "
                "measure up to there, or allow shorter requests only"
            )
