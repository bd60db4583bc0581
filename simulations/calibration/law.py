"""A law of steps in a few numbers, which calibration looks for, and the table that a profile has of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from capacity.profile.steps import StepTable, StepTiming, table_of

_LEAST_S = 1e-6  # of a step, below which a search may come on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a table goes: most decoding requests, prompt tokens, context and past of a step.

    Attributes:
        tokens_max: most prompt tokens that a step may have, up to which the table goes on as it ended; None for as
            many as `prompt_tokens`.
    """

    requests: int
    prompt_tokens: int
    context: int
    past: int = 0
    tokens_max: int | None = None

    @property
    def prompts(self) -> list[int]:
        """Sizes of prompts that a table has, rising."""
        return sorted({1, self.prompt_tokens, max(self.prompt_tokens, self.tokens_max or 0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLaw:
    """Duration of a step in a few numbers. [s]

    Attributes:
        at: numbers of decoding requests, rising.
        decode_s: duration of a step of that many that read nothing.
        per_read_s, per_prompt_s: time for each token read, and for each prompt token.
        request_s: time of each request outside the engine.
    """

    at: tuple[int, ...]
    decode_s: tuple[float, ...]
    per_read_s: float = 0.0
    per_prompt_s: float = 0.0
    request_s: float = 0.0

    def steps(self, reach: Reach) -> tuple[StepTiming, ...]:
        """Rows of a profile: the numbers of requests at both ends of the context, then prompts at both ends."""
        contexts = sorted({1, max(1, reach.context)}) if self.per_read_s else [max(1, reach.context)]
        decode = [
            StepTiming(
                decode_requests=requests,
                decode_kv_tokens=requests * context,
                mean_s=max(_LEAST_S, alone_s + self.per_read_s * requests * context),
            )
            for requests, alone_s in self._nodes(reach.requests)
            for context in contexts
        ]
        base_s = self.decode_s[0] + (self.per_read_s * self.at[0] if self.per_read_s else 0.0)
        prompts = [
            StepTiming(
                prefill_requests=1,
                prefill_tokens=tokens,
                prefill_kv_tokens=past,
                mean_s=max(_LEAST_S, base_s + self.per_prompt_s * tokens),
            )
            for tokens, past in product(reach.prompts, sorted({0, reach.past}))
        ]
        return (*decode, *prompts)

    def refined(self, nodes: Mapping[int, float]) -> "StepLaw":
        """The same law with more nodes: steps that read nothing, by number of decoding requests. [s]"""
        known = dict(sorted({**dict(zip(self.at, self.decode_s, strict=True)), **nodes}.items()))
        return replace(self, at=tuple(known), decode_s=tuple(known.values()))

    def table(self, reach: Reach) -> StepTable:
        """The table of these steps."""
        return table_of(self.steps(reach))

    def _nodes(self, most: int) -> Sequence[tuple[int, float]]:
        """Numbers of requests with their durations; the last line goes on to the most."""
        nodes = list(zip(self.at, self.decode_s, strict=True))
        if most <= self.at[-1]:
            return nodes
        slope_s = 0.0
        if len(nodes) > 1:
            (before, before_s), (last, last_s) = nodes[-2:]
            slope_s = (last_s - before_s) / (last - before)
        return [*nodes, (most, self.decode_s[-1] + slope_s * (most - self.at[-1]))]
