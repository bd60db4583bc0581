"""Lengths that an engine has room for."""

from capacity.errors import DomainError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.traffic.lengths import AnyLengths, LengthLaws, require_context


def fitted_lengths(profile: LlmProfile, lengths: AnyLengths, context_tokens_max: int | None) -> AnyLengths:
    """Lengths within the engine's context where that is set; laws without an end are cut at what was measured.

    Raises:
        DomainError: longer requests, or a context beyond the measured one.
    """
    measured = profile.limits_measured.context_tokens_max
    if context_tokens_max is not None:
        if context_tokens_max > measured:
            raise DomainError(
                f"profile {profile.name} was measured up to "
                f"{measured} tokens of "
                f"context and does not cover {context_tokens_max}; measure up to there, or allow less"
            )
        return lengths.within(context_tokens_max)
    unbounded = ("geometric", "lognormal", "gamma")
    if isinstance(lengths, LengthLaws) and {lengths.input.kind, lengths.output.kind} & set(unbounded):
        return lengths.within(measured)
    return lengths


def require_lengths(profile: LlmProfile, lengths: AnyLengths, sequences_max: int) -> None:
    """Refuse requests beyond the measured context, or larger than the cache or their share of it.

    Raises:
        DomainError: with the numbers.
    """
    limit = profile.limits_measured.context_tokens_max
    require_context(lengths, limit, f"profile {profile.name} was measured with")
    if profile.engine.scheduler is Scheduler.LLAMA_CPP:
        share = profile.kv.slot_tokens(sequences_max)
        tokens = profile.kv.tokens
        require_context(lengths, share, f"each of {sequences_max} slots has in a KV cache of {tokens}")
        return
    room = profile.kv.usable_tokens
    require_context(lengths, room + 1, f"the KV cache of {profile.name} has room for")
