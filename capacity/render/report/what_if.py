"""What if: the panel of a report page on which sliders move among the fleets that were simulated around the plan."""

import json
import math
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from markupsafe import Markup

from capacity.explanation.around import Around, Explored
from capacity.performance import Interval, Performance
from capacity.question.candidate import Verdict
from capacity.question.grid import Answer, Outcome
from capacity.question.objective import Limit, Objective, format_value
from capacity.question.resilience import Survival
from capacity.render.report.findings import Findings, shown
from capacity.render.report.sections import VERDICTS, Cell, Section, Table, capital
from capacity.traffic.scale import Scale

_LIMIT_FACTORS = tuple(number / 8 for number in range(2, 17))
_ROWS_MAX = 9  # of the table; the sliders have every number
_SIGNS = {Verdict.MET: "✓", Verdict.MISSED: "✕", Verdict.INCONCLUSIVE: "?"}
_OUTCOMES = {Outcome.UNSTABLE: "unstable", Outcome.PROFILE_RANGE: "not measured"}


class Axis(NamedTuple):
    """The values of a slider.

    Attributes:
        name: name of its input.
        texts: its values in words.
        own: place of the plan's own value.
    """

    name: str
    label: str
    texts: tuple[str, ...]
    own: int


class Numbers(NamedTuple):
    """What the page says of a cell that has numbers.

    Attributes:
        short: the value of the limited quantity.
        full: the value with its interval.
        missed: number of limits on it, from the smallest on, that it misses.
        met: place of the smallest limit that it meets; those between are in doubt.
        others: verdict on the other limits of the objective, as planned.
        other: the other limit that decides that verdict, with its value; empty if all are met.
    """

    short: str
    full: str
    missed: int
    met: int
    others: Verdict = Verdict.MET
    other: str = ""

    def verdict(self, place: int) -> Verdict:
        """The verdict at the limit of this place."""
        if place < self.missed or self.others is Verdict.MISSED:
            return Verdict.MISSED
        return Verdict.INCONCLUSIVE if place < self.met else self.others


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The panel: what the page shows without script, and what its script reads.

    Attributes:
        axes: outputs, traffic, replicas and requests at once, and the limit.
        cells: all cells, the last axis but the limit changing fastest; a text of one that has no numbers.
        prices: price of each number of replicas; empty if it is not known.
        heads: the traffic of each column of the table.
        rows: places of the numbers of replicas that the table has.
        notes: what the numbers are, and what they leave out.
    """

    lead: str
    limit: Limit
    axes: tuple[Axis, ...]
    cells: tuple[Numbers | str, ...]
    prices: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def what(self) -> str:
        """The limited quantity."""
        return self.limit.what

    @property
    def sliders(self) -> list[Axis]:
        """The axes of more than one value."""
        return [axis for axis in self.axes if len(axis.texts) > 1]

    def cell(self, *places: int) -> Numbers | str:
        """The cell at these places of the axes but the limit."""
        number = 0
        for axis, place in zip(self.axes[:-1], places, strict=True):
            number = number * len(axis.texts) + place
        return self.cells[number]

    @property
    def table(self) -> Table:
        """The limited quantity by traffic and replicas, all else as planned, until the script moves it."""
        _, traffic, replicas, *_ = self.axes
        rows = [
            (
                Cell(text=replicas.texts[row], look="plan" if row == replicas.own else ""),
                *(
                    self._shown(row, column, is_own=(row, column) == (replicas.own, traffic.own))
                    for column in range(len(traffic.texts))
                ),
            )
            for row in self.rows
        ]
        caption = f"{capital(self.what)} by {traffic.label.lower()} and replicas"
        return Table(caption=caption, heads=("replicas", *self.heads), rows=rows)

    def _shown(self, row: int, column: int, *, is_own: bool) -> Cell:
        outputs, _, _, size, limit = self.axes
        told = self.cell(outputs.own, column, row, size.own)
        chosen = " chosen" if is_own else ""
        if isinstance(told, str):
            return Cell(text=told, look=f"theory{chosen}")
        verdict = told.verdict(limit.own)
        return Cell(text=f"{_SIGNS[verdict]} {told.short}", look=f"{verdict.value}{chosen}")

    @property
    def now(self) -> dict[str, str]:
        """The plan's own point."""
        *places, limit = (axis.own for axis in self.axes)
        told = self.cell(*places)
        assert isinstance(told, Numbers)  # noqa: S101  (there is no panel without it)
        verdict = told.verdict(limit)
        return {
            "found": told.full,
            "look": verdict.value,
            "verdict": f"{_SIGNS[verdict]} {VERDICTS[verdict]}",
            "other": told.other,
            "price": self.prices[self.axes[2].own],
        }

    @property
    def data(self) -> Markup:
        """What the script reads, as JSON that no text in it can end."""
        verdicts = {one.value: {"sign": _SIGNS[one], "text": VERDICTS[one]} for one in Verdict}
        document = {
            "axes": [axis._asdict() for axis in self.axes],
            "cells": [one if isinstance(one, str) or one.other else one[:4] for one in self.cells],
            "prices": self.prices,
            "rows": self.rows,
            "verdicts": verdicts,
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return Markup(text.replace("<", "\\u003c"))  # noqa: S704  (nothing opens or ends an element)

    @property
    def script(self) -> Markup:
        """The script."""
        return Markup(_script())  # noqa: S704  (a file of this package)

    @property
    def allowed(self) -> str:
        """The source of scripts that the page allows: this one alone."""
        return f"'sha256-{b64encode(sha256(_script().encode()).digest()).decode()}'"


@cache
def _script() -> str:
    return files("capacity.render.report").joinpath("what_if.js").read_text(encoding="utf-8")


def what_if(found: Findings) -> Panel | Section:
    """The panel, or the section that says why there is none."""
    explored = found.around
    if explored is None:
        why = (
            "an autoscaler sizes this fleet over the day, and a grid of fixed fleets says nothing of it"
            if "autoscaled" in found.saved.answer
            else "fleets like this one take more simulated requests than a page may"
        )
        return Section(key="what-if", title="What if", lead=f"Not shown: {why}.")
    around, limit = explored.around, _limit(found, explored)
    limits = [one for factor in _LIMIT_FACTORS if (one := _times(limit, factor)) is not None]
    axes = (
        *_axes(around),
        Axis(
            "limit", f"Limit of {limit.what}", tuple(one.allowed_text for one in limits), limits.index(limit)
        ),
    )
    question, plan = found.saved.question, found.saved.plan
    usd = [question.hourly_usd(replace(plan, replicas=number)) for number in around.replicas]
    return Panel(
        lead=_lead(axes),
        limit=limit,
        axes=axes,
        cells=tuple(
            _cell(cell, answer, need, limits, question.objective)
            for cell, answer, need in zip(around.cells(), explored.answers, explored.needs, strict=True)
        ),
        prices=tuple("" if one is None else f"{one:.3f} USD/h" for one in usd),
        heads=tuple(around.grids[0].scale.shown(one.size) for one in around.demands),
        rows=_rows(around),
        notes=tuple(_notes(found, explored, limit)),
    )


def _limit(found: Findings, explored: Explored) -> Limit:
    """The limit that binds the plan, of those that single fleets of a grid have a value of."""
    performance, objective = explored.own.performance, found.saved.question.objective
    assert performance is not None  # noqa: S101  (else nothing is explored)
    binding = shown(found)
    if binding.found(performance) is not None:
        return binding
    known = tuple(one for one in objective.limits if one.found(performance) is not None)
    return Objective(limits=known).binding(performance)


def _times(limit: Limit, factor: float) -> Limit | None:
    """A limit that allows this many times as much; None if it is a share that would reach 1."""
    allowed = factor * limit.allowed
    return replace(limit, allowed=allowed) if limit.measure.is_duration or allowed < 1.0 else None


def _axes(around: Around) -> tuple[Axis, ...]:
    """The axes of the grids in words."""
    scale, plan = around.grids[0].scale, around.scenario.plan
    outputs, traffic, replicas, size = around.own
    means = [next(grid.cells()).lengths for grid in around.grids]
    return (
        Axis(
            "outputs",
            "Mean output",
            tuple(
                "" if one is None else f"{one.moments.output:.0f} tokens (× {factor:g})"
                for factor, one in zip(around.outputs, means, strict=True)
            ),
            outputs,
        ),
        Axis("traffic", capital(scale.one), tuple(_size(scale, one.size) for one in around.demands), traffic),
        Axis("replicas", "Replicas", tuple(str(one) for one in around.replicas), replicas),
        Axis("size", capital(plan.size_name), tuple(str(one) for one in around.sizes), size),
    )


def _size(scale: Scale, size: float) -> str:
    """A rate or a number of users; of a trace or a day, also as a multiple."""
    times = scale.times(size)
    return scale.shown(size) if times is None else f"{scale.shown(size)} (× {times:.3g})"


def _cell(
    cell: Any, answer: Answer, need: int | None, limits: Sequence[Limit], objective: Objective
) -> Numbers | str:
    """What the page says of a cell: its numbers, or in few words why it has none."""
    found = None if answer.performance is None else limits[0].found(answer.performance)
    if answer.performance is not None and found is not None:
        return _numbers(answer.performance, found, limits, objective)
    if not cell.is_left:
        return "nothing is left"
    return _OUTCOMES.get(answer.outcome, "too near saturation" if need is None else "too few requests")


def _numbers(
    performance: Performance, found: Interval, limits: Sequence[Limit], objective: Objective
) -> Numbers:
    """What the page says of a cell that has numbers.

    Args:
        found: the value of the limited quantity.
        limits: limits on it, rising.
    """
    limit, allowed = limits[0], [one.allowed for one in limits]
    others = [
        (one, seen)
        for one in objective.limits
        if (one.measure, one.quantile) != (limit.measure, limit.quantile)
        if (seen := one.found(performance)) is not None
    ]
    missed = [one for one in others if one[1].low > one[0].allowed]
    deciding = next(iter(missed or [one for one in others if one[1].high > one[0].allowed]), None)
    verdict = Verdict.MET if deciding is None else Verdict.MISSED if missed else Verdict.INCONCLUSIVE
    return Numbers(
        short="lost" if math.isinf(found.value) else format_value(limit, Interval.exact(found.value)),
        full=format_value(limit, found),
        missed=bisect_left(allowed, found.low),
        met=bisect_left(allowed, found.high),
        others=verdict,
        other="" if deciding is None else f"{deciding[0].what} {format_value(*deciding)}",
    )


def _rows(around: Around) -> tuple[int, ...]:
    """Places of the numbers of replicas nearest to the plan's, the largest number first."""
    own = around.own[2]
    places = sorted(range(len(around.replicas)), key=lambda place: (abs(place - own), -place))
    return tuple(sorted(places[:_ROWS_MAX], reverse=True))


def _lead(axes: Sequence[Axis]) -> str:
    """How many points there are, and that there is nothing between them."""
    lengths = [len(axis.texts) for axis in axes[:-1] if len(axis.texts) > 1]
    return (
        f"{' × '.join(map(str, lengths))} = {math.prod(lengths)} fleets were judged when this page was written, by "
        "theory or simulation; the sliders move among them, and nothing between or beyond them is shown."
    )


def _notes(found: Findings, explored: Explored, limit: Limit) -> Iterator[str]:
    """How to read the numbers, what they leave out, and how to have them again."""
    question, saved, around = found.saved.question, found.saved, explored.around
    yield (
        "A limit is met if the upper end of the interval is within it, missed if the lower end is above it, and else "
        "in doubt. These verdicts come from single intervals, not from the sequential test that decides plans."
    )
    yield from _limits_beside(question.objective, limit, explored)
    yield from _trouble(question.survival, around, must_recover="recovery" in saved.answer)
    if not around.is_every:
        yield "Not every number of replicas was simulated: they lie closest around that of the plan."
    if len(around.sizes) == 1:
        plan = around.scenario.plan
        why = (
            "fleets with other values take more simulated requests than a page may"
            if around.sizes_left_out
            else "no other value was considered"
        )
        yield f"There is no slider for {plan.size_name} ({plan.at_once}): {why}."
    if any(need is not None and need > explored.requests_max for need in explored.needs):
        yield (
            f"“Too few requests”: a fleet so near saturation takes more than the {_count(explored.requests_max)} "
            "simulated requests that each point may take."
        )
    effort = saved.effort
    yield (
        f"All else is as planned. capacity sweep gives these numbers with --seed {effort.seed} --precision "
        f"{effort.precision:g} --requests-max {explored.requests_max}; the plan's own point has --requests-max "
        f"{effort.requests_max}."
    )


def _limits_beside(objective: Objective, limit: Limit, explored: Explored) -> Iterator[str]:
    """How the other limits of the objective are judged, or that they are not."""
    performance = explored.own.performance
    assert performance is not None  # noqa: S101  (else nothing is explored)
    others = [one for one in objective.limits if one != limit]
    judged = [str(one) for one in others if one.found(performance) is not None]
    if judged:
        yield f"The verdict is on {', '.join(judged)} too."
    for one in others:
        if one.found(performance) is None:
            yield f"The limit {one} is not judged here."


def _trouble(survival: Survival, around: Around, *, must_recover: bool) -> Iterator[str]:
    """The failure that the fleets are in, and the trouble that is no part of it."""
    if around.grids[0].is_in_failure:
        yield "Each fleet is in the worst failure that the plan must survive; its price is that of all replicas."
    if survival.spike is not None:
        yield "The spike that the plan must survive is not judged here."
    if must_recover:
        yield "Whether a fleet recovers from trouble is not judged here."


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")
