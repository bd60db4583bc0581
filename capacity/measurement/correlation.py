"""Correlation: how far batches that were timed near each other went together.

Each sample is told by its normal score among those of its batch size, so that sizes can be held against each
other and a stall counts for no more than the longest. The scores' correlation at growing distances in time is
fitted by an exponential; its height at no distance is what batches have in common.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import ndtri

from capacity.errors import InconclusiveError
from capacity.measurement.intervals import Floats
from capacity.measurement.rounds import TimedBatch
from capacity.spells import Spells

# Fewer samples tell no correlation that would matter.
_SAMPLES_MIN = 200
# A correlation of neighbours below so many standard errors is taken for chance.
_ERRORS_MIN = 4.0
_SHARE_MAX = 0.99
# Distances up to this share of all the time are looked at, so that each is seen several times.
_DISTANCE_SHARE = 0.1
_DISTANCES = 16
_NO_FIT = (
    "batches near each other in time go together, but not as spells do, and the profile has none; "
    "measure again, or for longer"
)


class Correlation(NamedTuple):
    """Of scores at a distance in time, from so many pairs."""

    apart_s: float
    value: float
    pairs: int


def fit_spells(batches: Mapping[int, Sequence[TimedBatch]]) -> Spells | None:
    """Of batches in the order in which they were served; None where nothing of the kind is seen.

    Raises InconclusiveError: something is seen that no exponential fits.
    """
    instants_s, scores = _scores(batches)
    if len(scores) < _SAMPLES_MIN:
        return None
    seen = list(_correlations(instants_s, scores))
    if not seen or seen[0].value < _ERRORS_MIN / np.sqrt(len(scores)):
        return None
    return _fitted(seen, float(instants_s[-1] - instants_s[0]))


def _scores(batches: Mapping[int, Sequence[TimedBatch]]) -> tuple[Floats, Floats]:
    """Instants, rising, and the normal score of each."""
    instants_s = np.array([one.ended_s for found in batches.values() for one in found])
    scores = [normal_scores(np.array([one.service_s for one in found])) for found in batches.values()]
    order = np.argsort(instants_s, kind="stable")
    return instants_s[order], np.concatenate([*scores, np.zeros(0)])[order]


def normal_scores(values: Floats) -> Floats:
    """By rank among all: the quantile of the normal law at the middle of each rank (Hazen, 1914)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.asarray(ndtri((ranks + 0.5) / len(values)), dtype=np.float64)


def _correlations(instants_s: Floats, scores: Floats) -> list[Correlation]:
    """At about evenly spread logarithms of the distance, from neighbours on."""
    span_s = instants_s[-1] - instants_s[0]
    steps = np.unique(np.geomspace(1, max(1, len(scores) // 10), _DISTANCES).astype(int))
    found = []
    for step in steps.tolist():
        apart_s = float((instants_s[step:] - instants_s[:-step]).mean())
        if apart_s <= _DISTANCE_SHARE * span_s:
            value = float((scores[step:] * scores[:-step]).mean())
            found.append(Correlation(apart_s, value, len(scores) - step))
    return found


def _fitted(seen: Sequence[Correlation], span_s: float) -> Spells | None:
    """The exponential of least squares."""
    apart_s, values = (np.array([getattr(one, name) for one in seen]) for name in ("apart_s", "value"))

    def decay(distance_s: Floats, share: float, log_lasting: float) -> Floats:
        return np.asarray(share * np.exp(-distance_s / np.exp(log_lasting)))

    first = [min(_SHARE_MAX, max(0.05, values[0])), np.log(apart_s[len(apart_s) // 2])]
    bounds = ([0.0, np.log(apart_s[0] / 10.0)], [_SHARE_MAX, np.log(span_s)])
    try:
        (share, log_lasting), _ = curve_fit(decay, apart_s, values, p0=first, bounds=bounds)
    except (RuntimeError, ValueError) as error:
        raise InconclusiveError(_NO_FIT) from error
    return Spells(share=float(share), lasting_s=float(np.exp(log_lasting))) if share > 0.0 else None
