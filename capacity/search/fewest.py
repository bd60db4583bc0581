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


def always() -> bool:
    """Never a reason to stop."""
    return True


def fewest_enough(
    is_enough: Callable[[int], bool],
    refused: int,
    most: int,
    *,
    step: int = 1,
    may_go_on: Callable[[], bool] = always,
) -> int | None:
    """The smallest number above `refused`, of `most` at most, that is enough; None if none is.

    A number in doubt is not enough, and the search goes on above it. It tries the next number first, then rises
    by doubled steps to one that is enough, and halves what lies between that one and the last that was not.

    Args:
        step: the second step, which the third doubles.
        may_go_on: whether another step up is affordable; asked before each.
    """
    rise = 1
    while refused < most and may_go_on():
        number = min(refused + rise, most)
        if is_enough(number):
            return halve_in(is_enough, refused, number)
        refused, rise, step = number, step, 2 * step
    return None


def halve_in(is_enough: Callable[[int], bool], refused: int, accepted: int) -> int:
    """The smallest number that is enough, between one that is not and one that is."""
    while accepted - refused > 1:
        middle = (refused + accepted) // 2
        if is_enough(middle):
            accepted = middle
        else:
            refused = middle
    return accepted
