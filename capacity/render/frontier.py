"""Frontier: plans at each value of a list or a range, as a sentence and a table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.refusals import doubts, format_refusal, lost_word
from capacity.answer.sentences import format_room
from capacity.question.asked import QUANTILES
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict, closest
from capacity.question.caveat import CaveatCode, in_order
from capacity.question.grid import Varied
from capacity.question.objective import Limit, Measure, format_value
from capacity.question.plan import Plan
from capacity.question.question import Question
from capacity.render.plan import shown_limits
from capacity.render.tables import table
from capacity.search.recommendation import Recommendation
from capacity.traffic.any_lengths import share_left_out
from capacity.units import format_duration, format_rate, format_share

_NAMED_MAX = 3  # values that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One point of a frontier.

    Attributes:
        values: what was asked, a value of each flag that varies.
        usd_per_million: price of a million served requests; None without a price or a plan. [USD]
    """

    values: tuple[float, ...]
    verdict: Verdict
    found: Recommendation
    question: Question
    usd_per_million: float | None

    @property
    def plan(self) -> Plan | None:
        """The plan, if it meets all that was asked."""
        return self.found.plan if self.verdict is Verdict.MET else None

    @property
    def cost(self) -> float | None:
        """Price of the plan, or its replicas without a price; None without a plan. [USD/h]"""
        if self.plan is None:
            return None
        return float(self.plan.replicas) if self.found.hourly_usd is None else self.found.hourly_usd

    @property
    def left_out(self) -> float:
        """Share of the requests that the fleet does not serve, as they are longer than the context."""
        return share_left_out(self.question.space.lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The points of a frontier, and the flags that vary between them.

    Attributes:
        confidence: of the intervals.
        uncovered: values at which there is no spot, with the reason.
    """

    varied: tuple[Varied, ...]
    spots: tuple[Spot, ...]
    confidence: float
    uncovered: Mapping[tuple[float, ...], str] = field(default_factory=dict)

    @property
    def is_priced(self) -> bool:
        """Whether the fleets have a price; else their cost is counted in replicas."""
        return all(one.found.hourly_usd is not None for one in self.spots if one.plan is not None)

    @property
    def leaves_out(self) -> bool:
        """Whether some values leave out more requests than others."""
        return len({one.left_out for one in self.spots}) > 1

    @property
    def planned(self) -> list[Spot]:
        """The points with a plan."""
        return [one for one in self.spots if one.plan is not None]

    @property
    def axis(self) -> Varied:
        """The flag with the most values, against which cost is drawn."""
        return max(self.varied, key=lambda one: len(one.values))

    @property
    def lines(self) -> dict[str, list[tuple[float, Spot]]]:
        """Points along the axis, in its unit, by the values of the other flag in words."""
        across, found = self.varied.index(self.axis), dict[str, list[tuple[float, Spot]]]()
        for spot in self.spots:
            others = [asked_text(one, spot.values[n]) for n, one in enumerate(self.varied) if n != across]
            x = drawn_value(self.axis, spot.values[across])
            found.setdefault(", ".join(others), []).append((x, spot))
        return found

    def text_at(self, values: Sequence[float]) -> str:
        """What was asked at a point, in words."""
        return ", ".join(map(_told_of_one, self.varied, values))


def frontier_tables(
    frontier: Frontier, width: int | None = None, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """A sentence on what the values cost, and a row for each point.

    Args:
        width: columns that the table may take, for which it leaves out what matters least; None for any number.
        verbose: whether it has every column, and all notes follow.
    """
    yield Text(sentence(frontier), style="bold")
    heads, rows = cells(frontier)
    fitting = _fitting(heads, rows, width) if width is not None and not verbose else heads
    shown = [tuple(row[heads.index(head)] for head in fitting) for row in rows]
    if width is not None and _width(fitting, shown) > width:  # what no plan is a row for needs no word for it
        shown = [tuple(cell.removeprefix("missed: ") for cell in row) for row in shown]
    is_whole = width is not None and _width(fitting, shown, _WORDS_MIN) <= width
    yield table([head.removeprefix("~") if is_whole else head for head in fitting], shown, is_plain=True)
    told = notes(frontier)
    if frontier.planned:
        yield Text(
            f"In brackets: {100.0 * frontier.confidence:g} % intervals. Each plan is confirmed by itself."
        )
        more = [head for head in heads if head not in fitting]
        others = len(told) - 1
        more += [f"{others} more note{'s' if others > 1 else ''}"] if others > 0 else []
        if not verbose:
            yield from map(Text, told[:1])
        if more and not verbose:
            yield Text(f"More: -v ({', '.join(more)}).")
    yield from map(Text, told if verbose else ())


# Columns that a narrow table leaves out, the first one first.
_LEFT_OUT = ("USD/million", "batch wait", "left out", "headroom")
_WORDS_MIN = 11  # columns of a verdict on several lines


def _fitting(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Heads of the columns that are shown within a width."""
    fitting = list(heads)
    for head in _LEFT_OUT:
        kept = [heads.index(one) for one in fitting]
        if _width(fitting, [[row[n] for n in kept] for row in rows]) <= width:
            break
        if head in fitting:
            fitting.remove(head)
    return fitting


def _width(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int | None = None) -> int:
    """Columns that a table takes in all, with a space on each side of a cell.

    Args:
        words: columns of the verdicts; None for as many as they have in one line.
    """
    widths = {
        head: max(len(head.lstrip("<~")), *map(len, column))
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
    }
    if words is not None and "<verdict" in widths:
        widths["<verdict"] = words
    return sum(width + 2 for width in widths.values())


def sentence(frontier: Frontier) -> str:
    """What the fleet is and costs from one end of the values to the other, and where there is no plan."""
    planned = frontier.planned
    if not planned:
        is_open = any(one.found.verdict is Verdict.INCONCLUSIVE for one in frontier.spots)
        none = "No plan is known" if is_open else "There is no plan"
        return f"{none} at any of the {len(frontier.spots)} points.{_uncovered(frontier)}"
    gaps = f"{_left_out(frontier)}{_without_plan(frontier)}{_uncovered(frontier)}"
    if len(frontier.varied) == 1 or len(planned) == 1:
        return f"{_from_end_to_end(frontier, planned)}{gaps}"
    costs = sorted(planned, key=_cost)
    return (
        f"Over {len(planned)} points the fleet takes {_span(costs[0], costs[-1], 'to')}"
        f"{_price(costs[0], costs[-1])}.{gaps}"
    )


def _cost(spot: Spot) -> float:
    return spot.cost or 0.0


def _from_end_to_end(frontier: Frontier, planned: Sequence[Spot]) -> str:
    """The fleets from the cheaper end to the other, if the cost goes one way; else over all of them."""
    first, last = planned[0], planned[-1]
    if len(planned) == 1:
        return (
            f"At {frontier.text_at(first.values)} the fleet takes {_replicas(first)}{_price(first, first)}."
        )
    steps = [_cost(two) - _cost(one) for one, two in pairwise(planned)]
    if any(step > 0.0 for step in steps) and any(step < 0.0 for step in steps):
        ends = sorted(planned, key=_cost)
        return (
            f"Over {_told_of(frontier, first, last)} the fleet takes {_span(ends[0], ends[-1], 'to')}"
            f"{_price(ends[0], ends[-1])}."
        )
    if _cost(first) > _cost(last):
        first, last = last, first
    ends_text = f"From {_told_of(frontier, first, last)}"
    if _cost(first) == _cost(last):
        fleets = _span(first, last, "to")
        moves = "stays at" if fleets == _replicas(first) else "goes from"
        return f"{ends_text} the fleet {moves} {fleets}{_price(first, last)}."
    return f"{ends_text} the fleet grows from {_span(first, last, 'to')}{_price(first, last)}."


def _told_of(frontier: Frontier, *spots: Spot) -> str:
    """What was asked at two points from one to the other, with the name once: `100 to 400 users`."""
    (varied,) = frontier.varied
    return _flagged(varied, " to ".join(value_text(varied, one.values[0]) for one in spots))


def _span(low: Spot, high: Spot, word: str) -> str:
    """Replicas at two points, with their profiles if these differ."""
    one, other = low.plan, high.plan
    assert one is not None and other is not None  # noqa: S101, PT018  (both have a plan)
    if one.profile != other.profile:
        return f"{one.replicas} of {one.profile} {word} {other.replicas} of {other.profile}"
    return f"{one.replicas} {word} {_replicas(high)}" if one.replicas != other.replicas else _replicas(high)


def _replicas(spot: Spot) -> str:
    assert spot.plan is not None  # noqa: S101  (who asks has looked)
    return f"{spot.plan.replicas} replica{'s' if spot.plan.replicas > 1 else ''}"


def _price(low: Spot, high: Spot) -> str:
    """What the fleets cost, as the end of a sentence; empty without a price."""
    one, other = low.found.hourly_usd, high.found.hourly_usd
    if one is None or other is None:
        return ""
    if one == other:
        return f" and costs {one:.3f} USD/h"
    return f" and costs {one:.3f} to {other:.3f} USD/h ({100.0 * (other / one - 1.0):+.0f} %)"


def _left_out(frontier: Frontier) -> str:
    """The values that leave most and fewest requests out, as a sentence; empty if all leave out as many."""
    if len(frontier.varied) > 1 or not frontier.leaves_out:
        return ""
    most = max(frontier.spots, key=lambda one: one.left_out)
    fewest = min(frontier.spots, key=lambda one: one.left_out)
    few = format_share(fewest.left_out) if fewest.left_out else "none"
    (varied,) = frontier.varied
    return (
        f" At {frontier.text_at(most.values)} an engine refuses {format_share(most.left_out)} of the requests as too "
        f"long, and {few} at {value_text(varied, fewest.values[0])}; the load is that of the rest."
    )


def _without_plan(frontier: Frontier) -> str:
    """The points without a plan, as a sentence; empty if there are none."""
    bare = [one for one in frontier.spots if one.plan is None]
    if not bare:
        return ""
    named = _named(frontier, [one.values for one in bare])
    nearest = _nearest(bare[0]) if len(bare) == 1 else None
    why = "" if nearest is None else f": {format_refusal(nearest)}"
    is_open = any(one.found.verdict is Verdict.INCONCLUSIVE for one in bare)
    return f" {'No plan is known' if is_open else 'There is no plan'} at {named}{why}."


def _uncovered(frontier: Frontier) -> str:
    """The points that the profile does not cover, as a sentence; empty if there are none."""
    if not frontier.uncovered:
        return ""
    why = "; ".join(list(dict.fromkeys(frontier.uncovered.values()))[:_NAMED_MAX])
    return f" There is no answer at {_named(frontier, list(frontier.uncovered))}: {why}."


def _named(frontier: Frontier, points: Sequence[tuple[float, ...]]) -> str:
    """What was asked at several points, in words; many are counted."""
    if len(points) > _NAMED_MAX:
        return f"{len(points)} of {len(frontier.spots) + len(frontier.uncovered)} points"
    if len(frontier.varied) == 1:
        (varied,) = frontier.varied
        return _flagged(varied, _listed([value_text(varied, one[0]) for one in points]))
    return "; ".join(frontier.text_at(one) for one in points)


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def cells(frontier: Frontier) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads of the columns that say something, and the rows."""
    columns = _columns(frontier)
    shown = {head: [cell(one) for one in frontier.spots] for head, cell in columns.items()}
    always = len(frontier.varied)
    heads = [
        head
        for number, head in enumerate(shown)
        if number < always or (any(shown[head]) and not _says_nothing(frontier, head, shown[head]))
    ]
    return heads, list(zip(*(shown[head] for head in heads), strict=True))


def _says_nothing(frontier: Frontier, head: str, cells: Sequence[str]) -> bool:
    """Whether a column is left out: every point is met, or every fleet has the same there.

    The size is left out too where the limits of a language model need its room, or where each has the one asked for.
    """
    if head == "<verdict":
        return len(frontier.planned) == len(frontier.spots)
    if head == _size_name(frontier) and cells in [
        [_asked(number, varied, one) for one in frontier.spots]
        for number, varied in enumerate(frontier.varied)
        if varied.name in _SIZES
    ]:
        return True
    has_limits = sum(head.startswith("~") for head in _columns(frontier)) > 1
    alike = ("<profile", "<routing", *((_size_name(frontier),) if has_limits else ()))
    return head in alike and len({one for one in cells if one}) == 1


_SIZES = ("sequences_max", "batch_size_max")  # flags that ask for a size


def _size_name(frontier: Frontier) -> str:
    """What the number of requests that a replica takes at once is called."""
    return next((one.plan.size_name for one in frontier.planned if one.plan is not None), "size")


def _columns(frontier: Frontier) -> dict[str, Callable[[Spot], str]]:
    """The cells of a point by the heads of their columns."""
    limits = shown_limits(frontier.spots[0].found.objective)

    def of_plan(read: Callable[[Plan], str]) -> Callable[[Spot], str]:
        return lambda spot: "" if spot.plan is None else read(spot.plan)

    asked = {column_head(one): partial(_asked, n, one) for n, one in enumerate(frontier.varied)}
    found: dict[str, Callable[[Spot], str]] = {
        "<profile": of_plan(lambda plan: plan.profile),
        "replicas": of_plan(lambda plan: str(plan.replicas)),
        _size_name(frontier): of_plan(lambda plan: str(plan.at_once)),
        "batch wait": of_plan(lambda plan: "" if plan.starts_at_once else format_duration(plan.settings[0])),
        "<routing": of_plan(lambda plan: plan.routing.value),
        **{f"~{limit.what}": partial(_limited, number) for number, limit in enumerate(limits)},
        "left out": lambda spot: format_share(spot.left_out) if frontier.leaves_out else "",
        "USD/h": lambda spot: _money(spot, spot.found.hourly_usd),
        "USD/million": lambda spot: _money(spot, spot.usd_per_million),
        "headroom": _headroom,
        "<verdict": _verdict,
    }
    return asked | {head: cell for head, cell in found.items() if head not in asked}


def _asked(number: int, varied: Varied, spot: Spot) -> str:
    return value_text(varied, spot.values[number])


def _limited(number: int, spot: Spot) -> str:
    """The value of one of the shown limits, with its interval."""
    limit = shown_limits(spot.found.objective)[number]
    found = None if spot.found.performance is None else limit.found(spot.found.performance)
    return "" if found is None or spot.plan is None else format_value(limit, found)


def _money(spot: Spot, usd: float | None) -> str:
    return "" if usd is None or spot.plan is None else f"{usd:.3f}"


def _headroom(spot: Spot) -> str:
    headroom = spot.found.headroom
    if headroom is None or spot.plan is None:
        return ""
    return format_room(headroom)


def _verdict(spot: Spot) -> str:
    """The verdict, and without a plan why the fleet that is closest is refused, or in doubt."""
    nearest = _nearest(spot)
    if nearest is None or nearest.rejection is None:
        return "in doubt" if spot.verdict is Verdict.INCONCLUSIVE else spot.verdict.value
    if spot.verdict is Verdict.INCONCLUSIVE:
        is_short = nearest.rejection.reason is Reason.BUDGET
        return f"in doubt{f': {_WHY[Reason.BUDGET]}' if is_short else doubts(nearest)}"
    return f"{spot.verdict}: {_why(nearest, nearest.rejection)}"


def _nearest(spot: Spot) -> Candidate | None:
    """The fleet that is closest, where none is recommended."""
    if spot.found.plan is not None or not spot.found.considered:
        return None
    return closest(spot.found.considered, spot.found.objective)


# Why the closest fleet is refused, in a few words; other reasons name the limit.
_WHY = {
    Reason.STABILITY: "unstable",
    Reason.BISTABLE: "bistable",
    Reason.SERVICE_FLOOR: "service too slow",
    Reason.PROFILE_RANGE: "beyond the profile",
    Reason.REPLICAS_MAX: "too many replicas",
    Reason.BUDGET: "too few requests simulated",
}


def _why(nearest: Candidate, rejection: Rejection) -> str:
    """Why the closest fleet is refused, in a few words."""
    if rejection.event is not None:
        return f"not with {rejection.event}"
    if rejection.is_loss or rejection.reason is Reason.LOSS:
        return f"too many {lost_word(nearest)}"
    limit = rejection.limit
    return _WHY.get(rejection.reason) or ("not enough" if limit is None else f"{limit.what} too high")


def notes(frontier: Frontier) -> list[str]:
    """The notes on the plans, the most important first, with the points that have it unless all plans do.

    What a context leaves out has a column of its own.
    """
    found = in_order(caveat for spot in frontier.spots for caveat in spot.found.caveats)
    told: dict[str, list[Spot]] = {caveat.message: [] for caveat in found}
    for spot in frontier.spots:
        for caveat in spot.found.caveats:
            told[caveat.message].append(spot)
    shown = {one.message for one in found if one.code is CaveatCode.LENGTHS_CUT and frontier.leaves_out}
    return [_note(frontier, message, spots) for message, spots in told.items() if message not in shown]


def _note(frontier: Frontier, message: str, spots: Sequence[Spot]) -> str:
    if {one.values for one in spots} >= {one.values for one in frontier.planned}:
        return f"Note: {message}."
    return f"Note ({'; '.join(frontier.text_at(one.values) for one in spots)}): {message}."


def column_head(varied: Varied) -> str:
    """Head of the column of a flag."""
    limit = _limit(varied, 1.0)
    return varied.name.replace("_", " ") if limit is None else f"{limit.what} <="


def axis_name(varied: Varied) -> str:
    """What a flag asks for, as the name of an axis."""
    limit = _limit(varied, 1.0)
    if limit is not None:
        return f"limit of {limit.what}"
    return "arrival rate" if varied.name == "rate" else varied.name.replace("_", " ")


def axis_title(varied: Varied) -> str:
    """Title of an axis of its values, which are in milliseconds where they are durations."""
    unit = {"s": " (ms)", "rps": " (requests/s)"}.get(varied.unit, "")
    return f"{axis_name(varied)}{unit or (' (%)' if _is_share(varied) else '')}"


def drawn_value(varied: Varied, value: float) -> float:
    """A value in the unit of its axis."""
    return 1e3 * value if varied.unit == "s" else 100.0 * value if _is_share(varied) else value


def asked_text(varied: Varied, value: float) -> str:
    """What was asked, in words: `P99 <= 20 ms`, `500 rps`, or the flag with its value."""
    limit, shown = _limit(varied, value), value_text(varied, value)
    if limit is not None:
        return f"{limit.what} <= {shown}"
    return shown if varied.name == "rate" else f"{varied.name.replace('_', ' ')} {shown}"


def _told_of_one(varied: Varied, value: float) -> str:
    """What was asked, as a sentence says it."""
    return "1 user" if (varied.name, value) == ("users", 1) else _flagged(varied, value_text(varied, value))


def _flagged(varied: Varied, shown: str) -> str:
    """One or several values with what they are: `P99 <= 20 ms`, `500 rps`, `100 users`, or the flag with its value."""
    limit = _limit(varied, 1.0)
    if limit is not None:
        return f"{limit.what} <= {shown}"
    if varied.name in ("rate", "users"):
        return shown if varied.name == "rate" else f"{shown} users"
    return f"--{varied.name.replace('_', '-')} {shown}"


def value_text(varied: Varied, value: float) -> str:
    """A value with its unit."""
    if varied.unit:
        return format_duration(value) if varied.unit == "s" else format_rate(value)
    return format_share(value) if _is_share(varied) else str(value)


def _is_share(varied: Varied) -> bool:
    """Whether the values are shares; counts are whole."""
    return not varied.unit and not varied.counts


def _limit(varied: Varied, value: float) -> Limit | None:
    """The limit that a flag sets; None of other flags."""
    if not varied.name.startswith("slo_"):
        return None
    measure, _, statistic = varied.name.removeprefix("slo_").rpartition("_")
    limited = Measure[(measure or "response").upper()]
    if statistic in QUANTILES:
        return Limit(measure=limited, quantile=QUANTILES[statistic], allowed=value)
    return Limit(measure=limited.mean, allowed=value)
