"""Least squares of logarithms, which finds the numbers of a law from figures that a simulation predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulations.draws.records import Floats, Integers

SEED = 900  # of the instants of sending where they are not known
_DRAWS = 32  # other instants of sending, which tell how far figures of one run scatter
# Starting points that are followed for some rounds; the best of them goes on.
_STARTS, _FIRST_ROUNDS, _ROUNDS = 3, 4, 10
# Points of a plane for each of its numbers, and pairs of them at least; how far logarithms lie around its middle, and
# how that shrinks in a round.
_POINTS, _LEAST, _RADIUS, _SHRINK = 4, 8, 0.5, 0.75
# How far a round goes at most, in radii, and the information that a value has beforehand, as logarithm.
_FURTHEST, _PRIOR = 3.0, 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """Result of a calibration.

    Attributes:
        values: positive, as many as were fitted.
        off: logarithms of predicted over measured for the calibrating figures.
        errors: covariance of the relative errors of the figures, by which they were weighed.
    """

    values: Floats
    off: Floats
    errors: Floats

    @property
    def residual(self) -> float:
        """Root mean square of the residuals over the degrees of freedom."""
        return float(np.sqrt((self.off**2).sum() / max(1, len(self.off) - len(self.values))))

    def weighed(self, off: Floats) -> Floats:
        """Residuals in standard deviations, independent of each other."""
        return _root_of_inverse(self.errors) @ off


def fit(
    starts: Sequence[Sequence[float]],
    predict: Callable[[Floats], Floats],
    measured: Sequence[float],
    errors: Floats,
) -> Fit:
    """Least squares of logarithms of positive values, from the best of some starts.

    A value without effect may be anything.

    Args:
        errors: covariance of the relative errors of the measured values.
    """
    goal, weights = np.log(measured), _root_of_inverse(errors)

    def off(logs: Floats) -> Floats:
        return np.asarray(weights @ (np.log(predict(np.exp(logs))) - goal))

    begins = sorted((_Place(off, np.log(start)) for start in starts), key=lambda one: one.cost)[:_STARTS]
    radius, dice = _RADIUS, np.random.default_rng(SEED)
    for _ in range(_FIRST_ROUNDS):
        begins = [_further(off, one, radius, dice) for one in begins]
        radius *= _SHRINK
    found = min(begins, key=lambda one: one.cost)
    for _ in range(_ROUNDS):
        found = _further(off, found, radius, dice)
        radius *= _SHRINK
    return Fit(values=np.exp(found.logs), off=np.log(predict(np.exp(found.logs))) - goal, errors=errors)


def fit_scattered(
    starts: Sequence[Sequence[float]],
    predict: Callable[[Floats, int], Floats],
    measured: Sequence[float],
    allowed: Floats,
    together: Integers,
) -> Fit:
    """The fit of figures of runs of which each draws its own instants, so that they also scatter by chance.

    Other draws tell how far figures scatter: those measured, and those that one draw predicts. They do so for the best
    start, and again where a first fit with that ends.

    Args:
        predict: figures by values and by the draw.
        allowed: relative errors that measured figures have besides.
        together: number of the run of each figure; figures of one run scatter together, and others do not.
    """

    def drawn_once(values: Floats) -> Floats:
        return predict(values, SEED)

    def errors_at(values: Floats) -> Floats:
        logs = np.log([predict(values, seed) for seed in range(_DRAWS)])
        return np.diag(allowed**2) + 2.0 * np.where(together[:, None] == together, np.cov(logs.T), 0.0)

    off = [np.log(drawn_once(np.array(start)) / measured) / allowed for start in starts]
    best = starts[int(np.argmin([one @ one for one in off]))]
    found = fit(starts, drawn_once, measured, errors_at(np.array(best)))
    return fit([found.values.tolist(), *starts], drawn_once, measured, errors_at(found.values))


def root(found: Fit, predict: Callable[[Floats], Floats], sizes: Floats) -> Floats:
    """Root of the covariance of all that was fitted, as logarithms, and of what else is not known of predictions.

    Prior deviations are 1; what figures are off by more than their errors widens all.

    Args:
        predict: figures by how far each is moved; those fitted come first.
        sizes: distances over which effects are taken.
    """
    count = len(found.values)
    here = found.weighed(np.log(predict(np.zeros(len(sizes)))))
    slopes = np.array([(found.weighed(np.log(predict(one))) - here) / one.sum() for one in np.diag(sizes)]).T
    left = found.weighed(found.off)
    slopes /= max(1.0, float(np.sqrt((left**2).sum() / max(1, len(left) - count))))
    return np.asarray(np.linalg.cholesky(np.linalg.inv(slopes.T @ slopes + np.eye(len(sizes)))))


def _root_of_inverse(errors: Floats) -> Floats:
    """A matrix that makes values with this covariance independent, each of variance 1."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(errors)))


class _Place:
    """Logarithms, and the sum of the squares of how far their figures are off."""

    def __init__(self, off: Callable[[Floats], Floats], logs: Floats) -> None:
        self.logs, self.off = logs, off(logs)
        self.cost = float(self.off @ self.off)


def _further(
    off: Callable[[Floats], Floats], begin: _Place, radius: float, dice: np.random.Generator
) -> _Place:
    """The best place of a round: where planes through the figures of points around one have their least squares.

    Simulated figures jump where requests fall into other steps, so that slopes at one place mislead.

    Source:
        Box & Wilson (1951), "On the experimental attainment of optimum conditions", J. R. Stat. Soc. B 13(1).
    """
    count = len(begin.logs)
    half = radius * dice.standard_normal((max(_LEAST, _POINTS * (count + 1) // 2), count))
    around = np.concatenate([half, -half])
    places = [_Place(off, begin.logs + one) for one in around]
    planes = np.linalg.lstsq(np.column_stack([np.ones(len(around)), around]), [one.off for one in places])[0]
    middle, slopes = planes[0], planes[1:].T
    step = -np.linalg.solve(slopes.T @ slopes + _PRIOR * np.eye(count), slopes.T @ middle)
    step *= min(1.0, _FURTHEST * radius / max(1e-300, float(np.abs(step).max())))
    steps = [_Place(off, begin.logs + share * step) for share in (1.0, 0.5)]
    return min([begin, *places, *steps], key=lambda one: one.cost)
