"""Steps that an engine recorded itself, one by one, and the rows of a profile that sum them up.

The rows form a grid, so that each number of decoding requests that was seen keeps its own time: real steps are
staircases in it, of kernels and of CUDA graphs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.profile.llm import LimitsMeasured
from capacity.profile.speculation import Speculation
from capacity.profile.steps import StepTiming

Floats = npt.NDArray[np.float64]

STEPS_MAX = 500_000
# Steps without prompts in a window, and how much longer than similar ones they may be once the engine is warm.
_WINDOW, _WARM = 20, 1.1
_STALL = 3.0  # multiple of similar steps beyond which something else held the engine up
_P99 = 2.326  # standard normal quantile
_DECODE_MIN, _PROMPTS_MIN = 20, 5  # steps without prompts, and with some
_NODES_MAX = 128  # different numbers of decoding requests that a table keeps
_PROMPT_NODES = 16
_THIN = 0.002  # error of interpolation below which a node is left out


class SeenStep(NamedTuple):
    """One step as its engine recorded it.

    Attributes:
        decode_kv_tokens: tokens read by all decoding requests; None if only the use of the cache is known.
        cache_share: share of the KV cache in use at the end of the step; None if unknown.
        seconds: duration. [s]
    """

    prefill_requests: int
    prefill_tokens: int
    prefill_kv_tokens: int
    decode_requests: int
    decode_kv_tokens: int | None
    cache_share: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSteps:
    """The steps of one engine, in order.

    Attributes:
        name: name for messages: the file, and the engine in it.
        kv_tokens: size of the KV cache by the same file; None if it does not say.
        source: what its reader had to decide, by aspect.
        draft_tokens: most tokens drafted for a request in a step; 0: none, or the file does not say.
        speculation: what was accepted of them, if the file says so.
    """

    name: str
    steps: tuple[SeenStep, ...]
    kv_tokens: int | None = None
    draft_tokens: int = 0
    speculation: Speculation | None = None
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.steps:
            raise InputError(
                f"{self.name} has no step in which anything was computed; record some under load"
            )
        if len(self.steps) > STEPS_MAX:
            raise InputError(f"{self.name} has more than {STEPS_MAX} steps; keep fewer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What recorded steps say of their engine.

    Attributes:
        steps: rows with their count, and with P50 and P99, which tell their error.
        source: where they come from, in words, by aspect.
    """

    steps: tuple[StepTiming, ...]
    limits_measured: LimitsMeasured
    source: dict[str, str]


class _Columns(NamedTuple):
    """Steps by column, shape `(steps,)` each."""

    prefill_requests: Floats
    prefill_tokens: Floats
    prefill_kv: Floats
    decode: Floats
    decode_kv: Floats
    seconds: Floats

    def kept(self, which: npt.NDArray[np.bool_]) -> "_Columns":
        """Some of the steps."""
        return _Columns(*(column[which] for column in self))


