"""Task: what loads tell of their engine, the law that is looked for, and where the search begins."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np

from capacity.profile.llm_loads import SeenLoad
from capacity.profile.llm_steps import DecodeSteps, decode_steps
from simulations.calibration.fit import SEED
from simulations.calibration.law import Reach, StepLaw
from simulations.calibration.loads import Served, served
from simulations.draws.records import Floats
from simulations.draws.tokens import EngineRules

# Allowed errors of calibrating figures: those over hundreds of steps, and the first token, over few. More figures do
# not make the law truer, so steps and the time outside the engine keep errors of that size.
NOISE = {"ttft": 0.05, "tpot": 0.02, "decode": 0.02, "e2e": 0.02}
APART = 1.3  # ratio of two numbers of requests that are different nodes
# A value that may be anywhere between two others has this standard deviation, as a share of their distance.
_ANYWHERE = 12.0**-0.5
_NODES_MAX, _FIGURES_EACH = 8, 3  # most nodes of a law, and figures for each number of it
_CONTEXTS_APART = 1.5  # ratio of contexts from which the time to read them shows
# Steps without prompts that show what one takes at a number of requests, and the numbers that a table keeps of them.
_STEPS_MIN, _SEEN_NODES_MAX = 10, 32
_STRAY = 8.0  # median deviations beyond which a step with prompts is of something else
_IDLE = 0.9  # requests in flight below which the engine is idle for long


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is calibrated: loads, the engine they were sent to, and the law that is looked for.

    Attributes:
        at: numbers of decoding requests at which the law has nodes.
        decode: steps without prompts as clients saw them, if they did at all loads; they are then not fitted.
        prompt: time for a prompt token as clients saw it, and its relative error; None if it is fitted. [s]
        targets: names of the figures of each load that calibrate.
        gaps: numbers of requests next to each other between which no step was seen.
    """

    loads: tuple[SeenLoad, ...]
    rules: EngineRules
    at: tuple[int, ...]
    decode: DecodeSteps | None
    prompt: tuple[float, float] | None
    has_reading: bool
    has_overhead: bool
    cached_share: float
    targets: tuple[tuple[str, ...], ...]
    gaps: tuple[tuple[int, int], ...]

    @property
    def reach(self) -> Reach:
        """Further than any step of the rules."""
        longest = max(max(one.input_tokens) + max(one.output_tokens) for one in self.loads)
        return Reach(
            requests=self.rules.sequences_max,
            prompt_tokens=self.rules.tokens_max,
            context=longest,
            past=longest,
        )

    def law(self, values: Floats) -> StepLaw:
        """The law of these values: the first step, what each node adds, prompts, requests outside, and reading."""
        rest = [float(value) for value in values]
        if self.decode is not None:
            return StepLaw(
                at=self.at,
                decode_s=tuple(self.decode.alone_s.tolist()),
                per_read_s=self.decode.per_read_s,
                per_prompt_s=rest.pop(0) if self.prompt is None else self.prompt[0],
                request_s=rest[0] if self.has_overhead else 0.0,
            )
        nodes = len(self.at)
        return StepLaw(
            at=self.at,
            decode_s=tuple(float(value) for value in np.cumsum(rest[:nodes])),
            per_prompt_s=rest[nodes],
            request_s=rest[nodes + 1] if self.has_overhead else 0.0,
            per_read_s=rest[-1] if self.has_reading else 0.0,
        )

    def served(self, law: StepLaw, load: SeenLoad, seed: int = SEED) -> Served:
        """The load under a law."""
        return served(law.table(self.reach), self.rules, load, law.request_s, seed, self.cached_share)

    def wavy(self, law: StepLaw, moved: Floats) -> StepLaw:
        """The law with steps between two numbers seen moved, in standard deviations of a value that may be anywhere.

        Args:
            moved: shape `(gaps,)`.
        """
        nodes: dict[int, float] = {}
        for (low, high), by in zip(self.gaps, moved.tolist(), strict=True):
            middle = (low + high) // 2
            below_s, middle_s, above_s = np.interp([low, middle, high], law.at, law.decode_s).tolist()
            rest_s = min(max(middle_s + by * _ANYWHERE * (above_s - below_s), below_s), above_s)
            nodes |= {low: below_s, middle: rest_s, high: above_s}
        return law.refined(nodes)

    def predict(self, values: Floats, seed: int = SEED, moved: Floats | None = None) -> Floats:
        """All calibrating figures under the law of these values. [s]

        Args:
            moved: as of `wavy`; None for straight lines.
        """
        law = self.law(values)
        if moved is not None:
            law = self.wavy(law, moved)
        found = []
        for load, names in zip(self.loads, self.targets, strict=True):
            seen = self.served(law, load, seed)
            found += [seen.figure(name, slice(load.warm_up, None)) for name in names]
        return np.array(found)

    @property
    def measured(self) -> list[float]:
        """All calibrating figures as they were measured. [s]"""
        return [
            load.figures[name] for load, names in zip(self.loads, self.targets, strict=True) for name in names
        ]

    @property
    def allowed(self) -> Floats:
        """Their allowed relative errors."""
        return np.array([NOISE[name.partition("_")[0]] for names in self.targets for name in names])


