"""Loop report: what was measured, planned and verified, as Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from capacity.objective import Measure, Promise
from capacity.units import format_duration

if TYPE_CHECKING:
    from serve_api.loop_stages import LoopSettings

_DURATIONS = ("response_mean_s", "response_quantiles_s")


def report(found: dict[str, Any], settings: "LoopSettings") -> str:
    """All of it, the predicted P99 beside the measured one first."""
    return "\n".join(_lines(found, settings)) + "\n"


def _lines(found: dict[str, Any], settings: "LoopSettings") -> Iterator[str]:
    verification = found["verification"]
    yield "# Measured, planned, deployed, verified"
    yield ""
    yield f"{_model(found['model'])}, {settings.rate}, P99 <= {settings.slo_p99}: {_fleet(found['plan'])}."
    if verification is None:
        yield "Nothing was deployed."
    else:
        yield from _verified(verification, settings)
    yield from _section("Profile", _TIMINGS, map(_timing, found["profile"]["timings"]))
    yield from ("", _beside(found["profile"]))
    yield from _section("Stages", ("stage", "took"), map(_stage, found["stages"]))
    if verification is not None:
        yield from _section("Machine", ("", ""), _machine(verification["environment"]))
        yield from _notes(verification)


def _verified(verification: dict[str, Any], settings: "LoopSettings") -> Iterator[str]:
    yield f"Load tests of {settings.duration}, {len(verification['runs'])} in all: {verification['verdict']}."
    yield from _section("Predicted beside measured", _ROWS, map(_row, verification["rows"]))
    yield from _section("Promises", _PROMISES, map(_promise, verification["promises"]))


def _model(model: dict[str, Any]) -> str:
    """Which it is, and how large, so that the figures of another are not taken for its own."""
    layers = "" if model["hidden"] is None else f"2 hidden layers of {model['hidden']}, "
    origin = "" if model["trained"] else ", of an earlier loop"
    return f"{model['name']} {model['version']} ({layers}{model['parameters']:,} parameters{origin})"


def _fleet(plan: dict[str, Any]) -> str:
    asked = plan["recommendation"]
    if asked is None:
        return f"no plan, the verdict is {plan['verdict']}{_nearest(plan)}"
    wait = _shown(asked["batch_wait_max_s"])
    return (
        f"{asked['replicas']} x batches up to {asked['batch_size_max']} that wait {wait}, {asked['routing']}"
    )


def _nearest(plan: dict[str, Any]) -> str:
    """What comes nearest to the limit on P99 of all that was refused for it: why there is no plan."""
    refused = [one["rejection"] for one in plan["considered"] if one["rejection"] is not None]
    needed_s = [one["needed"] for one in refused if one.get("measure") == Measure.RESPONSE.value]
    return f"; the lowest P99 of what was tried is {_shown(min(needed_s))}" if needed_s else ""


def _beside(profile: dict[str, Any]) -> str:
    """What is added to a batch's time, and to a request's."""
    batch, request, overhead = (
        _shown(profile[name]) for name in ("batch_work_s", "request_work_s", "request_overhead_s")
    )
    return f"Work beside each batch {batch}, beside each request {request}; overhead of a request {overhead}."


_ROWS = ("", "measured", "predicted", "error", "", "replayed", "error", "")
_PROMISES = ("promise", "allowed", "measured", "verdict")
_TIMINGS = ("batch", "mean", "P50", "P99", "samples")


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table under a heading; nothing without rows."""
    cells = list(rows)
    if cells:
        yield from ("", f"## {title}", "", _line(columns), _line(["---"] * len(columns)))
        yield from map(_line, cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(row: dict[str, Any]) -> list[str]:
    is_duration = row["field"] in _DURATIONS
    cells = [row["quantity"], _interval(row["measured"], is_duration=is_duration)]
    for name in ("stationary", "replay"):
        held = row[name]
        if held is None:
            cells += ["", "", ""]
            continue
        points = " pp" if row["tolerance_is_absolute"] else "%"
        error = "" if held["error"] is None else f"{100.0 * held['error']:+.1f}{points}"
        cells += [_interval(held["predicted"], is_duration=is_duration), error, held["verdict"]]
    return cells


def _interval(interval: dict[str, Any], *, is_duration: bool) -> str:
    show = _shown if is_duration else "{:.4g}".format
    if interval["high"] is None:  # of requests that were given up nobody knows how long they take
        return f"at least {show(interval['low'])}"
    value, low, high = (show(interval[end]) for end in ("value", "low", "high"))
    return value if low == high else f"{value} ({low} to {high})"


def _shown(duration_s: float) -> str:
    return format_duration(duration_s)


def _promise(promise: dict[str, Any]) -> list[str]:
    found = promise["measured"]
    asked = Promise(
        measure=Measure(promise["measure"]), quantile=promise["quantile"], allowed=promise["allowed"]
    )
    return [
        asked.what,
        asked.limit,
        "" if found is None else _interval(found, is_duration=asked.measure.is_duration),
        promise["verdict"] or "not measured",
    ]


def _timing(timing: dict[str, Any]) -> list[str]:
    samples = sorted(timing["samples_s"])
    quantiles = (samples[min(len(samples) - 1, int(q * len(samples)))] for q in (0.5, 0.99))
    mean_s = sum(samples) / len(samples)
    return [str(timing["batch_size"]), _shown(mean_s), *map(_shown, quantiles), str(len(samples))]


def _stage(stage: dict[str, Any]) -> list[str]:
    return [stage["stage"], format_duration(stage["duration_s"])]


def _machine(about: dict[str, Any]) -> list[list[str]]:
    """Where it ran and with what, as the load test recorded it."""
    told = {**about["sender"], **about["versions"]}
    return [[name, str(value)] for name, value in told.items()]


def _notes(verification: dict[str, Any]) -> Iterator[str]:
    faults = [fault for run in verification["runs"] for fault in run["faults"]]
    doubts = [*verification["pool_faults"], *verification["doubts"]]
    for text in [*verification["notes"], *faults, *doubts]:
        yield ""
        yield f"Note: {text}."
