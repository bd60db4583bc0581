"""Tables: answers for people, by Rich; text from outside is shown as it is, never as markup."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from capacity.performance import (
    Interval,
    Kind,
    Performance,
    Quantiles,
    format_interval,
    format_share_interval,
    format_span,
)
from capacity.question.objective import Measure
from capacity.question.plan import plan_words
from capacity.render.console import Words
from capacity.units import format_duration, format_quantile, format_rate, format_share

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capacity.answer.check import Gated
    from capacity.answer.sweep import SweepTable
    from capacity.profile.profile import ServiceProfile
    from capacity.question.caveat import Caveat
    from capacity.question.grid import Row, RowForm, Value
    from capacity.question.plan import Plan
    from capacity.question.scenario import AnyScenario
    from capacity.traffic.scale import Scale


def gate_tables(answer: "Gated") -> "Iterator[RenderableType]":
    """The verdict of a check on one line, then each finding, and notes."""
    yield Text(f"{answer.summary}.")
    found = ((one.verdict.value, one.name, one.message) for one in answer.findings)
    yield table(("<verdict", "<what", "<found"), found)
    yield from (Text(f"Note: {note}.") for note in answer.notes)


def sweep_table(common: "SweepTable", rows: "Sequence[Row]") -> Table:
    """A line for each row: the fleet, the load, the highest quantile, the outcome, and why numbers are missing.

    A profile and a routing that all rows share are in the title.
    """
    names = [column.name for column in common.columns]
    known = [dict(zip(names, row, strict=True)) for row in rows]
    alike = {name for name in ("profile", "routing") if len({row[name] for row in known}) == 1}
    shown = _sweep_columns(common)
    absent = {f"<{name}" for name in alike} | {head for head in _IF_ANY if not any(map(shown[head], known))}
    absent |= {head for head, name in common.form.settings.items() if _says_nothing(common.form, name, known)}
    heads = [head for head in shown if head not in absent]
    title = ", ".join(str(known[0][name]) for name in ("profile", "routing") if name in alike)
    return table(heads, ([shown[head](row) for head in heads] for row in known), title=title or None)


def _says_nothing(form: "RowForm", name: str, rows: "Sequence[Mapping[str, Value]]") -> bool:
    """Whether a setting needs no column: no fleet has it, or all have the same and the form leaves that out."""
    values = {row[name] for row in rows}
    return not any(values) or (form.hides_shared and len(values) == 1)


_IF_ANY = (
    "left",
    "rejected",
    "unanswered",
    "attempts",
    "mean replicas",
    "most",
    "<why",
)  # columns that are left out if all their cells are empty


def _sweep_columns(common: "SweepTable") -> "dict[str, Callable[[Mapping[str, Value]], str]]":
    """The cells of a row by the heads of their columns."""
    quantile, form = max(common.quantiles), common.form
    return {
        "<profile": lambda row: str(row["profile"]),
        **size_columns(common.scale),
        "replicas": lambda row: str(row["replicas"]),
        "left": lambda row: str(row.get("replicas_left", "")),
        **{head: partial(_shown_setting, name) for head, name in form.settings.items()},
        "<routing": lambda row: str(row["routing"]),
        "load": lambda row: "" if row["load"] is None else f"{row['load']:.3f}",
        **{
            f"~{name} {format_quantile(quantile)}" if name else format_quantile(quantile): partial(
                _shown_quantile, what, quantile
            )
            for name, what in form.shown.items()
        },
        "rejected": partial(_shown_losses, tries=False),
        "unanswered": partial(_shown_losses, tries=True),
        "attempts": partial(_shown_number, "attempts_mean"),
        "mean replicas": partial(_shown_number, "replicas_mean"),
        "most": partial(_shown_number, "replicas_most"),
        "<outcome": lambda row: str(row["outcome"]),
        "<why": no_numbers,
    }


def size_columns(scale: "Scale") -> "dict[str, Callable[[Mapping[str, Value]], str]]":
    """Heads and cells of a row's rate, with the multiple of its trace or day, or of its users."""
    size = {scale.head: lambda row: scale.shown(_number(row[scale.key]))}
    if (multiple := scale.multiple) is None:
        return size
    return {multiple.head: lambda row: f"{_number(row[multiple.key]):.3g} x", **size}


