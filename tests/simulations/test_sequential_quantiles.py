"""The streams and the rule of batching that `benchmarks/sequential_quantiles.py` holds ours against."""

import numpy as np
import pytest
import sequential_quantiles as rules
from sequential_quantiles import autoregression, correlated, exponential, quantile_between, quantiles, queue

from simulations.draws.records import Floats


@pytest.mark.parametrize("found", [0, 100])
def test_response_times_are_those_of_lindleys_recursion(found: int) -> None:
    responses = queue(0.9, exponential, found)(np.random.default_rng(5))
    in_parts = np.concatenate([responses(700), responses(300)])
    generator = np.random.default_rng(5)
    work, expected = float(exponential(generator, found).sum()), []
    for count in (700, 300):
        served = exponential(generator, count)
        for service, gap in zip(served, generator.exponential(1.0 / 0.9, count), strict=True):
            expected.append(work + service)
            work = max(0.0, work + service - gap)
    assert in_parts == pytest.approx(expected, rel=1e-9)


def test_an_autoregression_goes_on_where_it_was() -> None:
    values = autoregression(0.995)(np.random.default_rng(5))
    found, expected, value = np.concatenate([values(3), values(2)]), [], 0.0
    for noise in np.random.default_rng(5).standard_normal(5):
        value = 100.0 + 0.995 * (value - 100.0) + noise
        expected.append(value)
    assert found == pytest.approx(expected)


def test_the_quantile_of_all_is_found_among_those_between_the_quantiles_of_batches() -> None:
    seen = np.random.default_rng(1).exponential(size=63 * 500)
    each = quantiles(seen, 63)
    assert quantile_between(seen, each.min(), each.max()) == quantiles(seen, 1)[0] == np.sort(seen)[31184]


def test_von_neumanns_ratio_knows_neighbours_that_are_alike() -> None:
    generator = np.random.default_rng(2)
    independent = [generator.standard_normal(64) for _ in range(400)]
    assert np.mean([correlated(values) for values in independent]) == pytest.approx(0.2, abs=0.06)  # 3 SE
    assert all(correlated(values.cumsum()) for values in independent)


def test_two_phases_end_at_the_precision_that_is_asked_for() -> None:
    def begin(generator: np.random.Generator) -> rules.Path:
        def values(count: int) -> Floats:
            return generator.standard_exponential(count)

        return values

    (stream, *_) = rules.streams()
    independent = rules.Stream(name="", exact=-np.log(0.01), begin=begin, scenario=stream.scenario)
    interval, drawn = rules.two_phases(independent, 1, 0.006)
    assert 0.003 < interval.relative_half_width <= 0.006
    assert drawn > rules.BATCHES * rules.FIRST_SIZE
    assert interval.low - 0.02 < independent.exact < interval.high + 0.02
