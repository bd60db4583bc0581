"""Spells: service times of requests that come near each other, from a machine's speed that wanders."""

import math
from functools import lru_cache

import numpy as np

from capacity.profile.profile import Spells
from simulations.compiled import compiled
from simulations.draws.records import Floats

_BELOW_1 = 1.0 - 2.0**-53
_LOOKS = 256  # at a machine's speed, in the time that a spell of it lasts
# The normal law is tabled at scores from -_END to _END, _TO_1 of them to 1. Between them it is off by 2e-10.
_END, _TO_1 = 8.5, 64


class SpellDraws:
    """Uniform numbers for requests at their instants, in order, drawn in any number at a time.

    A machine's speed is a normal score that wanders (an Ornstein-Uhlenbeck process), looked at again once a 256th of
    the time that spells last has passed: what two requests share is off by as little, and one number serves many.
    """

    def __init__(self, spells: Spells, shared: np.random.Generator, own: np.random.Generator) -> None:
        self._spells = spells
        self._step_s = spells.lasting_s / _LOOKS
        self._shared, self._own = shared, own
        self._last = np.array([-np.inf, 0.0])  # when the machine was looked at last, and its score
        self._normal = normal_table()

    def uniforms(self, instants_s: Floats) -> Floats:
        """Uniforms in [0, 1), with the shape of `instants_s`, which do not fall."""
        scores = self._own.standard_normal(len(instants_s))
        shared = self._shared.standard_normal(looked_at(instants_s, self._step_s, self._last[0]))
        spells = self._spells
        to_uniforms(
            scores,
            shared,
            instants_s,
            spells.lasting_s,
            self._step_s,
            spells.share,
            self._last,
            self._normal,
        )
        return scores


@lru_cache(maxsize=1)
def normal_table() -> Floats:
    """The normal law and its density at scores that `normal` takes, in steps of them, shape `(scores, 2)`."""
    scores = [(place / _TO_1) - _END for place in range(int(2 * _END * _TO_1) + 1)]
    levels = [0.5 * math.erfc(-math.sqrt(0.5) * score) for score in scores]
    slopes = [math.exp(-0.5 * score**2) / math.sqrt(2.0 * math.pi) / _TO_1 for score in scores]
    return np.column_stack([levels, slopes])


@compiled
def normal(score: float, table: Floats) -> float:
    """Probability of a smaller normal score, as a cubic with the right values and slopes at the tabled scores.

    The error function takes five times as long, and each request of a run asks for it.
    """
    from_left = (score + _END) * _TO_1
    if not 0.0 <= from_left < len(table) - 1:
        return 0.0 if score < 0.0 else 1.0
    place = int(from_left)
    x = from_left - place
    rise = table[place + 1, 0] - table[place, 0]
    first, last = table[place, 1] - rise, table[place + 1, 1] - rise
    return float(table[place, 0] + x * (rise + (1.0 - x) * ((1.0 - x) * first - x * last)))


@compiled
def looked_at(instants_s: Floats, step_s: float, last_s: float) -> int:
    """How often a machine is looked at: at the first of the instants that comes a step or more after the last look."""
    count = 0
    for instant_s in instants_s:
        if instant_s - last_s >= step_s:
            last_s = instant_s
            count += 1
    return count


@compiled
def to_uniforms(
    scores: Floats,
    shared: Floats,
    instants_s: Floats,
    lasting_s: float,
    step_s: float,
    share: float,
    last: Floats,
    table: Floats,
) -> None:
    """Replace independent normal scores of requests by uniforms that requests at one time have in part in common.

    Args:
        shared: independent normal scores, one for each look at the machine.
        share: of the variance that is common.
        last: instant and score of the last look, updated in place; the instant is -inf before the first.
        table: of the normal law.
    """
    before_s, score = last[0], last[1]
    common, own, looks = math.sqrt(share), math.sqrt(1.0 - share), 0
    for place in range(len(scores)):
        if instants_s[place] - before_s >= step_s:
            kept = math.exp((before_s - instants_s[place]) / lasting_s)
            score = kept * score + math.sqrt(1.0 - kept * kept) * shared[looks]
            before_s, looks = instants_s[place], looks + 1
        scores[place] = min(normal(common * score + own * scores[place], table), _BELOW_1)
    last[0], last[1] = before_s, score
