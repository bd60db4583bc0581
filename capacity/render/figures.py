"""Figures of commands: curves of a law, and a limited quantity against rate or replicas."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capacity.performance import Interval, Performance
from capacity.question.candidate import Candidate, Verdict
from capacity.queues.curves import Curve, chart_title, require_one_chart, y_range
from capacity.render.plot import PALETTE, Panels, Plot, draw_points, new_panels, new_plot
from capacity.traffic.scale import RATES
from capacity.units import format_quantile, quantile_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capacity.answer.sweep import SweepTable
    from capacity.question.grid import Row, RowForm, Value
    from capacity.question.objective import Limit
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
    from matplotlib.ticker import MaxNLocator

    plot.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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


def draw_sweep(table: "SweepTable", rows: "Sequence[Row]", what: str = "response") -> Plot:
    """The highest quantile of one duration against the arrival rate or the users, one line for each fleet. [ms]

    Args:
        what: response, wait, ttft, tpot or itl.
    """
    quantile = max(table.quantiles)
    names = [column.name for column in table.columns]
    key = f"{what}_{quantile_name(quantile)}"
    lines: dict[str, list[tuple[float, Interval]]] = {}
    for row in (dict(zip(names, one, strict=True)) for one in rows):
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


def _line_label(form: "RowForm", row: "Mapping[str, Value]") -> str:
    """A fleet of a sweep in a few words."""
    return f"{row['replicas']} x {row['profile']}, {form.label(row)}, {row['routing']}"


def _in_ms(interval: Interval) -> Interval:
    return Interval(value=1e3 * interval.value, low=1e3 * interval.low, high=1e3 * interval.high)
