"""The one family of errors; each message names the thing, the rule, the value and the fix.

An exception is for what the caller can fix. A plan that is refused is not an error but a value
(`capacity.question.candidate.Rejection`).
"""


class CapacityError(Exception):
    """Root of the family. `exit_code` is the exit code of the command line."""

    exit_code = 1


class InputError(CapacityError):
    """Usage, configuration or a file is wrong; the message says where, and how to fix it."""

    exit_code = 2


class DomainError(InputError, ValueError):
    """A number is outside the range in which a formula or a type is defined."""


class CoverageError(DomainError):
    """A profile was not measured where it is asked about."""


class UnstableError(InputError, ValueError):
    """Work arrives at least as fast as it can be served, so no steady state exists.

    Attributes:
        servers_min: smallest number of servers that would be stable; None if no number would.
    """

    def __init__(self, message: str, servers_min: int | None = None) -> None:
        super().__init__(message)
        self.servers_min = servers_min


class InconclusiveError(CapacityError):
    """The data or the budget are not enough for an answer with a valid interval."""

    exit_code = 4


class DependencyError(CapacityError):
    """Something outside the program failed: a worker process, a disk, a server."""

    exit_code = 5


_QUOTED_MAX = 60


def quoted(text: object) -> str:
    """Text from outside for a message: in quotes, shortened, without control characters.

    >>> quoted("P99\\n" + 100 * "9")
    "'P99?99999999999999999999999999999999999999999999999999999999'"
    """
    return repr("".join(c if c.isprintable() else "?" for c in str(text)[:_QUOTED_MAX]))
