"""Step times of a language model's engine: the duration of any mix of prefill and decode, from measured passes.

An engine that batches continuously computes one pass (step) at a time. A pass computes a number of prompt tokens
(prefill) and one token for each running request (decode), which reads the cached tokens of that request.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import product

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError

Floats = npt.NDArray[np.float64]

# Different sizes of scattered measurements that are kept apart; more are put into as many groups.
NODES_MAX = 32
# Quantiles of the noise; rows of single passes that give it; and the spread that counts as none.
_NOISE_POINTS, _ROWS_MIN, _NO_NOISE = 257, 50, 1e-6
_P99 = 2.326  # standard normal quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """Passes of one composition, and their duration.

    Attributes:
        prefill_requests, prefill_tokens: prompts in the pass, and their tokens computed in it.
        prefill_kv_tokens: tokens of these prompts that earlier passes had computed, over all prompts.
        decode_requests: requests that get one more token each.
        decode_kv_tokens: cached tokens that these read, over all of them.
        mean_s, p50_s, p99_s: duration of the pass; None for percentiles that are unknown. [s]
        count: number of passes measured; None if unknown.
    """

    prefill_requests: int = 0
    prefill_tokens: int = 0
    prefill_kv_tokens: int = 0
    decode_requests: int = 0
    decode_kv_tokens: int = 0
    mean_s: float
    p50_s: float | None = None
    p99_s: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        counts = (
            self.prefill_requests, self.prefill_tokens, self.prefill_kv_tokens,
            self.decode_requests, self.decode_kv_tokens,
        )  # fmt: skip
        if min(counts) < 0:
            raise InputError(f"a step has no negative counts, got {counts}")
        if not self.prefill_tokens and not self.decode_requests:
            raise InputError("a step computes something: give prefill_tokens or decode_requests")
        if self.decode_requests and self.decode_kv_tokens < self.decode_requests:
            raise InputError(
                f"{self.decode_requests} decoding requests read at least a token each, and "
                "decode_kv_tokens is "
                f"{self.decode_kv_tokens}; it is the sum over these requests"
            )
        if not 1e-7 <= self.mean_s <= 600.0:
            raise InputError(f"a step of {self.mean_s:g} s is outside 1e-07 s to 600 s; is the unit right?")

    def scaled(self, factor: float) -> "StepTiming":
        """The same passes, each `factor` times as long."""
        p50_s, p99_s = (None if one is None else factor * one for one in (self.p50_s, self.p99_s))
        return replace(self, mean_s=factor * self.mean_s, p50_s=p50_s, p99_s=p99_s)

    @property
    def past(self) -> float:
        """Tokens computed earlier, per prompt in the pass."""
        return self.prefill_kv_tokens / max(1, self.prefill_requests)

    @property
    def context(self) -> float:
        """Mean tokens that a decoding request reads."""
        return self.decode_kv_tokens / max(1, self.decode_requests)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTable:
    """Duration of a pass: linear between measured points in each of four sizes, and never falling.

    Below the smallest measured size, the smallest one's time holds. Above the largest there is no answer.

    Attributes:
        prefill_tokens, past: nodes of prompt tokens in the pass, and of those computed before, rising.
        decode_requests, context: nodes of decoding requests, and of cached tokens that each reads, rising.
        decode_s: passes without prompts, shape `(decode_requests, context)`. [s]
        prefill_s: passes with prompts alone, shape `(prefill_tokens, past)`. [s]
        mixed_s: passes with both, shape `(prefill_tokens, past, decode_requests, context)`. [s]
        is_mixed_measured: whether any pass with both was measured; else the two add up.
        is_past_measured: whether any prompt with a past was measured.
        noise: factors of a pass's duration, as quantiles at even steps from 0 to 1, of mean 1; empty if the spread of
            similar passes is unknown.
    """

    prefill_tokens: Floats
    past: Floats
    decode_requests: Floats
    context: Floats
    decode_s: Floats
    prefill_s: Floats
    mixed_s: Floats
    is_mixed_measured: bool
    is_past_measured: bool
    noise: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def arrays(self) -> tuple[Floats, ...]:
        """Nodes and durations, in the form that compiled code takes."""
        tables = (
            self.prefill_tokens, self.past, self.decode_requests, self.context,
            self.decode_s, self.prefill_s, self.mixed_s, self.noise,
        )  # fmt: skip
        return tuple(np.ascontiguousarray(one) for one in tables)

    def plus(self, seconds: float) -> "StepTable":
        """The table of passes that each take so much longer. [s]"""
        if not seconds:
            return self
        return replace(
            self,
            decode_s=self.decode_s + seconds,
            prefill_s=self.prefill_s + seconds,
            mixed_s=self.mixed_s + seconds,
        )

    def mean_s(
        self, prefill_tokens: float = 0, past: float = 0, decode_requests: float = 0, kv_tokens: float = 0
    ) -> float:
        """Mean duration of a pass. [s]

        Args:
            past: past of the prompts, weighted by their tokens in the pass.
            kv_tokens: tokens read by all decoding requests together.
        """
        context = kv_tokens / max(1.0, decode_requests)
        if not prefill_tokens:
            return _between((self.decode_requests, self.context), self.decode_s, (decode_requests, context))
        if not decode_requests:
            return _between((self.prefill_tokens, self.past), self.prefill_s, (prefill_tokens, past))
        axes = (self.prefill_tokens, self.past, self.decode_requests, self.context)
        return _between(axes, self.mixed_s, (prefill_tokens, past, decode_requests, context))


def _between(axes: Sequence[Floats], values: Floats, places: Sequence[float]) -> float:
    """Linear interpolation in each coordinate; below the first node its value holds."""
    for axis, place in zip(axes, places, strict=True):
        low = int(np.clip(np.searchsorted(axis, place, side="right") - 1, 0, max(0, len(axis) - 2)))
        high = min(low + 1, len(axis) - 1)
        span = axis[high] - axis[low]
        weight = 0.0 if span == 0.0 else float(np.clip((place - axis[low]) / span, 0.0, 1.0))
        values = (1.0 - weight) * values[low] + weight * values[high]
    return float(values)


def table_of(steps: Sequence[StepTiming]) -> StepTable:
    """The table of measured passes.

    Passes that form a grid are kept; scattered ones are fitted: passes without prompts by a value for each number of
    requests plus a slope in the cached tokens read, prompts by a value for each number of tokens plus a slope in
    their product with the past. The time that a prompt adds counts from the smallest pass without prompts, so that
    what every pass takes counts once. A mixed pass that was not measured adds to its prompts what its decoding
    requests added at the next smaller number of prompt tokens.

    Raises:
        InputError: no pass without prompts, or none with prompts alone.
    """
    decode, prefill = _alone(steps)
    requests, context, decode_s = _table([(step.decode_requests, step.context) for step in decode], decode)
    tokens, past, prefill_s = _table([(step.prefill_tokens, step.past) for step in prefill], prefill)
    is_past_measured = len(past) > 1
    if not is_past_measured:
        past, prefill_s = _chained(tokens, prefill_s[:, 0], float(decode_s[0, 0]))
    prefill_s = _rising(prefill_s)
    mixed = [step for step in steps if step.prefill_tokens and step.decode_requests]
    return StepTable(
        prefill_tokens=tokens,
        past=past,
        decode_requests=requests,
        context=context,
        decode_s=_rising(decode_s),
        prefill_s=prefill_s,
        mixed_s=_mixed(mixed, (tokens, past, requests, context), prefill_s, _rising(decode_s)),
        is_mixed_measured=bool(mixed),
        is_past_measured=is_past_measured,
    )


def reach_of(steps: Sequence[StepTiming]) -> tuple[int, int]:
    """Most decoding requests of a measured pass without prompts, and most prompt tokens of one with prompts alone.

    Raises:
        InputError: as of `table_of`.
    """
    decode, prefill = _alone(steps)
    return max(step.decode_requests for step in decode), max(step.prefill_tokens for step in prefill)


def _alone(steps: Sequence[StepTiming]) -> tuple[list[StepTiming], list[StepTiming]]:
    """Passes without prompts, and with prompts alone."""
    decode = [step for step in steps if not step.prefill_tokens]
    prefill = [step for step in steps if not step.decode_requests]
    if not decode or not prefill:
        missing = "decoding requests alone" if not decode else "prompts alone"
        raise InputError(f"no step of {missing} was measured; a profile needs some of these")
    return decode, prefill


def with_noise(table: StepTable, steps: Sequence[StepTiming]) -> StepTable:
    """The table with the spread of similar passes: from rows of single passes, or from percentiles of each kind."""
    if len(steps) >= _ROWS_MIN and all(step.count == 1 for step in steps):
        sizes = ((one.prefill_tokens, one.past, one.decode_requests, one.decode_kv_tokens) for one in steps)
        ratios = np.array([one.mean_s / table.mean_s(*size) for one, size in zip(steps, sizes, strict=True)])
        factors = np.quantile(ratios, np.linspace(0.0, 1.0, _NOISE_POINTS))
    else:
        known = [one for one in steps if one.p50_s and one.p99_s and one.p99_s > one.p50_s]
        if not known:
            return table
        from scipy.special import ndtri  # heavy, and not to be loaded before it is needed

        weights = [one.count or 1 for one in known]
        spreads = [math.log(one.p99_s / one.p50_s) / _P99 for one in known if one.p50_s and one.p99_s]
        factors = np.exp(
            np.average(spreads, weights=weights) * ndtri((np.arange(_NOISE_POINTS) + 0.5) / _NOISE_POINTS)
        )
    factors = factors / ((factors[1:] + factors[:-1]) / 2.0).mean()
    return replace(table, noise=factors) if factors[-1] - factors[0] > _NO_NOISE else table


def linear_table(
    base_s: float,
    per_prefill_token_s: float,
    per_decode_request_s: float,
    per_kv_token_s: float,
    limits: tuple[int, int, int],
    per_prefill_kv_token_s: float = 0.0,
) -> StepTable:
    """The table of a pass that is linear in its prompt tokens, decoding requests and cached tokens read.

    Args:
        limits: largest number of decoding requests, of prompt tokens in a pass and of tokens in a context.
        per_prefill_kv_token_s: seconds for each prompt token and token of its past, which it attends to.
    """
    sequences, tokens, context = (float(limit) for limit in limits)
    prefill = np.array([0.0, tokens])
    requests, contexts, past = np.array([0.0, sequences]), np.array([0.0, context]), np.array([0.0, context])
    decode_s = base_s + requests[:, None] * (per_decode_request_s + per_kv_token_s * contexts[None, :])
    per_token_s = per_prefill_token_s + per_prefill_kv_token_s * past
    prefill_s = base_s + prefill[:, None] * per_token_s[None, :]
    return StepTable(
        prefill_tokens=prefill,
        past=past,
        decode_requests=requests,
        context=contexts,
        decode_s=decode_s,
        prefill_s=prefill_s,
        mixed_s=prefill_s[:, :, None, None] + (decode_s - base_s)[None, None, :, :],
        is_mixed_measured=False,
        is_past_measured=True,
    )


def _rising(values: Floats) -> Floats:
    """Values that never fall along any axis: if a larger pass was measured shorter, the smaller one's time holds."""
    return reduce(lambda kept, axis: np.maximum.accumulate(kept, axis=axis), range(values.ndim), values)


