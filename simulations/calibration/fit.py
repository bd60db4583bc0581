"""Least squares of logarithms, which finds the numbers of a law from figures that a simulation predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from scipy.optimize import least_squares

from simulations.draws.records import Floats, Integers

SEED = 900  # of the instants of sending where they are not known
_DRAWS = 8  # other instants of sending, which tell how far figures of one run scatter
_STARTS = 3  # starting points that are followed, the best of a grid
# How far logarithms may go from their start, and over what slopes are taken: first coarse, then fine.
_REACH, _STEP, _FINE_STEP = 9.0, 0.1, 0.02
_ROUNDS, _TOLERANCE = 20, 1e-4
# Steps of the last search, the rounds of each, and the share of the cost below which a round gained too little.
_POLISH_STEPS, _POLISH_ROUNDS, _POLISH_ENOUGH = (0.1, 0.03, 0.01), 4, 0.02


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

    A value without effect goes to nearly 0. Times to first token move in steps, so slopes are taken over a tenth.

    Args:
        errors: covariance of the relative errors of the measured values.
    """
    goal, weights = np.log(measured), _root_of_inverse(errors)

    def off(logs: Floats) -> Floats:
        return np.asarray(weights @ (np.log(predict(np.exp(logs))) - goal))

    def slopes(logs: Floats, step: float = _STEP) -> Floats:
        here, units = off(logs), step * np.eye(len(logs))
        return np.array([(off(logs + unit) - here) / step for unit in units]).T

    def found(begin: Floats, step: float) -> tuple[float, Floats]:
        one = least_squares(
            off,
            begin,
            jac=partial(slopes, step=step),
            bounds=(begin - _REACH, begin + _REACH),
            max_nfev=_ROUNDS,
            xtol=_TOLERANCE,
            ftol=_TOLERANCE,
        )
        return float(one.cost), one.x

    promising = sorted(starts, key=lambda start: float((off(np.log(start)) ** 2).sum()))[:_STARTS]
    coarse = min((found(np.log(start), _STEP) for start in promising), key=lambda one: one[0])
    logs = min(coarse, found(coarse[1], _FINE_STEP), key=lambda one: one[0])[1]
    logs = _polished(lambda one: float((off(one) ** 2).sum()), logs)
    return Fit(values=np.exp(logs), off=np.log(predict(np.exp(logs))) - goal, errors=errors)


def fit_scattered(
    starts: Sequence[Sequence[float]],
    predict: Callable[[Floats, int], Floats],
    measured: Sequence[float],
    allowed: Floats,
    together: Integers,
) -> Fit:
    """The fit of figures of runs of which each draws its own instants, so that they also scatter by chance.

    A first fit finds about where, and there other draws tell how far figures scatter: those measured, and those that
    one draw predicts.

    Args:
        predict: figures by values and by the draw.
        allowed: relative errors that measured figures have besides.
        together: number of the run of each figure; figures of one run scatter together, and others do not.
    """
    errors = np.diag(allowed**2)
    found = fit(starts, lambda values: predict(values, SEED), measured, errors)
    logs = np.log([predict(found.values, seed) for seed in range(_DRAWS)])
    errors = errors + 2.0 * np.where(together[:, None] == together, np.cov(logs.T), 0.0)
    return fit([found.values.tolist(), *starts], lambda values: predict(values, SEED), measured, errors)


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


def _polished(cost: Callable[[Floats], float], logs: Floats) -> Floats:
    """A lower point near one, by steps along each value and along pairs of values that make up for each other.

    Simulated figures jump where requests fall into other steps, so that slopes mislead near the bottom.

    Source:
        Hooke & Jeeves (1961), "Direct search" solution of numerical and statistical problems, J. ACM 8(2).
    """
    units = np.eye(len(logs))
    ways = [*units, *(one - other for one, other in combinations(units, 2))]
    best = cost(logs)
    for step in _POLISH_STEPS:
        for _ in range(_POLISH_ROUNDS):
            before = best
            for way in ways:
                for moved in (logs + step * way, logs - step * way):
                    found = cost(moved)
                    if found < best:
                        best, logs = found, moved
                        break
            if best > (1.0 - _POLISH_ENOUGH) * before:
                break
    return logs
