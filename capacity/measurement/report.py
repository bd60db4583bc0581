"""Report: a measurement as JSON and as tables."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from capacity.answer.documents import SCHEMA_VERSION, Document, plain
from capacity.measurement.findings import Measurement, SizeFinding
from capacity.measurement.overhead import Overhead
from capacity.performance import Interval, format_interval
from capacity.profile.formats import profile_to_document
from capacity.profile.profile import ServiceProfile
from capacity.units import format_duration, format_percent

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("batch", "~mean", "P50", "P99", "rps", "samples", "stalls", "~drift")
_PERCENTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


def measurement_document(
    measurement: Measurement, profile: ServiceProfile, *, seed: int, confidence: float
) -> Document:
    """Document of `capacity profile`; unknown figures are absent."""
    work = measurement.work
    return _known(
        batches=[_size_document(one, profile) for one in measurement.findings],
        request_overhead=measurement.overhead and _known(**asdict(measurement.overhead)),
        request_work=work and {"request_s": work.request_s, **asdict(work)},
        spells=measurement.spells and asdict(measurement.spells),
        wake_s=plain(measurement.wake),
        work_beside=measurement.beside and asdict(measurement.beside),
        caveats=plain(measurement.caveats),
        complete=measurement.stop is None,
        profile={"schema_version": SCHEMA_VERSION, **profile_to_document(profile)},
        seed=seed,
        confidence=confidence,
    )


def _size_document(one: SizeFinding, profile: ServiceProfile) -> Document:
    return _known(
        batch_size=one.batch_size,
        batches=one.count,
        mean_s=plain(one.mean) if one.mean else {"value": one.timing.law().mean_s},
        **{name: _percentile_s(one, q) for name, q in _PERCENTILES.items()},
        throughput_rps=profile.throughput_rps(one.batch_size),
        drift=plain(one.drift),
        stalls=one.stalls and _known(**asdict(one.stalls)),
        percentile_error=one.bucket_error,
    )


def _known(**values: object) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _percentile_s(one: SizeFinding, quantile: float) -> float | None:
    """A percentile; None if neither samples nor buckets give it. [s]"""
    timing = one.timing
    return timing.law().quantile_s(quantile) if timing.samples_s else timing.percentiles_s.get(quantile)


def measurement_tables(measurement: Measurement, profile: ServiceProfile) -> Iterator["RenderableType"]:
    """The findings as tables."""
    from capacity.render.tables import caveat_lines, table

    yield table(_COLUMNS, (_row(one, profile) for one in measurement.findings), title=profile.name)
    yield table(("<", "<"), _rest(measurement, profile))
    yield from caveat_lines(measurement.caveats)


def _row(one: SizeFinding, profile: ServiceProfile) -> tuple[str, ...]:
    percentiles = (_percentile_s(one, q) for q in (0.5, 0.99))
    return (
        str(one.batch_size),
        format_interval(one.mean or Interval.exact(one.timing.law().mean_s)),
        *("-" if found_s is None else format_duration(found_s) for found_s in percentiles),
        f"{profile.throughput_rps(one.batch_size):.4g}",
        str(one.count),
        "-" if one.stalls is None else str(one.stalls.count),
        "-"
        if one.drift is None
        else f"{100.0 * one.drift.value:+.1f} % ({100.0 * one.drift.low:+.1f} to {100.0 * one.drift.high:+.1f} %)",
    )


def _rest(measurement: Measurement, profile: ServiceProfile) -> Iterator[tuple[str, str]]:
    yield "knee", f"batch size {profile.knee_batch_size}"
    work, spells, longer = measurement.work, measurement.spells, measurement.wake
    if measurement.overhead is not None:
        yield "outside the batch", _beside_batch(measurement.overhead)
    if work is not None:
        yield (
            "request work",
            f"{format_duration(work.request_s)} ({format_duration(work.process_cpu_s)} CPU less "
            f"{format_duration(work.batch_cpu_s)} in batches, {work.requests} requests)",
        )
    if spells is not None:
        yield (
            "spells",
            f"{format_percent(spells.share)} in common, lasting {format_duration(spells.lasting_s)}",
        )
    if longer is not None:
        ends = f"{format_duration(longer.low)} to {format_duration(longer.high)}"
        yield "after a pause", f"{format_duration(longer.value)} longer ({ends})"
    yield "request overhead", format_duration(profile.request_overhead_s)
    yield "work per batch", format_duration(profile.batch_work_s)
    yield "work per request", format_duration(profile.request_work_s)


def _beside_batch(found: Overhead) -> str:
    value = format_duration(found.median_s)
    if found.low_s is not None and found.high_s is not None:
        value = format_interval(Interval(value=found.median_s, low=found.low_s, high=found.high_s))
    if found.growth_per_row_s is None:
        return f"{value} at batch size {found.batch_size}"
    where = (
        "at batch size 1" if found.batch_size == 1 else f"for one row, by {found.batch_size} rows and more"
    )
    return f"{value} {where}, and {format_duration(found.growth_per_row_s)} more for each row"
