"""Fewest: the smallest number that is enough, where more never hurts, by growing steps and halving."""

from collections.abc import Callable, Iterable
from typing import Protocol

# Times its budget that a search may spend while it has accepted nothing: more is better than no answer.
_UNTIL_ACCEPTED = 2


class Judged(Protocol):
    """A candidate of any kind of server."""

    @property
    def accepted(self) -> bool: ...  # noqa: D102  (its name says it all)


def is_spent(requests: int, requests_max: int, judged: Iterable[Judged]) -> bool:
    """Whether a search has simulated as much as it may; it may do more until it has accepted something."""
    if requests < requests_max:
        return False
    return requests >= _UNTIL_ACCEPTED * requests_max or any(one.accepted for one in judged)


def always(*_: int) -> bool:
    """Never a reason to stop; every number is in doubt."""
    return True


def never(number: int) -> bool:
    """No number is in doubt."""
    return False


# The parts of a number in doubt, by one of which the next one tried differs: no budget tells finer steps apart of most
# fleets.
HUNDREDTHS = 100


def fewest_enough(
    is_enough: Callable[[int], bool],
    refused: int,
    most: int,
    *,
    step: int = 1,
    may_go_on: Callable[[], bool] = always,
    is_in_doubt: Callable[[int], bool] = never,
    parts: int = HUNDREDTHS,
) -> int | None:
    """The smallest number above `refused`, of `most` at most, that is enough; None if none is.

    A number in doubt is not enough, and the search goes on above it. It tries the next number first, then rises
    by doubled steps to one that is enough, and halves what lies between that one and the last that was not.
    Above a number in doubt no step is finer than one hundredth of it, or another part.

    Args:
        step: the second step, which the third doubles.
        may_go_on: whether another step up is affordable; asked before each.
        is_in_doubt: whether a number that was tried, and is not enough, is in doubt rather than refused.
        parts: of a number in doubt, of which a step is at least one.
    """
    rise = 1
    while refused < most and may_go_on():
        number = min(refused + rise, most)
        if is_enough(number):
            return halve_in(is_enough, refused, number, is_in_doubt, parts)
        refused, rise = number, max(step, finest(number, is_in_doubt, parts))
        step = 2 * rise
    return None


def halve_in(
    is_enough: Callable[[int], bool],
    refused: int,
    accepted: int,
    is_in_doubt: Callable[[int], bool] = never,
    parts: int = HUNDREDTHS,
) -> int:
    """The smallest number that is enough, between one that is not and one that is; arguments as of `fewest_enough`."""
    while accepted - refused > finest(refused, is_in_doubt, parts):
        middle = (refused + accepted) // 2
        if is_enough(middle):
            accepted = middle
        else:
            refused = middle
    return accepted


def finest(number: int, is_in_doubt: Callable[[int], bool], parts: int = HUNDREDTHS) -> int:
    """The smallest step worth taking above a number that is not enough; arguments as of `fewest_enough`."""
    part = number // parts
    return part if part > 1 and is_in_doubt(number) else 1


def is_bracketed(accepted: int, is_in_doubt: Callable[[int], bool], parts: int = HUNDREDTHS) -> bool:
    """Whether a number in doubt is so near below an accepted one that nothing between them is worth trying.

    False where a part is less than one, and every number is tried.
    """
    nearest = next(
        (one for one in range(accepted - 1, accepted - 1 - accepted // parts, -1) if is_in_doubt(one)), 0
    )
    return nearest > 0 and accepted - nearest <= finest(nearest, is_in_doubt, parts)