# Reasons of which the first words tell enough.
_FIRST_WORDS = ("unstable with retries", "sessions pile up")
# Share of saturation from which that is the reason for missing numbers, rather than too few requests.
_NEAR_SATURATION = 0.9


def no_numbers(row: "Mapping[str, Any]") -> str:
    """Why a row of a sweep has no numbers, in a few words; its reason has more."""
    from capacity.question.grid import Outcome  # only sweeps need what it imports

    load, outcome = row["load"], row["outcome"]
    if outcome == Outcome.ANSWERED:
        return ""
    if outcome == Outcome.UNSTABLE and row.get("replicas_left") == 0:
        return "nothing is left"
    if load is None or outcome == Outcome.PROFILE_RANGE:
        return "beyond the profile" if outcome == Outcome.PROFILE_RANGE else "too few requests"
    if words := next((one for one in _FIRST_WORDS if str(row.get("reason")).startswith(one)), ""):
        return words
    if outcome == Outcome.UNSTABLE or load > _NEAR_SATURATION:
        return f"at most {format_rate(row['arrival_rate_rps'] / load)}"
    return "too few requests"


def _shown_setting(name: str, row: "Mapping[str, Value]") -> str:
    value = row[name]
    return format_duration(_number(value)) if name.endswith("_s") else str(value)


def _shown_quantile(what: str, quantile: float, row: "Mapping[str, Value]") -> str:
    from capacity.answer.sweep import duration_column  # only sweeps need what it imports

    name = duration_column(what, quantile)
    interval = _shown_interval(*(row[f"{name}{end}_s"] for end in ("", "_low", "_high")))
    return interval or ("infinite" if row.get("loss_probability") else "")


def _shown_number(name: str, row: "Mapping[str, Value]") -> str:
    value = row.get(name)
    return "" if value is None else f"{_number(value):.4g}"


def _shown_losses(row: "Mapping[str, Value]", *, tries: bool) -> str:
    """Share of lost requests, of clients who try again or of those who do not."""
    losses = row.get("loss_probability")
    is_told = losses and tries is not (row.get("attempts_mean") is None)
    return format_share(_number(losses)) if is_told else ""


def _shown_interval(value: "Value", low: "Value", high: "Value") -> str:
    """A quantile with its interval, whose upper end may lie among the lost requests."""
    if value is None or low is None:
        return ""
    high = math.inf if high is None else high
    return format_interval(Interval(value=_number(value), low=_number(low), high=_number(high)))


def _number(value: "Value") -> float:
    assert isinstance(value, (int, float))  # noqa: S101  (as its column says)
    return float(value)


_NAMES = ("<routing",)
_VERDICTS = ("<verdict", "<outcome")
_STYLES = {"met": "green", "answered": "green", "in doubt": "yellow", "inconclusive": "yellow"}
_STYLES |= {"missed": "red", "unstable": "red"}
_INTERVAL_WIDTH, _WORDS_WIDTH = 10, 11  # of columns that share the remaining room
_INEXACT = (Kind.BOUND, Kind.APPROXIMATION)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, *, is_plain: bool = False
) -> Table:
    """A table; a column whose name begins with `<` is left-aligned, others right; with `~` it may wrap.

    Args:
        is_plain: whether no rule is below its head, and no empty line around it.
    """
    headed = any(column.strip("<") for column in columns)
    result = Table(
        title=title,
        box=SIMPLE_HEAD if headed and not is_plain else None,
        show_header=headed,
        title_justify="left",
        title_style="bold",
    )
    for number, column in enumerate(columns):
        is_left, may_wrap = column.startswith("<"), column.startswith("~")
        result.add_column(
            Text(column.lstrip("<~")),
            justify="left" if is_left else "right",
            # Names and numbers are never cut short; an interval breaks between its numbers.
            no_wrap=not may_wrap and (number == 0 or not is_left or column in _NAMES),
            min_width=_INTERVAL_WIDTH if may_wrap else _WORDS_WIDTH if column == "<verdict" else None,
        )
    told = len(columns) - (2 if columns[-1] == "<why" else 1)
    has_verdict = columns[told] in _VERDICTS
    for row in rows:
        styles = (_style(cell) if has_verdict and n == told else "" for n, cell in enumerate(row))
        result.add_row(*map(Words, row, styles))
    return result


