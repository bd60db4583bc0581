"""Speculation: several tokens of a request in one pass, which a drafter proposes and the model verifies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError

Floats = npt.NDArray[np.float64]

DRAFT_TOKENS_MAX = 64
_ROUNDS = 8  # in which a mean length is found
# Beyond this many tokens the mean number of passes is a line but for less than rounding.
_RENEWALS = 4_096


class Drafter(StrEnum):
    """How tokens are drafted, as `--speculative-config` of vLLM names it."""

    NGRAM = "ngram"
    SUFFIX = "suffix"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    MTP = "mtp"
    DRAFT_MODEL = "draft_model"

    @property
    def writes_cache(self) -> bool:
        """Whether the drafter has keys and values of its own for the tokens that it drafts."""
        return self not in (Drafter.NGRAM, Drafter.SUFFIX)

    @property
    def draft_slots(self) -> int:
        """Tokens of a pass that each of its requests takes for the drafter."""
        return 1 if self is Drafter.DRAFT_MODEL else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """What an engine drafts, and how much of it is accepted.

    A pass computes the next token of each request that decodes and the tokens drafted after it. It brings the next
    token and as many more as were accepted before the first that was not.

    Attributes:
        draft_tokens: tokens drafted for each request and pass.
        acceptance_rates: shares of the drafts of which at least the first token was accepted, at least two, and so on,
            as vLLM counts them by position; None if only their mean is known.
        acceptance_length: mean tokens that a draft brings, the next one included, as vLLM logs it; each token is then
            accepted with the same chance if those before it were.
        draft_token_s: time of the drafter for each token drafted in a pass, whatever the number of requests. [s]
        in_steps: whether the steps were measured with speculation on, and so have drafting and verifying in them.
            Else each token drafted is timed as a prompt token after those of its request.
        method: how tokens are drafted; None if unknown, which takes as much of the cache as a drafter that writes it.
        model: name of the model that drafts.

    Source:
        Leviathan, Kalman & Matias (2023), Fast inference from transformers via speculative decoding, ICML, eq. 1.
    """

    draft_tokens: int
    acceptance_rates: tuple[float, ...] | None = None
    acceptance_length: float | None = None
    draft_token_s: float = 0.0
    in_steps: bool = False
    method: Drafter | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.draft_tokens <= DRAFT_TOKENS_MAX:
            raise InputError(f"draft_tokens must be from 1 to {DRAFT_TOKENS_MAX}, got {self.draft_tokens}")
        if (self.acceptance_rates is None) == (self.acceptance_length is None):
            raise InputError("speculation needs either acceptance_rates or acceptance_length")
        if self.acceptance_rates is not None:
            self._require_rates(self.acceptance_rates)
        length = self.acceptance_length
        if length is not None and not 1.0 <= length <= 1.0 + self.draft_tokens:
            raise InputError(
                f"acceptance_length must be from 1 to {1 + self.draft_tokens}, the next token and those drafted after "
                f"it, got {length:g}"
            )
        if not 0.0 <= self.draft_token_s <= 60.0:
            raise InputError(f"draft_token_s must be from 0 to 60 s, got {self.draft_token_s}")
        if self.in_steps and self.draft_token_s:
            raise InputError(
                "steps measured with speculation have the drafter in them; leave draft_token_s out"
            )

    def _require_rates(self, rates: Sequence[float]) -> None:
        """Refuse rates that are no shares, that rise, or that are not one for each token."""
        if len(rates) != self.draft_tokens:
            raise InputError(
                f"acceptance_rates has {len(rates)} shares for {self.draft_tokens} draft_tokens; give one for each"
            )
        if not all(0.0 <= rate <= 1.0 for rate in rates):
            raise InputError(f"acceptance_rates must be shares from 0 to 1, got {list(rates)}")
        if any(after > before for before, after in pairwise(rates)):
            raise InputError(
                "acceptance_rates must not rise, as a token is accepted only if those before it were, got "
                f"{list(rates)}"
            )

    @classmethod
    def of_events(cls, draft_tokens: int, output_tokens: Sequence[int], events: int) -> "Speculation":
        """What was accepted if answers came in this many events, each with the tokens of a pass.

        Args:
            output_tokens: lengths of the answers.
            events: of all of them, first tokens included.

        Raises:
            InputError: fewer events than all drafts accepted take.
        """
        missing, gaps = sum(output_tokens) - len(output_tokens), events - len(output_tokens)
        most = cls(draft_tokens=draft_tokens, acceptance_length=1.0 + draft_tokens, in_steps=True)
        if gaps < float((most.passes(output_tokens) - 1.0).sum()) - 0.5:
            raise InputError(
                f"{missing} tokens came in {gaps} events, more at a time than the next one and {draft_tokens} drafted "
                "after it; check --draft-tokens, and have the server send the tokens of each step by themselves (a "
                "stream interval of 1)"
            )
        found = most
        for _ in range(_ROUNDS):
            passes = float((found.passes(output_tokens) - 1.0).sum())
            length = found.tokens_mean * passes / gaps
            found = replace(most, acceptance_length=min(max(1.0, length), 1.0 + draft_tokens))
        return found

    @classmethod
    def counted(cls, drafts: float, accepted: Sequence[float]) -> "Speculation | None":
        """What a server counted; None if it counts nothing.

        Args:
            drafts: drafts, each of a request in a step.
            accepted: of how many at least the first token was accepted, at least two, and so on.
        """
        if not accepted:
            return None
        rates = tuple(one / max(drafts, 1.0) for one in accepted)
        return cls(draft_tokens=len(rates), acceptance_rates=rates, in_steps=True)

    @property
    def rates(self) -> tuple[float, ...]:
        """Chances that at least the first drafted token is accepted, at least two, and so on."""
        if self.acceptance_rates is not None:
            return self.acceptance_rates
        assert self.acceptance_length is not None  # noqa: S101  (one of the two is given)
        chance = _even_chance(self.draft_tokens, self.acceptance_length - 1.0)
        return tuple(chance**at for at in range(1, self.draft_tokens + 1))

    @property
    def tokens_mean(self) -> float:
        """Mean tokens that a pass brings a request that decodes, where its answer does not end in it."""
        return 1.0 + math.fsum(self.rates)

    @property
    def is_named(self) -> bool:
        """Whether it says all that an engine must be told: the method, and the model if that is one of its own."""
        own = (Drafter.EAGLE, Drafter.EAGLE3, Drafter.DRAFT_MODEL)
        return self.method is not None and (self.method not in own or self.model is not None)

    @property
    def drafting_s(self) -> float:
        """Time of the drafter in a pass, where the steps do not have it in them. [s]"""
        return self.draft_tokens * self.draft_token_s

    @property
    def timed_tokens(self) -> int:
        """Tokens of each request that decodes which a pass is timed with as if they were of a prompt."""
        return 0 if self.in_steps else self.draft_tokens

    @property
    def lookahead_tokens(self) -> int:
        """Tokens of the cache that a request takes for its drafter, beyond those that the model computes."""
        return self.draft_tokens if self.method is None or self.method.writes_cache else 0

    @property
    def draft_slots(self) -> int:
        """Tokens of a pass that each of its requests takes for the drafter."""
        return 0 if self.method is None else self.method.draft_slots

    def in_share(self, share: float) -> "Speculation":
        """What is accepted in a step if only this share of them drafts for a request; the others bring one token."""
        rates = tuple(min(1.0, share) * rate for rate in self.rates)
        return replace(self, acceptance_rates=rates, acceptance_length=None)

    def scaled(self, factor: float) -> "Speculation":
        """The same drafts on devices on which everything takes `factor` times as long."""
        return replace(self, draft_token_s=factor * self.draft_token_s)

    def drafting(self, tokens: int) -> "Speculation":
        """The same drafter with fewer tokens a draft, each of which is accepted as often as before.

        Raises:
            InputError: more tokens than were measured, or steps that hold another number.
        """
        if tokens == self.draft_tokens:
            return self
        if self.in_steps:
            raise InputError(
                f"the steps were measured with {self.draft_tokens} draft tokens and do not say what {tokens} take; "
                "leave --draft-tokens out"
            )
        if tokens > self.draft_tokens:
            raise InputError(
                f"acceptance was measured up to {self.draft_tokens} draft tokens and is not known for {tokens}; lower "
                "--draft-tokens"
            )
        return replace(
            self, draft_tokens=tokens, acceptance_rates=self.rates[:tokens], acceptance_length=None
        )

    def passes(self, output_tokens: npt.ArrayLike) -> Floats:
        """Mean passes in which answers of these lengths get their tokens, the pass of the first one included.

        After the first token these are renewals, each of one token and those accepted, until the answer is complete.

        Source:
            Feller (1968), An introduction to probability theory and its applications vol. 1, sec. XIII.10.
        """
        missing = np.asarray(output_tokens, dtype=np.float64) - 1.0
        means = _renewals(self.rates)
        beyond = np.maximum(missing - (len(means) - 1), 0.0)
        known: Floats = np.interp(missing, np.arange(len(means)), means) + beyond / self.tokens_mean
        return 1.0 + known


def together(drafted: Sequence[Speculation], weights: Sequence[float]) -> Speculation:
    """What was accepted on average over measurements of one engine.

    Raises:
        InputError: they drafted different numbers of tokens.
    """
    numbers = sorted({one.draft_tokens for one in drafted})
    if len(numbers) > 1:
        raise InputError(
            f"the engine was measured with {' and '.join(map(str, numbers))} draft tokens; measure it with as many"
        )
    rates = np.average([one.rates for one in drafted], axis=0, weights=weights)
    return replace(drafted[0], acceptance_rates=tuple(rates.tolist()), acceptance_length=None)


@lru_cache(maxsize=64)
def _even_chance(tokens: int, accepted_mean: float) -> float:
    """The chance of each token, if those before it were accepted, with which this many are accepted on average."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2.0
        if math.fsum(middle**at for at in range(1, tokens + 1)) < accepted_mean:
            low = middle
        else:
            high = middle
    return high if accepted_mean > 0.0 else 0.0


@lru_cache(maxsize=64)
def _renewals(rates: tuple[float, ...]) -> Floats:
    """Mean passes until at least 0, 1, 2, ... tokens have come after the first, shape `(4097,)`."""
    survival = np.array((1.0, *rates, 0.0))
    chances = survival[:-1] - survival[1:]  # of 1, 2, ... tokens
    means = np.zeros(_RENEWALS + 1)
    for missing in range(1, _RENEWALS + 1):
        before = means[max(0, missing - len(chances)) : missing][::-1]
        means[missing] = 1.0 + float(before @ chances[: len(before)])
    means.flags.writeable = False
    return means
