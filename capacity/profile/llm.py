"""LlmProfile: measured passes of a language model's engine on one or several devices, its cache and its rules."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

from capacity.errors import DomainError, InputError, quoted
from capacity.profile.steps import StepTable, StepTiming, linear_table, reach_of, table_of, with_noise

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TOKENS_LIMIT = 1_000_000_000
# A saturated run whose throughput the profile misses by more than this share refutes the profile.
CHECK_SHARE = 0.03


class Scheduler(StrEnum):
    """How an engine composes its passes."""

    VLLM_V1 = "vllm-v1"
    LLAMA_CPP = "llama-cpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The measured engine and its settings.

    Attributes:
        chunked_prefill: whether a prompt may be computed in parts, each as large as the pass has room for.
        async_scheduling: whether a pass is composed while the one before it is computed.
        prefix_caching: whether blocks of tokens stay cached after their request has gone.
    """

    name: str | None = None
    version: str | None = None
    scheduler: Scheduler = Scheduler.VLLM_V1
    chunked_prefill: bool = True
    async_scheduling: bool = False
    prefix_caching: bool = True

    def __post_init__(self) -> None:
        if self.scheduler is Scheduler.LLAMA_CPP and (self.async_scheduling or not self.chunked_prefill):
            raise InputError(
                "llama-cpp computes prompts in parts and composes a step when the last has ended; leave out "
                "async_scheduling on and chunked_prefill off"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """Size of the cache for keys and values of tokens, in blocks.

    Attributes:
        tokens: as the engine's log or metrics report; figures computed from memory sizes are a third too large. None
            if they were not published.
        reserve_full_prompt: whether a request starts only if all its known tokens would fit.
    """

    tokens: int | None = None
    block_tokens: int = 16
    reserve_full_prompt: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.block_tokens <= 4096:
            raise InputError(f"block_tokens must be from 1 to 4096, got {self.block_tokens}")
        if self.tokens is not None and not 2 * self.block_tokens <= self.tokens <= TOKENS_LIMIT:
            raise InputError(
                f"the KV cache must hold from two blocks of {self.block_tokens} tokens to {TOKENS_LIMIT} "
                f"tokens, got {self.tokens}"
            )

    @property
    def known_tokens(self) -> int:
        """Tokens that it holds.

        Raises:
            InputError: the number is unknown.
        """
        if self.tokens is None:
            raise InputError(
                "the size of the engine's KV cache is not known, and decides how many requests run at once; give "
                "--kv-tokens as the engine's log says, such as vLLM's line GPU KV cache size"
            )
        return self.tokens

    @property
    def blocks(self) -> int:
        """Blocks that requests can use; the engine keeps one for itself."""
        return self.known_tokens // self.block_tokens - 1

    @property
    def usable_tokens(self) -> int:
        """Tokens in the usable blocks."""
        return self.blocks * self.block_tokens

    def slot_tokens(self, slots: int) -> int:
        """Tokens of each of a number of equal slots, for engines that divide their cache among slots."""
        return self.known_tokens // slots


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsMeasured:
    """The largest sizes that the measurements cover; larger ones are refused."""

    sequences_max: int
    batched_tokens_max: int
    context_tokens_max: int

    def __post_init__(self) -> None:
        for name in ("sequences_max", "batched_tokens_max", "context_tokens_max"):
            if not 1 <= getattr(self, name) <= TOKENS_LIMIT:
                raise InputError(f"{name} must be from 1 to {TOKENS_LIMIT}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Time of a request outside the engine, which does not occupy the engine. [s]"""

    request_s: float = 0.0
    per_input_token_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("request_s", "per_input_token_s"):
            if not 0.0 <= getattr(self, name) <= 60.0:
                raise InputError(f"{name} must be from 0 to 60 s, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationCheck:
    """Throughput of a run of requests of equal length in which some always wait."""

    saturated_throughput_rps: float
    input_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        if not 0.0 < self.saturated_throughput_rps < math.inf:
            raise InputError(f"a throughput must be positive, got {self.saturated_throughput_rps}")
        if min(self.input_tokens, self.output_tokens) < 1:
            raise InputError("a saturated run has at least one input and one output token a request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """A pass as a linear function, if no table was measured. [s]"""

    base_s: float
    per_prefill_token_s: float
    per_decode_request_s: float
    per_kv_token_s: float = 0.0

    def __post_init__(self) -> None:
        given = (self.base_s, self.per_prefill_token_s, self.per_decode_request_s, self.per_kv_token_s)
        if not all(0.0 <= one <= 60.0 for one in given):
            raise InputError(f"coefficients must be from 0 to 60 s, got {given}")
        if self.base_s + self.per_decode_request_s <= 0.0 or self.base_s + self.per_prefill_token_s <= 0.0:
            raise InputError(
                "a pass takes time: base_s, or both of per_prefill_token_s and per_decode_request_s"
            )

    def scaled(self, factor: float) -> "Coefficients":
        """A pass that takes `factor` times as long."""
        return Coefficients(**{one.name: factor * getattr(self, one.name) for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class LlmProfile:
    """Measured passes of one language model on one replica, which may span several devices.

    Their table is made when it is first asked for, as a fit of scattered passes takes longer than to list a profile.

    Attributes:
        devices: devices of one replica; its price is as many times `hourly_usd`.
        all_reduce: whether passes on several devices include the communication between them.
        steps, coefficients: measured passes, or a linear function; exactly one of them.
        hourly_usd: price of one device; None if unknown. [USD/h]
        source: where the figures come from, by aspect.
        path: path of its file as given; None for a bundled profile, or without a file.
    """

    # Fields that a CSV does not have, and their names in messages.
    BEYOND_CSV: ClassVar[Mapping[str, str]] = {
        "devices": "number of devices",
        "tensor_parallel": "",
        "all_reduce": "",
        "kv": "KV cache",
        "engine": "engine",
        "overhead": "request overhead",
    }

    name: str
    kv: KvCache
    limits_measured: LimitsMeasured
    steps: tuple[StepTiming, ...] = field(default=(), repr=False)
    coefficients: Coefficients | None = None
    model: str | None = None
    device: str | None = None
    devices: int = 1
    tensor_parallel: int = 1
    all_reduce: bool = False
    precision: str | None = None
    hourly_usd: float | None = None
    engine: Engine = field(default_factory=Engine)
    overhead: Overhead = field(default_factory=Overhead)
    check: SaturationCheck | None = None
    source: Mapping[str, str] = field(default_factory=dict, hash=False)
    path: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"profile name {quoted(self.name)} may contain only letters, digits, '.', '_' and '-', "
                "at most 128, and must start with a letter or digit"
            )
        if bool(self.steps) == (self.coefficients is not None):
            raise InputError(f"profile {self.name} needs either steps or coefficients")
        if not 1 <= self.tensor_parallel <= self.devices:
            raise InputError(
                f"tensor_parallel must be from 1 to the {self.devices} devices, got {self.tensor_parallel}"
            )
        if self.devices > 1 and not self.all_reduce:
            raise InputError(
                f"profile {self.name} spans {self.devices} devices and does not say that its steps "
                "include the "
                'communication between them; without it latencies come out up to 45 % too low. Write "all_reduce": '
                "true where the steps were measured on all devices together"
            )
        if self.hourly_usd is not None and not 0.0 < self.hourly_usd < math.inf:
            raise InputError(f"hourly_usd must be positive and finite, got {self.hourly_usd}")
        if self.steps:
            self._check_range()

    @property
    def request_overhead_s(self) -> float:
        """Time of a request outside the engine, but for what each of its input tokens takes. [s]"""
        return self.overhead.request_s

    @cached_property
    def table(self) -> StepTable:
        """Durations of passes."""
        if self.coefficients is None:
            return with_noise(table_of(self.steps), self.steps)
        line, limits = self.coefficients, self.limits_measured
        return linear_table(
            line.base_s,
            line.per_prefill_token_s,
            line.per_decode_request_s,
            line.per_kv_token_s,
            (limits.sequences_max, limits.batched_tokens_max, limits.context_tokens_max),
        )

    def _check_range(self) -> None:
        """Refuse measured passes that do not reach as far as the profile claims."""
        limits, (requests, tokens) = self.limits_measured, reach_of(self.steps)
        reached = (
            ("sequences_max", limits.sequences_max, requests, "decoding requests"),
            ("batched_tokens_max", limits.batched_tokens_max, tokens, "prompt tokens"),
        )
        for name, claimed, most, what in reached:
            if claimed > most:
                raise InputError(
                    f"profile {self.name}: {name} is {claimed}, and no step was measured with more "
                    f"than {most:g} "
                    f"{what}; measure up to there, or lower {name}"
                )

    @property
    def facts(self) -> tuple[str, ...]:
        """What was measured, as far as it is known: model, devices, precision and engine."""
        engine = " ".join(filter(None, (self.engine.name, self.engine.version)))
        device = (
            self.device if self.devices == 1 or self.device is None else f"{self.devices} x {self.device}"
        )
        return tuple(filter(None, (self.model, device, self.precision, engine)))

    @property
    def instances_per_device(self) -> int:
        """1, as each engine has devices of its own, which are priced together."""
        return 1

    @property
    def replica_hourly_usd(self) -> float | None:
        """Price of one replica. [USD/h]"""
        return None if self.hourly_usd is None else self.devices * self.hourly_usd

    def scaled(self, factor: float) -> "LlmProfile":
        """The profile of devices on which every pass takes `factor` times as long.

        The overhead lies outside the engine and stays the same; the saturated run that checks it is left out.
        """
        line = None if self.coefficients is None else self.coefficients.scaled(factor)
        return replace(
            self, steps=tuple(one.scaled(factor) for one in self.steps), coefficients=line, check=None
        )

    def hourly_cost_usd(self, replicas: int) -> float | None:
        """Price of a fleet; None if the device's price is unknown. [USD/h]"""
        return None if self.replica_hourly_usd is None else replicas * self.replica_hourly_usd

    def require(self, sequences_max: int, batched_tokens_max: int) -> None:
        """Refuse engine settings beyond what was measured.

        Raises:
            DomainError: says the numbers.
        """
        limits = self.limits_measured
        pairs = (
            ("sequences_max", sequences_max, limits.sequences_max),
            ("batched_tokens_max", batched_tokens_max, limits.batched_tokens_max),
        )
        for name, asked, measured in pairs:
            flag = name.replace("_", "-")
            if asked < 1:
                raise DomainError(f"--{flag} must be >= 1, got {asked}")
            if asked > measured:
                raise DomainError(
                    f"profile {self.name} was measured up to {flag} {measured} and does not cover {asked}; "
                    "measure up to there, or ask for less"
                )
        all_at_once = not self.engine.chunked_prefill or self.engine.scheduler is Scheduler.LLAMA_CPP
        if all_at_once and batched_tokens_max < sequences_max:
            raise DomainError(
                f"--batched-tokens-max {batched_tokens_max} is below --sequences-max {sequences_max}; "
                "raise it"
            )
