"""Figures of commands: curves of a law, and a limited quantity against rate or replicas."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from capacity.errors import InputError
from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Verdict
from capacity.queues.curves import Curve, chart_title, require_one_chart, y_range
from capacity.render.frontier import axis_name, axis_title, drawn_value, value_text
from capacity.render.plot import PALETTE, Panels, Plot, count_by_whole, draw_points, new_panels, new_plot
from capacity.traffic.scale import RATES
from capacity.units import format_duration, format_quantile, quantile_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capacity.answer.sweep import SweepTable
    from capacity.question.grid import Row, RowForm, Value
    from capacity.question.objective import Limit
    from capacity.render.frontier import Frontier, Spot
    from capacity.search.max_rate import Rates
    from capacity.search.recommendation import Recommendation

# Multiple of the limit beyond which a point only says that it is far too high.
TOP = 2.0
NAMES = {Verdict.MET: "met", Verdict.MISSED: "missed", Verdict.INCONCLUSIVE: "in doubt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One plan at one arrival rate, or the best plan tried at one number of replicas.

    Attributes:
        x: arrival rate in requests per second, users, or replicas.
        found: the limited value with its interval; durations in milliseconds.
        size: the plan's largest batch, or for a language model its most sequences. [requests]
    """

    x: float
    found: Interval
    verdict: Verdict
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveCurve:
    """Points of one line, rising in x; durations in milliseconds, as people read them.

    Attributes:
        limit: the limit.
        chosen: replicas of the plan; None if the axis is the arrival rate.
        beyond: replicas that are unstable or refused, or whose value lies above twice the limit.
        size_name: what the sizes at the ticks are, by its first letter.
        size_title: title of the axis of rates, or of users.
    """

    title: str
    limit: "Limit"
    points: tuple[Point, ...]
    chosen: int | None = None
    beyond: tuple[int, ...] = ()
    size_name: str = "B: largest batch"
    size_title: str = RATES.title

    @property
    def x_title(self) -> str:
        """Title of the x axis, with its unit if it has one."""
        return self.size_title if self.chosen is None else f"replicas ({self.size_name})"

    @property
    def y_title(self) -> str:
        """Title of the y axis, with its unit."""
        return self.limit.what + (" [ms]" if self.limit.measure.is_duration else "")

    @property
    def allowed(self) -> float:
        """The allowed value, in the unit of the y axis."""
        return _scale(self.limit) * self.limit.allowed

    @property
    def top(self) -> float:
        """Upper end of the y axis, in its unit."""
        return TOP * self.allowed

    @property
    def sizes(self) -> dict[int, int]:
        """Largest batch, or most sequences, by replicas. [requests]"""
        return {round(point.x): point.size for point in self.points}

    @property
    def x_range(self) -> tuple[float, float]:
        """Ends of the x axis: from zero load, or around the fleets."""
        if self.chosen is None:
            return 0.0, max((point.x for point in self.points), default=1.0)
        fleets = [*self.sizes, *self.beyond]
        return min(fleets) - 0.5, max(fleets) + 0.5


def rate_curve(rates: "Rates") -> ObjectiveCurve:
    """The quantity that limits the upper end, against the rate or the users; sizes far too high are left out."""
    limit, plan = rates.limit, rates.scenario.whole
    points = [_point(point.size, point.candidate, limit) for point in rates.points]
    title = f"{limit.what} of {plan.replicas} x {plan.profile}, {plan.size_text}"
    return ObjectiveCurve(
        title=title,
        limit=limit,
        points=tuple(point for point in points if point is not None),
        size_title=rates.scale.title,
    )


def plan_curve(recommendation: "Recommendation") -> ObjectiveCurve | None:
    """The quantity closest to its limit, over the fleets that the search judged; None without a plan."""
    plan, performance = recommendation.plan, recommendation.performance
    if plan is None or performance is None:
        return None
    chosen = Candidate(plan=plan, verdict=Verdict.MET, performance=performance)
    limit = recommendation.objective.binding(performance)
    return replicas_curve(chosen, limit, recommendation.considered)