def rows_of(seen: Sequence[SeenSteps], kv_tokens: int, block_tokens: int) -> Recorded:
    """The rows of a profile: steps without prompts by their requests and what they read, then prompts.

    A step with prompts and decoding requests counts for its prompts, less what its decoding requests take alone.

    Raises:
        InputError: too few steps without prompts, or with some.
    """
    told: list[str] = []
    parts = [_warm(_columns(one, kv_tokens, block_tokens), one.name, told) for one in seen]
    every = _Columns(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    is_decode, is_prompt = every.prefill_tokens == 0, every.prefill_tokens > 0
    if is_decode.sum() < _DECODE_MIN or is_prompt.sum() < _PROMPTS_MIN:
        what = "without prompts" if is_decode.sum() < _DECODE_MIN else "with prompts"
        raise InputError(
            f"{seen[0].name} has {min(is_decode.sum(), is_prompt.sum())} steps {what}, and a profile needs "
            f"{_DECODE_MIN} without and {_PROMPTS_MIN} with some; record for longer, at several loads"
        )
    pure = every.kept(is_decode)
    decode = decode_steps(pure.decode, pure.decode_kv, pure.seconds, np.ones(len(pure.seconds)), told)
    prompts = every.kept(is_prompt)
    prefill = _prompts(prompts, decode, told)
    rows = (*decode.rows(), *prefill)
    alone = int((prompts.decode == 0).sum())
    source = {key: text for one in seen for key, text in one.source.items()}
    source["decode"] = f"{int(is_decode.sum())} steps without prompts, as the engine recorded them"
    source["prefill"] = (
        f"{len(prompts.seconds)} steps with prompts, {alone} of them without decoding requests"
    )
    if told:
        source["left_out"] = "; ".join(told)
    return Recorded(
        steps=rows,
        limits_measured=LimitsMeasured(
            sequences_max=max(row.decode_requests for row in rows),
            batched_tokens_max=max(row.prefill_tokens for row in rows),
            context_tokens_max=max(int(max(row.context, row.past + row.prefill_tokens)) for row in rows),
        ),
        source=source,
    )


def _columns(seen: SeenSteps, kv_tokens: int, block_tokens: int) -> _Columns:
    """Steps by column; what decoding requests read is estimated from the use of the cache where that is all."""
    read = [_read(one, kv_tokens, block_tokens) for one in seen.steps]
    columns = zip(*seen.steps, strict=True)
    requests, tokens, past, decode, _, _, seconds = (np.array(column, dtype=float) for column in columns)
    return _Columns(requests, tokens, past, decode, np.array(read, dtype=float), seconds)


def _read(one: SeenStep, kv_tokens: int, block_tokens: int) -> float:
    """Tokens read by all decoding requests; a block in use is half full at the end of each request."""
    if one.decode_kv_tokens is not None:
        return max(one.decode_kv_tokens, one.decode_requests)
    held = (one.cache_share or 0.0) * kv_tokens - one.prefill_tokens
    return max(held - 0.5 * block_tokens * (one.decode_requests + one.prefill_requests), one.decode_requests)


def _warm(columns: _Columns, name: str, told: list[str]) -> _Columns:
    """The steps without those of a warm-up: the first ones, while steps without prompts take longer than similar ones.

    Steps are similar if as many requests decode in them; each is compared with the median of its number.
    """
    places = np.flatnonzero(columns.prefill_tokens == 0)
    usual_s = {
        requests: np.median(columns.seconds[places][columns.decode[places] == requests])
        for requests in np.unique(columns.decode[places])
    }
    ratios = np.array([columns.seconds[at] / usual_s[columns.decode[at]] for at in places])
    begin = 0
    for start in range(0, len(places) - _WINDOW, _WINDOW):
        if np.median(ratios[start : start + _WINDOW]) <= _WARM:
            break
        begin = int(places[start + _WINDOW])
    if begin:
        told.append(f"the first {begin} steps of {name}, in which the engine warmed up")
    return columns.kept(np.arange(len(columns.seconds)) >= begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSteps:
    """Steps without prompts: a time for each number of requests, and one for each token that they read.

    Attributes:
        requests: nodes, rising.
        alone_s: a step in which they read nothing, not falling. [s]
        spread, counts: relative standard deviation of a step, and the number seen, by node.
        contexts: least and most tokens that a request read.
    """

    requests: Floats
    alone_s: Floats
    per_read_s: float
    spread: Floats
    counts: Floats
    contexts: tuple[float, float]

    def mean_s(self, requests: Floats, read: Floats) -> Floats:
        """Mean durations of steps. [s]"""
        return np.asarray(np.interp(requests, self.requests, self.alone_s) + self.per_read_s * read)

    def rows(self) -> list[StepTiming]:
        """Rows at the least and the most that was read."""
        found = []
        contexts = sorted({max(1, round(context)) for context in self.contexts})
        for requests, spread, count in zip(self.requests, self.spread, self.counts, strict=True):
            for context in contexts:
                read = round(requests * context)
                mean_s = float(self.mean_s(requests, np.array(read)))
                found.append(
                    _timing(mean_s, spread, count, decode_requests=round(requests), decode_kv_tokens=read)
                )
        return found


def _timing(mean_s: float, spread: float, count: float, **sizes: int) -> StepTiming:
    return StepTiming(
        **sizes, mean_s=mean_s, p50_s=mean_s, p99_s=mean_s * (1.0 + _P99 * spread), count=max(1, round(count))
    )


def decode_steps(
    decode: Floats,
    read: Floats,
    seconds: Floats,
    weights: Floats,
    told: list[str],
    nodes_max: int = _NODES_MAX,
) -> DecodeSteps:
    """A time for each number of decoding requests that was seen, and the slope in the tokens read.

    Args:
        decode, read, seconds, weights: requests, tokens read by them and durations of observations, and how many steps
            each stands for, shape `(observations,)` each.
        told: takes what is left out, in words.
    """
    requests, group = np.unique(decode, return_inverse=True)
    usual_s = np.array([np.median(seconds[group == at]) for at in range(len(requests))])
    is_kept = seconds <= _STALL * usual_s[group]
    if not is_kept.all():
        told.append(f"{int((~is_kept).sum())} steps of more than {_STALL:g} times the median of similar ones")
    read, seconds, weights, group = read[is_kept], seconds[is_kept], weights[is_kept], group[is_kept]
    counts = np.bincount(group, weights=weights).astype(float)
    slope = _slope(read, seconds, group, weights)
    rest_s = seconds - slope * read
    alone_s = rising(np.bincount(group, weights=weights * rest_s) / counts, counts)
    off = (rest_s - alone_s[group]) / seconds
    spread = np.sqrt(np.bincount(group, weights=weights * off**2) / counts)
    contexts = read / decode[is_kept]
    kept = thinned(requests, alone_s, nodes_max)
    return DecodeSteps(
        requests=requests[kept],
        alone_s=np.maximum(alone_s[kept], 1e-7),
        per_read_s=slope,
        spread=spread[kept],
        counts=counts[kept],
        contexts=(float(contexts.min()), float(contexts.max())),
    )


def _slope(sizes: Floats, seconds: Floats, group: npt.NDArray[np.intp], weights: Floats) -> float:
    """Slope within groups, pooled, and never negative; 0 if sizes do not vary within any."""
    means = np.bincount(group, weights=weights * sizes) / np.bincount(group, weights=weights)
    within = sizes - means[group]
    square = float((weights * within**2).sum())
    return max(0.0, float((weights * within * seconds).sum()) / square) if square > 0.0 else 0.0


def rising(values: Floats, weights: Floats) -> Floats:
    """The values nearest to these by weighted least squares that never fall.

    Source:
        Barlow, Bartholomew, Bremner & Brunk (1972), Statistical inference under order restrictions, sec. 1.2 (pool
        adjacent violators).
    """
    blocks: list[list[float]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append([value, weight, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value_b, weight_b, count_b = blocks.pop()
            value_a, weight_a, count_a = blocks.pop()
            whole = weight_a + weight_b
            blocks.append([(value_a * weight_a + value_b * weight_b) / whole, whole, count_a + count_b])
    return np.concatenate([np.full(int(count), value) for value, _, count in blocks])


def thinned(places: Floats, values: Floats, nodes_max: int = _NODES_MAX) -> npt.NDArray[np.intp]:
    """Nodes that are enough: interpolation between them misses no other by more than a small share.

    Source:
        Douglas & Peucker (1973), Algorithms for the reduction of the number of points required to represent a
        digitized line, Cartographica 10(2).
    """
    kept = {0, len(places) - 1}
    while len(kept) < min(nodes_max, len(places)):
        nodes = sorted(kept)
        off = np.abs(np.interp(places, places[nodes], values[nodes]) / values - 1.0)
        worst = int(off.argmax())
        if off[worst] <= _THIN:
            break
        kept.add(worst)
    return np.array(sorted(kept))


def _prompts(columns: _Columns, decode: DecodeSteps, told: list[str]) -> list[StepTiming]:
    """Rows of prompts alone: what is left of each step without its decoding requests, and never less than a step."""
    base_s = float(decode.mean_s(decode.requests[:1], np.zeros(1))[0])
    beside_s = decode.mean_s(columns.decode, columns.decode_kv) - base_s
    alone_s = columns.seconds - np.where(columns.decode > 0, beside_s, 0.0)
    order = np.argsort(columns.prefill_tokens, kind="stable")
    sizes = columns.prefill_tokens[order]
    distinct = np.unique(sizes)
    uppers = (
        distinct
        if len(distinct) <= _PROMPT_NODES
        else np.unique(np.quantile(sizes, np.linspace(0.0, 1.0, _PROMPT_NODES + 1)[1:], method="higher"))
    )
    group = np.searchsorted(uppers, columns.prefill_tokens)
    usual_s = np.array([np.median(alone_s[group == at]) for at in range(len(uppers))])
    is_stall = alone_s > _STALL * np.maximum(usual_s, base_s)[group]
    if is_stall.any():
        told.append(f"{int(is_stall.sum())} steps with prompts of more than {_STALL:g} times the median")
    columns, group, alone_s = columns.kept(~is_stall), group[~is_stall], alone_s[~is_stall]
    return _prompt_rows(columns, group, alone_s, base_s)


def _prompt_rows(
    columns: _Columns, group: npt.NDArray[np.intp], alone_s: Floats, base_s: float
) -> list[StepTiming]:
    """Rows by the mean size of each group; with a slope in the past where prompts had one, and up to the largest."""
    found = np.unique(group)
    group = np.searchsorted(found, group)
    counts = np.bincount(group).astype(float)
    past = columns.prefill_kv / np.maximum(1.0, columns.prefill_requests)
    product = columns.prefill_tokens * past
    slope = _slope(product, alone_s, group, np.ones(len(group)))
    sizes = np.bincount(group, weights=columns.prefill_tokens) / counts
    means_s = rising(np.bincount(group, weights=alone_s - slope * product) / counts, counts)
    off = (alone_s - slope * product - means_s[group]) / alone_s.clip(base_s)
    spread = np.sqrt(np.bincount(group, weights=off**2) / counts)
    largest = columns.prefill_tokens.max()
    if largest > sizes[-1]:  # the table reaches as far as was seen, at the rate of its last prompts
        per_token_s = means_s[-1] / sizes[-1]
        sizes, counts, spread = (
            np.append(sizes, largest),
            np.append(counts, 1.0),
            np.append(spread, spread[-1]),
        )
        means_s = np.append(means_s, means_s[-1] + per_token_s * (largest - sizes[-2]))
    pasts = sorted({0, round(float(past.max()))})
    return [
        _timing(
            max(base_s, float(mean_s) + slope * size * before),
            float(wide),
            float(count),
            prefill_requests=1,
            prefill_tokens=max(1, round(size)),
            prefill_kv_tokens=before,
        )
        for size, mean_s, wide, count in zip(sizes, means_s, spread, counts, strict=True)
        for before in pasts
    ]
