"""Sweep: the cells of a grid one after the other, each as `capacity simulate` would answer it.

Every cell has the same seed, so that neighbours are compared under the same chance, and a row is what
`capacity simulate` says of its cell, to the byte. Where there are many cells, they are spread over the
workers: each is one task, and only its few numbers travel. Where there are few, the replications of one cell
at a time are, so that no worker idles. The bytes are the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from capacity.errors import DomainError, InconclusiveError, InputError, UnstableError
from capacity.scenario import Scenario
from capacity.sweep import Answer, Outcome
from simulations.simulate import Simulation, require_answerable

# From so many cells on, they are spread over the workers, and not the replications of each.
CELLS_TO_SPREAD = 64
_REPORT_EVERY_S = 1.0


def answers(cells: Sequence[Scenario], simulation: Simulation) -> Iterator[Answer]:
    """What becomes of each cell, in their order; what has no steady state or no profile takes no time."""
    refused = [refusal(cell) for cell in cells]
    asked = [cell for cell, no in zip(cells, refused, strict=True) if no is None]
    answered = iter(_simulated(asked, simulation))
    return (next(answered) if no is None else no for no in refused)


def _simulated(cells: Sequence[Scenario], simulation: Simulation) -> Iterable[Answer]:
    if len(cells) < CELLS_TO_SPREAD:
        return (answer(simulation, cell) for cell in cells)
    return simulation.mapper(partial(answer, replace(simulation, mapper=map)), cells)


def refusal(cell: Scenario) -> Answer | None:
    """Why a cell can have no numbers, however long it were simulated; None where it can."""
    try:
        require_answerable(cell.profile, cell.workload, cell.plan)
    except UnstableError as error:
        return Answer(outcome=Outcome.UNSTABLE, reason=str(error))
    except DomainError as error:
        return Answer(outcome=Outcome.PROFILE_RANGE, reason=str(error))
    return None


def answer(simulation: Simulation, cell: Scenario) -> Answer:
    """The performance of a cell that can have one, or why it has none; no error that ends the sweep."""
    try:
        performance = simulation(cell.profile, cell.workload, cell.plan)
    except (InconclusiveError, InputError) as error:  # the latter: what was simulated allows no numbers
        return Answer(outcome=Outcome.INCONCLUSIVE, reason=str(error))
    return Answer(outcome=Outcome.ANSWERED, performance=performance)


class Countdown:
    """Says which cell of how many is done, and how long the rest will take at the pace so far.

    Args:
        done: cells that were done before, and say nothing of the pace.
        report: gets a line, about once a second.
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
        """One more cell is done."""
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