def _tpot_s(load: SeenLoad) -> float:
    """Mean time per output token, or its median. [s]"""
    for name in ("tpot_mean", "tpot_p50"):
        if name in load.figures:
            return load.figures[name]
    got = max(1.0, float(np.mean(load.output_tokens)) - 1.0)
    which = "mean" if "e2e_mean" in load.figures else "p50"
    return max(1e-9, load.figures[f"e2e_{which}"] - load.figures.get(f"ttft_{which}", 0.0)) / got


def _decoding_s(load: SeenLoad) -> float:
    """Time in which a request decodes, about. [s]"""
    return _tpot_s(load) * max(1.0, float(np.mean(load.output_tokens)) - 1.0)


def _rate_rps(load: SeenLoad) -> float:
    """Rate at which requests of an open load were sent. [requests/s]"""
    if load.sent_s:
        span_s = max(load.sent_s[-1] - load.sent_s[0], 1e-9)
        return max(1, load.requests - 1) / span_s
    return load.rate_rps or 0.0


def in_flight(load: SeenLoad) -> float:
    """Requests in flight, about, by Little's law."""
    if load.users is not None:
        return float(load.users)
    response_s = load.figures.get("e2e_mean", load.figures.get("ttft_mean", 0.0) + _decoding_s(load))
    return min(_rate_rps(load) * response_s, load.in_flight_max or math.inf, load.requests)


def _decoding(load: SeenLoad, most: int) -> float:
    """Requests that decode at once, about."""
    if load.users is not None:
        ttft_s = load.figures.get("ttft_mean", load.figures.get("ttft_p50", 0.0))
        share = 1.0 if load.is_equal else _decoding_s(load) / (_decoding_s(load) + ttft_s)
        return min(most, load.users * share)
    return min(most, _rate_rps(load) * _decoding_s(load))


def task_of(loads: Sequence[SeenLoad], rules: EngineRules, cached_share: float, told: dict[str, str]) -> Task:
    """The law that these loads can tell, and the figures that tell it.

    Args:
        told: takes what is left out, in words, by aspect.
    """
    loads = [_completed(one) for one in loads]
    contexts = [one.context for one in loads]
    targets = tuple(_targets(one, told) for one in loads)
    has_reading = max(contexts) >= _CONTEXTS_APART * min(contexts)
    known, seen = _seen_decode(loads, rules, told) or (None, ())
    if known is None:
        spare = sum(map(len, targets)) // _FIGURES_EACH - 2 - has_reading
        nodes = _nodes([_decoding(one, rules.sequences_max) for one in loads], spare)
        seen = nodes
    else:
        nodes = tuple(round(one) for one in known.requests.tolist())
    return Task(
        loads=tuple(loads),
        rules=rules,
        at=nodes,
        decode=known,
        prompt=None if known is None else _seen_prompt(loads, known, rules, cached_share),
        has_reading=has_reading,
        has_overhead=any(name.startswith(("ttft", "e2e")) for names in targets for name in names),
        cached_share=cached_share,
        targets=targets,
        gaps=tuple((low, high) for low, high in pairwise(seen) if high > low + 1),
    )


def _nodes(batches: Sequence[float], spare: int) -> tuple[int, ...]:
    """Numbers of requests at which a law has nodes: those of the loads, and between them as far as figures are spare.

    Args:
        spare: number of nodes that the figures can tell.
    """
    nodes: list[int] = []
    for count in sorted(max(1, round(batch)) for batch in batches):
        if not nodes or count >= APART * nodes[-1]:
            nodes.append(count)
        elif len(nodes) > 1:
            nodes[-1] = count
    if len(nodes) > _NODES_MAX:
        nodes = [nodes[round(place)] for place in np.linspace(0, len(nodes) - 1, _NODES_MAX)]
    while len(nodes) < min(spare, _NODES_MAX):
        low, high = max(pairwise(nodes), key=lambda pair: pair[1] / pair[0])
        if high < APART**2 * low:
            break
        nodes = sorted([*nodes, round(math.sqrt(low * high))])
    return tuple(nodes)


def _seen_decode(
    loads: Sequence[SeenLoad], rules: EngineRules, told: dict[str, str]
) -> tuple[DecodeSteps, tuple[int, ...]] | None:
    """Steps without prompts as clients saw them, and of which numbers of requests; None if not up to the highest load.

    The lowest load must be among them too.
    """
    seen = np.array([one for load in loads for one in load.decoding])
    if not len(seen):
        return None
    counts = np.bincount(seen[:, 0].astype(int), weights=seen[:, 3])
    enough = np.flatnonzero(counts >= _STEPS_MIN)
    batches = [_decoding(one, rules.sequences_max) for one in loads]
    if not len(enough) or enough[0] > APART * max(1.0, min(batches)) or enough[-1] < max(batches) / APART:
        return None
    left_out: list[str] = []
    requests, read, seconds, weights = seen[np.isin(seen[:, 0], enough)].T
    decode = decode_steps(requests, read, seconds, weights, left_out, _SEEN_NODES_MAX)
    if left_out:
        told["stalls"] = "; ".join(left_out)
    return decode, tuple(enough.tolist())


