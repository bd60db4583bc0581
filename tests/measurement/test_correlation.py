"""Spells in samples: found as they were put in, and not found where there are none."""

import math
import random

import numpy as np
import pytest

from capacity.errors import InconclusiveError
from capacity.measurement.callable import measure_callable
from capacity.measurement.rounds import Rounds, TimedBatch
from capacity.measurement.sections import Correlation, _correlations, fit_spells, normal_scores


def timed(share: float, lasting_s: float, *, rounds: int = 2000, seed: int = 1, sizes=(1, 4, 16)):
    """Rounds of batches in random order, whose speed wanders: log-normal, so that scores are known."""
    dice, now_s, score = random.Random(seed), 0.0, 0.0
    found: dict[int, list[TimedBatch]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in dice.sample(sizes, len(sizes)):
            step_s = 0.002 + 0.0005 * size
            kept = math.exp(-step_s / lasting_s)
            score = kept * score + math.sqrt(1.0 - kept**2) * dice.gauss(0.0, 1.0)
            normal = math.sqrt(share) * score + math.sqrt(1.0 - share) * dice.gauss(0.0, 1.0)
            now_s += step_s
            found[size].append(TimedBatch(service_s=step_s * math.exp(0.1 * normal), ended_s=now_s))
    return found


@pytest.mark.parametrize(("share", "lasting_s"), [(0.6, 0.1), (0.3, 0.05), (0.8, 0.4)])
def test_spells_are_found_as_they_were(share, lasting_s):
    found = [fit_spells(timed(share, lasting_s, seed=seed)) for seed in range(5)]
    assert sorted(one.share for one in found)[2] == pytest.approx(share, rel=0.15)
    assert sorted(one.lasting_s for one in found)[2] == pytest.approx(lasting_s, rel=0.3)


def test_where_there_are_none_none_are_found():
    assert [fit_spells(timed(0.0, 0.1, rounds=300, seed=seed)) for seed in range(40)].count(None) >= 39


def test_few_samples_tell_nothing():
    assert fit_spells(timed(0.9, 1.0, rounds=60)) is None
    assert fit_spells({1: []}) is None


@pytest.mark.parametrize(("count", "last"), [(201, [20]), (200, [])])
def test_correlations_are_mean_products_at_distances_up_to_a_tenth_of_the_samples(count, last):
    """Of scores 1, 1, -1, -1 in turn, whose products with neighbours cancel and with every second one are -1."""
    scores = np.array([1.0, 1.0, -1.0, -1.0] * 51)[:count]
    found = {round(one.apart_s): one for one in _correlations(np.arange(float(count)), scores)}
    assert sorted(found) == [1, 2, 3, 4, 6, 7, 8, 10, 13, 16, *last]  # powers of the 15th root of 20
    for step, one in found.items():
        products = [scores[k] * scores[k + step] for k in range(count - step)]
        assert (one.value, one.pairs) == (pytest.approx(sum(products) / len(products)), count - step)


def test_spells_need_200_samples():
    batches = timed(0.95, 0.5, rounds=200, sizes=(1,))
    assert fit_spells(batches) is not None
    assert fit_spells({1: batches[1][:-1]}) is None


@pytest.mark.parametrize(("nearest", "is_found"), [(0.2, True), (0.199, False)])
def test_spells_need_a_correlation_of_four_standard_errors(monkeypatch, nearest, is_found):
    """The standard error of 400 scores is 1/20."""
    seen = [Correlation(float(step), nearest * 0.9 ** (step - 1), 400 - step) for step in (1, 2, 4, 8, 16)]
    monkeypatch.setattr("capacity.measurement.sections._correlations", lambda *_: seen)
    found = fit_spells({1: [TimedBatch(service_s=1.0, ended_s=float(k)) for k in range(400)]})
    assert (found is not None) == is_found
    if found is not None:
        assert found.share == pytest.approx(0.2 / 0.9, rel=1e-3)
        assert found.lasting_s == pytest.approx(-1.0 / math.log(0.9), rel=1e-3)


def test_a_stall_is_only_the_longest():
    batches = timed(0.6, 0.1)
    batches[1][500] = TimedBatch(service_s=30.0, ended_s=batches[1][500].ended_s)
    assert fit_spells(batches).share == pytest.approx(fit_spells(timed(0.6, 0.1)).share, rel=0.02)


def test_scores_are_those_of_the_ranks():
    # Three ranks: 1/6, 1/2 and 5/6; the normal quantile of 5/6 is 0.9674 in any table.
    assert normal_scores(np.array([7.0, 5.0, 900.0])) == pytest.approx([0.0, -0.9674, 0.9674], abs=1e-4)


def test_a_fit_that_fails_costs_no_samples(monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("Optimal parameters not found")

    monkeypatch.setattr("capacity.measurement.sections.curve_fit", fails)
    with pytest.raises(
        InconclusiveError, match="not in the way that spells are, so the profile has no spells; measure again"
    ):
        fit_spells(timed(0.6, 0.1))
    monkeypatch.setattr(
        "capacity.measurement.findings.fit_spells", lambda batches: fit_spells(timed(0.6, 0.1, rounds=300))
    )
    found = measure_callable(
        lambda size: sum(range(50 * size)),
        "m:f",
        Rounds(batch_sizes=(1,), samples=20, warm_up=0),
        0.95,
        print,
    )
    assert found.spells is None
    assert found.findings[0].count == 20
    assert "not in the way that spells are" in " ".join(caveat.message for caveat in found.caveats)
