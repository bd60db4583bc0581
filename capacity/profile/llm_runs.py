"""Runs of a language model as its clients saw them: when each request was sent, and when its tokens came."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median

from capacity.errors import InputError
from capacity.profile.speculation import Speculation, together

REQUESTS_MAX = 200_000
_TOKENS_MAX = 10_000_000
# A request's gaps must add up to its whole time within this; otherwise they belong to another request.
_GAPS_OFF = 0.02
_GAPS_OFF_S = 1e-3
# Share of a run's requests that may have several tokens in an event, as after a client briefly fell behind.
_SEVERAL_MAX = 0.05
# Events per token from which on a client that saw no single event has seen each token: some have no text to show.
_SINGLE_MIN = 0.9
# How many fewer events than steps a run may have whose server counted its drafts, which may be of more traffic.
_FEWER_MAX, _EVENTS_TELL = 0.2, 100
# How many tokens fewer than a draft brings an event may bring, before some steps draft nothing.
_MORE_MAX = 0.02
# A chunk within this share of the usual gap after another carries no token of its own.
_NO_GAP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """A client's view of one request. Instants are on the clock of its run. [s]

    Attributes:
        input_tokens, output_tokens: as the server counted them.
        start_s, first_s, last_s: when it was sent, and when its first and its last token came.
        due_s: when it should have been sent, if there was a schedule.
        gaps_s: from each event of its stream to the next, an event being what brings tokens; empty if only the ends
            are known.
        events: number of them; 0 if nothing but the gaps tells it, or else each token is one.
    """

    input_tokens: int
    output_tokens: int
    start_s: float
    first_s: float
    last_s: float
    due_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    events: int = 0

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
        if not self.events:
            object.__setattr__(self, "events", len(self.gaps_s) + 1 if self.gaps_s else self.output_tokens)
        if not 1 <= self.events <= self.output_tokens or len(self.gaps_s) not in (0, self.events - 1):
            raise InputError(
                f"{self.output_tokens} output tokens come in at most as many events with a gap between each two, got "
                f"{self.events} events and {len(self.gaps_s)} gaps"
            )
        whole_s = self.last_s - self.first_s
        if self.gaps_s and abs(sum(self.gaps_s) - whole_s) > _GAPS_OFF_S + _GAPS_OFF * whole_s:
            raise InputError(
                f"gaps between tokens add up to {sum(self.gaps_s):g} s, and from the first to the last are "
                f"{whole_s:g} s; is the unit right?"
            )

    @property
    def has_stamps(self) -> bool:
        """Whether the time of each event is known."""
        return len(self.gaps_s) == self.events - 1

    @property
    def tokens_a_gap(self) -> float:
        """Mean tokens of an event after the first one."""
        return (self.output_tokens - 1) / (self.events - 1) if self.events > 1 else 1.0

    @property
    def usual_tokens(self) -> float:
        """Tokens of the usual event, by how long it took."""
        return median(self.gaps_s) * (self.output_tokens - 1) / (self.last_s - self.first_s)

    @property
    def stamps_s(self) -> list[float]:
        """Times of its events, if each is known. [s]"""
        return list(accumulate(self.gaps_s, initial=self.first_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """All requests of one run against one engine that served no other traffic.

    Attributes:
        name: name for messages: the file, and the run in it.
        requests: in the order in which they were sent.
        others_s: start and end of each request whose tokens are unknown, such as one that failed or belonged to a
            warm-up.
        has_stamps: whether the client recorded when each event came.
        model: name of the model; None if the file does not say.
        speculation: what the server drafted and accepted, if it counted that.
    """

    name: str
    requests: tuple[SeenRequest, ...]
    others_s: tuple[tuple[float, float], ...] = ()
    has_stamps: bool = True
    model: str | None = None
    speculation: Speculation | None = None

    def __post_init__(self) -> None:
        if not self.requests:
            raise InputError(f"{self.name} has no request that was answered; run it again")
        if len(self.requests) + len(self.others_s) > REQUESTS_MAX:
            raise InputError(f"{self.name} has more than {REQUESTS_MAX} requests; send fewer")
        if any(
            one.start_s > other.start_s for one, other in zip(self.requests, self.requests[1:], strict=False)
        ):
            object.__setattr__(self, "requests", tuple(sorted(self.requests, key=lambda one: one.start_s)))

    def drafting(self, draft_tokens: int) -> "SeenRun":
        """The run of a server that drafts, with what was accepted.

        Its events tell that, where the server did not count it, or drafted in some steps only.

        Args:
            draft_tokens: tokens drafted for each request in a step, if the server did not count them; 0: it drafts
                nothing.
        """
        counted, longer = self.speculation, self._longer
        if not longer or (counted is None and not draft_tokens):
            return self
        most = draft_tokens if counted is None else counted.draft_tokens
        lengths = [one.output_tokens for one in longer]
        events = sum(one.events for one in longer)
        seen = Speculation.of_events(most, lengths, events)
        if counted is None:
            return replace(self, speculation=seen)
        noise = most / math.sqrt(events)  # twice the standard deviation of the mean, or more
        if counted.tokens_mean - seen.tokens_mean <= max(noise, _MORE_MAX * counted.tokens_mean):
            return self
        share = (seen.tokens_mean - 1.0) / (counted.tokens_mean - 1.0)
        return replace(self, speculation=counted.in_share(share))

    @property
    def _longer(self) -> list[SeenRequest]:
        """Requests that decode."""
        return [one for one in self.requests if one.output_tokens > 1]

    @property
    def interval(self) -> int:
        """Steps that an event takes: more than one where the server holds tokens back, as many of each request.

        Raises:
            InputError: several tokens come at once, and it is not known in how many steps they were computed.
        """
        longer = self._longer
        if self.speculation is not None:
            self._require_steps(self.speculation)
            return 1
        enough = 1.0 if self.has_stamps else _SINGLE_MIN
        several = [one for one in longer if one.events < enough * one.output_tokens or not self._is_seen(one)]
        if len(several) <= _SEVERAL_MAX * len(longer):
            return 1
        held = [
            tokens
            for tokens in _intervals(max(several, key=lambda one: one.output_tokens))
            if sum(tokens in _intervals(one) for one in longer) >= (1.0 - _SEVERAL_MAX) * len(longer)
        ]
        if not held:
            raise InputError(
                f"{self.name}: the tokens of {len(several)} of {len(longer)} requests came neither one by one nor "
                "always as many at a time; if the server drafts, say how many tokens by --draft-tokens, else have it "
                "send each token by itself (a stream interval of 1)"
            )
        usual = [one.usual_tokens for one in several if one.gaps_s and one.last_s > one.first_s]
        return min(held, key=lambda tokens: abs(tokens - median(usual))) if usual else held[0]

    def _is_seen(self, one: SeenRequest) -> bool:
        """Whether a request's events are known as far as those of its run are."""
        return one.has_stamps or not self.has_stamps

    def _require_steps(self, drafts: Speculation) -> None:
        """Refuse events that bring what was accepted in several steps."""
        events = sum(one.events - 1 for one in self._longer)
        steps = float((drafts.passes([one.output_tokens for one in self._longer]) - 1.0).sum())
        if events < (1.0 - _FEWER_MAX) * steps and steps >= _EVENTS_TELL:
            raise InputError(
                f"{self.name}: tokens came in {events} events, and in about {steps:.0f} steps by what was drafted and "
                "accepted; have the server send the tokens of each step by themselves (a stream interval of 1)"
            )

    @property
    def in_flight_max(self) -> int:
        """Largest number of requests in flight at once."""
        spans = [(one.start_s, one.last_s) for one in self.requests] + list(self.others_s)
        changes = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
        return max(accumulate(change for _, change in changes))


