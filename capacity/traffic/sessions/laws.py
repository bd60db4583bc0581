"""Sessions from laws: how many turns, what each adds to the context, and which prefixes are shared."""

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from capacity.errors import InputError, quoted
from capacity.traffic.lengths import TOKENS_MAX, LengthLaw, Moments, moments_of, parse_law
from capacity.traffic.sessions.turns import Floats, Integers, Streams, Turns
from capacity.units import is_number

TURNS_MEAN_MAX = 10_000
GROUPS_MAX = 1_000_000
_BLOCKS_MAX = 100_000_000  # blocks that the prefixes of drawn groups are listed in, all together
# Streams of random numbers, one for each quantity.
_COUNT, _GROUP, _FIRST, _USER, _OUTPUT, _THINK = range(6)
_SAMPLE = 500_000  # turns by which the effect of a cut on the moments is known
EXAMPLE = (
    "turns=geometric:mean=5; think=exponential:mean=20s; system=1200; first=lognormal:mean=800,cv=1; "
    "user=lognormal:mean=200,cv=1; output=geometric:mean=250"
)
_KEYS = ("turns", "think", "system", "groups", "prefix", "first", "user", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of sessions, such as tenants or documents, each with a prefix of its own after the system's.

    The k-th group has a share of the sessions in proportion to k to the power of minus `exponent`.

    Attributes:
        exponent: of Zipf's law; 0 if all groups are equal.
        prefix_tokens: length of the prefix of each group.
    """

    count: int
    exponent: float
    prefix_tokens: int

    @property
    def typed(self) -> str:
        """The groups as they are typed."""
        law = f"zipf:count={self.count},exponent={self.exponent:.12g}"
        return f"groups={law if self.exponent else f'equal:count={self.count}'};prefix={self.prefix_tokens}"

    @property
    def shares(self) -> Floats:
        """Share of the sessions in each group, shape `(count,)`."""
        weights = np.arange(1, self.count + 1, dtype=np.float64) ** -self.exponent
        shares: Floats = weights / weights.sum()
        return shares

    def at(self, uniforms: Floats) -> Integers:
        """Numbers of groups at uniform numbers, from 0 on."""
        found = np.searchsorted(np.cumsum(self.shares), uniforms, side="right")
        return np.minimum(found, self.count - 1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class SessionLaws:
    """Sessions whose quantities follow independent laws.

    The first prompt is the system's prefix, the group's and `first`; each next prompt is the one before with its
    answer and `user`. A session ends before the turn that would pass the limit. A first turn that would pass it gets
    a shorter answer, then a shorter prompt, as requests without sessions do, and its session counts as cut.

    Attributes:
        turns: number of turns of a session.
        first, user, output: tokens of the first turn after the prefixes, that a next turn adds, and of an answer;
            `user` is None if sessions have one turn.
        think: time from an answer to the next turn; None for none.
        system_tokens: length of the prefix that all sessions share.
        groups: groups that share another prefix; None for none.
        limit: largest number of tokens of a prompt and its answer.
    """

    turns: LengthLaw
    first: LengthLaw
    output: LengthLaw
    user: LengthLaw | None = None
    think: LengthLaw | None = None
    system_tokens: int = 0
    groups: Groups | None = None
    limit: int = TOKENS_MAX

    has_ids = True

    @property
    def typed(self) -> str:
        """The laws as they are typed, without their limit."""
        laws = {"first": self.first, "user": self.user, "output": self.output}
        parts = [
            f"turns={self.turns.typed}",
            *([f"think={self.think.typed}"] if self.think else []),
            *([f"system={self.system_tokens}"] if self.system_tokens else []),
            *([self.groups.typed] if self.groups else []),
            *(f"{name}={law.typed}" for name, law in laws.items() if law),
        ]
        return ";".join(parts)

    @property
    def shared_tokens(self) -> int:
        """Length of the prefixes that a session shares with others."""
        return self.system_tokens + (self.groups.prefix_tokens if self.groups else 0)

    def within(self, context_tokens_max: int) -> "SessionLaws":
        """The laws, with sessions cut at this context.

        Raises:
            InputError: the shared prefixes alone leave no room for a question and an answer.
        """
        if self.shared_tokens + 2 > context_tokens_max:
            raise InputError(
                f"system and prefix are {self.shared_tokens} tokens, which leaves no room for question and answer "
                f"within {context_tokens_max} tokens of context; allow a longer context, or shorten them"
            )
        return replace(self, limit=min(self.limit, context_tokens_max))

    def with_outputs(self, factor: float, context_tokens_max: int) -> "SessionLaws":
        """The laws with outputs that are `factor` times as long, with sessions cut at this context."""
        return replace(self, output=self.output.times(factor)).within(context_tokens_max)

    @cached_property
    def turns_mean(self) -> float:
        """Mean number of turns of a session, as cut."""
        whole = self._count_moments[0]
        if self._sample is None:
            return whole
        cut, uncut = (len(turns.input_tokens) / turns.sessions for turns in self._sample)
        return whole + cut - uncut

    @cached_property
    def moments(self) -> Moments:
        """Moments over turns, as cut: those of the laws, and the difference that the cut makes to a fixed sample.

        A turn has E[N(N − 1)]/(2 E[N]) turns before it on average, and its prompt is independent of its answer.
        """
        count, count_square = self._count_moments
        output, square = self.output.mean_and_square
        added = output + (self.user.mean_and_square[0] if self.user else 0.0)
        before = (count_square - count) / (2.0 * count)
        given = self.shared_tokens + self.first.mean_and_square[0] + before * added
        whole = Moments(input=given, output=output, product=given * output, square=square)
        if self._sample is None:
            return whole
        cut, uncut = (moments_of(turns.input_tokens, turns.output_tokens) for turns in self._sample)
        return whole.shifted(cut, uncut)

    @cached_property
    def _sample(self) -> tuple[Turns, Turns] | None:
        """The same sessions with the limit and without; None if none reaches it."""
        if self.limit >= TOKENS_MAX or self.context_max < self.limit:
            return None
        whole, sessions = replace(self, limit=TOKENS_MAX), math.ceil(_SAMPLE / self._count_moments[0])
        return self.draw(sessions, _fixed, TOKENS_MAX), whole.draw(sessions, _fixed, TOKENS_MAX)

    @property
    def context_max(self) -> int:
        """The limit at which sessions without an end are cut, or what bounded laws reach."""
        once = self.shared_tokens + self.first.largest + self.output.largest
        if self.turns.largest == 1.0:
            return int(min(self.limit, once))
        added = self.output.largest + (self.user.largest if self.user else 0.0)
        return int(min(self.limit, once + (self.turns.largest - 1.0) * added))

    @property
    def _count_moments(self) -> tuple[float, float]:
        """Mean of the number of turns and of its square."""
        if self.turns.kind == "geometric":
            return self.turns.mean, 2.0 * self.turns.mean**2 - self.turns.mean
        return self.turns.mean_and_square

    def draw(self, sessions: int, streams: Streams, block_tokens: int) -> Turns:
        """Independent sessions, with contents for blocks of this size."""
        counts = self.turns.at(streams(_COUNT).random(sessions))
        starts = np.concatenate([[0], np.cumsum(counts)])
        total, first = int(starts[-1]), starts[:-1]
        outputs = self.output.at(streams(_OUTPUT).random(total))
        think_s = self.think.seconds_at(streams(_THINK).random(total)) if self.think else np.zeros(total)
        think_s[first] = 0.0
        added = self.user.at(streams(_USER).random(total)) if self.user else np.zeros(total, dtype=np.int64)
        added[1:] += outputs[:-1]
        added[first] = self.shared_tokens + self.first.at(streams(_FIRST).random(sessions))
        grown = np.cumsum(added)
        inputs = grown - np.repeat(grown[first] - added[first], counts)
        kept = inputs + outputs <= self.limit
        cut = ~kept[starts[1:] - 1]  # the last turn is the longest
        kept[first] = True
        inputs[first] = np.minimum(inputs[first], self.limit - 1)
        outputs[first] = np.minimum(outputs[first], self.limit - inputs[first])
        left = np.add.reduceat(kept, first, dtype=np.int64) if sessions else counts
        groups = self.groups.at(streams(_GROUP).random(sessions)) if self.groups else None
        return self._turns(left, inputs[kept], outputs[kept], think_s[kept], cut, groups, block_tokens)

    def _turns(
        self,
        counts: Integers,
        inputs: Integers,
        outputs: Integers,
        think_s: Floats,
        cut: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]",
        groups: Integers | None,
        block_tokens: int,
    ) -> Turns:
        """Turns with contents: numbers of the system's blocks, of each group's, then of each session's own."""
        starts = np.concatenate([[0], np.cumsum(counts)])
        system, listed = self.system_tokens // block_tokens, self.shared_tokens // block_tokens
        own, contents = listed - system, np.arange(listed)
        at = np.zeros(len(counts), dtype=np.int64)
        if groups is not None:
            found, at = np.unique(groups, return_inverse=True)
            _require_room(len(found) * listed)
            contents = np.tile(contents, (len(found), 1))
            contents[:, system:] += own * found[:, None]
            contents, at = contents.ravel(), at * listed
        longest = ((inputs + outputs) // block_tokens + 1)[starts[1:] - 1]
        private = system + own * (self.groups.count if self.groups else 1) + np.cumsum(longest) - longest
        return Turns(
            first=starts,
            input_tokens=inputs,
            output_tokens=outputs,
            think_s=think_s,
            pace_s=np.zeros(len(inputs)),
            contents=contents,
            at=np.repeat(at, counts),
            listed=np.full(len(inputs), listed),
            private=np.repeat(private, counts),
            cut=cut,
        )


def _fixed(part: int) -> np.random.Generator:
    """Streams of the sample by which the effect of a cut is known."""
    return np.random.default_rng([20_001, part])


def _require_room(blocks: int) -> None:
    if blocks > _BLOCKS_MAX:
        raise InputError(
            f"the prefixes of all groups are {blocks} blocks, above {_BLOCKS_MAX}; use fewer groups or a shorter prefix"
        )


def is_laws(text: str) -> bool:
    """Whether a text begins as laws of sessions do."""
    return re.match(rf"\s*({'|'.join(_KEYS)})\s*=", text) is not None


def parse_laws(text: str) -> SessionLaws:
    """Sessions from `turns=geometric:mean=5; think=exponential:mean=20s; system=1200; ...`.

    Raises:
        InputError: a part that is unknown, missing, given twice, or no law.

    >>> parse_laws("turns=constant:1;first=constant:1200;output=constant:1000;groups=equal:count=150;prefix=6000").typed
    'turns=constant:1;groups=equal:count=150;prefix=6000;first=constant:1200;output=constant:1000'
    """
    given = _parts(text)
    if "turns" not in given:
        raise InputError(
            "sessions do not say turns; write turns=constant:1 for requests that share prefixes only"
        )
    turns = parse_law(given["turns"], "turns")
    if turns.mean > TURNS_MEAN_MAX:
        raise InputError(f"turns of sessions must be up to {TURNS_MEAN_MAX} on average, got {turns.mean:g}")
    is_one = turns.largest == 1.0
    _require_parts(given, is_one=is_one)
    return SessionLaws(
        turns=turns,
        first=parse_law(given["first"], "first"),
        output=parse_law(given["output"], "output"),
        user=None if is_one else parse_law(given["user"], "user"),
        think=parse_law(given["think"], "think", is_time=True) if "think" in given else None,
        system_tokens=_whole(given.get("system", "0"), "system", (0, TOKENS_MAX), " tokens"),
        groups=_groups(given["groups"], given["prefix"]) if "groups" in given else None,
    )


def _parts(text: str) -> dict[str, str]:
    """What is said of each part of the laws, in small pieces without spaces around."""
    given: dict[str, str] = {}
    for part in text.split(";"):
        name, _, law = (piece.strip() for piece in part.partition("="))
        if name not in _KEYS:
            raise InputError(f"sessions have no {quoted(name)}; use {', '.join(_KEYS)}, as in {EXAMPLE}")
        if name in given:
            raise InputError(f"sessions say {name} twice; keep one")
        given[name] = re.sub(r"\s*([:,=])\s*", r"\1", law)
    return given


def _require_parts(given: dict[str, str], *, is_one: bool) -> None:
    """Refuse laws that lack a part, or have one that says nothing."""
    for name in ("first", "output", *([] if is_one else ["user"])):
        if name not in given:
            raise InputError(f"sessions do not say {name}; write all parts, as in {EXAMPLE}")
    for name in ("user", "think") if is_one else ():
        if name in given:
            raise InputError(
                f"sessions of one turn have no next turn, so leave out {name}, or give more turns"
            )
    if ("groups" in given) != ("prefix" in given):
        raise InputError(
            "groups of sessions share a prefix; write groups=zipf:count=150,exponent=1;prefix=6000"
        )


def _groups(text: str, prefix: str) -> Groups:
    found = re.fullmatch(r"equal:count=([^,=]*)|zipf:count=([^,=]*),exponent=([^,=]*)", text)
    if found is None:
        raise InputError(
            f"groups={quoted(text)} are no groups; use zipf:count=150,exponent=1 or equal:count=150"
        )
    exponent = found[3] or "0"
    if not is_number(exponent) or not 0.0 <= float(exponent) <= 10.0:
        raise InputError(f"exponent of groups must be a number from 0 to 10, got {quoted(exponent)}")
    return Groups(
        count=_whole(found[1] or found[2] or "", "count of groups", (1, GROUPS_MAX), ""),
        exponent=float(exponent),
        prefix_tokens=_whole(prefix, "prefix", (1, TOKENS_MAX), " tokens"),
    )


def _whole(text: str, where: str, ends: tuple[int, int], unit: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not ends[0] <= int(text) <= ends[1]:
        raise InputError(
            f"{where} must be a whole number from {ends[0]} to {ends[1]}{unit}, got {quoted(text)}"
        )
    return int(text)
