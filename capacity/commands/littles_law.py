"""`capacity littles-law`: L = λW, and whether a load test can be true."""

import typer

from capacity.commands.options import flags
from capacity.commands.output import Format, emit_document
from capacity.errors import InputError
from capacity.question.asked import COUNT, DURATION, NUMBER, RATE, Flag
from capacity.units import format_quantile, parse_duration_s, parse_rate_rps


@flags(
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
def littles_law(
    rate: str | None,
    latency_mean: str | None,
    concurrency: float | None,
    users: int | None,
    think_time: str,
    latency_p50: str | None,
    latency_p90: str | None,
    latency_p95: str | None,
    latency_p99: str | None,
    output: Format,
    *,
    as_json: bool,
) -> None:
    """L = λW: any two give the third; with --users, whether a load test's report can be true.

    Examples:
      capacity littles-law --rate 100rps --latency-mean 45ms
      capacity littles-law --users 100 --think-time 300ms --rate 100rps --latency-p50 45ms --latency-p99 340ms
    """
    from capacity.answer.documents import load_test_document, plain
    from capacity.queues.little import LittlesLaw, LoadTestReport

    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    mean_s = None if latency_mean is None else parse_duration_s(latency_mean, "--latency-mean")
    reported = {0.5: latency_p50, 0.9: latency_p90, 0.95: latency_p95, 0.99: latency_p99}
    if users is None:
        if sum(value is not None for value in (rate_rps, mean_s, concurrency)) < 2:
            raise InputError("give two of --rate, --latency-mean and --concurrency to get the third")
        if any(text is not None for text in reported.values()) or think_time != "0s":
            raise InputError("percentiles and think time belong to a load test; give --users too")
        law = LittlesLaw.solve(arrival_rate_rps=rate_rps, response_mean_s=mean_s, in_system_mean=concurrency)
        emit_document(plain(law), output, as_json=as_json)
        return
    if rate_rps is None or concurrency is not None:
        raise InputError("to check a load test, give --users and --rate without --concurrency")
    report = LoadTestReport(
        users=users,
        think_time_s=parse_duration_s(think_time, "--think-time"),
        throughput_rps=rate_rps,
        response_mean_s=mean_s,
        response_quantiles_s={
            q: parse_duration_s(text, f"--latency-{format_quantile(q).lower()}")
            for q, text in reported.items()
            if text is not None
        },
    )
    emit_document(load_test_document(report), output, as_json=as_json)
    raise typer.Exit(0 if report.credible else 4)
