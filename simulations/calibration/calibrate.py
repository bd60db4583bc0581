"""Calibrate: the steps of an engine from three loads on it or more, each simulated by the engine's own rules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from capacity.errors import InputError
from capacity.profile.llm import Calibration, LimitsMeasured, LlmProfile, Overhead
from capacity.profile.llm_loads import Figure, SeenLoad
from capacity.profile.steps import StepTiming
from capacity.units import format_duration
from simulations.calibration.fit import Fit, fit, fit_scattered, root
from simulations.calibration.law import Reach, StepLaw
from simulations.calibration.loads import Served, served
from simulations.calibration.task import APART, NOISE, Task, in_flight, starts_of, task_of
from simulations.draws.records import Floats
from simulations.draws.tokens import EngineRules, require_measured

LOADS_MIN = 3
# A warm-up: requests in a window, and how much longer they take than the law says, once it is over for the others.
_WINDOW, _COLD = 10, 1.1
# Error of a step with more prompts or requests than came up, as a share of the logarithm of how many times more.
_FURTHER = 0.25
# Distances over which the effects of errors are taken: of a value, and of a step between two numbers of requests.
_MOVED, _MOVED_BETWEEN = 0.1, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A profile that loads calibrate, and how well it gives them back."""

    profile: LlmProfile
    figures: tuple[Figure, ...]


def calibrate(
    loads: Sequence[SeenLoad], engine: LlmProfile, settings: tuple[int, int], cached_share: float = 0.0
) -> Calibrated:
    """The profile of an engine whose steps give these loads back.

    Args:
        engine: its rules and its cache; its steps are not looked at.
        settings: most sequences and tokens of a step that it was started with.

    Raises:
        InputError: fewer than three loads, or loads of different models.

    Source:
        McFadden (1989), A method of simulated moments, Econometrica 57(5).
    """
    _require(loads)
    rules = EngineRules.of(engine, *settings)
    told: dict[str, str] = {}
    task = task_of(loads, rules, cached_share, told)
    found = _fitted(task)
    warm = _without_warm_up(task, found)
    if warm is not task:
        task, found = warm, _fitted(warm)
    return _calibrated(task, found, engine, told)


def _require(loads: Sequence[SeenLoad]) -> None:
    if len(loads) < LOADS_MIN:
        names = " and ".join(one.name for one in loads)
        raise InputError(
            f"{names} {'is one load' if len(loads) == 1 else f'are {len(loads)} loads'}, and steps show from "
            f"{LOADS_MIN} on; run the load generator at a low load, at a middle one and near saturation"
        )
    models = sorted({one.model for one in loads if one.model is not None})
    if len(models) > 1:
        raise InputError(f"the loads are of different models, {models[0]} and {models[1]}; give those of one")
    flights = [in_flight(one) for one in loads]
    if max(flights) < APART * min(flights):
        raise InputError(
            f"all loads have about {max(flights):.3g} requests in flight, so that they do not tell how a step grows "
            "with the batch; run the load generator at a lower and at a higher load too"
        )


def _fitted(task: Task) -> Fit:
    """The fit, weighed by how far figures of one run scatter where instants of sending are not known."""
    starts = starts_of(task)
    if all(load.sent_s or load.users for load in task.loads):
        return fit(starts, task.predict, task.measured, np.diag(task.allowed**2))
    load_of = np.repeat(np.arange(len(task.loads)), [len(names) for names in task.targets])
    return fit_scattered(starts, task.predict, task.measured, task.allowed, load_of)


def _without_warm_up(task: Task, found: Fit) -> Task:
    """The task without the first requests of each load while they take longer than the law says."""
    law, loads = task.law(found.values), []
    for load in task.loads:
        is_known = load.taken_s and not load.warm_up
        first = _first_warm(load, task.served(law, load)) if is_known else 0
        loads.append(load.after(first) if first else load)
    return task if tuple(loads) == task.loads else replace(task, loads=tuple(loads))


