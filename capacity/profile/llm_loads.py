"""Seen loads: what a load generator reports of one load on an engine, from which the engine's steps are calibrated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.profile.llm_runs import SeenRun
from capacity.profile.llm_sweeps import ObservedStep, PromptStep, observed_steps, prompt_steps

# Quantiles by which a load is summed up; a warm-up hardly moves them, as it does means and P99.
QUANTILES = (0.5, 0.9)
# Ratio of prompts that separates the shorter ones from the longer.
_LENGTHS_APART = 2
# Share of requests that come when an answer makes room, and think time in responses, of users in a closed loop.
_LOOP, _THINK_MAX = 0.9, 0.1
# Steps of a window, and how much longer than later ones they take while the engine warms up.
_WINDOW, _COLD = 20, 1.1
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLoad:
    """One load: how requests were sent, how long they were, and how long they took.

    Attributes:
        name: name for messages: the file, and the load in it.
        requests: number of requests that were answered.
        input_tokens, output_tokens: lengths of requests, one pair each, or of some that stand for all.
        figures: times by name, as `ttft_mean`, `tpot_p50` and `e2e_p90`. [s]
        rate_rps: rate at which they were sent; None of users in a closed loop, or if instants are known.
        users: users who send a request when the one before is answered; None if a clock decides.
        think_s: time from an answer until its user sends the next request. [s]
        in_flight_max: largest number in flight, beyond which the generator held requests back; None without limit.
        is_even: whether requests came at equal gaps, not at random.
        sent_s: instants of sending from 0 on, by request; empty if unknown. [s]
        taken_s: TTFT and response of each request, where they are known; else empty. [s]
        decoding: steps without prompts that its clients saw: requests that decoded, tokens that they read, duration,
            and how many steps it is the mean of.
        prompts: steps with prompts that its clients saw.
        warm_up: requests at the beginning that are in no figure, as the engine warmed up.
        model: name of the model; None if the file does not say.
    """

    name: str
    requests: int
    input_tokens: tuple[int, ...] = field(repr=False)
    output_tokens: tuple[int, ...] = field(repr=False)
    figures: Mapping[str, float]
    rate_rps: float | None = None
    users: int | None = None
    think_s: float = 0.0
    in_flight_max: int | None = None
    is_even: bool = False
    sent_s: tuple[float, ...] = field(default=(), repr=False)
    taken_s: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    decoding: tuple[tuple[float, float, float, float], ...] = field(default=(), repr=False)
    prompts: tuple[PromptStep, ...] = field(default=(), repr=False)
    warm_up: int = 0
    model: str | None = None

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise InputError(f"{self.name} has no request that was answered; run it again")
        if not self.input_tokens or min(min(self.input_tokens), min(self.output_tokens)) < 1:
            raise InputError(f"{self.name} must have lengths of at least one input and one output token")
        if not (self.sent_s or self.users or (self.rate_rps or 0.0) > 0.0):
            raise InputError(
                f"{self.name} says neither a rate nor a number of requests in flight, so that its load is not known; "
                "save the settings of the load generator too, or single requests"
            )
        wrong = [name for name, value in self.figures.items() if not 0.0 <= value < math.inf]
        if wrong:
            raise InputError(
                f"{self.name}: {wrong[0]} must not be negative, got {self.figures[wrong[0]]:g} s"
            )
        if not any(name.startswith(("tpot", "e2e")) for name in self.figures):
            raise InputError(
                f"{self.name} has neither responses nor times per output token, without which steps are unknown; "
                "have the load generator report them"
            )

    def after(self, warm_up: int) -> "SeenLoad":
        """The load whose figures are those of its single requests, without the first ones."""
        lengths = list(zip(self.input_tokens, self.output_tokens, strict=True))
        return replace(self, figures=figures_of(self.taken_s[warm_up:], lengths[warm_up:]), warm_up=warm_up)

    @property
    def is_equal(self) -> bool:
        """Whether all requests are of one length."""
        return len(set(self.input_tokens)) == 1 and len(set(self.output_tokens)) == 1

    @property
    def context(self) -> float:
        """Mean tokens of a request while it decodes."""
        return fmean(self.input_tokens) + fmean(self.output_tokens) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a load, measured and as a calibrated profile gives it. [s]"""

    load: str
    name: str
    measured_s: float
    predicted_s: float