def replicas_curve(
    chosen: "Candidate[Any]", limit: "Limit", candidates: "Iterable[Candidate[Any]]"
) -> ObjectiveCurve:
    """The limited quantity over fleets of one profile and routing, each at the best size that was tried."""
    plan = chosen.plan
    fleets: dict[int, list[Candidate[Any]]] = {}
    for one in candidates:
        if (one.plan.profile, one.plan.routing) == (plan.profile, plan.routing):
            fleets.setdefault(one.plan.replicas, []).append(one)
    fleets[plan.replicas] = [chosen]
    best = {n: _point(n, _best(alike, limit), limit) for n, alike in sorted(fleets.items())}
    return ObjectiveCurve(
        title=f"{limit.what} of {plan.profile} by replicas, the best {plan.names.tried}",
        limit=limit,
        size_name=plan.names.at_once,
        chosen=plan.replicas,
        points=tuple(point for point in best.values() if point is not None),
        beyond=tuple(replicas for replicas, point in best.items() if point is None),
    )


def _scale(limit: "Limit") -> float:
    return 1e3 if limit.measure.is_duration else 1.0


def _found(candidate: "Candidate[Any]", limit: "Limit") -> Interval | None:
    return None if candidate.performance is None else limit.found(candidate.performance)


def _best(candidates: "list[Candidate[Any]]", limit: "Limit") -> "Candidate[Any]":
    """The candidate with the lowest value, among accepted ones if there are any."""

    def rank(one: "Candidate[Any]") -> tuple[bool, bool, float]:
        found = _found(one, limit)
        return found is None, not one.accepted, 0.0 if found is None else found.value

    return min(candidates, key=rank)


def _point(x: float, candidate: "Candidate[Any]", limit: "Limit") -> Point | None:
    """A candidate as a point, its interval cut at the axis; None if it lies outside."""
    found, top, scale = _found(candidate, limit), TOP * limit.allowed, _scale(limit)
    if found is None or found.value > top:
        return None
    high = max(found.value, min(top, found.high))
    drawn = Interval(value=scale * found.value, low=scale * found.low, high=scale * high)
    return Point(x=x, found=drawn, verdict=candidate.verdict, size=candidate.plan.at_once)


FORMS = {
    Verdict.MET: {"color": PALETTE[0], "marker": "o"},
    Verdict.MISSED: {"color": PALETTE[1], "marker": "x"},
    Verdict.INCONCLUSIVE: {"color": "#777777", "marker": "s"},
}
FLEETS_MAX = 12  # more would leave no room for their batches