def _first_warm(load: SeenLoad, seen: Served) -> int:
    """The first request after the warm-up: windows of requests are as much longer than the law as the others."""
    ratios = np.array([one for _, one in load.taken_s]) / seen.response_s
    usual = float(np.median(ratios[len(ratios) // 2 :]))
    first = 0
    while first + 2 * _WINDOW <= len(ratios) // 2:
        if np.median(ratios[first : first + _WINDOW]) <= _COLD * usual:
            break
        first += _WINDOW
    return first


def _calibrated(task: Task, found: Fit, engine: LlmProfile, told: dict[str, str]) -> Calibrated:
    """The profile up to the largest steps that came up while the loads were simulated."""
    law = task.law(found.values)
    largest = np.max([task.served(law, load).largest for load in task.loads], axis=0)
    reach = Reach(
        requests=max(1, int(largest[0])),
        prompt_tokens=max(1, int(largest[1])),
        context=max(1, math.ceil(largest[2])),
        past=math.ceil(largest[2]) if largest[3] else 0,  # which has no effect of its own
        tokens_max=task.rules.tokens_max,
    )
    straight = np.zeros(len(task.gaps))
    profile = replace(
        engine,
        coefficients=None,
        steps=task.wavy(law, straight).steps(reach),
        limits_measured=LimitsMeasured(
            sequences_max=reach.requests,
            batched_tokens_max=reach.prompts[-1],
            context_tokens_max=reach.context,
        ),
        overhead=Overhead(request_s=law.request_s),
        calibration=_calibration(task, found, reach),
        source=_source(task, law, told),
    )
    names = [
        (load.name, name) for load, names in zip(task.loads, task.targets, strict=True) for name in names
    ]
    predicted = np.exp(found.off) * np.array(task.measured)
    return Calibrated(
        profile=profile,
        figures=tuple(
            Figure(load=load, name=name, measured_s=measured, predicted_s=float(value))
            for (load, name), measured, value in zip(names, task.measured, predicted, strict=True)
        ),
    )


def _calibration(task: Task, found: Fit, reach: Reach) -> Calibration:
    """What the loads leave open: values of the law, steps between and beyond those seen, and the law itself."""
    count, gaps = len(found.values), len(task.gaps)
    law = task.law(found.values)
    steps = task.wavy(law, np.zeros(gaps)).steps(reach)
    base = np.log([step.mean_s for step in steps])
    step_errors, outside = [], []
    for column in _root(task, found).T:
        moved = task.law(found.values * np.exp(_MOVED * column[:count]))
        times = [step.mean_s for step in task.wavy(moved, _MOVED * column[count:]).steps(reach)]
        step_errors.append((np.log(times) - base) / _MOVED)
        outside.append(math.log(moved.request_s / law.request_s) / _MOVED if law.request_s else 0.0)
    others = [
        *_seen_errors(task, steps),
        *_reach_errors(task, reach, steps),
        np.full(len(steps), NOISE["tpot"]),
        np.zeros(len(steps)),
    ]
    outside += [*([0.0] * (len(others) - 1)), NOISE["ttft"]]
    off = found.off * task.allowed / np.sqrt(np.diag(found.errors))
    return Calibration(
        residual=float(np.sqrt((off**2).sum() / max(1, len(off) - count))),
        loads=len(task.loads),
        figures=len(off),
        step_errors=tuple(tuple(float(f"{one:.6g}") for one in row) for row in (*step_errors, *others)),
        overhead_errors=tuple(float(f"{one:.6g}") for one in outside),
    )


def _root(task: Task, found: Fit) -> Floats:
    """Root of the covariance of the logarithms of all values, and of how far steps between those seen are moved.

    What is not known between two numbers of requests is an error of the others too, where loads had such steps.
    """
    count, gaps = len(found.values), len(task.gaps)

    def moved(by: Floats) -> Floats:
        return task.predict(found.values * np.exp(by[:count]), moved=by[count:])

    return root(found, moved, np.array([_MOVED] * count + [_MOVED_BETWEEN] * gaps))


def _seen_errors(task: Task, steps: Sequence[StepTiming]) -> list[Floats]:
    """Errors of steps that clients saw, each number of requests by itself, and of all prompts."""
    if task.decode is None:
        return []
    alone = task.decode.spread / np.sqrt(task.decode.counts)
    found = [_at(steps, at, error) for at, error in zip(task.at, alone.tolist(), strict=True)]
    if task.prompt is not None:
        base_s, share = float(task.decode.alone_s[0]), task.prompt[1]
        prompts = [share * (1.0 - base_s / step.mean_s) if step.prefill_tokens else 0.0 for step in steps]
        found.append(np.array(prompts))
    return found


def _at(steps: Sequence[StepTiming], requests: int, error: float) -> Floats:
    """An error of the steps of one number of decoding requests."""
    return np.array([error if step.decode_requests == requests else 0.0 for step in steps])


def _reach_errors(task: Task, reach: Reach, steps: Sequence[StepTiming]) -> list[Floats]:
    """Errors of steps with more prompt tokens than came up, and with more requests than the law has a node for."""
    prompts = [_FURTHER * math.log(max(1.0, step.prefill_tokens / reach.prompt_tokens)) for step in steps]
    requests = [_FURTHER * math.log(max(1.0, step.decode_requests / task.at[-1])) for step in steps]
    return [np.array(prompts), np.array(requests)]


def _source(task: Task, law: StepLaw, told: dict[str, str]) -> dict[str, str]:
    """Sources of the profile, in words."""
    batches = ", ".join(map(str, law.at[:-1]))
    how = (
        f"a time at {batches} and {law.at[-1]} decoding requests, one for each prompt token"
        + (" and one for each token read" if task.has_reading else "")
        if task.decode is None
        else f"steps without prompts of {law.at[0]} to {law.at[-1]} requests as clients saw them, and a time for each "
        "prompt token"
    )
    source = {
        "steps": f"calibrated from {len(task.loads)} loads, which were simulated by the engine's rules; {how}",
        "overhead": f"{format_duration(law.request_s)}, what the first tokens of the loads take beyond their steps"
        if task.has_overhead
        else "none, since no first token could be calibrated",
    }
    means = sum(len(load.input_tokens) == 1 < load.requests for load in task.loads)
    if means:
        source["lengths"] = f"lengths are equal to their means in {means} loads, of which no more is known"
    warm = [
        f"the first {load.warm_up} requests of {load.name}, a warm-up" for load in task.loads if load.warm_up
    ]
    if told or warm:
        source["left_out"] = "; ".join([*told.values(), *warm])
    return source


def forecast(
    profile: LlmProfile, settings: tuple[int, int], load: SeenLoad, seed: int, cached_share: float = 0.0
) -> Served:
    """A load under a profile.

    Args:
        settings: most sequences and tokens of a step that the engine was started with.

    Raises:
        DomainError: a step is larger than any that the profile covers.
    """
    rules = EngineRules.of(profile, *settings)
    found = served(profile.table, rules, load, profile.overhead.request_s, seed, cached_share)
    require_measured(found.largest, profile.table, profile.name)
    return found
