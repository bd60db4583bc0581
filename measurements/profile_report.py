"""A measurement as JSON and as tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capacity.explain import format_interval
from capacity.performance import Interval
from capacity.profile import ServiceProfile
from capacity.report import SCHEMA_VERSION, Document, caveat_documents, interval_document
from capacity.saved_profile import profile_to_document
from capacity.units import format_duration
from measurements.measurement import Measurement, SizeFinding
from measurements.overhead import Overhead
from measurements.work_beside import WorkBeside

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = ("batch", "~mean", "P50", "P99", "rps", "samples", "stalls", "~drift")


def profile_file_document(profile: ServiceProfile) -> Document:
    """A profile file, as `capacity plan --profile` takes it."""
    return {"schema_version": SCHEMA_VERSION, **profile_to_document(profile)}


def measurement_document(
    measurement: Measurement, profile: ServiceProfile, *, seed: int, confidence: float
) -> Document:
    """`capacity profile`; what could not be told is absent."""
    document: Document = {
        "batches": [_size_document(one, profile) for one in measurement.findings],
    }
    if measurement.overhead is not None:
        found = measurement.overhead
        document["request_overhead"] = _known(
            median_s=found.request_s,
            low_s=found.interval and found.interval.low,
            high_s=found.interval and found.interval.high,
            batch_size=found.batch_size,
            growth_per_row_s=found.growth_s,
        )
    if measurement.work is not None:
        work = measurement.work
        document["request_work"] = {
            "request_s": work.request_s,
            "process_cpu_s": work.process_s,
            "batch_cpu_s": work.batch_s,
            "batch_s": work.batch_wall_s,
            "requests": work.requests,
            "rows": work.rows,
        }
    if measurement.spells is not None:
        document["spells"] = {"share": measurement.spells.share, "lasting_s": measurement.spells.lasting_s}
    if measurement.wake is not None:
        document["wake_s"] = interval_document(measurement.wake)
    if measurement.beside is not None:
        document["work_beside"] = _beside_document(measurement.beside)
    return document | {
        "caveats": caveat_documents(measurement.caveats),
        "complete": measurement.stop is None,
        "profile": profile_file_document(profile),
        "seed": seed,
        "confidence": confidence,
    }


def _beside_document(beside: WorkBeside) -> Document:
    return {
        "batch_s": beside.batch_s,
        "request_s": beside.request_s,
        "crowds": [
            {
                "batches": crowd.batches,
                "requests_within": crowd.requests,
                "batches_s": crowd.lasted_s,
                "computed_s": crowd.computed_s,
            }
            for crowd in beside.crowds
        ],
    }


def _size_document(one: SizeFinding, profile: ServiceProfile) -> Document:
    law = one.timing.law()
    known = one.timing.percentiles_s
    return _known(
        batch_size=one.batch_size,
        batches=one.count,
        mean_s=interval_document(one.mean or Interval.exact(law.mean_s))
        if one.mean
        else {"value": law.mean_s},
        p50_s=law.quantile_s(0.5) if one.timing.samples_s else known.get(0.5),
        p90_s=law.quantile_s(0.9) if one.timing.samples_s else known.get(0.9),
        p95_s=law.quantile_s(0.95) if one.timing.samples_s else known.get(0.95),
        p99_s=law.quantile_s(0.99) if one.timing.samples_s else known.get(0.99),
        throughput_rps=profile.throughput_rps(one.batch_size),
        drift=None if one.drift is None else interval_document(one.drift),
        stalls=None
        if one.stalls is None
        else _known(
            count=one.stalls.count,
            share=one.stalls.share,
            limit_s=one.stalls.limit_s,
            largest_s=one.stalls.largest_s,
        ),
        percentile_error=one.bucket_error,
    )


def _known(**values: object) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def measurement_tables(measurement: Measurement, profile: ServiceProfile) -> Iterator["RenderableType"]:
    """What was found, for people."""
    from capacity.tables import caveat_lines, table

    yield table(_COLUMNS, (_row(one, profile) for one in measurement.findings), title=profile.name)
    yield table(("<", "<"), _rest(measurement, profile))
    yield from caveat_lines(measurement.caveats)


def _row(one: SizeFinding, profile: ServiceProfile) -> tuple[str, ...]:
    law = one.timing.law()
    known = one.timing.percentiles_s
    p50, p99 = (
        format_duration(law.quantile_s(u)) if one.timing.samples_s or u in known else "-" for u in (0.5, 0.99)
    )
    return (
        str(one.batch_size),
        format_duration(law.mean_s) if one.mean is None else format_interval(one.mean),
        p50,
        p99,
        f"{profile.throughput_rps(one.batch_size):.4g}",
        str(one.count),
        "-" if one.stalls is None else str(one.stalls.count),
        "-"
        if one.drift is None
        else f"{one.drift.value:+.1%} ({one.drift.low:+.1%} to {one.drift.high:+.1%})",
    )


def _rest(measurement: Measurement, profile: ServiceProfile) -> Iterator[tuple[str, str]]:
    yield "knee", f"batch size {profile.knee_batch_size}"
    found, work = measurement.overhead, measurement.work
    if found is not None:
        yield "beside the batch", _overhead(found)
    if work is not None:
        yield (
            "request work",
            f"{format_duration(work.request_s)} ({format_duration(work.process_s)} CPU less "
            f"{format_duration(work.batch_s)} in batches, {work.requests} requests)",
        )
    if measurement.spells is not None:
        spells = measurement.spells
        yield "spells", f"{spells.share:.0%} in common, lasting {format_duration(spells.lasting_s)}"
    if measurement.wake is not None:
        longer = measurement.wake
        yield (
            "after a rest",
            f"{format_duration(longer.value)} longer ({format_duration(longer.low)} to "
            f"{format_duration(longer.high)})",
        )
    yield "request overhead", format_duration(profile.request_overhead_s)
    yield "work per batch", format_duration(profile.batch_work_s)
    yield "work per request", format_duration(profile.request_work_s)


def _overhead(found: Overhead) -> str:
    value = format_duration(found.request_s) if found.interval is None else format_interval(found.interval)
    if found.growth_s is None:
        return f"{value} at batch size {found.batch_size}"
    where = (
        "at batch size 1" if found.batch_size == 1 else f"for one row, by {found.batch_size} rows and more"
    )
    return f"{value} {where}, and {format_duration(found.growth_s)} more for each row"
