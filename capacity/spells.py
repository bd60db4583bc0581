"""Spells: how far service times of batches that begin near each other in time go together."""

import math
from dataclasses import dataclass

from capacity.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Spells:
    """A machine that is quicker or slower for a while, as its neighbours, its memory and its clock have it.

    Such spells make queues longer: several slow batches come in a row. The law of a single batch stays.

    Attributes:
        share: of the variance of the times' normal scores, what batches at one instant have in common.
        lasting_s: after which exp(-1) of that is left. [s]

    Raises:
        InputError: a share outside (0, 1), or a time that is not positive and finite.
    """

    share: float
    lasting_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InputError(f"spell_share must be within (0, 1), such as 0.5, got {self.share}")
        if not 0.0 < self.lasting_s < math.inf:
            raise InputError(f"spell_lasting_s must be positive and finite, got {self.lasting_s}")