def _seen_prompt(
    loads: Sequence[SeenLoad], decode: DecodeSteps, rules: EngineRules, cached_share: float
) -> tuple[float, float] | None:
    """Time for a prompt token and its relative error: what steps with prompts take beyond their decoding requests."""
    seen = np.array([one for load in loads for one in load.prompts])
    if not len(seen):
        return None
    computed = (1.0 - cached_share) * seen[:, 0]
    fits = computed + seen[:, 1] <= rules.tokens_max  # other prompts were computed in several steps
    tokens, rest_s = computed[fits], (seen[:, 3] - decode.mean_s(seen[:, 1], seen[:, 2]))[fits]
    if len(tokens) < _STEPS_MIN or not (tokens > 0.0).all():
        return None
    each_s = rest_s / tokens
    deviation_s = np.abs(each_s - np.median(each_s))
    is_kept = deviation_s <= _STRAY * np.median(deviation_s)
    tokens, rest_s = tokens[is_kept], rest_s[is_kept]
    square = float((tokens**2).sum())
    slope_s = float((tokens * rest_s).sum()) / square
    if slope_s <= 0.0:
        return None
    scatter_s = float(np.sqrt(((rest_s - slope_s * tokens) ** 2).sum() / max(1, len(tokens) - 1) / square))
    return slope_s, scatter_s / slope_s


def _completed(load: SeenLoad) -> SeenLoad:
    """The load with the mean time from the first token to the last, which means of the others tell."""
    if not {"e2e_mean", "ttft_mean"} <= load.figures.keys():
        return load
    decode_s = load.figures["e2e_mean"] - load.figures["ttft_mean"]
    return replace(load, figures={**load.figures, "decode_mean": max(1e-9, decode_s)})


def _targets(load: SeenLoad, told: dict[str, str]) -> tuple[str, ...]:
    """Figures of a load that calibrate: quantiles where there are any, which a warm-up hardly moves, else means.

    In a closed loop of equal lengths requests stay in step, and their first tokens depend on which come together. With
    less than one request in flight the engine is idle in between, and first tokens come later than under load.
    """
    is_idle = load.users is None and in_flight(load) < _IDLE
    in_step = load.users is not None and load.users > 1 and load.is_equal
    names = _chosen(load, "tpot") or ("decode_mean",)
    halves = tuple(name for name in ("ttft_short", "ttft_long") if name in load.figures)
    if not (is_idle or in_step):
        names += (halves or _chosen(load, "ttft")) + _chosen(load, "e2e")
    elif is_idle:
        told["idle"] = (
            "first tokens of loads with less than one request in flight, as an idle engine is slower"
        )
    else:
        told["in_step"] = "first tokens of closed loops of equal lengths, whose requests stay in step"
    return names


def _chosen(load: SeenLoad, measure: str) -> tuple[str, ...]:
    known = [
        f"{measure}_{which}" for which in ("p50", "p90", "mean") if load.figures.get(f"{measure}_{which}")
    ]
    return tuple(known[:2])


def starts_of(task: Task) -> list[tuple[float, ...]]:
    """Starting points: steps as long as the times per token say, and a few costs of prompts and of reading."""
    by_node: dict[int, list[float]] = {}
    for load in task.loads:
        count = _decoding(load, task.rules.sequences_max)
        node = min(task.at, key=lambda one: abs(math.log(one / max(1.0, count))))
        by_node.setdefault(node, []).append(_tpot_s(load))
    seen_s = np.maximum.accumulate([min(by_node.get(node, [0.0])) for node in task.at])
    base_s = 0.8 * float(max(seen_s[0], min(map(_tpot_s, task.loads))))
    ttfts = [
        load.figures[name]
        for load in task.loads
        for name in ("ttft_p50", "ttft_mean")
        if name in load.figures
    ]
    outside = [0.5 * min(ttfts, default=base_s)] if task.has_overhead else []
    if task.prompt is not None:
        return [tuple(scale * one for one in outside) for scale in (0.3, 1.0)] if outside else [()]
    if task.decode is not None:
        return [(prompt * base_s, *outside) for prompt in (3e-4, 7e-4, 1.5e-3, 3e-3)]
    found = []
    reads = (1e-7, 1e-6, 1e-5) if task.has_reading else (0.0,)
    for rise, prompt, read in product((0.1, 0.7), (7e-4, 3e-3), reads):
        rises = [max(0.02 * base_s, rise * float(gap)) for gap in np.diff(seen_s)]
        found.append((base_s, *rises, prompt * base_s, *outside, *([read * base_s] if read else [])))
    return found
