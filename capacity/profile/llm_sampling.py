"""Sampling error of a language model's profile: what repeated measurements of its steps might have given."""

import math
from dataclasses import replace

import numpy as np

from capacity.profile.llm import LlmProfile
from capacity.profile.steps import StepTiming

# Standard normal quantile of 99 %: how far P99 lies above P50, in standard deviations.
_P99 = 2.326


def has_spread(profile: LlmProfile) -> bool:
    """Whether the profile tells the error of its steps: by rows of single steps, or by percentiles and counts."""
    return _is_rows(profile) or any(_error(step) > 0.0 for step in profile.steps)


def _is_rows(profile: LlmProfile) -> bool:
    """Whether each row is one measured step, as in a CSV."""
    return bool(profile.steps) and all(step.count == 1 for step in profile.steps)


def _error(step: StepTiming) -> float:
    """Standard error of a mean, as a share of it."""
    if step.p50_s is None or step.p99_s is None or not step.count:
        return 0.0
    return max(0.0, step.p99_s - step.p50_s) / _P99 / math.sqrt(step.count) / step.mean_s


def resampled_steps(profile: LlmProfile, generator: np.random.Generator) -> LlmProfile:
    """The profile with steps drawn again: rows with replacement, means by their standard error.

    Rows at the largest sizes stay, so that the profile covers as much.

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, sec. 9.5 (pairs).
    """
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
