"""LlmProfile: measured passes of a language model's engine on one or several devices, its cache and its rules."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from capacity.errors import CoverageError, DomainError, InputError, quoted
from capacity.profile.speculation import Floats, Speculation
from capacity.profile.steps import StepTable, StepTiming, linear_table, reach_of, table_of, with_noise

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TOKENS_LIMIT = 1_000_000_000
# A saturated run whose throughput the profile misses by more than this share refutes the profile.
CHECK_SHARE = 0.03
# A profile calibrated from loads that misses their figures by more than this share is not to be trusted.
RESIDUAL_MAX = 0.05


class Scheduler(StrEnum):
    """How an engine composes its passes.

    `vllm-v1` is the scheduler of the version of vLLM that a profile states, and today's where it states none.
    """

    VLLM_V1 = "vllm-v1"
    VLLM_V1_0_19 = "vllm-v1@0.19"
    VLLM_V1_0_33 = "vllm-v1@0.33"
    LLAMA_CPP = "llama-cpp"
    SGLANG = "sglang"

    @property
    def family(self) -> "Scheduler":
        """The scheduler whatever its version."""
        return Scheduler.VLLM_V1 if self.value.startswith("vllm-v1") else self


# Versions of vLLM, by their first two numbers, whose rules were read; those in between changed one after the other.
_READ_OLD, _READ_NEW = (0, 19), (0, 33)
_AHEAD_SINCE = (0, 14)  # unless told otherwise
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The measured engine and its settings.

    Attributes:
        chunked_prefill: whether a prompt may be computed in parts, each as large as the pass has room for.
        async_scheduling: whether a pass is composed while the one before it is computed; None if that is as usual
            under the engine's rules.
        prefix_caching: whether blocks of tokens stay cached after their request has gone.
        long_prefill_tokens: most tokens of one prompt in a pass, while there are other requests; None if it may have
            all that the pass has room for. (`--long-prefill-token-threshold` of vLLM)
        watermark: share of the cache's blocks that must stay free when a request starts beside others; None if none.
        mixed_chunk: whether SGLang computes answers in the passes of prompts too; None if that is as usual, apart.
    """

    name: str | None = None
    version: str | None = None
    scheduler: Scheduler = Scheduler.VLLM_V1
    chunked_prefill: bool = True
    async_scheduling: bool | None = None
    prefix_caching: bool = True
    long_prefill_tokens: int | None = None
    watermark: float | None = None
    mixed_chunk: bool | None = None

    def __post_init__(self) -> None:
        self._check_settings()
        if self.scheduler is Scheduler.LLAMA_CPP and (self.async_scheduling or not self.chunked_prefill):
            raise InputError(
                "llama-cpp computes prompts in parts and composes a step when the last has ended; leave out "
                "async_scheduling on and chunked_prefill off"
            )

    def _check_settings(self) -> None:
        """Refuse settings that are out of range, or that the engine's rules do not have."""
        tokens, share = self.long_prefill_tokens, self.watermark
        if tokens is not None and not 1 <= tokens <= TOKENS_LIMIT:
            raise InputError(f"long_prefill_tokens must be from 1 to {TOKENS_LIMIT}, got {tokens}")
        if share is not None and not 0.0 <= share < 1.0:
            raise InputError(f"watermark must be a share from 0 to below 1, got {share}")
        if share and self.rules is not Scheduler.VLLM_V1_0_33:
            raise InputError(f"{self.rules.value} keeps no blocks free; leave watermark out, or use vllm-v1")
        if self.mixed_chunk is not None and self.rules is not Scheduler.SGLANG:
            raise InputError(f"{self.rules.value} has no passes of prompts alone; leave mixed_chunk out")
        if tokens is not None and self.rules.family is not Scheduler.VLLM_V1:
            raise InputError(
                f"{self.rules.value} gives a prompt what its step has room for; leave long_prefill_tokens out"
            )

    @property
    def rules(self) -> Scheduler:
        """The scheduler with its version."""
        if self.scheduler is not Scheduler.VLLM_V1:
            return self.scheduler
        stated = self.stated
        return Scheduler.VLLM_V1_0_33 if stated is None or stated > _READ_OLD else Scheduler.VLLM_V1_0_19

    @property
    def composes_ahead(self) -> bool:
        """Whether a pass is composed while the one before it is computed."""
        if self.async_scheduling is not None:
            return self.async_scheduling
        return self.rules in (Scheduler.VLLM_V1_0_33, Scheduler.SGLANG)

    @property
    def rules_text(self) -> str:
        """The rules in words, by which an engine differs from another that may have been measured."""
        return f"{self.rules.value}, steps composed {'ahead' if self.composes_ahead else 'one by one'}"

    @property
    def other_rules(self) -> "Engine | None":
        """The engine with other rules that it may have had, as its version was not stated or read; None if it was.

        vLLM composes passes ahead since 0.14 unless told otherwise, and few published runs say whether it did.
        """
        if self.scheduler is not Scheduler.VLLM_V1 or self.name is None:
            return None
        stated = self.stated
        if stated is None or _READ_OLD < stated < _READ_NEW:
            return replace(self, scheduler=Scheduler.VLLM_V1_0_19, watermark=None)
        if _AHEAD_SINCE <= stated <= _READ_OLD and self.async_scheduling is None:
            return replace(self, async_scheduling=True)
        return None

    @property
    def stated(self) -> tuple[int, int] | None:
        """The first two numbers of the version; None if it is not stated, or has none."""
        found = _VERSION.match(self.version or "")
        return None if found is None else (int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """Size of the cache for keys and values of tokens, in blocks.

    Attributes:
        tokens: as the engine's log or metrics report; figures computed from memory sizes are a third too large. None
            if they were not published.
        tokens_low, tokens_high: bounds of an estimate of them, both or neither; intervals hold what either would do.
        reserve_full_prompt: whether a request starts only if all its known tokens would fit.
    """

    tokens: int | None = None
    block_tokens: int = 16
    reserve_full_prompt: bool = True
    tokens_low: int | None = None
    tokens_high: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.block_tokens <= 4096:
            raise InputError(f"block_tokens must be from 1 to 4096, got {self.block_tokens}")
        if self.tokens is not None and not 2 * self.block_tokens <= self.tokens <= TOKENS_LIMIT:
            raise InputError(
                f"the KV cache must hold from two blocks of {self.block_tokens} tokens to {TOKENS_LIMIT} "
                f"tokens, got {self.tokens}"
            )
        self._require_bounds()

    def _require_bounds(self) -> None:
        """Raises an InputError for bounds that are not around the number of tokens."""
        if self.tokens_low is None and self.tokens_high is None:
            return
        low, known, high = self.tokens_low or 0, self.tokens or 0, self.tokens_high or 0
        if not 2 * self.block_tokens <= low <= known <= high <= TOKENS_LIMIT:
            raise InputError(
                f"tokens_low <= tokens <= tokens_high must hold for the KV cache, from two blocks of "
                f"{self.block_tokens} tokens to {TOKENS_LIMIT} tokens; got {self.tokens_low}, {self.tokens}, "
                f"{self.tokens_high}"
            )

    @property
    def is_estimate(self) -> bool:
        """Whether its size has bounds."""
        return self.tokens_low is not None and self.tokens_low < (self.tokens_high or 0)

    def of_size(self, tokens: int) -> "KvCache":
        """The cache with a size that is known."""
        return replace(self, tokens=tokens, tokens_low=None, tokens_high=None)

    def evenly(self, count: int) -> list["KvCache"]:
        """Caches of as many sizes, from the lower bound to the upper in even steps; as it is without bounds."""
        low, high = self.tokens_low, self.tokens_high
        if low is None or high is None:
            return [self] * count
        sizes = (round(low + (high - low) * at / (count - 1)) for at in range(count))
        return [self.of_size(size) for size in sizes]

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
    """Time beyond measured steps. [s]

    Attributes:
        request_s, per_input_token_s: time of a request outside the engine, which does not occupy it.
        step_s: time of the host for each step, which the measured ones lack, and which does occupy the engine; None if
            they lack nothing.
        step_error: standard error of it, as a share; None if it is exact.
    """

    request_s: float = 0.0
    per_input_token_s: float = 0.0
    step_s: float | None = None
    step_error: float | None = None

    def __post_init__(self) -> None:
        for name in ("request_s", "per_input_token_s", "step_s"):
            if not 0.0 <= (getattr(self, name) or 0.0) <= 60.0:
                raise InputError(f"{name} must be from 0 to 60 s, got {getattr(self, name)}")
        if self.step_error is not None and not 0.0 <= self.step_error <= 10.0:
            raise InputError(f"step_error must be a share from 0 to 10, got {self.step_error}")


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
    per_prefill_kv_token_s: float = 0.0  # for each prompt token and token of its past

    def __post_init__(self) -> None:
        given = tuple(getattr(self, one.name) for one in fields(self))
        if not all(0.0 <= one <= 60.0 for one in given):
            raise InputError(f"coefficients must be from 0 to 60 s, got {given}")
        if self.base_s + self.per_decode_request_s <= 0.0 or self.base_s + self.per_prefill_token_s <= 0.0:
            raise InputError(
                "a pass takes time: base_s, or both of per_prefill_token_s and per_decode_request_s"
            )

    def scaled(self, factor: float) -> "Coefficients":
        """A pass that takes `factor` times as long."""
        return Coefficients(**{one.name: factor * getattr(self, one.name) for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How well a profile gives back the loads that it was calibrated from, and what they leave open.

    Attributes:
        residual: root mean square of what predicted figures are off by, as a share.
        loads, figures: numbers of loads, and of their figures.
        step_errors: errors of all steps that go together, as logarithms, one row for each independent direction.
        overhead_errors: errors of the time outside the engine in the same directions.
    """

    residual: float
    loads: int
    figures: int
    step_errors: tuple[tuple[float, ...], ...] = field(repr=False)
    overhead_errors: tuple[float, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.residual < math.inf:
            raise InputError(f"a residual is not below 0, got {self.residual}")
        if len(self.step_errors) != len(self.overhead_errors) or not self.step_errors:
            raise InputError("step_errors and overhead_errors must have the same directions, at least one")


@dataclass(frozen=True, kw_only=True)
class LlmProfile:
    """Measured passes of one language model on one replica, which may span several devices.

    Their table is made when it is first asked for, as a fit of scattered passes takes longer than to list a profile.

    Attributes:
        devices: devices of one replica; its price is as many times `hourly_usd`.
        all_reduce: whether passes on several devices include the communication between them.
        steps, coefficients: measured passes, or a linear function; exactly one of them.
        hourly_usd: price of one device; None if unknown. [USD/h]
        calibration: what loads on the engine leave open, if its steps were calibrated from them.
        speculation: what the engine drafts and accepts; None if a pass brings each request one token.
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
        "speculation": "speculation",
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
    calibration: Calibration | None = None
    speculation: Speculation | None = None
    source: Mapping[str, str] = field(default_factory=dict, hash=False)
    path: str | None = field(default=None, compare=False, repr=False)

    def __hash__(self) -> int:
        """Hash of what nearly always tells profiles apart: all steps take longer to hash than a look-up saves."""
        return hash((self.name, self.coefficients, self.kv, self.engine, self.steps[:1], self.steps[-1:]))

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
        self._check_parts()

    def _check_parts(self) -> None:
        """Refuse parts of the profile that do not go together."""
        if self.steps:
            self._check_range()
        if self.speculation is not None and self.engine.rules.family is not Scheduler.VLLM_V1:
            raise InputError(
                f"profile {self.name} has speculation, which the rules of {self.engine.rules.value} are not known for; "
                "use vllm-v1, or leave speculation out"
            )
        calibration = self.calibration
        if calibration and any(len(row) != len(self.steps) for row in calibration.step_errors):
            raise InputError(
                f"profile {self.name}: each row of step_errors needs an error for each of its steps"
            )

    @property
    def request_overhead_s(self) -> float:
        """Time of a request outside the engine, but for what each of its input tokens takes. [s]"""
        return self.overhead.request_s

    @cached_property
    def table(self) -> StepTable:
        """Durations of passes, with the time of a host and of a drafter that were not measured with them."""
        drafting_s = 0.0 if self.speculation is None else self.speculation.drafting_s
        return self._measured.plus((self.overhead.step_s or 0.0) + drafting_s)

    @property
    def _measured(self) -> StepTable:
        """Durations of passes as they were measured."""
        if self.coefficients is None:
            return with_noise(table_of(self.steps), self.steps)
        line, limits = self.coefficients, self.limits_measured
        return linear_table(
            line.base_s,
            line.per_prefill_token_s,
            line.per_decode_request_s,
            line.per_kv_token_s,
            (limits.sequences_max, limits.batched_tokens_max, limits.context_tokens_max),
            line.per_prefill_kv_token_s,
        )

    def pass_s(self, prompt_tokens: float, running: float, context: float) -> float:
        """Mean duration of a pass in which this many requests decode, with what is drafted for them. [s]

        Args:
            prompt_tokens: without a past.
            context: tokens that each request reads.
        """
        drafted = 0.0 if self.speculation is None else running * self.speculation.timed_tokens
        past = 0.0 if not drafted else drafted * context / (prompt_tokens + drafted)
        return self.table.mean_s(prompt_tokens + drafted, past, running, running * context)

    def passes(self, output_tokens: npt.ArrayLike) -> Floats:
        """Mean passes in which answers of these lengths get their tokens."""
        if self.speculation is None:
            return np.asarray(output_tokens, dtype=np.float64)
        return self.speculation.passes(output_tokens)

    @property
    def spare_tokens(self) -> int:
        """Tokens of the cache that a request may take beyond those of its prompt and its answer, for its drafts."""
        one = self.speculation
        if one is None:
            return 0
        passes = 2 if self.engine.composes_ahead else 1
        return passes * one.draft_tokens + one.lookahead_tokens

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
        drafts = None if self.speculation is None else self.speculation.scaled(factor)
        steps = tuple(one.scaled(factor) for one in self.steps)
        return replace(self, steps=steps, coefficients=line, check=None, speculation=drafts)

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
                raise CoverageError(
                    f"profile {self.name} was measured up to {flag} {measured} and does not cover {asked}; "
                    "measure up to there, or ask for less"
                )
        all_at_once = not self.engine.chunked_prefill or self.engine.rules is Scheduler.LLAMA_CPP
        if all_at_once and batched_tokens_max < sequences_max:
            raise DomainError(
                f"--batched-tokens-max {batched_tokens_max} is below --sequences-max {sequences_max}; "
                "raise it"
            )