def load_of_run(run: SeenRun) -> SeenLoad:
    """The load of single requests: users in a closed loop if it was one, else sent again at the same instants."""
    begun_s = run.requests[0].start_s
    users, think_s = _loop_of(run)
    decoding = [one for one in observed_steps(run) if one.seconds > 0.0]
    warm_s = _warm_s(decoding) if run.has_stamps else begun_s
    found = SeenLoad(
        name=run.name,
        requests=len(run.requests),
        input_tokens=tuple(one.input_tokens for one in run.requests),
        output_tokens=tuple(one.output_tokens for one in run.requests),
        figures={"e2e_mean": 1.0},
        users=users,
        think_s=think_s,
        sent_s=() if users else tuple(one.start_s - begun_s for one in run.requests),
        taken_s=tuple((one.first_s - one.start_s, one.last_s - one.start_s) for one in run.requests),
        decoding=tuple(
            (float(one.requests), one.kv_tokens, one.seconds, one.steps / one.seen_by)
            for one in decoding
            if one.at_s >= warm_s
        ),
        prompts=tuple(one for one in prompt_steps(run) if one.at_s >= warm_s),
        model=run.model,
    )
    return found.after(sum(one.start_s < warm_s for one in run.requests))


def _warm_s(decoding: Sequence[ObservedStep]) -> float:
    """The instant from which steps take no longer than those of as many requests later on. [s]

    Only runs with as many steps as two windows have one.
    """
    ordered = sorted(decoding, key=lambda one: one.at_s)
    usual: dict[int, list[float]] = {}
    for one in ordered[len(ordered) // 2 :]:
        usual.setdefault(one.requests, []).append(one.seconds)
    known = [one for one in ordered if len(usual.get(one.requests, ())) >= _WINDOW // 4]
    ratios = [one.seconds / float(np.median(usual[one.requests])) for one in known]
    warm_s = -math.inf
    for start in range(0, len(known) // 2 - _WINDOW, _WINDOW):
        if np.median(ratios[start : start + _WINDOW]) <= _COLD:
            break
        warm_s = known[start + _WINDOW].at_s
    return warm_s


def _loop_of(run: SeenRun) -> tuple[int | None, float]:
    """Number of users and their think time, if each request followed an answer; else None. [s]

    As many are in flight after each request as the most at once, and it comes soon after the answer that made room.
    """
    users, count = run.in_flight_max, len(run.requests)
    if run.others_s or count < 2 * users:
        return None, 0.0
    sent_s = np.array([one.start_s for one in run.requests])
    ended_s = np.sort([one.last_s for one in run.requests])
    thought_s = sent_s[users:] - ended_s[: count - users]
    think_s = float(np.median(thought_s))
    usual_s = float(np.median([one.last_s - one.start_s for one in run.requests]))
    full = np.arange(users, count) + 1 - np.searchsorted(ended_s, sent_s[users:], side="right")
    is_loop = np.mean(full >= users) >= _LOOP and 0.0 <= think_s <= _THINK_MAX * usual_s
    return (users, think_s) if is_loop else (None, 0.0)


def figures_of(
    taken_s: Sequence[tuple[float, float]], lengths: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """Figures of single requests by name, of those measures that they have. [s]"""
    first_s, whole_s = (np.array(column) for column in zip(*taken_s, strict=True))
    given, got = (np.array(column) for column in zip(*lengths, strict=True))
    known = measured_by(first_s, whole_s, given, got)
    found = {}
    for measure, values in known.items():
        if "_" in measure:
            found[measure] = float(np.median(values))
        else:
            found[f"{measure}_mean"] = float(values.mean())
            found |= {
                f"{measure}_p{100 * q:g}": float(np.quantile(values, q)) for q in (0.5, 0.9, 0.95, 0.99)
            }
    return found


def measured_by(first_s: Floats, whole_s: Floats, given: Integers, got: Integers) -> dict[str, Floats]:
    """Times of requests by measure; those to the first token also of the shorter and the longer half of prompts. [s]

    The halves tell what a prompt takes from what every request does.
    """
    found = {"ttft": first_s, "e2e": whole_s, "decode": whole_s - first_s}
    longer = got > 1
    if longer.any():
        found["tpot"] = (whole_s - first_s)[longer] / (got[longer] - 1)
    middle = np.median(given)
    if given.min() * _LENGTHS_APART <= given.max() and (given > middle).any():
        found |= {"ttft_short": first_s[given <= middle], "ttft_long": first_s[given > middle]}
    return found


def spread_lengths(quantiles: Mapping[float, float], count: int, seed: int) -> tuple[int, ...]:
    """Lengths with these quantiles, linear between them, in random order.

    Args:
        quantiles: lengths by level from 0 to 1; a single one is the length of all. [tokens]
    """
    levels = sorted(quantiles)
    places = (np.arange(count) + 0.5) / count
    values = np.interp(places, levels, [quantiles[level] for level in levels])
    return tuple(max(1, round(value)) for value in np.random.default_rng(seed).permutation(values).tolist())
