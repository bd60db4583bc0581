"""Lengths that an engine has room for."""

from capacity.errors import CoverageError, InputError
from capacity.profile.llm import LlmProfile, Scheduler
from capacity.question.plan import Routing
from capacity.traffic.any_lengths import AnyLengths, are_sessions, require_context
from capacity.traffic.lengths import TOKENS_MAX, LengthLaws
from capacity.traffic.sessions.laws import SessionLaws
from capacity.traffic.workload import Demand, is_patient


def fitted_lengths(profile: LlmProfile, lengths: AnyLengths, context_tokens_max: int | None) -> AnyLengths:
    """Lengths within the engine's context where that is set; laws without an end are cut at what was measured.

    Raises:
        InputError: no request is that short.
        CoverageError: a context beyond the measured one, which some requests go beyond too.
    """
    measured = profile.limits_measured.context_tokens_max
    if context_tokens_max is not None:
        fitted = lengths.within(context_tokens_max)
        if context_tokens_max > measured and fitted.context_max > measured:
            raise CoverageError(
                f"profile {profile.name} was measured up to {measured} tokens of context and does not cover "
                f"{context_tokens_max}; measure up to there, or allow less"
            )
        return fitted
    unbounded = ("geometric", "lognormal", "gamma")
    if isinstance(lengths, SessionLaws) and lengths.context_max == TOKENS_MAX:
        return lengths.within(measured)
    if isinstance(lengths, LengthLaws) and {lengths.input.kind, lengths.output.kind} & set(unbounded):
        return lengths.within(measured)
    return lengths


def room_tokens(profile: LlmProfile, sequences_max: int) -> int:
    """The longest request, input and output together, that an engine has room for. [tokens]"""
    measured = profile.limits_measured.context_tokens_max
    if profile.engine.scheduler is Scheduler.LLAMA_CPP:
        return min(measured, profile.kv.slot_tokens(sequences_max))
    return min(measured, _whole_cache(profile))


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
    require_context(lengths, _whole_cache(profile), f"the KV cache of {profile.name} has room for")


def _whole_cache(profile: LlmProfile) -> int:
    """The longest request of which an engine may have the whole cache. [tokens]

    The last token of an answer needs no room, but drafts do; SGLang keeps room for it all the same, and for a block
    more.
    """
    kv = profile.kv
    if profile.engine.scheduler is Scheduler.SGLANG:
        return kv.usable_tokens - kv.block_tokens - 1
    return kv.usable_tokens + 1 - profile.spare_tokens


def require_router(routing: Routing, lengths: AnyLengths) -> None:
    """Refuse a router of conversations for requests that it cannot tell apart.

    Raises:
        InputError: requests are no turns of sessions, or their file does not say which turns belong together.
    """
    if not routing.needs_sessions:
        return
    if not are_sessions(lengths):
        raise InputError(f"{routing} routes turns of sessions; give --sessions in place of --lengths")
    if not routing.by_content and not lengths.has_ids:
        raise InputError(
            f"{routing} keeps sessions together, and {lengths.typed} does not say which turns belong to one; add "
            "session ids, or route by prefix"
        )


def require_patience(workload: Demand, lengths: AnyLengths) -> None:
    """Refuse clients who give up, retry or hedge where their requests are turns of sessions.

    Raises:
        InputError: they do.
    """
    if are_sessions(lengths) and not is_patient(workload):
        raise InputError(
            "turns of sessions are waited for, and their clients neither give up nor retry; leave out --timeout, "
            "--attempts, --hedge and the like, or give --lengths"
        )
