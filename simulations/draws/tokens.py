"""Token draws: requests of a language model, the rules of its engine, and the records of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.profile.speculation import Speculation
from capacity.profile.steps import StepTable
from capacity.traffic.sessions.turns import Turns
from simulations.draws.records import Floats, Integers

ALWAYS = (-math.inf, math.inf)  # a window of time in which everything counts


class EngineRules(NamedTuple):
    """Settings by which an engine composes its passes; those left out are as in vLLM 0.19 without `ahead`.

    Attributes:
        sequences_max: largest number of requests that run at once.
        tokens_max: largest number of tokens in one pass.
        blocks, block_tokens: usable blocks of the KV cache, and tokens in each.
        chunked: whether a prompt may be computed in parts.
        ahead: whether a pass is composed while the one before it is computed.
        caching: whether freed blocks keep their tokens until they are used again.
        reserve: whether a request starts only if all its known tokens would fit.
        part_max: most tokens of one request in a pass; 0 if it may have all that the pass has room for.
        lone_is_whole: whether `part_max` does not hold for a request that is alone at its engine.
        spare: blocks that must stay free when a request starts beside others.
        unfilled_first: whether freed blocks that hold nothing to be found are used before all others that are free.
        mixed: whether prompts and answers share a pass, where the policy computes prompts first.
        acceptance: chances that at least the first token drafted for a request is accepted, at least two, and so on;
            empty where nothing is drafted.
        lookahead: tokens of the cache that a request which runs takes for its drafter.
        starts_ahead: those that it takes in the pass with which it starts.
        draft_slots: tokens of a pass that each of its requests takes for the drafter.
        drafts_timed: whether a pass is timed with the tokens drafted for it, as tokens of prompts.
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
    part_max: int = 0
    lone_is_whole: bool = False
    spare: int = 0
    unfilled_first: bool = False
    mixed: bool = False
    acceptance: tuple[float, ...] = ()
    lookahead: int = 0
    starts_ahead: int = 0
    draft_slots: int = 0
    drafts_timed: bool = False
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
        engine, kv = profile.engine, profile.kv
        is_todays, is_sglang = engine.rules is Scheduler.VLLM_V1_0_33, engine.rules is Scheduler.SGLANG
        rules = cls(
            sequences_max=sequences_max,
            tokens_max=batched_tokens_max,
            blocks=kv.blocks,
            block_tokens=kv.block_tokens,
            chunked=engine.chunked_prefill,
            ahead=engine.composes_ahead,
            caching=engine.prefix_caching,
            reserve=kv.reserve_full_prompt,
            part_max=engine.long_prefill_tokens or 0,
            lone_is_whole=is_todays,
            spare=int(
                (engine.watermark or 0.0) * (kv.blocks + 1)
            ),  # the one that the engine keeps for itself counts
            unfilled_first=is_todays or is_sglang,
            mixed=bool(engine.mixed_chunk),
            scheduler=engine.rules.family,
        )
        return (
            rules if profile.speculation is None else rules.drafting(profile.speculation, is_todays=is_todays)
        )

    def drafting(self, speculation: Speculation, *, is_todays: bool) -> "EngineRules":
        """The rules with a drafter; vLLM 0.19 keeps room for it in all passes at once, and none for who starts."""
        slots, lookahead = speculation.draft_slots, speculation.lookahead_tokens
        return self._replace(
            acceptance=speculation.rates,
            tokens_max=self.tokens_max - (0 if is_todays else slots * self.sequences_max),
            lookahead=lookahead,
            starts_ahead=lookahead if is_todays else 0,
            draft_slots=slots if is_todays else 0,
            drafts_timed=speculation.timed_tokens > 0,
        )

    @property
    def spare_tokens(self) -> int:
        """Tokens of the cache that a request may take beyond those of its prompt and its answer, for its drafts."""
        return (2 if self.ahead else 1) * len(self.acceptance) + self.lookahead


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


