"""The JSON of `vllm bench serve --save-result --save-detailed`: one run, with what the client saw of each request.

Durations are in seconds. `ttfts`, `itls`, `start_times` and so on are columns, with a cell for each request;
`itls` has the gaps between chunks, of which the server sends one for each token, or rarely one for several.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from capacity.errors import InputError
from capacity.files import located
from capacity.formats.document import Document, Part, each, number, whole
from capacity.formats.load_test import LoadTest, Loop
from capacity.formats.seen_runs import load_run, load_test
from capacity.profile.llm_runs import SeenRequest, SeenRun, token_gaps

NAME = "vllm bench serve --save-result --save-detailed"
_COLUMNS = ("input_lens", "output_lens", "ttfts", "itls", "start_times")


def recognises(document: Document) -> bool:
    """Whether it has the totals that every result has."""
    return {"request_throughput", "total_input_tokens", "duration", "completed"} <= document.keys


def read_runs(document: Document) -> tuple[SeenRun, ...]:
    """The one run.

    Raises:
        InputError: no columns of single requests, requests that failed, or values that cannot be.

    Source:
        vLLM 0.19.0, vllm/benchmarks/serve.py, `benchmark`.
    """
    whole_run = Part(document.name, document.object)
    missing = [name for name in _COLUMNS if name not in whole_run]
    if missing:
        raise InputError(
            f"{document.name} has no {missing[0]}, and so nothing of single requests; run vllm bench serve with "
            "--save-result --save-detailed, of a version that writes start_times"
        )
    columns = [whole_run.list(name) for name in _COLUMNS]
    if len({len(column) for column in columns}) > 1:
        raise InputError(f"{document.name}: {', '.join(_COLUMNS)} must be equally long")
    _require_success(whole_run, document.name)
    requests = tuple(
        located(f"{document.name} request {at}", partial(_request, *cells))
        for at, cells in enumerate(zip(*columns, strict=True))
    )
    return (SeenRun(name=document.name, requests=requests),)


def read_load_test(document: Document) -> LoadTest:
    """The same as a load test: open at a request rate, closed at a concurrency without one.

    Raises:
        InputError: as `read_runs`.
    """
    (run,) = read_runs(document)
    settings = Part(document.name, document.object)
    rate, users = settings.value("request_rate"), settings.value("max_concurrency")
    has_rate = isinstance(rate, int | float) and math.isfinite(rate)
    loop = Loop.OPEN if has_rate else Loop.CLOSED if users else Loop.UNKNOWN
    asked_rps = number(rate, f"{document.name}.request_rate") if has_rate else None
    found = load_run(
        run,
        loop=loop,
        users=settings.number("max_concurrency") if users else None,
        rate_asked_rps=asked_rps,
        failed=0,
    )
    return load_test(NAME, document.name, [found])


def _require_success(run: Part, name: str) -> None:
    """Refuse requests that failed, of which nobody wrote down for how long the engine served them."""
    failed = sum(bool(error) for error in run.list("errors")) if "errors" in run else 0
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
    )


READERS: Mapping[str, Callable[[Document], Any]] = {"runs": read_runs, "load-test": read_load_test}