def _style(verdict: str) -> str:
    """The colour of a verdict."""
    return next((style for word, style in _STYLES.items() if verdict.startswith(word)), "")


def caveat_lines(caveats: Iterable["Caveat"]) -> Iterator[Text]:
    """Caveats, one a line, the most important first."""
    from capacity.question.caveat import in_order

    for caveat in in_order(caveats):
        yield Text(f"Note: {caveat.message}.")


def notes_that_matter(caveats: Iterable["Caveat"], more: str, *, verbose: bool) -> Iterator[Text]:
    """The most important caveat, and where the others and `more` are found; if asked, all of them."""
    notes = list(caveat_lines(caveats))
    yield from notes if verbose else notes[:1]
    if verbose:
        return
    others = len(notes) - 1
    also = f", {others} more note{'s' if others > 1 else ''}" if others > 0 else ""
    yield Text(f"More: -v ({more}{also}).")


def document_table(document: Mapping[str, Any]) -> Table:
    """A small document as a table."""
    return table(("<", "<"), ((name, _shown(name, value)) for name, value in document.items()))


def profile_tables(profile: "ServiceProfile") -> Iterator[Table]:
    """Known facts of one profile, and their sources."""
    facts = {
        "model": profile.model,
        "device": profile.device,
        "precision": profile.precision,
        "runtime": profile.runtime,
        "price": None if profile.hourly_usd is None else f"{profile.hourly_usd:.4f} USD/h",
        **{f"source: {key}": value for key, value in profile.source.items()},
    }
    known = ((name, value) for name, value in facts.items() if value is not None)
    yield table(("<", "<"), known, title=profile.name)
    yield profile_table(profile)


def simulation_table(scenario: "AnyScenario", performance: Performance, *, verbose: bool = False) -> Table:
    """One plan's performance: the usual figures, or every figure."""
    from capacity.answer.sentences import replicas_text

    rows = performance_rows(performance) if verbose else short_rows(performance)
    return table(("<", "<"), [*plan_rows(scenario.plan, replicas_text(scenario)), *rows])


def short_rows(performance: Performance, quantiles: Collection[float] | None = None) -> list[tuple[str, str]]:
    """Load, losses and the durations, rejected requests counted as late; for some quantiles or all."""

    def shown(found: Quantiles) -> Quantiles:
        return {q: value for q, value in found.items() if quantiles is None or q in quantiles}

    rows = [] if performance.load is None else [("load", f"{performance.load:.3g}")]
    if performance.loss_probability:
        rows.append((performance.lost_word, format_share(performance.loss_probability)))
    rows.extend(_client_rows(performance))
    rows.extend(_controller_rows(performance))
    if quantiles is None and performance.response_mean_s is not None:
        rows.append(("response, mean", format_duration(performance.response_mean_s)))
    for measure in (*_OF_TOKENS, Measure.RESPONSE, Measure.SESSION):
        late = getattr(performance, measure.with_losses)
        name = f"{measure.short or 'response'}{f', {performance.lost_word} as late' if late else ''}"
        rows.extend(_quantile_rows(name, shown(late or getattr(performance, measure))))
    return [*rows, *_token_rows(performance)]


