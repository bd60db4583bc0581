"""Simulate: the performance of one plan, or of each cell of a sweep, to the asked precision."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Any

from capacity.errors import DomainError, InconclusiveError, InputError, UnstableError
from capacity.performance import Interval, Width
from capacity.question.candidate import LikeIt
from capacity.question.grid import Answer, Outcome
from capacity.question.objective import Limit, Measure
from capacity.traffic.any_lengths import are_sessions
from capacity.units import QUANTILES
from simulations.case import Case
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import (
    REQUESTS_MAX,
    look_at_sections,
    precise_look,
    requests_needed,
    why_unsettled,
)
from simulations.replication import Engine
from simulations.servers import case_of
from simulations.statistics.intervals import width_of
from simulations.statistics.pool import Pool
from simulations.workers import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A performance, and the width of its interval.

    Attributes:
        width: width at the highest response quantile.
    """

    performance: Any
    width: Width


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Simulation of one plan.

    Attributes:
        precision: largest relative half-width at the highest quantile.
        requests_max: budget of simulated requests.
        mapper: distribution of replications over workers.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    quantiles: Sequence[float] = QUANTILES
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, scenario: Any) -> Any:
        """Performance of a plan; raises the errors of `look`."""
        return self.look(scenario).performance

    def look(self, scenario: Any) -> Simulated:
        """Performance of a plan, with the profile's own sampling error in its intervals.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the plan is outside of what was measured.
            InconclusiveError: the budget is too small for one run that settles, or the load too near saturation.
        """
        case, seed = self._asked(scenario)
        look = precise_look(case, seed, self.requests_max, self.precision, self.confidence, self.mapper)
        pool = self._with_profile_error(look.pool, case, seed)
        performance = case.performance(pool, self.quantiles, self.confidence)
        return Simulated(
            performance=case.widened(performance, self.confidence, self.seed, self.mapper),
            width=width_of(pool.response_quantile(max(self.quantiles)), self.precision, self.confidence),
        )

    def like_it(self, scenario: Any) -> LikeIt | None:
        """The highest response quantile under traffic like a trace; None without one."""
        case, seed = self._asked(scenario)
        if not case.is_path:
            return None
        look, highest = look_at_sections(case, seed), max(self.quantiles)
        told = Limit(measure=Measure.RESPONSE, quantile=highest, allowed=math.inf)
        if look is None or not look.settled:
            return LikeIt(verdict=None, limit=told, found=None)
        late = look.pool.of_measure(Measure.RESPONSE, highest)
        return LikeIt(verdict=None, limit=told, found=late.interval(self.confidence))

    def of_traffic_like(self, scenario: Any) -> Interval:
        """The highest response quantile under traffic like a trace, by its consecutive sections. [s]

        Raises:
            InconclusiveError: the trace is too short, or has too few bursts.
        """
        case, seed = self._asked(scenario)
        look = look_at_sections(case, seed)
        if look is None or not look.settled:
            raise InconclusiveError(why_unsettled(case, look, self.requests_max))
        pool = self._with_profile_error(look.pool, case, seed)
        return pool.response_quantile(max(self.quantiles)).interval(self.confidence)

    def _with_profile_error(self, pool: Pool, case: Case, seed: Seed) -> Pool:
        error = case.profile_error(case.length, self.confidence, seed, self.mapper)
        return replace(pool, profile_error=error)

    def _asked(self, scenario: Any) -> tuple[Case, Seed]:
        """The case of a scenario, and its seed."""
        asked = replace(scenario, quantiles=tuple(self.quantiles))
        case = case_of(asked, engine=self.engine)
        case.require_answerable()
        return case, Seed(value=self.seed, stage=Stage.CERTIFY)


# From this many cells on, cells are distributed over the workers, not the replications of each.
CELLS_TO_SPREAD = 64
_REPORT_EVERY_S = 1.0
_SPREAD = 8  # multiple of what cells need that they may take together


