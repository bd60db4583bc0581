"""`capacity littles-law`: L = λW, and whether a load test can be true."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from capacity.commands.options import flags
from capacity.commands.output import Format, emit_said
from capacity.errors import InputError
from capacity.question.flag import COUNT, DURATION, NUMBER, RATE, Flag
from capacity.units import parse_duration_s, parse_rate_rps

if TYPE_CHECKING:
    from capacity.queues.little import LittlesLaw, LoadTestReport


_LATENCIES = {0.5: "latency_p50", 0.9: "latency_p90", 0.95: "latency_p95", 0.99: "latency_p99"}


@flags(
    f"rate latency_mean concurrency users think_time {' '.join(_LATENCIES.values())}",
    rate=Flag(RATE, None, "Throughput: 100rps."),
    latency_mean=Flag(DURATION, None, "Mean response time: 45ms."),
    concurrency=Flag(NUMBER, None, "Mean number of requests in the system."),
    users=Flag(COUNT, None, "Users of a closed-loop load test."),
    think_time=Flag(DURATION, "0s", "Mean think time of a user: 300ms."),
    latency_p50=Flag(DURATION, None, "Reported median: 45ms."),
    latency_p90=Flag(DURATION, None, "Reported P90."),
    latency_p95=Flag(DURATION, None, "Reported P95."),
    latency_p99=Flag(DURATION, None, "Reported P99: 340ms."),
)
def littles_law(context: typer.Context, users: int | None, output: Format, *, as_json: bool) -> None:
    """L = λW: any two give the third; with --users, whether a load test's report can be true.

    Examples:
      capacity littles-law --rate 100rps --latency-mean 45ms
      capacity littles-law --users 100 --think-time 300ms --rate 100rps --latency-p50 45ms --latency-p99 340ms
    """
    from capacity.answer.documents import load_test_document, plain

    if users is None:
        law = _solved(context.params)
        emit_said(plain(law), law.in_words, output, as_json=as_json)
        return
    report = _load_test(context.params)
    emit_said(load_test_document(report), report.in_words, output, as_json=as_json)
    raise typer.Exit(0 if report.credible else 4)


def _solved(given: Mapping[str, Any]) -> "LittlesLaw":
    """The third of rate, mean response and number in the system, from two of them."""
    from capacity.queues.little import LittlesLaw

    known = (_rate_rps(given), _duration_s(given, "latency_mean"), given["concurrency"])
    if sum(value is not None for value in known) < 2:
        raise InputError("give two of --rate, --latency-mean and --concurrency to get the third")
    if any(given[name] is not None for name in _LATENCIES.values()) or given["think_time"] != "0s":
        raise InputError("percentiles and think time belong to a load test; give --users too")
    return LittlesLaw.solve(arrival_rate_rps=known[0], response_mean_s=known[1], in_system_mean=known[2])


def _load_test(given: Mapping[str, Any]) -> "LoadTestReport":
    """The report of a closed-loop load test."""
    from capacity.queues.little import LoadTestReport

    rate_rps, mean_s = _rate_rps(given), _duration_s(given, "latency_mean")
    if rate_rps is None or given["concurrency"] is not None:
        raise InputError("to check a load test, give --users and --rate without --concurrency")
    reported = {q: _duration_s(given, name) for q, name in _LATENCIES.items()}
    return LoadTestReport(
        users=given["users"],
        think_time_s=parse_duration_s(given["think_time"], "--think-time"),
        throughput_rps=rate_rps,
        response_mean_s=mean_s,
        response_quantiles_s={q: value_s for q, value_s in reported.items() if value_s is not None},
    )


def _rate_rps(given: Mapping[str, Any]) -> float | None:
    return None if given["rate"] is None else parse_rate_rps(given["rate"], "--rate")


def _duration_s(given: Mapping[str, Any], name: str) -> float | None:
    return None if given[name] is None else parse_duration_s(given[name], f"--{name.replace('_', '-')}")
