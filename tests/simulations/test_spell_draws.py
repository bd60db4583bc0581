"""Spells: what the times of requests near each other have in common, and the tabled normal law behind them."""

import math

import numpy as np
from scipy import stats

from capacity.profile.profile import Spells
from simulations.draws.spells import SpellDraws, looked_at, normal, normal_table

SE = 4.0


def test_the_tabled_normal_law_is_right_to_nine_digits() -> None:
    scores = np.linspace(-8.6, 8.6, 20_001)
    levels = np.array([normal(score, normal_table()) for score in scores])
    assert np.abs(levels - stats.norm.cdf(scores)).max() < 3e-10
    assert np.all(np.diff(levels) >= 0.0)
    assert (normal(-math.inf, normal_table()), normal(math.inf, normal_table())) == (0.0, 1.0)


def scores_of(instants_s: np.ndarray, seed: int, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """Normal scores of the uniforms of requests in spells of 2 s that share half, drawn in parts."""
    generators = [np.random.default_rng([seed, part]) for part in (1, 2)]
    draws = SpellDraws(Spells(share=0.5, lasting_s=2.0), *generators)
    parts = np.split(instants_s, cuts)
    return np.asarray(stats.norm.ppf(np.concatenate([draws.uniforms(part) for part in parts])))


def test_requests_share_what_their_distance_leaves() -> None:
    """Half of the variance at one instant, and exp(-1) of that after 2 s, by 4,000 runs; looks leave 1/256 open."""
    apart_s = (0.0, 0.0005, 0.5, 2.0, 6.0)
    scores = np.array([scores_of(np.array([1.0, *(1.0 + np.array(apart_s))]), run) for run in range(4_000)])
    assert stats.kstest(scores[:, 0], "norm").pvalue > 0.001
    for place, after_s in enumerate(apart_s, start=1):
        expected = 0.5 * math.exp(-after_s / 2.0)
        found = np.corrcoef(scores[:, 0], scores[:, place])[0, 1]
        assert abs(found - expected) < SE * (1.0 - expected**2) / math.sqrt(len(scores)) + 0.002


def test_spells_are_drawn_in_any_number_at_a_time() -> None:
    instants_s = np.cumsum(np.random.default_rng(3).exponential(0.004, 500))
    whole = scores_of(instants_s, 1)
    assert np.array_equal(whole, scores_of(instants_s, 1, (1, 7, 7, 100, 499)))


def test_a_machine_is_looked_at_once_a_256th_of_a_spell() -> None:
    """At the first of the requests that come a step or more after the last look; the first is one."""
    assert looked_at(np.array([0.0, 0.5, 1.0, 1.5, 1.9, 2.5]), 1.0, -np.inf) == 3
    assert looked_at(np.array([0.5, 0.9, 1.0]), 1.0, 0.0) == 1
    step_s = 2.0 / 256
    dense_s = np.arange(2_560) * step_s / 10.0
    assert looked_at(dense_s, step_s, -np.inf) in (233, 256)  # by the rounding of ten steps to one