def _client_rows(performance: Performance) -> Iterator[tuple[str, str]]:
    """How often clients try, if they were simulated."""
    for name, what in (("attempts_mean", "attempts a request"), ("retried_share", "tried more than once")):
        value = getattr(performance, name)
        if value is not None:
            shown = performance.intervals.get(name, Interval.exact(value))
            is_share = name == "retried_share"
            yield what, format_share_interval(shown) if is_share else format_span("{:.4g}".format, shown)


def _controller_rows(performance: Performance) -> Iterator[tuple[str, str]]:
    """How many replicas an autoscaler asked for, and what they cost, if there was one."""
    for name, what in (("replicas_mean", "replicas, mean"), ("scalings", "changes of replicas")):
        if getattr(performance, name) is not None:
            yield what, format_span("{:.4g}".format, performance.intervals[name])
        if name == "replicas_mean" and performance.replicas_most is not None:
            yield "replicas, most", f"{performance.replicas_most:.0f}"
    if performance.hourly_usd is not None:
        yield "cost, mean", f"{format_span('{:.3f}'.format, performance.intervals['hourly_usd'])} USD/h"


# Durations that requests of a language model have besides the response.
_OF_TOKENS = (Measure.TTFT, Measure.TPOT, Measure.ITL)


def _token_rows(performance: Performance, *, verbose: bool = False) -> Iterator[tuple[str, str]]:
    """What only a language model has: tokens, and how full its engines are."""
    if performance.goodput is not None:
        yield "goodput", f"{100.0 * performance.goodput:.4g} %"
    if performance.output_tokens_per_s is not None:
        yield "output tokens", f"{performance.output_tokens_per_s:.0f} a second"
    if (share := performance.hit_share) is not None:
        yield "prefix hits", format_share_interval(share.interval)
    if performance.sessions_live_mean is not None:
        yield "sessions live", f"{performance.sessions_live_mean:.1f}"
    if performance.running_mean is not None:
        full = 100.0 * (performance.kv_utilization or 0.0)
        yield "running, KV cache", f"{performance.running_mean:.1f}, {full:.0f} % full"
    if performance.preemption_rate or (verbose and performance.preemption_rate is not None):
        yield "preemptions", f"{performance.preemption_rate:.3g} a request"


def performance_table(
    plan: "Plan | None", performance: Performance, particular: Mapping[str, Any] | None = None
) -> Table:
    """One plan's or queue's performance, after figures of its own."""
    rows = [] if plan is None else plan_rows(plan)
    rows += [(name, _shown(name, value)) for name, value in (particular or {}).items()]
    return table(("<", "<"), [*rows, *performance_rows(performance)])


def profiles_table(profiles: Iterable["ServiceProfile"]) -> Table:
    """The profiles in a list, with the shape of their throughput up to the largest batch size."""
    columns = ("<name", "<device", "<throughput", "knee", "rps", "USD/h")
    rows = (
        (
            profile.name,
            profile.device or "",
            sparkline([profile.throughput_rps(size) for size in profile.batch_sizes]),
            str(profile.knee_batch_size),
            format_rate(profile.throughput_rps(profile.knee_batch_size)).removesuffix(" rps"),
            "" if profile.hourly_usd is None else f"{profile.hourly_usd:.3f}",
        )
        for profile in profiles
    )
    return table(columns, rows)


def sparkline(values: Sequence[float]) -> str:
    """One block for each value, its height in proportion to the largest.

    >>> sparkline([1.0, 4.0, 8.0])
    '▁▄█'
    """
    blocks = "▁▂▃▄▅▆▇█"
    top = max(values)
    return "".join(blocks[max(0, round(len(blocks) * value / top) - 1)] for value in values)


