"""Trace report: a description of recorded traffic as a document and as tables, and the error of assuming Poisson."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, picked, plain
from capacity.performance import Interval
from capacity.question.caveat import Caveat
from capacity.question.comparison import PoissonError
from capacity.render.tables import caveat_lines, table
from capacity.traffic.description import LEVEL, PoissonTest, TraceDescription
from capacity.traffic.lengths import LengthRows
from capacity.units import format_duration, format_quantile, format_rate


def description_document(
    about: TraceDescription, error: PoissonError | None, caveats: list[Caveat], *, seed: int
) -> Document:
    """Document of `capacity workload`; without a plan it has no `poisson_error`."""
    burstiness = about.burstiness
    document: Document = {
        "trace": about.trace.name,
        "arrivals": burstiness.events,
        "duration_s": about.trace.duration_s,
        "arrival_rate_rps": burstiness.rate_rps,
        **picked(burstiness, "gap_cv", "gap_correlation", "counts"),
        "is_poisson": about.is_poisson,
        "level": LEVEL,
        "tests": [plain(test) | {"rejects": test.rejects} for test in about.tests],
        "tests_left_out": list(about.left_out),
        "remarks": list(about.trace.remarks),
    }
    if error is not None:
        document["poisson_error"] = _error_document(error)
        document |= {"caveats": plain(caveats), "seed": seed, "confidence": error.confidence}
    return document


def lengths_document(lengths: LengthRows) -> Document:
    """Document of the requests' tokens, for a language model."""
    given, got = lengths.counts
    return {"input_tokens": plain(given), "output_tokens": plain(got), "correlation": lengths.correlation}


def lengths_table(lengths: LengthRows) -> RenderableType:
    """Table of the requests' tokens."""
    together = "" if lengths.correlation is None else f", correlated by {lengths.correlation:.2g}"
    rows = [
        (name, f"{one.mean:.4g}", f"{one.cv:.3g}", str(one.p50), str(one.p90), str(one.p99), str(one.largest))
        for name, one in zip(("input", "output"), lengths.counts, strict=True)
    ]
    return table(("<tokens", "mean", "cv", "P50", "P90", "P99", "largest"), rows, title=f"Lengths{together}")


def description_tables(
    about: TraceDescription, error: PoissonError | None, caveats: list[Caveat]
) -> Iterator[RenderableType]:
    """Tables of `capacity workload`."""
    burstiness = about.burstiness
    correlation = burstiness.gap_correlation
    rows = [
        ("trace", about.trace.name),
        ("arrivals", str(burstiness.events)),
        ("duration", format_duration(about.trace.duration_s)),
        ("rate", format_rate(burstiness.rate_rps)),
        ("cv of gaps", f"{burstiness.gap_cv:.3g}"),
        *([] if correlation is None else [("correlation of a gap with the next", f"{correlation:.3g}")]),
    ]
    yield table(("<", "<"), rows)
    yield table(
        ("window", "windows", "dispersion", "peak to mean"),
        (
            (format_duration(x.window_s), str(x.windows), f"{x.dispersion:.3g}", f"{x.peak_to_mean:.3g}")
            for x in burstiness.counts
        ),
        title="Counts (the dispersion of Poisson is 1)",
    )
    yield table(
        ("<test of Poisson", "statistic", "p", "p, adjusted", "<"), (_test_row(test) for test in about.tests)
    )
    yield Text(f"{about.verdict[0].upper()}{about.verdict[1:]}.")
    if error is not None:
        yield from _error_tables(error)
    notes = [*about.trace.remarks, *about.left_out]
    yield from (Text(f"Note: {note}.") for note in notes)
    yield from caveat_lines(caveats)


def _test_row(test: PoissonTest) -> tuple[str, ...]:
    return (
        test.name,
        f"{test.statistic:.3g}",
        _chance(test.p_value),
        _chance(test.p_value_adjusted),
        "rejects" if test.rejects else "",
    )


def _chance(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-6 else "< 1e-06"


def _error_document(error: PoissonError) -> Document:
    return {
        **picked(error, "plan", "arrival_rate_rps", "quantile"),
        "response_by_trace_s": plain(error.by_trace),
        "response_by_poisson_s": plain(error.by_poisson),
        "relative_error": plain(error.relative_error),
    }


def _error_tables(error: PoissonError) -> Iterator[RenderableType]:
    plan, off = error.plan, error.relative_error
    quantile = format_quantile(error.quantile)
    rows = (
        ("by the trace", _seconds(error.by_trace)),
        ("by Poisson arrivals", _seconds(error.by_poisson)),
        ("error of Poisson", f"{_percent(off.value)} ({_percent(off.low)} to {_percent(off.high)})"),
    )
    batch = plan.size_text
    rate = format_rate(error.arrival_rate_rps)
    yield Text(f"{quantile} of {plan.replicas} x {plan.profile}, {batch}, at {rate}:")
    yield table(("<", "<"), rows)
    if off.high < 0.0:
        words = f"Assuming Poisson arrivals is too optimistic: their {quantile} is below the trace's."
    elif off.low > 0.0:
        words = f"Assuming Poisson arrivals is too pessimistic: their {quantile} is above the trace's."
    else:
        words = f"The intervals are too wide to tell the {quantile} of Poisson arrivals from the trace's."
    yield Text(words)
    yield Text(
        f"In brackets: intervals that all hold together with {100.0 * error.confidence:g} % confidence."
    )


def _seconds(interval: Interval) -> str:
    low, high = format_duration(interval.low), format_duration(interval.high)
    return f"{format_duration(interval.value)} ({low} to {high})"


def _percent(share: float) -> str:
    return f"{100.0 * share:+.3g} %"