def answers(cells: Sequence[Any], simulation: Simulation) -> Iterator[Answer]:
    """Answers of the cells, in order; a cell without a steady state or a profile takes no time."""
    refused = [refusal(cell) for cell in cells]
    asked = [cell for cell, no in zip(cells, refused, strict=True) if no is None]
    answered = iter(_simulated(asked, simulation))
    return (next(answered) if no is None else no for no in refused)


def _simulated(cells: Sequence[Any], simulation: Simulation) -> Iterable[Answer]:
    if len(cells) < CELLS_TO_SPREAD:
        return (answer(simulation, cell) for cell in cells)
    return simulation.mapper(partial(answer, replace(simulation, mapper=map)), cells)


def needed(cells: Sequence[Any], simulation: Simulation) -> list[int | None]:
    """Requests that the answer of each cell takes at least; None for one that is refused at once."""
    asked = (replace(cell, quantiles=tuple(simulation.quantiles)) for cell in cells)
    return [None if refusal(cell) is not None else requests_needed(case_of(cell)) for cell in asked]


def allowance(needs: Sequence[int | None], total: int) -> int:
    """The most requests that one cell may take, if all cells that need no more are to need this total at most.

    They could take more to be precise, but eight times the total at most. It is 0 if not even one cell fits.

    >>> allowance([5, None, 2, 9], 8), allowance([5, None, 2, 9], 16)
    (5, 9)
    """
    known = sorted(need for need in needs if need is not None)
    spent = {
        need: (cells, both)
        for cells, (need, both) in enumerate(zip(known, accumulate(known), strict=True), 1)
    }
    fit = (need for need, (cells, both) in spent.items() if both <= total and cells * need <= _SPREAD * total)
    return max(fit, default=0)


def refusal(cell: Any) -> Answer | None:
    """Reason why a cell cannot have numbers, however long it is simulated; None if it can."""
    try:
        case_of(cell).require_answerable()
    except (UnstableError, DomainError, InconclusiveError) as error:
        return _unanswered(error)
    return None


def answer(simulation: Simulation, cell: Any) -> Answer:
    """Performance of a cell, or the reason why it has none; no error ends the sweep."""
    try:
        performance = simulation(cell)
    except (InconclusiveError, InputError, DomainError) as error:  # the simulation gives no numbers
        return _unanswered(error)
    return Answer(outcome=Outcome.ANSWERED, performance=performance)


def _unanswered(error: Exception) -> Answer:
    outcomes = {UnstableError: Outcome.UNSTABLE, DomainError: Outcome.PROFILE_RANGE}
    found = (outcome for kind, outcome in outcomes.items() if isinstance(error, kind))
    return Answer(outcome=next(found, Outcome.INCONCLUSIVE), reason=str(error))


def load_of(cell: Any, answer: Answer) -> float | None:
    """Load of a cell; None where the profile does not cover it, or nothing is left of the fleet.

    That of sessions depends on what their turns found, and is not known where nothing was simulated.
    """
    if are_sessions(cell.lengths):
        return None if answer.performance is None else answer.performance.load
    has_load = answer.outcome is not Outcome.PROFILE_RANGE and cell.is_left
    return case_of(cell).load if has_load else None


class Countdown:
    """Reports the number of cells that are done, and the time for the rest at the pace so far.

    Args:
        done: cells that were done before, which do not count for the pace.
        report: function that gets a line, about once a second.
    """

    def __init__(
        self,
        cells: int,
        done: int,
        report: Callable[[str], None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells, self._before, self._done = cells, done, done
        self._report, self._clock_s = report, clock_s
        self._began_s = self._reported_s = clock_s()
        if done:
            report(f"going on after {done} of {cells} cells, which an earlier run has done")

    def tick(self) -> None:
        """Count one more cell as done."""
        self._done += 1
        now_s = self._clock_s()
        if now_s - self._reported_s < _REPORT_EVERY_S and self._done < self._cells:
            return
        self._reported_s = now_s
        left_s = (now_s - self._began_s) / (self._done - self._before) * (self._cells - self._done)
        rest = f", about {_rough(left_s)} left" if self._done < self._cells else ""
        self._report(f"cell {self._done} of {self._cells}{rest}")


def _rough(seconds: float) -> str:
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"