def draw_curves(lines: "Sequence[Curve]") -> Plot:
    """The curves in one pair of axes, logarithmic in y if a tail needs it.

    Raises:
        InputError: no curve, more than 24, or curves whose axes differ.
    """
    first, (low, top) = require_one_chart(lines), y_range(lines)
    x_title, y_title = first.axis.axis_title, first.quantity.axis_title
    plot = new_plot(x_title=x_title, y_title=y_title, title=chart_title(lines), y_log=low > 0.0)
    for number, line in enumerate(lines):
        plot.theory(line.x, line.y, line.label, number=number, dash=number // len(PALETTE))
    plot.axes.set_xlim(0.0, max(line.x[-1] for line in lines))
    plot.axes.set_ylim(low, (1.1 if low > 0.0 else 1.04) * top)
    return plot


def draw_objective(curve: ObjectiveCurve) -> Plot:
    """A limited quantity: colours and markers show met, missed or undecided, a dashed line the limit."""
    plot = new_plot(x_title=curve.x_title, y_title=curve.y_title, title=curve.title)
    axes, points = plot.axes, curve.points
    values = [point.found.value for point in points]
    axes.plot([point.x for point in points], values, color="#bbbbbb", linewidth=1.0)
    for verdict, form in FORMS.items():
        some = [point for point in points if point.verdict is verdict]
        if some:
            x, found = [point.x for point in some], [point.found for point in some]
            draw_points(axes, x, found, label=NAMES[verdict], linestyle="none", markersize=4.0, **form)
    plot.limit(curve.allowed, f"limit: {curve.limit.allowed_text}")
    left, right = curve.x_range
    axes.set(xlim=(left, 1.02 * right), ylim=(0.0, 1.04 * curve.top))
    if curve.chosen is not None:
        chosen = [point for point in points if point.x == curve.chosen]
        at = [point.x for point in chosen], [point.found.value for point in chosen]
        axes.plot(
            *at, "o", markersize=10.0, color=PALETTE[2], fillstyle="none", label=f"chosen: {curve.chosen}"
        )
        _name_fleets(plot, curve)
    if curve.beyond:
        tops = [curve.top] * len(curve.beyond)
        axes.plot(curve.beyond, tops, "^", color="#777777", label="unstable, refused or beyond the axis")
    return plot


def _name_fleets(plot: Plot, curve: ObjectiveCurve) -> None:
    """Ticks at whole replicas, with the largest batch of each if there is room."""
    count_by_whole(plot.axes.xaxis)
    names = {n: f"{n}" for n in curve.beyond}
    names |= {n: f"{n}\n{curve.size_name[0]} {size}" for n, size in curve.sizes.items()}
    if len(names) <= FLEETS_MAX:
        plot.axes.set_xticks(list(names), list(names.values()))


_OF_TOKENS = ("ttft", "tpot", "itl")
TOKEN_TITLES = {
    "ttft": "first token",
    "tpot": "per output token",
    "itl": "between tokens",
    "response": "response",
}


def draw_quantiles(performances: "Sequence[Performance]", names: "Sequence[str]") -> "Plot | Panels":
    """Quantiles with their intervals, one series for each name; a panel for each duration of a language model. [ms]"""
    if not any(one.ttft_quantiles_s for one in performances):
        plot = new_plot(x_title="quantile (%)", y_title="response (ms)", title="Response time")
        _add_quantiles(plot, "response", performances, names)
        return plot
    whats = ("ttft", "itl", "response")
    panels = new_panels(
        [TOKEN_TITLES[what] for what in whats],
        x_title="quantile (%)",
        y_title=[f"{what.upper() if what != 'response' else what} (ms)" for what in whats],
        title="Latency",
    )
    for what, plot in zip(whats, panels.plots, strict=True):
        _add_quantiles(plot, what, performances, names)
    return panels


def _add_quantiles(
    plot: Plot, what: str, performances: "Sequence[Performance]", names: "Sequence[str]"
) -> None:
    for number, (performance, name) in enumerate(zip(performances, names, strict=True)):
        known = getattr(performance, f"{what}_quantiles_s")
        found = [_in_ms(one) for one in known.values()]
        plot.simulated([100.0 * q for q in known], found, name, number=number)


def draw_sweep(
    table: "SweepTable", rows: "Sequence[Row]", what: str = "response", limit_s: float | None = None
) -> Plot:
    """The highest quantile of one duration. [ms]

    Where replicas and one setting vary and nothing else does it is a map of both, else it is drawn against the arrival
    rate or the users, with a line for each fleet.

    Args:
        what: response, wait, ttft, tpot or itl.
        limit_s: limit of it, which a map outlines and a line marks. [s]
    """
    names = [column.name for column in table.columns]
    known = [dict(zip(names, one, strict=True)) for one in rows]
    setting = _mapped_setting(table, known)
    if setting is not None:
        return _draw_map(table, known, setting, what, limit_s)
    plot = _draw_lines(table, known, what)
    if limit_s is not None:
        plot.limit(1e3 * limit_s, f"limit: {format_duration(limit_s)}")
    return plot


def _draw_lines(table: "SweepTable", rows: "Sequence[Mapping[str, Value]]", what: str) -> Plot:
    """A line for each fleet."""
    quantile = max(table.quantiles)
    key = f"{what}_{quantile_name(quantile)}"
    lines: dict[str, list[tuple[float, Interval]]] = {}
    for row in rows:
        if isinstance(value := row[f"{key}_s"], float):
            low, high = (float(row[f"{key}_{end}_s"] or value) for end in ("low", "high"))
            found = Interval(value=1e3 * value, low=1e3 * low, high=1e3 * high)
            size = float(row[table.scale.key] or 0.0)
            lines.setdefault(_line_label(table.form, row), []).append((size, found))
    shown = what.upper() if what in _OF_TOKENS else what
    title = f"{format_quantile(quantile)} of the {shown}"
    x_title = "users" if table.scale.step else "arrival rate (requests/s)"
    plot = new_plot(x_title=x_title, y_title=f"{shown} (ms)", title=title)
    for number, (label, points) in enumerate(lines.items()):
        x, ends = [x for x, _ in points], [one for _, one in points]
        plot.axes.plot(x, [one.value for one in ends], color=PALETTE[number % len(PALETTE)], linewidth=1.0)
        plot.simulated(x, ends, label, number=number)
    return plot


def _mapped_setting(table: "SweepTable", rows: "Sequence[Mapping[str, Value]]") -> tuple[str, str] | None:
    """Head and column of the setting that spans a map with the replicas; None if there is no such map."""
    several = {name for row in rows for name, value in row.items() if value != rows[0][name]}
    asked = {*table.form.settings.values(), "profile", "routing", table.scale.key, "replicas"} & several
    counts = [one for one in table.form.settings.items() if asked == {"replicas", one[1]}]
    return next((one for one in counts if not one[1].endswith("_s")), None)


def _draw_map(
    table: "SweepTable",
    rows: "Sequence[Mapping[str, Value]]",
    setting: tuple[str, str],
    what: str,
    limit_s: float | None,
) -> Plot:
    """A cell for each fleet, by its replicas and a setting; those that keep a limit are outlined.

    A lost request is late. A fleet without a number has a dash, and the legend says why.
    """
    head, column = setting
    quantile = format_quantile(max(table.quantiles))
    shown = what.upper() if what in _OF_TOKENS else what
    across, up = (sorted({_count(row[name]) for row in rows}) for name in (column, "replicas"))
    cells = {(_count(row["replicas"]), _count(row[column])): row for row in rows}
    ends = {place: _seen_ms(row, what, max(table.quantiles)) for place, row in cells.items()}
    kept = None if limit_s is None else [[ends[n, size][1] <= 1e3 * limit_s for size in across] for n in up]
    at = table.scale.shown(float(rows[0][table.scale.key] or 0.0))
    within = "" if limit_s is None else f"within {format_duration(limit_s)}"
    width, height = _room(across, up)
    plot = new_plot(
        width=width,
        height=height,
        x_title=f"{head}, at most",
        y_title="replicas",
        title=f"{quantile} of the {shown} at {at}{' users' if table.scale.step else ''}"
        + (f", and what stays {within}" if within else ""),
    )
    values = [[ends[n, size][0] for size in across] for n in up]
    bare = [row for place, row in cells.items() if math.isnan(ends[place][0])]
    why = dict.fromkeys(_OUTCOMES.get(str(row["outcome"]), "too many are lost") for row in bare)
    plot.heat_map(across, up, values, accepted=kept, unit="ms", outlined=within, missing=", ".join(why))
    return plot


def _room(across: "Sequence[object]", up: "Sequence[object]") -> tuple[float, float]:
    """Width and height of a map in which each cell has room for its number, as far as a screen goes. [inches]"""
    return min(24.0, max(7.5, 1.6 + 0.5 * len(across))), min(14.0, max(4.3, 0.8 + 0.3 * len(up)))


_OUTCOMES = {
    "unstable": "unstable",
    "profile_range": "beyond the profile",
    "inconclusive": "too few requests",
}


def _count(value: "Value") -> int:
    assert isinstance(value, int)  # noqa: S101  (as its column says)
    return value


def _seen_ms(row: "Mapping[str, Value]", what: str, quantile: float) -> tuple[float, float]:
    """A quantile and its upper end, with lost requests as late; not a number and infinite if it has none. [ms]"""
    key = f"{what}_{quantile_name(quantile)}"
    late = f"{key}_with_losses"
    key = late if row.get("loss_probability") and f"{late}_s" in row else key
    value, high = row[f"{key}_s"], row[f"{key}_high_s"]
    return math.nan if value is None else 1e3 * float(value), math.inf if high is None else 1e3 * float(high)


def draw_costs(frontier: "Frontier") -> Plot:
    """The cost of the fleet against what was asked, as steps: between two points it is the higher of the two.

    If two flags vary there is a line for each value of the one with fewer; if these are too many to be told apart, it
    is a map of both. Numbers below the points are replicas, where there is room. A point without a plan is at the top.

    Raises:
        InputError: no point has a plan.
    """
    planned = frontier.planned
    if not planned:
        raise InputError("no point has a plan: there is nothing to draw")
    if len(frontier.lines) > len(PALETTE):
        return _draw_cost_map(frontier)
    axis, is_numbered = frontier.axis, frontier.is_priced and len(planned) <= FLEETS_MAX
    values = [drawn_value(axis, value) for value in axis.values]
    plot = new_plot(
        x_title=axis_title(axis),
        y_title=("cost (USD/h)" if frontier.is_priced else "replicas")
        + ("; numbers: replicas" if is_numbered else ""),
        title=f"Cost of the cheapest fleet by {axis_name(axis)}",
        x_log=values[-1] > _LOG_FROM * values[0] > 0.0,
    )
    for counted, ticks in ((not frontier.is_priced, plot.axes.yaxis), (axis.counts, plot.axes.xaxis)):
        if counted:
            count_by_whole(ticks)
    for number, (label, points) in enumerate(frontier.lines.items()):
        _add_costs(plot, points, label, number, is_numbered=is_numbered)
    top = 1.12 * max(one.cost or 0.0 for one in planned)
    plot.axes.set_ylim(0.0, 1.04 * top)
    bare = [(x, one) for points in frontier.lines.values() for x, one in points if one.plan is None]
    for verdict, words in ((Verdict.MISSED, "no plan"), (Verdict.INCONCLUSIVE, "no plan: in doubt")):
        at = [x for x, one in bare if one.verdict is verdict]
        if at:
            form: dict[str, Any] = {"linestyle": "none", "markersize": 6.0, **FORMS[verdict]}
            plot.axes.plot(at, [top] * len(at), label=words, **form)
    return plot


def _draw_cost_map(frontier: "Frontier") -> Plot:
    """A cell with the cost for each pair of values; a dash where there is no plan."""
    axis, lines = frontier.axis, frontier.lines
    (other,) = (one for one in frontier.varied if one is not axis)
    columns, rows = ([value_text(one, value) for value in one.values] for one in (axis, other))
    width, height = _room(columns, rows)
    plot = new_plot(
        width=width,
        height=height,
        x_title=axis_name(axis),
        y_title=axis_name(other),
        title=f"Cost of the cheapest fleet by {axis_name(axis)} and {axis_name(other)}",
    )
    costs = [[math.nan if one.cost is None else one.cost for _, one in points] for points in lines.values()]
    plot.heat_map(columns, rows, costs, unit="USD/h" if frontier.is_priced else "replicas", missing="no plan")
    return plot


_LOG_FROM = 20.0  # values that lie this far apart are drawn on a logarithmic axis


def _add_costs(
    plot: Plot, points: "Sequence[tuple[float, Spot]]", label: str, number: int, *, is_numbered: bool
) -> None:
    """One line of steps; between two points the higher cost, as the more expensive fleet is known to be enough."""
    color = PALETTE[number % len(PALETTE)]
    for (left, one), (right, other) in pairwise(points):
        if one.cost is not None and other.cost is not None:
            top = max(one.cost, other.cost)
            steps = [one.cost, top, top, other.cost]
            plot.axes.plot([left, left, right, right], steps, color=color, linewidth=1.4)
    known = [(x, one.cost, one.plan) for x, one in points if one.plan is not None and one.cost is not None]
    at = [x for x, _, _ in known], [cost for _, cost, _ in known]
    plot.axes.plot(*at, "o", color=color, markersize=4.5, label=label or None)
    form: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "top", "color": color}
    for x, cost, plan in known if is_numbered else ():
        plot.axes.annotate(str(plan.replicas), (x, cost), (0.0, -5.0), **form)


def _line_label(form: "RowForm", row: "Mapping[str, Value]") -> str:
    """A fleet of a sweep in a few words."""
    return f"{row['replicas']} x {row['profile']}, {form.label(row)}, {row['routing']}"


def _in_ms(interval: Interval) -> Interval:
    return Interval(value=1e3 * interval.value, low=1e3 * interval.low, high=1e3 * interval.high)