def _table(places: list[tuple[float, float]], steps: Sequence[StepTiming]) -> tuple[Floats, Floats, Floats]:
    """Nodes of both coordinates, and durations: as measured if the places form a grid, else fitted."""
    firsts, seconds = (np.array(sorted(set(axis)), dtype=float) for axis in zip(*places, strict=True))
    total, weight = (np.zeros((len(firsts), len(seconds))) for _ in range(2))
    for (first, second), step in zip(places, steps, strict=True):
        at = int(np.searchsorted(firsts, first)), int(np.searchsorted(seconds, second))
        total[at] += (step.count or 1) * step.mean_s
        weight[at] += step.count or 1
    if weight.all():
        return firsts, seconds, total / weight
    return _fitted(places, steps)


def _fitted(places: list[tuple[float, float]], steps: Sequence[StepTiming]) -> tuple[Floats, Floats, Floats]:
    """Least squares of a piecewise linear function of the first coordinate plus a slope in the product."""
    from scipy.optimize import nnls

    first, second = (np.array(axis, dtype=float) for axis in zip(*places, strict=True))
    nodes = _nodes(first)
    root = np.sqrt([step.count or 1 for step in steps])
    hats = np.array([np.interp(first, nodes, unit) for unit in np.eye(len(nodes))]).T
    rises = np.cumsum(hats[:, ::-1], axis=1)[:, ::-1]  # the value at the first node, and each rise after it
    columns = np.column_stack([rises, first * second])
    scale = np.maximum(np.abs(columns).max(axis=0), 1e-300)
    solution, _ = nnls(columns / scale * root[:, None], np.array([s.mean_s for s in steps]) * root)
    solution = solution / scale
    values, slope = np.cumsum(solution[:-1]), solution[-1]
    ends = np.array([0.0, float(second.max())])  # above 0: a single second value makes a grid
    return nodes, ends, values[:, None] + slope * nodes[:, None] * ends[None, :]