def profile_table(profile: "ServiceProfile") -> Table:
    """One profile, batch size by batch size; derived values are marked by ~."""
    columns = ("batch", "mean", "P50", "P99", "rps", "<")
    rows = (
        (
            str(size),
            format_duration(profile.service_mean_s(size)),
            _percentile(profile, size, 0.5),
            _percentile(profile, size, 0.99),
            f"{profile.throughput_rps(size):.4g}",
            "knee" if size == profile.knee_batch_size else "",
        )
        for size in profile.batch_sizes
    )
    return table(columns, rows)


def _percentile(profile: "ServiceProfile", batch_size: int, probability: float) -> str:
    timing = profile.timings[profile.batch_sizes.index(batch_size)]
    derived = "" if timing.samples_s or probability in timing.percentiles_s else "~"
    return derived + format_duration(profile.law(batch_size).quantile_s(probability))


def performance_rows(performance: Performance) -> list[tuple[str, str]]:
    """Names and values of a performance, in words."""
    numbers = {
        "load": performance.load,
        "utilization": performance.utilization,
        "offered load [erlang]": performance.offered_load,
        "mean batch size": performance.batch_size_mean,
        "P(wait)": performance.wait_probability,
        "P(loss)": performance.loss_probability or None,  # a queue without a limit loses nothing
        "P(abandon)": performance.abandon_probability,
        "waiting, mean": performance.queue_length_mean,
        "in system, mean": performance.in_system_mean,
    }
    durations = {"wait, mean": performance.wait_mean_s}
    durations |= {f"{one.short}, mean": getattr(performance, one.mean) for one in _OF_TOKENS}
    durations |= {"response, mean": performance.response_mean_s}
    rows = [] if performance.kind not in _INEXACT else [("kind", str(performance.kind))]
    rows.extend((name, f"{value:.4g}") for name, value in numbers.items() if value is not None)
    rows.extend(_client_rows(performance))
    rows.extend(_controller_rows(performance))
    if performance.throughput_rps is not None:
        rows.append(("throughput", format_rate(performance.throughput_rps)))
    rows.extend((name, format_duration(x)) for name, x in durations.items() if x is not None)
    rows.extend(_quantile_rows("wait", performance.wait_quantiles_s))
    for measure in (*_OF_TOKENS, Measure.RESPONSE):
        name, late = measure.short or "response", getattr(performance, measure.with_losses)
        served = f"{name} of served requests" if late else name
        rows.extend(_quantile_rows(served, getattr(performance, measure)))
        rows.extend(_quantile_rows(f"{name}, {performance.lost_word} as late", late))
    rows.extend(_token_rows(performance, verbose=True))
    rows.extend(
        (f"error of {name}, at most", f"{100.0 * error:.3g} %" if error < math.inf else "not known")
        for name, error in performance.relative_error_max.items()
    )
    return rows


def _quantile_rows(name: str, quantiles: Quantiles) -> list[tuple[str, str]]:
    return [(f"{name}, {format_quantile(q)}", format_interval(value)) for q, value in quantiles.items()]


def plan_rows(plan: "Plan", replicas: str | None = None) -> list[tuple[str, str]]:
    """Names and values of a plan, in words.

    Args:
        replicas: what is said of their number; None for the number alone.
    """
    return list((plan_words(plan) | ({} if replicas is None else {"replicas": replicas})).items())


def _shown(name: str, value: Any) -> str:
    """A value in the unit at the end of its name."""
    if isinstance(value, Mapping):
        return ", ".join(_shown_entry(name, key, x) for key, x in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    if name.endswith("_s"):
        return format_duration(value)
    if name.endswith("_rps"):
        return format_rate(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown_entry(name: str, key: str, value: Any) -> str:
    """One of several values: a quantile, an interval by name, or an error."""
    if isinstance(value, Mapping):
        return f"{key} {_shown(key, value['low'])} to {_shown(key, value['high'])}"
    if name == "relative_error_max":
        return f"{key} {100.0 * value:.3g} %"
    return f"{format_quantile(float(key))} {format_duration(value)}"
