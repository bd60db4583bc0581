"""Caveats: the closed list of things said beside a number, each with its mend."""

from dataclasses import dataclass
from enum import StrEnum


class CaveatCode(StrEnum):
    """What a caveat is about."""

    PROFILE_TAIL_STRETCHED = "profile_tail_stretched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveat:
    """Something to know before betting on the number beside it, and what would mend it."""

    code: CaveatCode
    message: str
