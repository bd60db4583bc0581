"""The JSON of `vllm bench serve --save-result`: one run, by its totals; with `--save-detailed` also by each request.

Totals such as `p99_ttft_ms` are in milliseconds, durations of single requests in seconds. `ttfts`, `itls`,
`start_times` and so on are columns, with a cell for each request; `itls` has the gaps between chunks, of which the
server sends one for each token, or rarely one for several.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, each, number, placed, whole
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.seen_runs import load_run, load_test
from capacity.performance import Interval
from capacity.profile.llm_loads import SeenLoad, load_of_run
from capacity.profile.llm_runs import SeenRequest, SeenRun, token_gaps
from capacity.profile.speculation import Speculation

NAME = "vllm bench serve --save-result"
# Measures of totals, in order of preference; the response is left out unless it is asked for.
_METRICS = {"e2el": "requests", "ttft": "time to first token"}
_NOTES = {
    "e2el": ("these are totals; --save-detailed adds single requests, which show drift and warm-up",),
    "ttft": (
        "percentiles are of the time to the first token; --percentile-metrics ttft,tpot,itl,e2el adds the response, "
        "and --save-detailed single requests",
    ),
}
_QUANTILE = re.compile(r"(median|p([0-9]{1,2}(?:\.[0-9]{1,6})?))_(ttft|e2el)_ms")
_FIGURE = re.compile(r"(mean|median|p[0-9]{1,2}(?:\.[0-9]{1,6})?)_(ttft|tpot|e2el)_ms")
_DRAFTED, _ACCEPTED = "spec_decode_num_drafts", "spec_decode_per_position_acceptance_rates"
_COLUMNS = ("input_lens", "output_lens", "ttfts", "itls", "start_times")


def recognises(document: Document) -> bool:
    """Whether it has the totals that every result has."""
    return {"request_throughput", "total_input_tokens", "duration", "completed"} <= document.keys


def has_requests(document: Document) -> bool:
    """Whether it has single requests, and not totals alone."""
    return any(name in document.keys for name in _COLUMNS)


def read_runs(document: Document) -> tuple[SeenRun, ...]:
    """The one run.

    Raises:
        InputError: no columns of single requests, requests that failed, or values that cannot be.

    Source:
        vLLM 0.19.0 and 0.33.0, vllm/benchmarks/serve.py, `benchmark`.
    """
    whole_run = Part(document.name, document.object)
    missing = [name for name in _COLUMNS if name not in whole_run]
    if missing:
        raise InputError(
            f"{document.name} has no {missing[0]}, and so nothing of single requests; run vllm bench serve with "
            "--save-result --save-detailed, of a version that writes start_times; its totals are a load test: "
            "capacity audit, or import --as load-test"
        )
    columns = [whole_run.list(name) for name in _COLUMNS]
    if len({len(column) for column in columns}) > 1:
        raise InputError(f"{document.name}: {', '.join(_COLUMNS)} must be equally long")
    _require_success(whole_run, document.name)
    speculation = located(document.name, partial(_speculation, whole_run))
    requests = tuple(
        located(f"{document.name} request {at}", partial(_request, *cells))
        for at, cells in enumerate(zip(*columns, strict=True))
    )
    run = SeenRun(name=document.name, requests=requests, model=_model(whole_run), speculation=speculation)
    return (run,)


def read_loads(document: Document) -> tuple[SeenLoad, ...]:
    """The one load, by single requests if all of them are there, else by the totals, whose lengths are means.

    Raises:
        InputError: values that cannot be, no rate and no number in flight, or neither responses nor times per token.
    """
    totals = Part(document.name, document.object)
    if _DRAFTED in totals:
        raise InputError(
            f"{document.name} is of a server that drafts, whose figures do not say in how many steps tokens came; give "
            "files with --save-detailed alone"
        )
    if all(name in totals for name in _COLUMNS):
        return tuple(load_of_run(run) for run in read_runs(document))
    return (placed(document, document.name, partial(_load, totals)),)


def _load(totals: Part) -> SeenLoad:
    completed, rate, most = (
        totals.whole("completed"),
        totals.value("request_rate"),
        totals.value("max_concurrency"),
    )
    if completed < 1:
        raise InputError(f"{totals.where} has no request that was answered; run it again")
    has_rate = isinstance(rate, int | float) and math.isfinite(rate)
    in_flight = totals.whole("max_concurrency") if most else None
    figures = {}
    for key in totals.keys:
        match = _FIGURE.fullmatch(key)
        if match:
            at = "p50" if match[1] == "median" else match[1]
            figures[f"{match[2].removesuffix('el')}_{at}"] = totals.number(key) / 1e3
    given, got = (totals.whole(f"total_{what}_tokens") / completed for what in ("input", "output"))
    return SeenLoad(
        name=totals.where,
        requests=completed,
        input_tokens=(max(1, round(given)),),
        output_tokens=(max(1, round(got)),),
        figures={name: value for name, value in figures.items() if value > 0.0},
        rate_rps=float(rate) if has_rate else None,
        users=None if has_rate else in_flight or completed,
        in_flight_max=in_flight if has_rate else None,
        model=_model(totals),
    )


def _speculation(run: Part) -> Speculation | None:
    """What the server drafted and accepted during the run, as its counters say; None if it drafted nothing."""
    if _DRAFTED not in run:
        return None
    rates = each(run.list(_ACCEPTED), _ACCEPTED, number)
    return Speculation(draft_tokens=len(rates), acceptance_rates=tuple(rates), in_steps=True)


def _model(run: Part) -> str | None:
    return run.text("model_id") if "model_id" in run else None


def read_load_test(document: Document) -> LoadTest:
    """The run as a load test: open at a request rate, closed at a concurrency without one.

    It uses single requests if all of them are there, else the totals.

    Raises:
        InputError: values that cannot be, or no latencies at all.
    """
    settings = Part(document.name, document.object)
    rate, users = settings.value("request_rate"), settings.value("max_concurrency")
    has_rate = isinstance(rate, int | float) and math.isfinite(rate)
    sending: dict[str, Any] = {
        "loop": Loop.OPEN if has_rate else Loop.CLOSED if users else Loop.UNKNOWN,
        "users": settings.number("max_concurrency") if users else None,
        "rate_asked_rps": number(rate, f"{document.name}.request_rate") if has_rate else None,
    }
    if all(name in settings for name in _COLUMNS) and not _failed(settings):
        (run,) = read_runs(document)
        return load_test(NAME, document.name, [load_run(run, failed=0, **sending)])
    return placed(document, document.name, partial(_of_totals, settings, sending))


def _of_totals(totals: Part, sending: Mapping[str, Any]) -> LoadTest:
    """Percentiles of the response if they were asked for, else of the time to first token."""
    metric, name = next((one for one in _METRICS.items() if f"mean_{one[0]}_ms" in totals), ("", ""))
    if not metric:
        raise InputError(
            f"{totals.where} has neither mean_e2el_ms nor mean_ttft_ms; run vllm bench serve with "
            "--percentile-metrics ttft,tpot,itl,e2el"
        )
    completed, throughput_rps = totals.whole("completed"), totals.number("request_throughput")
    response_s = totals.number("mean_e2el_ms") / 1e3 if metric == "e2el" else _response_s(totals, completed)
    duration_s = totals.number("duration")
    sending_s = duration_s - (response_s or 0.0)
    run = LoadRun(
        name=name,
        throughput_rps=throughput_rps,
        rate_sent_rps=throughput_rps * duration_s / sending_s if sending_s > 0.0 else None,
        duration_s=duration_s,
        succeeded=completed,
        failed=_failed(totals),
        mean_s=response_s if metric == "e2el" else None,
        quantiles_s=_quantiles(totals, metric),
        **sending,
    )
    return LoadTest(tool=NAME, name=totals.where, runs=(run,), notes=_NOTES[metric])


def _response_s(totals: Part, completed: int) -> float | None:
    """The mean response: the first token, and the others at the mean time of each. [s]"""
    if "mean_tpot_ms" not in totals or not completed:
        return None
    others = max(0.0, totals.number("total_output_tokens") / completed - 1.0)
    return (totals.number("mean_ttft_ms") + others * totals.number("mean_tpot_ms")) / 1e3


def _quantiles(totals: Part, metric: str) -> dict[float, Interval]:
    """Quantiles by probability, from keys such as `median_e2el_ms` and `p99.9_e2el_ms`."""
    found = {}
    for key in totals.keys:
        match = _QUANTILE.fullmatch(key)
        if match and match[3] == metric:
            q = 0.5 if match[1] == "median" else round(float(match[2]) / 100.0, 12)
            found[q] = Interval.exact(totals.number(key) / 1e3)
    return found


def _failed(run: Part) -> int:
    """Number of requests without an answer, by their errors or by the total that newer versions write."""
    if "failed" in run and run.whole("failed"):
        return run.whole("failed")
    return sum(bool(error) for error in run.list("errors")) if "errors" in run else 0


def _require_success(run: Part, name: str) -> None:
    """Refuse failed requests: how long the engine served them is not recorded."""
    failed = _failed(run)
    if failed:
        raise InputError(
            f"{name}: {failed} requests failed, so that it is not known who was served with whom; run it again"
        )


def _request(given: Any, got: Any, ttft: Any, gaps: Any, start: Any) -> SeenRequest:
    if not isinstance(gaps, list):
        raise InputError("itls must be a list of numbers for each request")
    output_tokens, start_s = whole(got, "output_lens"), number(start, "start_times")
    first_s = start_s + number(ttft, "ttfts")
    gaps_s = each(gaps, "itls", number)
    if gaps_s and min(gaps_s) < 0.0:
        raise InputError("itls must not be negative")
    return SeenRequest(
        input_tokens=whole(given, "input_lens"),
        output_tokens=output_tokens,
        start_s=start_s,
        first_s=first_s,
        last_s=first_s + sum(gaps_s),
        gaps_s=token_gaps(gaps_s, output_tokens),
        events=min(len(gaps_s) + 1, output_tokens),
    )


READERS = {"runs": read_runs, "loads": read_loads, "load-test": read_load_test}
