"""Lengths of any kind: of requests that come by themselves, or as turns of sessions."""

from typing import TYPE_CHECKING

import numpy as np

from capacity.errors import DomainError
from capacity.traffic.lengths import LengthLaws, LengthRows
from capacity.traffic.sessions.laws import SessionLaws
from capacity.traffic.sessions.parse import AnySessions as AnySessions
from capacity.traffic.sessions.rows import SessionRows

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # as Python has it from 3.13 on

AnyLengths = LengthRows | LengthLaws | SessionRows | SessionLaws


def are_sessions(lengths: AnyLengths | None) -> "TypeIs[AnySessions]":
    """Whether requests are turns of sessions."""
    return isinstance(lengths, SessionRows | SessionLaws)


def turns_each(lengths: AnyLengths | None) -> float:
    """Requests that come of one arrival on average: the turns of a session, or 1."""
    return lengths.turns_mean if are_sessions(lengths) else 1.0


def tokens_each(lengths: AnyLengths | None) -> float:
    """Tokens that the answer to a request has on average; 1 where an answer is no text."""
    return 1.0 if lengths is None else lengths.moments.output


def share_left_out(lengths: AnyLengths | None) -> float:
    """Share of the requests of a file that are longer than the context allows, and are left out."""
    if not isinstance(lengths, LengthRows):
        return 0.0
    return lengths.dropped / (lengths.dropped + len(lengths.input_tokens))


def require_context(lengths: AnyLengths, context_tokens_max: int, what: str) -> None:
    """Refuse requests longer than what was measured, or than the engine allows.

    Raises:
        DomainError: says how many there are.
    """
    if lengths.context_max <= context_tokens_max:
        return
    if are_sessions(lengths):
        raise DomainError(
            f"--sessions has turns beyond the {context_tokens_max} tokens of context that {what}; end sessions there "
            f"with --context-tokens-max {context_tokens_max}"
        )
    if isinstance(lengths, LengthLaws):
        raise DomainError(
            f"--lengths has requests beyond the {context_tokens_max} tokens of context that {what}; "
            f"cut them with --context-tokens-max {context_tokens_max}"
        )
    total = np.array(lengths.input_tokens) + np.array(lengths.output_tokens)
    long = int((total > context_tokens_max).sum())
    raise DomainError(
        f"{long} of {len(total)} requests of {lengths.name} {'is' if long == 1 else 'are'} longer than the "
        f"{context_tokens_max} tokens of context that {what}, up to {lengths.context_max}; leave out what is longer "
        f"with --context-tokens-max {context_tokens_max}"
    )
