"""Token samples: runs of a language model's fleet, reduced to what statistics need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from capacity.question.objective import Measure, Objective
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import TokenDraws, TokenRecords
from simulations.statistics.sample import Sample, mixed
from simulations.statistics.sessions import SessionTotals, session_totals
from simulations.statistics.tally import Tally

Flags = npt.NDArray[np.bool_]
Part = slice | Integers  # requests of a run, by their numbers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenSample(Sample):
    """Observations of one run of the counted requests, or of several; `waits` are times to first token.

    Attributes:
        tpot: tally of requests with two or more output tokens.
        itl: tally of times between output tokens that do not come together, while the counted requests arrived.
        output_tokens, events, preemptions: totals of the counted requests; events are tokens that came together.
        engine_s: total time of the counted requests at their engine. [s]
        running_s, block_s: integrals over that time of running requests and of the share of the cache in use.
        sessions: totals of sessions; None of requests that come by themselves.
        lost_longer, lost_gaps: lost requests with two or more output tokens, and the times between their tokens.
    """

    tpot: Tally = field(repr=False)
    itl: Tally = field(repr=False)
    output_tokens: float
    events: float
    preemptions: float
    engine_s: float
    running_s: float
    block_s: float
    lost_longer: float = 0.0
    lost_gaps: float = 0.0
    sessions: SessionTotals | None = None

    @property
    def compared(self) -> tuple[Measure, ...]:
        """Responses, the times by token, and whole sessions."""
        known = (Measure.RESPONSE, Measure.TTFT, Measure.TPOT, Measure.ITL)
        return known if self.sessions is None else (*known, Measure.SESSION)

    def durations(self, measure: Measure) -> Tally:
        """Durations of served requests."""
        known = {Measure.TTFT: self.waits, Measure.TPOT: self.tpot, Measure.ITL: self.itl}
        if self.sessions is not None:
            known[Measure.SESSION] = self.sessions.responses
        return known[measure] if measure in known else Sample.durations(self, measure)

    def lost_of(self, measure: Measure) -> float:
        """Lost requests; those that have such a duration, and as many as they have."""
        known = {Measure.TPOT: self.lost_longer, Measure.ITL: self.lost_gaps}
        if self.sessions is not None:
            known[Measure.SESSION] = self.sessions.sessions - self.sessions.responses.count
        return known.get(measure, self.lost)

    def total(self, measure: Measure) -> tuple[float, float]:
        """Gaps are divided by those of the requests that count, whose responses they fill."""
        total_s, count = Sample.total(self, measure)
        if measure is Measure.ITL_MEAN:
            return total_s, max(1, self.events - self.counted)
        return total_s, max(1, count) if measure is Measure.TPOT_MEAN else count

    def in_cells(self) -> "TokenSample":
        """The sample with its durations in cells."""
        return replace(
            self, waits=self.waits.in_cells(), responses=self.responses.in_cells(), tpot=self.tpot.in_cells()
        )

    @classmethod
    def merged(cls, samples: Sequence[Sample]) -> "TokenSample":
        """Several runs as one."""
        ours = cast("Sequence[TokenSample]", samples)
        if len(ours) == 1:
            return ours[0]
        whole = Sample.merged(ours)
        return cls(
            **{name: getattr(whole, name) for name in Sample.__slots__},
            tpot=Tally.merged([one.tpot for one in ours]),
            itl=Tally.merged([one.itl for one in ours]),
            output_tokens=sum(one.output_tokens for one in ours),
            events=sum(one.events for one in ours),
            preemptions=sum(one.preemptions for one in ours),
            engine_s=math.fsum(one.engine_s for one in ours),
            running_s=math.fsum(one.running_s for one in ours),
            block_s=math.fsum(one.block_s for one in ours),
            lost_longer=sum(one.lost_longer for one in ours),
            lost_gaps=sum(one.lost_gaps for one in ours),
            sessions=_merged(ours),
        )

    @classmethod
    def mixed(cls, samples: Sequence[Sample], factors: Sequence[float]) -> "TokenSample":
        """Samples of the same runs as one, each counted with its factor, whole or not."""
        ours = cast("Sequence[TokenSample]", samples)
        whole = Sample.mixed(ours, factors)
        return cls(
            **{name: getattr(whole, name) for name in Sample.__slots__},
            tpot=Tally.mixed([one.tpot for one in ours], factors),
            itl=Tally.mixed([one.itl for one in ours], factors),
            output_tokens=mixed([one.output_tokens for one in ours], factors),
            events=mixed([one.events for one in ours], factors),
            preemptions=mixed([one.preemptions for one in ours], factors),
            engine_s=mixed([one.engine_s for one in ours], factors),
            running_s=mixed([one.running_s for one in ours], factors),
            block_s=mixed([one.block_s for one in ours], factors),
            lost_longer=mixed([one.lost_longer for one in ours], factors),
            lost_gaps=mixed([one.lost_gaps for one in ours], factors),
        )


def _merged(samples: Sequence[TokenSample]) -> SessionTotals | None:
    """Totals of the sessions of several runs."""
    totals = [one.sessions for one in samples if one.sessions is not None]
    return SessionTotals.merged(totals) if totals else None


def token_sample(
    draws: TokenDraws,
    records: TokenRecords,
    objective: Objective,
    *,
    overhead_s: Floats,
    gaps: Tally,
    part: Part,
    window_s: float,
    blocks: int,
    middle: int | None = None,
) -> TokenSample:
    """The sample of some requests of a run, by their numbers.

    Args:
        overhead_s: time of each request outside the engine, added to its first token and all that follow. [s]
        gaps: of the whole run, without their total.
        window_s: time that the counted requests stand for. [s]
        blocks: number of blocks in one cache.
        middle: how many of them are of the first half of the run; None for half of them. In a stratum with one burst
            these would be its beginning, which is always calmer than its end.
    """
    marks = _marks(objective.by_quantile(Measure.SESSION))
    sessions = session_totals(draws, records, part, marks)
    part = records.come(part)
    is_served = ~np.isnan(records.finished_s[part])
    middle = len(is_served) // 2 if middle is None else middle
    middle = int(is_served[:middle].sum())
    arrived_s, first_s, finished_s = (
        one[part][is_served] for one in (records.arrived_s, records.first_s, records.finished_s)
    )
    output, outside_s = draws.output_tokens[part][is_served], overhead_s[part][is_served]
    lost_output = draws.output_tokens[part][~is_served]
    ttft_s, response_s = first_s - arrived_s + outside_s, finished_s - arrived_s + outside_s
    has_more = output > 1
    tpot_s = (finished_s - first_s)[has_more] / (output[has_more] - 1)
    events = records.events[part][is_served]
    gap_s = (finished_s - first_s)[has_more] / (events[has_more] - 1)
    gaps_s = float((finished_s - first_s).sum())
    return TokenSample(
        waits=Tally.of(ttft_s, _marks(objective.by_quantile(Measure.TTFT))),
        responses=Tally.of(response_s, _marks(objective.by_quantile(Measure.RESPONSE))),
        tpot=Tally.of(tpot_s, _marks(objective.by_quantile(Measure.TPOT))),
        itl=replace(gaps, total_s=gaps_s),
        missed=_missed(objective, ttft_s, response_s, (tpot_s, gap_s), has_more, len(lost_output)),
        window_s=window_s,
        busy_s=records.busy_s,
        batches=float(records.steps),
        batch_size_largest=int(records.largest[0]),
        lost=len(lost_output),
        rises_s=(_rise_s(response_s[:middle], response_s[middle:]),),
        output_tokens=int(output.sum()),
        events=int(events.sum()),
        preemptions=int(records.preemptions[part][is_served].sum()),
        engine_s=float((finished_s - arrived_s).sum()),
        running_s=records.running_s,
        block_s=records.block_s / blocks,
        lost_longer=int((lost_output > 1).sum()),
        lost_gaps=int((lost_output - 1).sum()) * _gaps_a_token(output, events),
        sessions=sessions,
    )


def sessions_of(sample: Sample) -> SessionTotals:
    """Totals of the sessions of a sample that has some."""
    found = cast("TokenSample", sample).sessions
    assert found is not None  # noqa: S101  (as its requests are turns)
    return found


def _rise_s(before_s: Floats, after_s: Floats) -> float:
    """The rise of the mean from the first half to the second; 0 if a half has no durations. [s]"""
    return float(after_s.mean() - before_s.mean()) if len(before_s) and len(after_s) else 0.0


def _gaps_a_token(output: Integers, events: Integers) -> float:
    """Gaps for each token after the first; 1 where no tokens come together."""
    tokens = int((output - 1).sum())
    return int((events - 1).sum()) / tokens if tokens else 1.0


def _marks(limits: object) -> Floats:
    return np.array(sorted(set(cast("dict[float, float]", limits).values())), dtype=float)


def _missed(
    objective: Objective,
    ttft_s: Floats,
    response_s: Floats,
    gaps_s: tuple[Floats, Floats],
    has_more: Flags,
    lost: int,
) -> int:
    """Number of requests beyond any limit, as lost ones are; a request's own gaps are as long as their mean.

    Args:
        gaps_s: mean times from a token to the next, and between those that do not come together. [s]
    """
    limits = objective.together
    late = np.zeros(len(ttft_s), dtype=bool)
    late |= ttft_s > limits.get(Measure.TTFT, math.inf)
    late |= response_s > limits.get(Measure.RESPONSE, math.inf)
    for measure, each_s in zip((Measure.TPOT, Measure.ITL), gaps_s, strict=True):
        late[has_more] |= each_s > limits.get(measure, math.inf)
    return int(late.sum()) + (lost if limits else 0)
