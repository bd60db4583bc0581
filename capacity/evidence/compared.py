"""Compared: compares what a profile predicts for the runs of a load test with what was measured."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from capacity.formats.load_test import QUEUE, SERVER_STAGES, LoadRun
from capacity.performance import Interval, Performance
from capacity.units import format_duration, format_quantile

# Relative difference up to which a prediction agrees with a measurement.
AGREES = 0.1
_SPREAD = (
    "the mean agrees, so that service times or arrivals spread otherwise than was assumed: give the profile "
    "percentiles or raw samples"
)
_OF_TOKENS = (
    "TTFT tells of prompts and the queue, TPOT of decoding: measure the profile again where it parts, with this "
    "engine's settings"
)
# Measures by a part of their metric's name; no prediction exists for waits and phases of a request.
_METRICS = {
    "time_to_first_token": "ttft",
    "inter_token_latency": "itl",
    "time_per_output_token": "itl",
    "queue_time": "queue",
    "prefill_time": "prefill",
    "decode_time": "decode",
    "inference_time": "inference",
}


class Parting(StrEnum):
    """The stage at which prediction and measurement part."""

    AGREES = "agrees"
    OVERLOADED = "overloaded"
    SLOWER = "slower"
    FASTER = "faster"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One quantity of one run, predicted and measured.

    Attributes:
        quantity: its name, such as `response P99` or `throughput`.
        predicted, measured: seconds, or requests per second.
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
class ComparedRun:
    """All quantities of one run, and what explains the difference."""

    run: str
    parting: Parting
    message: str
    rows: tuple[Compared, ...] = ()


def overloaded(run: LoadRun, reason: str) -> ComparedRun:
    """A run at a rate that the fleet cannot sustain."""
    return ComparedRun(run=run.name, parting=Parting.OVERLOADED, message=reason)


def unknown(run: LoadRun, reason: str) -> ComparedRun:
    """A run that cannot be predicted."""
    return ComparedRun(run=run.name, parting=Parting.UNKNOWN, message=reason)


def compared(run: LoadRun, found: Performance, overhead_s: float) -> ComparedRun:
    """Prediction and measurement of a run.

    Args:
        overhead_s: time of each request outside the replicas, included in the prediction. [s]
    """
    rows = list(_rows(run, found))
    if not rows:
        return unknown(run, "the file has no mean, percentile or throughput of this run to compare with")
    latency = [row for row in rows if row.quantity != "throughput"] or rows
    off = [row for row in latency if not row.agrees]
    if not off:
        return ComparedRun(run=run.name, parting=Parting.AGREES, message="as predicted", rows=tuple(rows))
    first = off[0]
    is_slower = first.ratio > 1.0 if first.quantity != "throughput" else first.ratio < 1.0
    parting = Parting.SLOWER if is_slower else Parting.FASTER
    message = f"{first.quantity} is {first.ratio:.2f} times the prediction; {_why(run, found, first, rows, overhead_s)}"
    return ComparedRun(run=run.name, parting=parting, message=message, rows=tuple(rows))


def _rows(run: LoadRun, found: Performance) -> Iterator[Compared]:
    """Throughput, and mean and quantiles of each measure that both have."""
    if run.throughput_rps and found.throughput_rps:
        yield _row("throughput", found.throughput_rps, run.throughput_rps)
    of_response = measure_of(run.name) if found.ttft_mean_s is not None else "response"
    means = {of_response: run.mean_s, **{name: one.mean_s for name, one in run.measures.items()}}
    quantiles = {
        of_response: run.quantiles_s,
        **{name: one.quantiles_s for name, one in run.measures.items()},
    }
    for measure, mean_s in means.items():
        name = measure if measure == "response" else measure.upper()
        predicted_s = getattr(found, f"{measure}_mean_s", None)
        if mean_s is not None and predicted_s is not None:
            interval = found.intervals.get(f"{measure}_mean_s") or Interval.exact(predicted_s)
            yield Compared(quantity=f"{name} mean", predicted=interval, measured=Interval.exact(mean_s))
        for q, predicted in getattr(found, f"{measure}_quantiles_s", {}).items():
            if q in quantiles[measure]:
                quantity = f"{name} {format_quantile(q)}"
                yield Compared(quantity=quantity, predicted=predicted, measured=quantiles[measure][q])


def measure_of(name: str) -> str:
    """The measure of a language model that a server's histogram holds, by the name of its metric.

    Source:
        vLLM docs/design/metrics.md; OpenTelemetry semantic conventions for generative AI metrics.

    >>> measure_of("vllm:time_to_first_token_seconds"), measure_of("vllm:e2e_request_latency_seconds")
    ('ttft', 'response')
    """
    metric = name.partition("{")[0].replace(".", "_")
    return next((measure for part, measure in _METRICS.items() if part in metric), "response")


def _why(
    run: LoadRun, found: Performance, first: Compared, rows: Sequence[Compared], overhead_s: float
) -> str:
    """What makes the difference, as far as means and stages tell."""
    if found.ttft_mean_s is not None:
        return _OF_TOKENS
    mean = next((row for row in rows if row.quantity == "response mean"), None)
    is_spread = mean is not None and mean.agrees and first is not mean
    return _SPREAD if is_spread else _term(run, found, overhead_s)


def _row(quantity: str, predicted: float, measured: float) -> Compared:
    return Compared(quantity=quantity, predicted=Interval.exact(predicted), measured=Interval.exact(measured))


def _term(run: LoadRun, found: Performance, overhead_s: float) -> str:
    """The stage that explains the difference, if stages were measured."""
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