class Conversations(NamedTuple):
    """Sessions, whose turns are the requests of a run, in the order of the turns.

    Attributes:
        starts_s: instants of the first turns, in order, shape `(sessions,)`. [s]
        names: by which routers know them; empty if any may do.
    """

    turns: Turns
    starts_s: Floats
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenDraws:
    """The requests of one run; every array has the shape `(requests,)`.

    Attributes:
        arrived_s: instants from 0 on, in order; zeros of users in a closed loop and of turns of sessions, as they are
            not known before. [s]
        input_tokens, output_tokens: at least one of each.
        cached_tokens: input tokens that are assumed to be cached before the request comes.
        routing: uniforms in [0, 1), shape `(2 * requests,)`; two for each request.
        noise_seed: seed of the noise of passes.
        loop: users in a closed loop, who send these requests; None if they arrive from outside.
        sessions: sessions of which these requests are the turns; None if each comes by itself.
    """

    arrived_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    cached_tokens: Integers
    routing: Floats
    noise_seed: int = 0
    loop: Loop | None = None
    sessions: Conversations | None = None

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
        if self.sessions is not None:
            self._require_sessions(self.sessions, count)

    def part(self, warm_up: int, cool_down: int) -> slice:
        """The requests that count, but for this many at least at both ends; of sessions, whole ones."""
        count = len(self.arrived_s)
        if self.sessions is None:
            return slice(warm_up, count - cool_down)
        begin, end = self.boundary(warm_up), self.boundary(count - cool_down)
        if end - begin < 2:
            raise DomainError("a run needs two requests that count")
        return slice(begin, end)

    def boundary(self, request: int) -> int:
        """The first request from this one on that begins a session, or the end; itself without sessions."""
        if self.sessions is None:
            return request
        first = self.sessions.turns.first
        return int(first[np.searchsorted(first, request)])

    @property
    def begins_s(self) -> Floats:
        """Instants of all requests, or of the sessions whose turns they are, in order. [s]"""
        return self.arrived_s if self.sessions is None else self.sessions.starts_s

    def begun(self, part: slice) -> slice:
        """The requests that belong to a part of `begins_s`."""
        if self.sessions is None:
            return part
        begin, end = self.sessions.turns.first[[part.start, part.stop]].tolist()
        return slice(begin, end)

    def span_s(self, part: slice) -> tuple[float, float]:
        """The time in which a part of the requests arrives, or its sessions begin, up to the next one. [s]"""
        if self.sessions is None:
            arrived_s = self.arrived_s[part]
        else:
            begin, end = np.searchsorted(self.sessions.turns.first, (part.start, part.stop))
            arrived_s = self.sessions.starts_s[begin:end]
        gap_s = (arrived_s[-1] - arrived_s[0]) / (len(arrived_s) - 1)
        return float(arrived_s[0]), float(arrived_s[-1] + gap_s)

    def _require_sessions(self, sessions: Conversations, count: int) -> None:
        starts_s = sessions.starts_s
        if len(starts_s) != sessions.turns.sessions or count != sessions.turns.first[-1]:
            raise DomainError("each session needs a start, and each turn is a request")
        if not (np.isfinite(starts_s).all() and (np.diff(starts_s, prepend=0.0) >= 0.0).all()):
            raise DomainError("instants of starts must be finite, not negative, and must not fall")

    def require_served(self, rules: EngineRules) -> None:
        """Refuse requests that these rules could never serve.

        Raises:
            DomainError: a request larger than the cache, or a prompt larger than a pass that takes no parts.
        """
        most = int((self.input_tokens + self.output_tokens).max(initial=2)) - 1
        if rules.scheduler is Scheduler.LLAMA_CPP:
            _require_slots(rules, most + 1)
        if rules.scheduler is Scheduler.SGLANG:
            self._require_reserves(rules)
        room, drafted = rules.blocks * rules.block_tokens, rules.spare_tokens
        if most + drafted > room:
            ahead = f", {drafted} of them for drafts" if drafted else ""
            raise DomainError(
                f"a request computes {most + drafted} tokens{ahead}, and the KV cache has room for {room}; raise "
                "--kv-tokens or drop it"
            )
        if rules.tokens_max <= rules.draft_slots:
            raise DomainError(
                f"a step of {rules.tokens_max} tokens has none beside that of the drafter; raise --batched-tokens-max"
            )
        self._require_whole_prompts(rules, most)

    def _require_reserves(self, rules: EngineRules) -> None:
        """Refuse requests that SGLang would never admit, as room for their answers and a block more is kept.

        Raises:
            DomainError: with the numbers.
        """
        block = rules.block_tokens
        needed, room = (
            int((self.input_tokens + self.output_tokens).max(initial=2)) + block + 1,
            rules.blocks * block,
        )
        if needed > room:
            raise DomainError(
                f"SGLang admits a request of {needed - block - 1} tokens where {needed} are free, and its KV cache has "
                f"room for {room}; raise --kv-tokens or drop it"
            )
        if rules.chunked and rules.tokens_max < block:
            raise DomainError(
                f"a step of {rules.tokens_max} tokens has none for a block of {block}; raise --batched-tokens-max"
            )

    def _require_whole_prompts(self, rules: EngineRules, most: int) -> None:
        """Refuse prompts that never fit a pass which takes no parts, also those of who was thrown out.

        Raises:
            DomainError: with the numbers.
        """
        longest = int(self.input_tokens.max(initial=1))
        resumed = most if not rules.chunked else 0
        if not rules.chunked and longest > rules.tokens_max - rules.draft_slots:
            raise DomainError(
                f"a prompt of {longest} tokens never fits a pass of {rules.tokens_max} without "
                "chunked prefill; "
                "raise --batched-tokens-max or turn chunked prefill on"
            )
        if (
            resumed > rules.tokens_max - rules.draft_slots
            and rules.blocks * rules.block_tokens < rules.sequences_max * most
        ):
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
# Odd numbers that spread the passes of replicas over 64 bits, and the tokens of requests.
REPLICA_STEP, PASS_STEP = 0xD1B54A32D192ED03, 0x9E3779B97F4A7C15
DRAFTS_FROM = 0x8CB92BA72F3D8DD7  # keeps drafts apart from the noise of passes
MIX_ONE, MIX_TWO = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def pass_noise(noise: Floats, seed: int, replica: int, number: int) -> float:
    """Factor of a pass's duration, by its number and replica: a quantile at a hash of these.

    Source:
        Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, fig. 16 (SplitMix64).
    """
    if not len(noise):
        return 1.0
    place = _uniform(seed + replica * REPLICA_STEP + (number + 1) * PASS_STEP) * (len(noise) - 1)
    low = int(place)
    return float(noise[low] + (place - low) * (noise[low + 1] - noise[low]))


