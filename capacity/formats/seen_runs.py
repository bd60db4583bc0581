"""Seen runs: requests of a language model as a load test, whose response is the time to the last token."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from capacity.formats.load_test import LoadRun, LoadTest, Loop, Samples, Times, sent_rps
from capacity.performance import Interval
from capacity.profile.llm_runs import SeenRun
from capacity.traffic.lengths import LengthRows

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


def load_run(
    run: SeenRun,
    *,
    loop: Loop = Loop.UNKNOWN,
    users: float | None = None,
    rate_asked_rps: float | None = None,
    rate_sent_rps: float | None = None,
    failed: int | None = None,
) -> LoadRun:
    """One run, by the settings of its client.

    Args:
        rate_sent_rps: rate at which all requests were sent, if the run lacks those that failed.
    """
    sent = np.array([one.start_s for one in run.requests])
    last = np.array([one.last_s for one in run.requests])
    responses_s = last - sent
    lasted_s = float(last.max() - sent.min())
    due_s = [one.due_s for one in run.requests if one.due_s is not None]
    is_due = len(due_s) == len(sent) and loop is not Loop.CLOSED
    samples = Samples.of(sent.tolist(), responses_s.tolist(), due_s if is_due else ())
    return LoadRun(
        name=run.name,
        loop=loop,
        users=users,
        rate_asked_rps=rate_asked_rps,
        rate_sent_rps=sent_rps(samples) if rate_sent_rps is None else rate_sent_rps,
        throughput_rps=len(sent) / lasted_s if lasted_s > 0.0 else None,
        duration_s=lasted_s,
        succeeded=len(sent),
        failed=failed,
        mean_s=float(responses_s.mean()),
        min_s=float(responses_s.min()),
        max_s=float(responses_s.max()),
        quantiles_s=_quantiles(responses_s.tolist()),
        samples=samples,
        lengths=LengthRows(
            tuple(one.input_tokens for one in run.requests), tuple(one.output_tokens for one in run.requests)
        ),
        measures=_measures(run),
    )


def _measures(run: SeenRun) -> dict[str, Times]:
    """Times to the first token, and per output token after it."""
    ttft_s = [one.first_s - one.start_s for one in run.requests]
    longer = [one for one in run.requests if one.output_tokens > 1]
    tpot_s = [(one.last_s - one.first_s) / (one.output_tokens - 1) for one in longer]
    found = {"ttft": ttft_s, "tpot": tpot_s}
    return {
        name: Times(mean_s=fmean(values), quantiles_s=_quantiles(values))
        for name, values in found.items()
        if values
    }


def _quantiles(values: Sequence[float]) -> dict[float, Interval]:
    levels = np.quantile(values, _QUANTILES, method="higher")
    return {q: Interval.exact(float(x)) for q, x in zip(_QUANTILES, levels, strict=True)}


def load_test(tool: str, name: str, runs: list[LoadRun]) -> LoadTest:
    """All runs of a file."""
    return LoadTest(tool=tool, name=name, runs=tuple(runs), notes=("responses are to the last token",))