def drafted(runs: Sequence[SeenRun]) -> Speculation | None:
    """What was drafted in all runs, and how much of it accepted on average over what brought tokens.

    Raises:
        InputError: some runs drafted, and others did not, or not as many tokens.
    """
    decoding = [run for run in runs if any(one.output_tokens > 1 for one in run.requests)]
    known = [run.speculation for run in decoding if run.speculation is not None]
    if not known:
        return None
    if len(known) < len(decoding):
        raise InputError(
            f"{len(known)} of {len(decoding)} runs say what the server drafted; measure all with as many draft tokens, "
            "or say how many by --draft-tokens"
        )
    return together(known, [sum(one.events - 1 for one in run.requests) for run in decoding])


def _intervals(one: SeenRequest) -> range:
    """Tokens of an event with which a request has as many events: the first token, as many at a time, then the rest."""
    others, gaps = one.output_tokens - 1, one.events - 1
    least = math.ceil(others / gaps) if gaps else 1
    return range(least, math.ceil(others / (gaps - 1)) if gaps > 1 else max(least, others) + 1)


def token_gaps(gaps_s: Sequence[float], output_tokens: int) -> tuple[float, ...]:
    """Gaps between events that bring tokens from those between chunks; empty if chunks do not tell them apart.

    Servers may send a chunk without a token, such as the role of the answer, next to one with a token.
    """
    surplus = len(gaps_s) - (output_tokens - 1)
    if output_tokens < 1:  # which is refused with the request
        return ()
    if surplus <= 0:
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
