"""Spells: service times of batches that begin near each other in time go together.

A machine is quicker or slower for a while: its neighbours, its memory and its clock change. The normal score
of a batch's uniform number is the sum of one that all batches share and that wanders in time, and one of its
own, so that each service time alone still has the law of the profile.

Source:
    Cario & Nelson (1996), Autoregressive to anything, Oper. Res. Letters 19, 51-58; in continuous time
    Uhlenbeck & Ornstein (1930), Phys. Rev. 36, 823-841.
"""

import math

import numpy as np
from scipy.special import ndtr

from capacity.spells import Spells
from simulations.compiled import compiled
from simulations.records import Floats

_BELOW_1 = 1.0 - 2.0**-53


class SpellDraws:
    """Uniform numbers for requests at their instants, as many at a time as are asked for, in order."""

    def __init__(self, spells: Spells, shared: np.random.Generator, own: np.random.Generator) -> None:
        self._spells = spells
        self._shared, self._own = shared, own
        self._last = np.array([-np.inf, 0.0])  # instant and score of the last request

    def uniforms(self, instants_s: Floats) -> Floats:
        """Uniforms in [0, 1), shape as `instants_s`, which do not fall."""
        scores = self._shared.standard_normal(len(instants_s))
        wander(scores, instants_s, self._spells.lasting_s, self._last)
        share = self._spells.share
        own = self._own.standard_normal(len(instants_s))
        uniforms = ndtr(math.sqrt(share) * scores + math.sqrt(1.0 - share) * own)
        return np.minimum(uniforms, _BELOW_1)


@compiled
def wander(scores: Floats, instants_s: Floats, lasting_s: float, last: Floats) -> None:
    """Replace independent normal scores by those of an Ornstein-Uhlenbeck process at rising instants.

    Args:
        last: instant and score of the one before, kept up to date; the instant is -inf before the first.
    """
    before_s, score = last[0], last[1]
    for place in range(len(scores)):
        kept = math.exp((before_s - instants_s[place]) / lasting_s)
        score = kept * score + math.sqrt(1.0 - kept * kept) * scores[place]
        scores[place] = score
        before_s = instants_s[place]
    last[0], last[1] = before_s, score
