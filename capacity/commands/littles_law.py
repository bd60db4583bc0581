"""`capacity littles-law`: L = λW, and whether a load test can be true."""

from typing import Annotated

import typer

from capacity.commands.options import FormatOption, JsonOption, option
from capacity.commands.output import Format, document_tables, emit_pieces
from capacity.errors import InputError


def littles_law(
    rate: Annotated[str | None, option("--rate", help="Throughput: 100rps.", metavar="RATE")] = None,
    latency_mean: Annotated[
        str | None, option("--latency-mean", help="Mean response time: 45ms.", metavar="DURATION")
    ] = None,
    concurrency: Annotated[
        float | None, option("--concurrency", help="Mean number of requests in the system.", metavar="NUMBER")
    ] = None,
    users: Annotated[
        int | None, option("--users", help="Users of a closed-loop load test.", metavar="N")
    ] = None,
    think_time: Annotated[
        str, option("--think-time", help="Mean think time of a user: 300ms.", metavar="DURATION")
    ] = "0s",
    latency_p50: Annotated[
        str | None, option("--latency-p50", help="Reported median: 45ms.", metavar="DURATION")
    ] = None,
    latency_p90: Annotated[
        str | None, option("--latency-p90", help="Reported P90.", metavar="DURATION")
    ] = None,
    latency_p95: Annotated[
        str | None, option("--latency-p95", help="Reported P95.", metavar="DURATION")
    ] = None,
    latency_p99: Annotated[
        str | None, option("--latency-p99", help="Reported P99: 340ms.", metavar="DURATION")
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """L = λW: any two give the third; with --users, whether a load test's report can be true.

    Examples:
      capacity littles-law --rate 100rps --latency-mean 45ms
      capacity littles-law --users 100 --think-time 300ms --rate 100rps --latency-p50 45ms --latency-p99 340ms
    """
    from capacity.answer.documents import little_document, load_test_document
    from capacity.queues.little import LittlesLaw, LoadTestReport
    from capacity.units import format_quantile, parse_duration_s, parse_rate_rps

    rate_rps = None if rate is None else parse_rate_rps(rate, "--rate")
    mean_s = None if latency_mean is None else parse_duration_s(latency_mean, "--latency-mean")
    reported = {0.5: latency_p50, 0.9: latency_p90, 0.95: latency_p95, 0.99: latency_p99}
    if users is None:
        if sum(value is not None for value in (rate_rps, mean_s, concurrency)) < 2:
            raise InputError("give two of --rate, --latency-mean and --concurrency, for the third")
        if any(text is not None for text in reported.values()) or think_time != "0s":
            raise InputError("percentiles and think time belong to a load test; give --users too")
        law = LittlesLaw.solve(arrival_rate_rps=rate_rps, response_mean_s=mean_s, in_system_mean=concurrency)
        document = little_document(law)
        emit_pieces(
            output, as_json=as_json, document=lambda: document, tables=lambda: document_tables(document)
        )
        return
    if rate_rps is None or concurrency is not None:
        raise InputError("a load test is checked by --users and --rate, without --concurrency")
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
    document = load_test_document(report)
    emit_pieces(output, as_json=as_json, document=lambda: document, tables=lambda: document_tables(document))
    raise typer.Exit(0 if report.credible else 4)