def accepted_drafts(acceptance: Sequence[float], seed: int, request: int, tokens: int) -> int:
    """How many of the tokens drafted after the first `tokens` of an answer are accepted.

    It depends on what was asked and answered alone, and so is the same wherever and however often a request is served.
    """
    uniform = _uniform(seed + DRAFTS_FROM + request * REPLICA_STEP + tokens * PASS_STEP)
    return sum(uniform < chance for chance in acceptance)


def _uniform(word: int) -> float:
    """A hash of a number in [0, 1), uniform over numbers."""
    word &= _WORD
    word = ((word ^ (word >> 30)) * MIX_ONE) & _WORD
    word = ((word ^ (word >> 27)) * MIX_TWO) & _WORD
    return ((word ^ (word >> 31)) >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenRecords:
    """Records of all requests; every array of requests has the shape `(requests,)`.

    Where clients try again, a request is its attempt that was answered in time.

    Attributes:
        arrived_s: instants of arrival; NaN of turns that never came, as one before them had no answer. [s]
        first_s, finished_s: instants of the first and of the last output token; NaN of a request without an answer.
            [s]
        preemptions: number of times each was preempted.
        replica: replica that served each; -1 of a request without an answer.
        hit_tokens: tokens that each found in the cache when it was first admitted; 0 of a request without an answer.
        events: passes that brought each some of its tokens, which come together; 0 of a request without an answer.
        gap_counts: times between output tokens of one request that do not come together, counted by cell of
            `cells.CELLS`.
        steps, busy_s: number of passes, and their total time, over all replicas. [s]
        running_s, block_s: integrals over time of running requests, and of blocks in use. [s]
        computed, thrown_out, cached: tokens computed in all, tokens computed and lost at a preemption, and tokens
            that a request found cached when it started, or started again.
        wasted: tokens computed that were drafted and not accepted, or after the end of an answer.
        allocated, freed: numbers of blocks.
        largest: largest number of decoding requests, of prompt tokens, of tokens that a decoding request reads and of
            a prompt's past, over all passes.
    """

    arrived_s: Floats
    first_s: Floats
    finished_s: Floats
    preemptions: Integers
    replica: Integers
    hit_tokens: Integers
    events: Integers
    gap_counts: Integers
    steps: int
    busy_s: float
    running_s: float
    block_s: float
    computed: int
    thrown_out: int
    wasted: int
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

    def come(self, part: slice | Integers) -> slice | Integers:
        """The requests of a part that have come at all, which turns do after the answer to the one before alone."""
        if not np.isnan(self.arrived_s).any():
            return part
        numbers = np.arange(len(self.arrived_s))[part]
        return numbers[~np.isnan(self.arrived_s[numbers])]

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
