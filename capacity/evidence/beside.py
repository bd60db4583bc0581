"""Beside: what a profile predicts for the runs of a load test, beside what was measured, and where they part."""

import math
from dataclasses import dataclass
from enum import StrEnum

from capacity.formats.load_test import QUEUE, SERVER_STAGES, LoadRun
from capacity.performance import Interval, Performance
from capacity.units import format_duration, format_quantile

# Relative difference up to which prediction and measurement agree.
AGREES = 0.1
_SPREAD = (
    "the mean agrees, so that service times or arrivals spread otherwise than was assumed: give the profile "
    "percentiles or raw samples"
)


class Parting(StrEnum):
    """Where prediction and measurement part."""

    AGREES = "agrees"
    OVERLOADED = "overloaded"
    SLOWER = "slower"
    FASTER = "faster"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One quantity of one run.

    Attributes:
        quantity: such as `response P99` or `throughput`.
        predicted, measured: in seconds, or requests per second.
    """

    quantity: str
    predicted: Interval
    measured: Interval

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured.value / self.predicted.value if self.predicted.value else math.inf

    @property
    def agrees(self) -> bool:
        """Whether they differ by no more than `AGREES`, or their intervals meet."""
        meet = self.measured.low <= self.predicted.high and self.predicted.low <= self.measured.high
        return meet or abs(self.ratio - 1.0) <= AGREES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBeside:
    """All quantities of one run, and what makes the difference."""

    run: str
    parting: Parting
    message: str
    rows: tuple[Beside, ...] = ()


def overloaded(run: LoadRun, reason: str) -> RunBeside:
    """A run at a rate that the fleet cannot sustain."""
    return RunBeside(run=run.name, parting=Parting.OVERLOADED, message=reason)


def unknown(run: LoadRun, reason: str) -> RunBeside:
    """A run that cannot be predicted."""
    return RunBeside(run=run.name, parting=Parting.UNKNOWN, message=reason)


def beside(run: LoadRun, found: Performance, overhead_s: float) -> RunBeside:
    """Prediction and measurement of a run.

    Args:
        overhead_s: of each request outside the replicas, which the prediction has in it. [s]
    """
    rows = []
    if run.throughput_rps and found.throughput_rps:
        rows.append(_row("throughput", found.throughput_rps, run.throughput_rps))
    if run.mean_s is not None and found.response_mean_s is not None:
        interval = found.intervals.get("response_mean_s") or Interval.exact(found.response_mean_s)
        rows.append(Beside(quantity="response mean", predicted=interval, measured=Interval.exact(run.mean_s)))
    for q, predicted in found.response_quantiles_s.items():
        if q in run.quantiles_s:
            name = f"response {format_quantile(q)}"
            rows.append(Beside(quantity=name, predicted=predicted, measured=run.quantiles_s[q]))
    if not rows:
        return unknown(run, "the file has no mean, percentile or throughput of this run to compare with")
    latency = [row for row in rows if row.quantity != "throughput"] or rows
    off = [row for row in latency if not row.agrees]
    if not off:
        return RunBeside(run=run.name, parting=Parting.AGREES, message="as predicted", rows=tuple(rows))
    first = off[0]
    is_slower = first.ratio > 1.0 if first.quantity != "throughput" else first.ratio < 1.0
    parting = Parting.SLOWER if is_slower else Parting.FASTER
    mean = next((row for row in rows if row.quantity == "response mean"), None)
    is_spread = mean is not None and mean.agrees and first is not mean
    why = _SPREAD if is_spread else _term(run, found, overhead_s)
    message = f"{first.quantity} is {first.ratio:.2f} times the prediction; {why}"
    return RunBeside(run=run.name, parting=parting, message=message, rows=tuple(rows))


def _row(quantity: str, predicted: float, measured: float) -> Beside:
    return Beside(quantity=quantity, predicted=Interval.exact(predicted), measured=Interval.exact(measured))


def _term(run: LoadRun, found: Performance, overhead_s: float) -> str:
    """Which stage makes the difference, where stages were measured."""
    if not run.stages_s or found.wait_mean_s is None or found.response_mean_s is None:
        return "the file does not say in which stage: compare the server's own queue and compute times"
    served_s = found.response_mean_s - found.wait_mean_s - overhead_s
    stages = run.stages_s
    measured = {
        "the queue": stages.get(QUEUE, 0.0),
        "computing": sum(stages.get(name, 0.0) for name in SERVER_STAGES[1:]),
        "outside the server": sum(value_s for name, value_s in stages.items() if name not in SERVER_STAGES),
    }
    predicted = {"the queue": found.wait_mean_s, "computing": served_s, "outside the server": overhead_s}
    name = max(measured, key=lambda one: abs(measured[one] - predicted[one]))
    fixes = {
        "the queue": "the server forms other batches, or fewer replicas than asked about",
        "computing": "the profile is of another machine, model or batch mix: measure it again here",
        "outside the server": "give it as --request-overhead",
    }
    return (
        f"most of the difference is {name}: {format_duration(max(0.0, measured[name]))} measured, "
        f"{format_duration(max(0.0, predicted[name]))} predicted ({fixes[name]})"
    )