def _nodes(sizes: Floats) -> Floats:
    """The different sizes, or a selection with measurements at and between each two."""
    distinct = np.unique(sizes)
    if len(distinct) <= NODES_MAX:
        return distinct
    return np.unique(np.quantile(sizes, np.linspace(0.0, 1.0, NODES_MAX), method="nearest"))


def _chained(tokens: Floats, alone_s: Floats, base_s: float) -> tuple[Floats, Floats]:
    """Prompts with a past, from prompts without one: the rest of a longer prompt takes the difference.

    Used only without measurements with a past; beyond the longest prompt its last tokens stand for all.
    """
    past = np.concatenate([[0.0], tokens])
    longest = tokens[-1]
    added_s = np.maximum.accumulate(alone_s) - base_s
    durations_s = np.empty((len(tokens), len(past)))
    for (i, count), (j, before) in product(enumerate(tokens), enumerate(past)):
        end = min(count + before, longest)
        begin = end - count
        begun_s = (
            0.0 if begin <= 0.0 else float(np.interp(begin, tokens, added_s)) * min(1.0, begin / tokens[0])
        )
        durations_s[i, j] = base_s + max(added_s[i], float(np.interp(end, tokens, added_s)) - begun_s)
    return past, durations_s


def _mixed(
    steps: Sequence[StepTiming],
    axes: tuple[Floats, Floats, Floats, Floats],
    prefill_s: Floats,
    decode_s: Floats,
) -> Floats:
    """Mixed passes at all nodes: as measured, else with what decoding added at the next smaller prompt."""
    tokens, past, requests, context = axes
    measured = {
        (step.prefill_tokens, step.past, step.decode_requests, step.context): step.mean_s for step in steps
    }
    durations_s = np.empty((len(tokens), len(past), len(requests), len(context)))
    for j, before in enumerate(past):
        added_s = decode_s - decode_s[0, 0]
        for i, count in enumerate(tokens):
            for k, m in product(range(len(requests)), range(len(context))):
                found_s = measured.get((count, before, requests[k], context[m]))
                if found_s is not None:
                    added_s[k, m] = found_s - prefill_s[i, j]
            durations_s[i, j] = prefill_s[i, j] + added_s
    return _rising(durations_s) if steps else durations_s
