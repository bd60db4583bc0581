"""Runs of a language model as its clients saw them: when each request was sent, and when its tokens came."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from capacity.errors import InputError

REQUESTS_MAX = 200_000
_TOKENS_MAX = 10_000_000
# A request's gaps must add up to its whole time within this; otherwise they belong to another request.
_GAPS_OFF = 0.02
_GAPS_OFF_S = 1e-3
# Share of a run's requests that may have several tokens in a chunk, as after a client briefly fell behind.
_SEVERAL_MAX = 0.05
# A chunk within this share of the usual gap after another carries no token of its own.
_NO_GAP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A client's view of one request. Instants are on the clock of its run. [s]

    Attributes:
        input_tokens, output_tokens: as the server counted them.
        start_s, first_s, last_s: when it was sent, and when its first and its last token came.
        due_s: when it should have been sent, if there was a schedule.
        gaps_s: from each token to the next, `output_tokens - 1` of them; empty if only the ends are known.
    """

    input_tokens: int
    output_tokens: int
    start_s: float
    first_s: float
    last_s: float
    due_s: float | None = None
    gaps_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (1 <= self.input_tokens <= _TOKENS_MAX and 1 <= self.output_tokens <= _TOKENS_MAX):
            raise InputError(
                f"a request has from 1 to {_TOKENS_MAX} input and output tokens, got {self.input_tokens} and "
                f"{self.output_tokens}"
            )
        if not self.start_s <= self.first_s <= self.last_s:
            raise InputError(
                f"a request is sent, then gets its first token, then its last, got {self.start_s:g}, "
                f"{self.first_s:g} and {self.last_s:g} s"
            )
        if self.gaps_s and len(self.gaps_s) != self.output_tokens - 1:
            raise InputError(
                f"{self.output_tokens} output tokens have {self.output_tokens - 1} gaps, got {len(self.gaps_s)}"
            )
        whole_s = self.last_s - self.first_s
        if self.gaps_s and abs(sum(self.gaps_s) - whole_s) > _GAPS_OFF_S + _GAPS_OFF * whole_s:
            raise InputError(
                f"gaps between tokens add up to {sum(self.gaps_s):g} s, and from the first to the last are "
                f"{whole_s:g} s; is the unit right?"
            )

    @property
    def has_stamps(self) -> bool:
        """Whether the time of each token is known."""
        return len(self.gaps_s) == self.output_tokens - 1

    @property
    def stamps_s(self) -> list[float]:
        """Times of its tokens, if each is known. [s]"""
        return list(accumulate(self.gaps_s, initial=self.first_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """All requests of one run against one engine that served no other traffic.

    Attributes:
        name: name for messages: the file, and the run in it.
        requests: in the order in which they were sent.
        others_s: start and end of each request whose tokens are unknown, such as one that failed or belonged to a
            warm-up.
        has_stamps: whether the client recorded when each token came.
    """

    name: str
    requests: tuple[SeenRequest, ...]
    others_s: tuple[tuple[float, float], ...] = ()
    has_stamps: bool = True

    def __post_init__(self) -> None:
        if not self.requests:
            raise InputError(f"{self.name} has no request that was answered; run it again")
        if len(self.requests) + len(self.others_s) > REQUESTS_MAX:
            raise InputError(f"{self.name} has more than {REQUESTS_MAX} requests; send fewer")
        if self.has_stamps:
            self._require_single_tokens()
        if any(
            one.start_s > other.start_s for one, other in zip(self.requests, self.requests[1:], strict=False)
        ):
            object.__setattr__(self, "requests", tuple(sorted(self.requests, key=lambda one: one.start_s)))

    def _require_single_tokens(self) -> None:
        """Refuse chunks of several tokens: there would be fewer steps, and each would look longer."""
        longer = [one for one in self.requests if one.output_tokens > 1]
        several = sum(not one.has_stamps for one in longer)
        if several > _SEVERAL_MAX * len(longer):
            raise InputError(
                f"{self.name}: {several} of {len(longer)} requests have not as many chunks as tokens; turn off "
                "speculative decoding, and have the server send each token by itself (a stream interval of 1)"
            )

    @property
    def in_flight_max(self) -> int:
        """Largest number of requests in flight at once."""
        spans = [(one.start_s, one.last_s) for one in self.requests] + list(self.others_s)
        changes = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
        return max(accumulate(change for _, change in changes))


def token_gaps(gaps_s: Sequence[float], output_tokens: int) -> tuple[float, ...]:
    """Gaps between tokens from those between chunks; empty if chunks do not tell tokens apart.

    Servers may send a chunk without a token, such as the role of the answer, next to one with a token. Fewer chunks
    than tokens mean that some carried several.
    """
    surplus = len(gaps_s) - (output_tokens - 1)
    if surplus < 0 or output_tokens < 1:  # the latter is refused with the request
        return ()
    if surplus == 0:
        return tuple(gaps_s)
    usual_s = sorted(gaps_s)[len(gaps_s) // 2]
    least = sorted(range(len(gaps_s)), key=lambda at: gaps_s[at])[:surplus]
    if any(gaps_s[at] > _NO_GAP * usual_s for at in least):
        return ()
    return _merged(gaps_s, set(least), output_tokens)


def _merged(gaps_s: Sequence[float], without: set[int], output_tokens: int) -> tuple[float, ...]:
    """The gaps without some, whose time goes to the next gap, or at the end to the last one."""
    kept: list[float] = []
    held_s = 0.0
    for at, gap_s in enumerate(gaps_s):
        held_s += gap_s
        if at not in without:
            kept.append(held_s)
            held_s = 0.0
    if kept:
        kept[-1] += held_s
    return tuple(kept) if len(kept) == output_tokens - 1 else ()
