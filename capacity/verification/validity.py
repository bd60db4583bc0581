"""Validity: whether a load test was the intended one, so that its figures are the server's own."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

import numpy as np

from capacity.measurement.sections import drift, requests_min, smallest_reaching
from capacity.units import format_duration, format_percent, format_quantile
from capacity.verification.conversations import ConversationSchedule
from capacity.verification.run import EXHAUSTED, LoadRun

# A request sent late arrives late: other arrivals than predicted. The latest hundredth may lag by a tenth of the
# median response, and by a millisecond in any case.
LAG_QUANTILE, LAG_SHARE_MAX, LAG_FORGIVEN_S = 0.99, 0.1, 1e-3
# Lags by stalls are in the mean response: they may add half of its tolerance at most. The usual lag, the median, is
# in the request overhead already.
STALLS_SHARE_MAX, STALLS_FORGIVEN_S = 0.025, 1e-4
# Share of the slowest requests that may be slow because they were sent late: if a fifth of those beyond P99 does not
# belong there, P99 of an exponential tail is off by a twentieth.
LATE_SHARE_MAX = 0.2
# A sender that is almost never idle reads answers late, which shows in no lag.
CPU_SHARE_MAX = 0.9
# Between the halves of a run the mean may differ by twice its tolerance, or by chance.
DRIFT_SHARE_MAX, DRIFT_CONFIDENCE, _DRIFT_REQUESTS_MIN = 0.1, 0.999, 200
_OWN_CORE = (
    "give the load generator a core or a machine of its own, start it with priority (as root: chrt --rr 1 capacity "
    "verify ...), or lower --rate"
)


def faults(run: LoadRun, in_flight_max: int, *, is_steady: bool = False) -> Iterator[str]:
    """What makes a run invalid, each with its numbers and the fix; a steady run must not drift either."""
    scheduled = run.schedule.requests
    if not run.is_complete:
        yield f"the run was stopped after {run.sent} of {scheduled} requests; let it end"
        return
    if exhausted := int((run.outcomes == EXHAUSTED).sum()):
        yield (
            f"{exhausted} of {run.sent} requests found no free descriptor or port on this machine, which "
            "also keeps idle connections; give fewer --url, lower --rate, or raise ulimit -n"
        )
    if run.is_overflowed:
        yield (
            f"{in_flight_max} requests were in flight, the most allowed: {run.sent} of "
            f"{scheduled} were sent; the server does not keep up, so lower --rate"
        )
    if run.odd_lengths:
        yield (
            f"{run.odd_lengths} answers had other numbers of tokens than they were asked for, so that the load was "
            "another; the server must know max_tokens and ignore_eos"
        )
    if len(run.responses_s) == 0:
        yield f"none of {run.counted} requests was answered with status 200; fix the server first"
        return
    if run.cpu_share > CPU_SHARE_MAX:
        yield f"sending took {format_percent(run.cpu_share)} of a core, so answers were read late; {_OWN_CORE}"
    yield from _lateness(run)
    if is_steady:
        yield from _drift(run)


def _lateness(run: LoadRun) -> Iterator[str]:
    lags_s, responses_s = run.lags_s(), run.begun_s
    lag_s, median_s = float(np.quantile(lags_s, LAG_QUANTILE)), float(np.median(responses_s))
    stalls_s, mean_s = float(lags_s.mean() - np.median(lags_s)), float(responses_s.mean())
    if lag_s > max(LAG_FORGIVEN_S, LAG_SHARE_MAX * median_s):
        yield (
            f"the load generator fell behind: P99 of its lag is {format_duration(lag_s)}, above "
            f"{format_duration(LAG_FORGIVEN_S)} and a tenth of the median {run.begun} "
            f"({format_duration(median_s)}); {_OWN_CORE}"
        )
    elif stalls_s > max(STALLS_FORGIVEN_S, STALLS_SHARE_MAX * mean_s):
        yield (
            f"the load generator stalled: that adds {format_duration(stalls_s)} to the mean lag, above "
            f"{format_duration(STALLS_FORGIVEN_S)} and {format_percent(STALLS_SHARE_MAX, 1)} of the mean {run.begun} "
            f"({format_duration(mean_s)}); {_OWN_CORE}"
        )


def _drift(run: LoadRun) -> Iterator[str]:
    """Evidence that the run was no steady state; none if it is too short to tell."""
    if len(run.responses_s) < _DRIFT_REQUESTS_MIN:
        return
    rise = drift(run.responses_s, DRIFT_CONFIDENCE, fmean)
    if rise is not None and abs(rise.value) > DRIFT_SHARE_MAX and not rise.low <= 0.0 <= rise.high:
        yield (
            "the run was not stationary: the mean response of its second half differs by "
            f"{100.0 * rise.value:+.0f} % from that of the first; raise --warm-up, or check what else the machines "
            "are doing"
        )


def untold(runs: Sequence[LoadRun]) -> Iterator[str]:
    """What servers leave unsaid of the turns of sessions, and what then differs; nothing of other requests."""
    talks = [run for run in runs if isinstance(run.schedule, ConversationSchedule)]
    if count := sum(run.untold for run in talks):
        yield (
            f"{count} answers came without token ids, so that the next turns repeat prompts alone, and caches find "
            "less than predicted; the server must know return_token_ids, as vLLM does from 0.10.2 on"
        )
    if any(len(run.responses_s) and not len(run.hits[0]) for run in talks):
        yield (
            "prefix hits are not known: the server does not count usage.prompt_tokens_details.cached_tokens; "
            "start vLLM with --enable-prompt-tokens-details"
        )


def tail_faults(runs: Sequence[LoadRun], quantiles: Iterable[float]) -> Iterator[str]:
    """Quantiles of all runs that the load generator's lag distorted: too many requests beyond were sent late."""
    responses_s = np.concatenate([run.responses_s for run in runs])
    lags_s = np.concatenate([run.lags_s(of_good=True) for run in runs])
    for quantile in quantiles:
        if len(responses_s) < requests_min(quantile):
            continue
        value_s = smallest_reaching(responses_s, quantile)
        late = lags_s[responses_s >= value_s] > max(LAG_FORGIVEN_S, LAG_SHARE_MAX * value_s)
        if late.mean() > LATE_SHARE_MAX:
            yield (
                f"the load generator determined {format_quantile(quantile)}: {format_percent(late.mean())} of the "
                f"requests beyond it were sent late by more than {format_percent(LAG_SHARE_MAX)} of it; {_OWN_CORE}"
            )
