"""Sampling error of a language model's profile: what repeated measurements of its steps might have given."""

import math
from dataclasses import replace

import numpy as np

from capacity.profile.llm import Calibration, LlmProfile
from capacity.profile.steps import StepTiming

# Standard normal quantile of 99 %: how far P99 lies above P50, in standard deviations.
_P99 = 2.326
_MOVED_MAX = 2.0  # logarithm of a factor beyond which a time is not drawn


def has_error(profile: LlmProfile) -> bool:
    """Whether the profile tells an error: of its steps, or of the size of its cache."""
    return profile.kv.is_estimate or has_spread(profile)


def has_spread(profile: LlmProfile) -> bool:
    """Whether the profile tells the error of its steps: by rows of single steps, or by percentiles and counts."""
    return (
        profile.calibration is not None
        or bool(profile.overhead.step_error)
        or _is_rows(profile)
        or any(_error(step) > 0.0 for step in profile.steps)
    )


def _is_rows(profile: LlmProfile) -> bool:
    """Whether each row is one measured step, as in a CSV."""
    return bool(profile.steps) and all(step.count == 1 for step in profile.steps)


def _error(step: StepTiming) -> float:
    """Standard error of a mean, as a share of it."""
    if step.p50_s is None or step.p99_s is None or not step.count:
        return 0.0
    return max(0.0, step.p99_s - step.p50_s) / _P99 / math.sqrt(step.count) / step.mean_s


def resampled_steps(profile: LlmProfile, generator: np.random.Generator) -> LlmProfile:
    """The profile with steps drawn again: rows with replacement, means and the time of a host by their standard error.

    Rows at the largest sizes stay, so that the profile covers as much.

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, sec. 9.5 (pairs).
    """
    if profile.overhead.step_s and profile.overhead.step_error:
        factor = math.exp(
            np.clip(profile.overhead.step_error * generator.standard_normal(), -_MOVED_MAX, _MOVED_MAX)
        )
        step_s = factor * profile.overhead.step_s
        profile = replace(profile, overhead=replace(profile.overhead, step_s=step_s))
    if profile.calibration is not None:
        return _calibrated_otherwise(profile, profile.calibration, generator)
    if not _is_rows(profile):
        steps = [
            replace(step, mean_s=step.mean_s * math.exp(_error(step) * generator.standard_normal()))
            for step in profile.steps
        ]
        return replace(profile, steps=tuple(steps))
    groups: dict[tuple[bool, bool], list[StepTiming]] = {}
    for step in profile.steps:
        groups.setdefault((step.prefill_tokens > 0, step.decode_requests > 0), []).append(step)
    drawn: list[StepTiming] = []
    for group in groups.values():
        drawn.extend(group[at] for at in generator.integers(len(group), size=len(group)))
        drawn.append(max(group, key=lambda step: step.decode_requests))
        drawn.append(max(group, key=lambda step: step.prefill_tokens))
    return replace(profile, steps=tuple(drawn))


def resampled_profiles(profile: LlmProfile, count: int, generator: np.random.Generator) -> list[LlmProfile]:
    """Profiles with steps drawn again, and caches of even sizes between their bounds in an order drawn at random."""
    caches = profile.kv.evenly(count)
    order = generator.permutation(count) if profile.kv.is_estimate else range(count)
    return [replace(resampled_steps(profile, generator), kv=caches[place]) for place in order]


def _calibrated_otherwise(
    profile: LlmProfile, calibration: Calibration, generator: np.random.Generator
) -> LlmProfile:
    """The profile that another calibration of the same kind might have found: errors of its steps go together."""
    drawn = generator.standard_normal(len(calibration.step_errors))
    moved = np.exp(np.clip(drawn @ np.array(calibration.step_errors), -_MOVED_MAX, _MOVED_MAX))
    outside = math.exp(np.clip(drawn @ np.array(calibration.overhead_errors), -_MOVED_MAX, _MOVED_MAX))
    return replace(
        profile,
        steps=tuple(step.scaled(float(factor)) for step, factor in zip(profile.steps, moved, strict=True)),
        overhead=replace(profile.overhead, request_s=outside * profile.overhead.request_s),
    )
