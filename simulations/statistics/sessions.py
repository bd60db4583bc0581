"""Session totals: what turns found in the cache, and how long their sessions took, of one run or of several."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import TokenDraws, TokenRecords
from simulations.statistics.tally import Tally

TURNS_SHOWN = 20  # turns with a hit share each; later ones count with the last


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SessionTotals:
    """Totals over the sessions that count.

    Attributes:
        responses: from the arrival of a session's first turn to the end of its last answer, of those that had all.
        hit_tokens, prompt_tokens: tokens found in the cache at first admissions, and of prompts, by turn, shape
            `(TURNS_SHOWN,)` each.
        live_s: time of all sessions from the arrival of the first turn to the end of the last answer. [s]
        cut: sessions that were cut at the longest context.
        sessions: how many there are.
        rises: for each run, share of prompts that is found in its second half minus that of its first.
    """

    responses: Tally = field(repr=False)
    hit_tokens: Floats
    prompt_tokens: Floats
    live_s: float
    cut: float
    sessions: float
    rises: tuple[float, ...] = ()

    @property
    def hit_share(self) -> float:
        """Share of the tokens of all prompts that were found."""
        return float(self.hit_tokens.sum() / self.prompt_tokens.sum())

    @classmethod
    def merged(cls, totals: Sequence[Self]) -> Self:
        """Several runs as one."""
        return cls(
            responses=Tally.merged([one.responses for one in totals]),
            hit_tokens=np.sum([one.hit_tokens for one in totals], axis=0),
            prompt_tokens=np.sum([one.prompt_tokens for one in totals], axis=0),
            live_s=math.fsum(one.live_s for one in totals),
            cut=sum(one.cut for one in totals),
            sessions=sum(one.sessions for one in totals),
            rises=tuple(rise for one in totals for rise in one.rises),
        )


def session_totals(
    draws: TokenDraws, records: TokenRecords, part: slice | Integers, marks: Floats
) -> SessionTotals | None:
    """Totals of the sessions of a part of a run; None if its requests come by themselves.

    Args:
        part: whole sessions in a row; or any turns, by their numbers, of which those sessions count that begin there.
        marks: limits of the objective on responses of sessions. [s]
    """
    if draws.sessions is None:
        return None
    turns = draws.sessions.turns
    stop = part.stop if isinstance(part, slice) else turns.first[-1]
    begin = turns.first[:-1][turns.first[:-1] < stop]
    counted = np.flatnonzero(np.isin(begin, np.arange(stop)[part] if isinstance(part, slice) else part))
    first, last = begin[counted], turns.first[counted + 1] - 1
    arrived_s, finished_s = records.arrived_s, records.finished_s
    whole_s = finished_s[last] - arrived_s[first]
    is_whole = ~np.isnan(whole_s)
    until_s = np.fmax.reduceat(np.fmax(finished_s, arrived_s)[:stop], begin)[counted]
    numbers = np.minimum(turns.turn[part], TURNS_SHOWN - 1)
    served = ~np.isnan(finished_s[part])
    return SessionTotals(
        responses=Tally.of(whole_s[is_whole], marks),
        hit_tokens=_by_turn(numbers[served], records.hit_tokens[part][served]),
        prompt_tokens=_by_turn(numbers[served], draws.input_tokens[part][served]),
        live_s=float((until_s - arrived_s[first]).sum()),
        cut=float(turns.cut[counted].sum()),
        sessions=float(len(counted)),
        rises=(_rise(records.hit_tokens[part][served], draws.input_tokens[part][served]),),
    )


def _rise(hits: Integers, prompts: Integers) -> float:
    """The rise of the share that is found from the first half to the second; 0 if a half is empty."""
    middle = len(prompts) // 2
    if middle == 0:
        return 0.0
    first, second = (
        float(hits[half].sum() / prompts[half].sum()) for half in (slice(middle), slice(middle, None))
    )
    return second - first


def _by_turn(numbers: Integers, tokens: Integers) -> Floats:
    return np.bincount(numbers, weights=tokens, minlength=TURNS_SHOWN).astype(np.float64)
