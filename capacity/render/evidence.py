"""Evidence tables: findings of an audit, imported files, and where a request's time goes."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from capacity.evidence.compared import ComparedRun
from capacity.evidence.finding import Belief, CheckFinding
from capacity.evidence.stages import sentences
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.running_plan import RunningPlan
from capacity.performance import Interval, format_interval
from capacity.profile.profile import ServiceProfile
from capacity.render.tables import table
from capacity.traffic.workload import TraceArrivals
from capacity.units import format_duration, format_quantile, format_rate

_TOLD = {
    Belief.HOLDS: "The figures may be used as they are.",
    Belief.DOUBTFUL: "To be read with care: {}.",
    Belief.BROKEN: "Not to be believed as it stands: {}.",
    Belief.UNKNOWN: "The file does not say enough to tell: {}.",
}
# What is wrong where a check does not hold, for readers who do not know its name.
_PLAINLY = {
    "averages": "percentiles were averaged",
    "coordinated-omission": "slow answers hold back the next requests, and percentiles leave these out",
    "failures": "many requests failed",
    "generator": "other requests were sent than were asked for",
    "littles-law": "rate, response time and users contradict each other",
    "percentiles": "its percentiles contradict each other",
    "ramp": "users were still being added",
    "resolution": "its buckets are too wide",
    "samples": "too few requests for its percentiles",
    "stalls": "the server stops at times, or answers are of two kinds",
    "stationarity": "it was no steady state",
    "warm-up": "its beginning is unlike the rest",
}
_EXPLAINED = 2  # checks up to which each is explained at once
_SOUND = "Sound for {} waiting user{}; it says nothing about an arrival rate."
_UNCHECKED = "Not checked, since the file does not say enough"


def audit_tables(
    test: LoadTest,
    findings: Sequence[CheckFinding],
    belief: Belief,
    beside: Sequence[ComparedRun],
    *,
    verbose: bool = False,
) -> Iterator[RenderableType]:
    """The verdict on one line, then each run's checks with what to do.

    Args:
        verbose: whether checks that hold are explained for several runs too, not just named.
    """
    worst = dict.fromkeys(one.check for one in findings if one.belief is belief)
    unknown = dict.fromkeys(one.check for one in findings if one.belief is Belief.UNKNOWN)
    rest = f" {_UNCHECKED}: {', '.join(unknown)}." if unknown and belief is Belief.HOLDS else ""
    verdict = _sound(test) if belief is Belief.HOLDS else _TOLD[belief].format(_in_words(list(worst), belief))
    yield Text(f"{test.tool}, {test.name}. {verdict}{rest}", style="bold")
    names = list(dict.fromkeys(one.run for one in findings))
    for name in names:
        of_run = [one for one in findings if one.run == name]
        in_full = verbose or len(names) == 1
        told = [one for one in of_run if in_full or one.belief is not Belief.HOLDS]
        rows = [(one.belief.value, one.check, _message(one)) for one in told]
        held = [one.check for one in of_run if one not in told]
        if held:
            rows.append((Belief.HOLDS.value, "", ", ".join(held)))
        yield table(("<verdict", "<check", "<found"), rows, title=name)
    if beside:
        yield from beside_tables(beside)
    yield from _notes(test.notes)


def _in_words(checks: Sequence[str], belief: Belief) -> str:
    """Checks by name, and, if they are few, what is wrong."""
    is_brief = len(checks) > _EXPLAINED or belief is Belief.UNKNOWN
    told = [one if is_brief or one not in _PLAINLY else f"{one} ({_PLAINLY[one]})" for one in checks]
    return ", ".join(told)


def _sound(test: LoadTest) -> str:
    """What may be done with figures that hold: those of a closed loop are of its number of users."""
    closed = sorted({run.users for run in test.runs if run.loop is Loop.CLOSED and run.users})
    if not closed or any(run.loop is not Loop.CLOSED for run in test.runs):
        return _TOLD[Belief.HOLDS]
    return _SOUND.format(" or ".join(f"{users:g}" for users in closed), "" if closed == [1] else "s")


def _notes(notes: Iterable[str]) -> Iterator[Text]:
    return (Text(f"Note: {note if note.endswith('.') else note + '.'}") for note in notes)


def _message(one: CheckFinding) -> str:
    return one.message if not one.fix else f"{one.message}. {one.fix[0].upper()}{one.fix[1:]}"


def beside_tables(found: Sequence[ComparedRun]) -> Iterator[RenderableType]:
    """Predictions and measurements, a row for each quantity of each run; then where they part."""
    rows = [
        (
            run.run if number == 0 else "",
            row.quantity,
            *map(_value, (row.quantity, row.quantity), (row.predicted, row.measured)),
            f"{row.ratio:.2f}",
        )
        for run in found
        for number, row in enumerate(run.rows)
    ]
    yield table(
        ("<run", "<quantity", "~predicted", "~measured", "ratio"), rows, title="Beside the prediction"
    )
    yield table(("<run", "<verdict", "<why"), [(one.run, one.parting.value, one.message) for one in found])


def _value(quantity: str, found: Interval) -> str:
    return format_rate(found.value) if quantity == "throughput" else format_interval(found)


def stage_tables(test: LoadTest) -> Iterator[RenderableType]:
    """The mean time of each stage, a column for each run; then the reasons."""
    runs = [run for run in test.runs if run.stages_s]
    names = dict.fromkeys(name for run in runs for name in run.stages_s)
    rows = [
        (name, *(format_duration(run.stages_s[name]) if name in run.stages_s else "" for run in runs))
        for name in names
    ]
    yield table(("<stage", *(run.name for run in runs)), rows)
    for run in runs:
        yield Text(" ".join(sentences(run)))
    yield from _notes(test.notes)


def import_tables(found: ServiceProfile | TraceArrivals | LoadTest | RunningPlan) -> Iterator[RenderableType]:
    """A summary of what was imported."""
    match found:
        case ServiceProfile():
            rows = [
                (str(b), format_duration(found.service_mean_s(b)), format_rate(found.throughput_rps(b)))
                for b in found.batch_sizes
            ]
            yield table(("batch", "mean time", "throughput"), rows, title=found.name)
            yield from _notes([found.source["note"]] if "note" in found.source else [])
        case TraceArrivals():
            lasted, rate = format_duration(found.duration_s), format_rate(found.rate_rps)
            told = f"{len(found.instants_s)} arrivals in {lasted}, {rate}"
            yield Text(f"{told}; capacity workload describes them.")
            yield from _notes(found.remarks)
        case LoadTest():
            yield table(
                ("<run", "<loop", "answered", "requests", "mean", "highest"), map(_run_row, found.runs)
            )
            yield from _notes(found.notes)
        case RunningPlan():
            yield table(("<", "<"), list(found.words.items()), title=found.name)
            yield Text(f"capacity simulate --profile PROFILE --rate RATE {found.flags} evaluates it.")
            yield from _notes(found.notes)


def _run_row(run: LoadRun) -> tuple[str, ...]:
    """Name, loop, rate, requests, mean and the highest percentile below the maximum."""
    quantile = max((q for q in run.quantiles_s if q < 1.0), default=None)
    highest = ""
    if quantile is not None:
        highest = f"{format_quantile(quantile)} {format_interval(run.quantiles_s[quantile])}"
    return (
        run.name,
        run.loop.value,
        "" if run.throughput_rps is None else format_rate(run.throughput_rps),
        "" if run.succeeded is None else str(run.succeeded),
        "" if run.mean_s is None else format_duration(run.mean_s),
        highest,
    )
