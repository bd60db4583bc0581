"""Sweeps: the steps of an engine, and a profile of them, from runs as its clients saw them.

Three kinds of run tell the parts of a step apart. Prompts of several lengths, each alone, give the time of a prompt.
Short prompts at one request at a time up to the maximum give the time of a step by the number of requests that decode
in it. Long prompts give the time of reading the cache. Runs need no label: what each shows is found in it. A run with
more requests in flight than the engine serves at once checks the profile.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from capacity.errors import InputError
from capacity.profile.llm import KvCache, LimitsMeasured, SaturationCheck
from capacity.profile.llm_runs import SeenRequest, SeenRun, drafted
from capacity.profile.speculation import Speculation
from capacity.profile.steps import NODES_MAX, StepTiming

Floats = npt.NDArray[np.float64]

# Number of decoding requests whose stamps date a step; their median is free of one client's delays.
_WITNESSES = 16
# If only the ends of a request are known: the share of its time in which others may have computed prompts.
_IMPURE_MAX = 0.01
# And how much the number of requests may differ from a whole number meanwhile, squared and on average.
_CHANGE_MAX = 0.1
# Parts of each run into which rows of one number of requests are divided, by how much they read.
_PARTS = 4
_STEPS_KEPT, _STEPS_MIN = 8, 3  # steps of a part, and of one that is all there is
# The cost of reading shows only if the same number of requests read this many times more in another step.
_READ_RATIO = 4.0
_P99 = 2.326  # standard normal quantile
# Tokens of one step come within this share of its duration.
_SAME_STEP = 0.25
_LOADS_MIN = 3  # runs that may be loads of which each is simulated
_EMPIRICAL_MIN = 100  # from this many steps on, P99 is counted
# A prompt this short costs hardly more than a step that decodes; and how near a limit counts as being at it.
_SHORT_PROMPT, _NEAR = 256, 0.02
_STALL = 2.0  # multiple of the median of similar prompts beyond which a client or its network stalled
# Requests of a saturated run, in multiples of those that run at once; and how much its lengths may differ.
_WAVES_MIN, _LENGTHS_CV_MAX = 4, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Settings of an engine that no client can see, from its log or its command line.

    Attributes:
        sequences_max: most requests that it runs at once.
        batched_tokens_max: most tokens of one of its steps.
        request_overhead_s: time of a request outside the engine; None to work it out. [s]
        draft_tokens: tokens that it drafts for each request in a step, 0 for none; runs whose server counted them say
            it themselves.
    """

    kv: KvCache
    sequences_max: int
    batched_tokens_max: int
    request_overhead_s: float | None = None
    draft_tokens: int = 0


class ObservedStep(NamedTuple):
    """A step, or the mean of several, in which some requests decoded and no prompt was computed.

    Attributes:
        steps: number of steps in the mean.
        seen_by: number of observations of the same steps.
        at_s: when it began. [s]
    """

    requests: int
    kv_tokens: float
    seconds: float
    steps: float = 1.0
    seen_by: float = 1.0
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What sweeps reveal about an engine.

    Attributes:
        steps: rows with their count, and with P50 and P99, which tell their error. The few prompts have the median in
            place of the mean.
        overhead_s: time of a request outside the engine, not included in the steps. [s]
        check: the throughput of the saturated run; None if there was none.
        source: where they come from, in words, by aspect.
        speculation: what was drafted and accepted; None if nothing was drafted.
    """

    steps: tuple[StepTiming, ...]
    limits_measured: LimitsMeasured
    overhead_s: float
    check: SaturationCheck | None
    source: dict[str, str]
    speculation: Speculation | None = None


def are_sweeps(runs: Sequence[SeenRun]) -> bool:
    """Whether runs are sweeps, of which one has prompts with one output token each, and not loads."""
    return len(runs) < _LOADS_MIN or any(all(one.output_tokens == 1 for one in run.requests) for run in runs)


def sweep(runs: Sequence[SeenRun], settings: EngineSettings) -> Swept:
    """The steps that sweeps reveal, and the check if one of the runs was saturated.

    Raises:
        InputError: a sweep is missing (says which, and how to run it), or the saturated run cannot be compared.
    """
    runs = [run.drafting(settings.draft_tokens) for run in runs]
    saturated = [run for run in runs if run.in_flight_max > settings.sequences_max]
    sweeps = [run for run in runs if run.in_flight_max <= settings.sequences_max]
    if len(saturated) > 1:
        raise InputError(
            f"{saturated[0].name} and {saturated[1].name} both have more than the {settings.sequences_max} requests of "
            "--sequences-max in flight; give one such run, for the check"
        )
    decode = _decode_steps(sweeps)
    alone = sorted((one.input_tokens, one.first_s - one.start_s) for run in sweeps for one in _alone(run))
    prompts = _prompts(alone)
    overhead_s = _overhead_s(prompts, decode, settings)
    prefill, left_out = _prefill_steps(
        prompts, overhead_s or 0.0, _alone_s(decode) or 0.0, settings.batched_tokens_max
    )
    steps = (*decode, *prefill)
    context = max(int(max(step.context, step.past + step.prefill_tokens)) for step in steps)
    return Swept(
        steps=steps,
        limits_measured=LimitsMeasured(
            sequences_max=settings.sequences_max,
            batched_tokens_max=settings.batched_tokens_max,
            context_tokens_max=context,
        ),
        overhead_s=overhead_s or 0.0,
        check=saturation_check(saturated[0], settings, context) if saturated else None,
        source=_source(decode, prompts, overhead_s, settings)
        | _streams(runs)
        | _left_out(len(alone) - sum(map(len, prompts.values())), left_out),
        speculation=drafted(runs),
    )


def _source(
    decode: Sequence[StepTiming],
    prompts: dict[int, Floats],
    overhead_s: float | None,
    settings: EngineSettings,
) -> dict[str, str]:
    """Sources of the profile, in words."""
    return {
        "decode": f"{sum(step.count or 0 for step in decode)} steps without prompts, from gaps between tokens",
        "prefill": f"{sum(map(len, prompts.values()))} prompts of {min(prompts)} to {max(prompts)} tokens, each alone",
        "overhead": "given"
        if settings.request_overhead_s is not None
        else "in the steps of prompts, since no prompt was short enough to tell it apart"
        if overhead_s is None
        else "what the first token of the shortest prompts takes longer than a step of one request",
    }


def _streams(runs: Sequence[SeenRun]) -> dict[str, str]:
    """How tokens came where not each step sent its own, in words."""
    most = max(run.interval for run in runs)
    told = f"tokens came {most} at a time, always as many, and each is taken for a step of its own"
    return {"streams": told} if most > 1 else {}


def _left_out(stalled: int, lengths: Sequence[int]) -> dict[str, str]:
    """What was left out, in words."""
    told = []
    if stalled > 0:
        count = f"{stalled} prompt{'s' if stalled > 1 else ''}"
        told.append(f"{count} that took more than {_STALL:g} times the median of their length")
    if lengths:
        shown = ", ".join(map(str, lengths[:5]))
        told.append(f"prompts of {shown} tokens, of whose several passes the earlier ones were not measured")
    return {"left_out": "; ".join(told)} if told else {}


# Steps that decode


def _decode_steps(runs: Sequence[SeenRun]) -> list[StepTiming]:
    """Rows of steps without prompts, by the number of decoding requests and by what they read.

    Raises:
        InputError: there are none, or all read about the same.
    """
    steps = [row for run in runs for row in _rows(list(observed_steps(run)))]
    if not steps:
        is_bare = any(not run.has_stamps for run in runs)
        lengths = "256 output tokens each, since only their ends are known" if is_bare else "64 output tokens"
        raise InputError(
            "no run has a step in which requests decode and no prompt is computed; send short prompts with at least "
            f"{lengths}, at concurrencies from 1 to --sequences-max"
        )
    read: dict[int, list[float]] = {}
    for step in steps:
        read.setdefault(step.decode_requests, []).append(step.context)
    if not any(max(contexts) >= _READ_RATIO * min(contexts) for contexts in read.values()):
        longest = max(max(contexts) for contexts in read.values())
        raise InputError(
            f"no number of requests was seen to decode both with short and with long contexts (the longest has "
            f"{longest:.0f} tokens), without which the time to read the cache is unknown; send long prompts at some "
            "of the same concurrencies too"
        )
    return steps


def observed_steps(run: SeenRun) -> Iterator[ObservedStep]:
    """Steps of a run in which requests decoded and no prompt was computed or waited, as far as its clients saw them."""
    interval = run.interval
    if not run.has_stamps:
        yield from _whole_requests(run)
        return
    stamps = _stamps(run, interval)
    for begin_s, end_s, members in _windows(run):
        stamped = [stamps[id(one)] for one in members if id(one) in stamps]
        if stamped:
            yield from _steps_within(begin_s, end_s, members, stamped, interval)


def _stamps(run: SeenRun, interval: int) -> dict[int, Floats]:
    """Times of the events of each request, by its identity, where events tell steps apart. [s]"""
    is_plain = run.speculation is None and interval == 1
    return {
        id(one): np.array(one.stamps_s)
        for one in run.requests
        if one.has_stamps and not (is_plain and one.events < one.output_tokens)
    }


def _windows(run: SeenRun) -> Iterator[tuple[float, float, list[SeenRequest]]]:
    """Periods in which the same requests decoded, and no prompt was computed or waited."""
    decoding: dict[int, SeenRequest] = {}
    waiting = 0
    events = sorted(_events(run), key=lambda event: event[0])
    for (at_s, number, phase), (next_s, _, _) in pairwise(events):
        if phase == "first" and run.requests[number].output_tokens > 1:
            decoding[number] = run.requests[number]
        elif phase == "last":
            decoding.pop(number, None)
        waiting += (phase == "start") - (phase in ("first", "gone"))
        if not waiting and decoding and next_s > at_s:
            yield at_s, next_s, list(decoding.values())


def _events(run: SeenRun) -> Iterator[tuple[float, int, str]]:
    """Instants at which a request is sent, gets its first or its last token, or is lost from view."""
    for number, one in enumerate(run.requests):
        yield one.start_s, number, "start"
        yield one.first_s, number, "first"
        yield one.last_s, number, "last"
    for start_s, end_s in run.others_s:
        yield start_s, -1, "start"
        yield end_s, -1, "gone"


def _steps_within(
    begin_s: float, end_s: float, members: Sequence[SeenRequest], stamped: Sequence[Floats], interval: int
) -> Iterator[ObservedStep]:
    """The steps of a window: from one event of the witnesses to the next, which takes `interval` of them."""
    witnesses = stamped[:: math.ceil(len(stamped) / _WITNESSES)]
    within = [stamps[slice(*np.searchsorted(stamps, [begin_s, end_s + 1e-9]))] for stamps in witnesses]
    reference = max(within, key=len)
    if interval > 1 and len(reference) and reference[-1] >= end_s - 1e-9:
        reference = reference[:-1]  # the last event of an answer takes the steps that are left
    if len(reference) < 2:
        return
    nearest = np.array([_nearest(stamps, reference) for stamps in witnesses])
    if interval > 1:  # others send theirs after other steps
        apart_s = np.median(np.abs(nearest - reference), axis=1)
        nearest = nearest[apart_s <= _SAME_STEP * np.median(np.diff(reference)) / interval]
    ends_s = np.median(nearest, axis=0)
    read = sum(_context(one, float(reference[0])) for one in members)
    grown = sum(one.tokens_a_gap for one in members)
    middle = 0.5 * (1.0 - 1.0 / interval)  # of the steps of an event
    for number, seconds in enumerate(np.diff(ends_s).tolist()):
        kv_tokens, at_s = read + (number + middle) * grown, float(reference[number])
        yield ObservedStep(len(members), kv_tokens, seconds / interval, interval, at_s=at_s)


class PromptStep(NamedTuple):
    """A step that computed the last part of some prompts beside requests that decoded, by the latter's tokens.

    Attributes:
        prompt_tokens: tokens of those prompts, in whole.
        read: tokens that the decoding requests read.
        at_s: when it began. [s]
    """

    prompt_tokens: float
    requests: float
    read: float
    seconds: float
    at_s: float


def prompt_steps(run: SeenRun) -> Iterator[PromptStep]:
    """Steps at whose end first tokens came, while other requests of the run decoded and their stamps date the step."""
    ordered = sorted(run.requests, key=lambda one: one.first_s)
    interval = run.interval
    known = (
        _stamps(run, interval) if interval == 1 else {}
    )  # or a step with prompts is one of several in an event
    stamps = {key: found for key, found in known.items() if len(found) > 1}
    active: list[SeenRequest] = []
    begin = 0
    while begin < len(ordered):
        first_s = ordered[begin].first_s
        active = [one for one in active if one.last_s >= first_s]
        dated = [_dated(stamps[id(one)], first_s) for one in active if id(one) in stamps][:_WITNESSES]
        seconds, late_s = np.median(dated, axis=0).tolist() if dated else (0.0, 0.0)
        end = begin + 1
        while end < len(ordered) and ordered[end].first_s - first_s <= _SAME_STEP * seconds:
            end += 1
        group = ordered[begin:end]
        if seconds > 0.0 and abs(late_s) <= _SAME_STEP * seconds:
            read = sum(_context(one, first_s - seconds) for one in active)
            tokens = sum(one.input_tokens for one in group)
            yield PromptStep(tokens, len(active), read, seconds, first_s - seconds)
        active += group
        begin = end


def _dated(stamps: Floats, at_s: float) -> tuple[float, float]:
    """Gap before the token that is nearest to an instant, 0 before the first; and how much later it came. [s]"""
    after = int(np.clip(np.searchsorted(stamps, at_s), 1, len(stamps) - 1))
    place = after - 1 if at_s - stamps[after - 1] < stamps[after] - at_s else after
    gap_s = float(stamps[place] - stamps[place - 1]) if place else 0.0
    return gap_s, float(stamps[place]) - at_s


def _nearest(stamps: Floats, to: Floats) -> Floats:
    """The stamp nearest to each instant."""
    after = np.clip(np.searchsorted(stamps, to), 1, len(stamps) - 1)
    return np.where(to - stamps[after - 1] < stamps[after] - to, stamps[after - 1], stamps[after])


def _context(one: SeenRequest, at_s: float) -> float:
    """Tokens that a request reads in the step that begins when it got a token."""
    share = (at_s - one.first_s) / max(one.last_s - one.first_s, 1e-12)
    return one.input_tokens + 1.0 + max(0.0, min(share, 1.0)) * (one.output_tokens - 1)


def _whole_requests(run: SeenRun) -> Iterator[ObservedStep]:
    """Mean step of each request with hardly any other prompt in its time, if no single gap is known."""
    events = sorted(_events(run), key=lambda event: event[0])
    times = np.array([event[0] for event in events])
    changes = {
        "start": (1, 0, 0.0), "gone": (-1, 0, 0.0), "first": (-1, 1, 1.0), "last": (0, -1, -1.0),
    }  # fmt: skip
    waiting = np.cumsum([changes[phase][0] for _, _, phase in events])
    decoding = np.cumsum([changes[phase][1] for _, _, phase in events])
    reading = np.cumsum(
        [
            changes[phase][2] * (run.requests[number].input_tokens + run.requests[number].output_tokens / 2)
            for _, number, phase in events
        ]
    )
    spans = np.diff(times, append=times[-1])
    columns = (waiting > 0, decoding, decoding**2, reading)
    totals = [np.concatenate([[0.0], np.cumsum(one * spans)]) for one in columns]
    for one in run.requests:
        if one.events < 2 or one.last_s <= one.first_s:
            continue
        first, last = np.searchsorted(times, [one.first_s, one.last_s])
        impure, together, squared, read = (
            (total[last] - total[first]) / (one.last_s - one.first_s) for total in totals
        )
        steps = one.output_tokens - 1 if run.speculation is None else one.events - 1
        requests = max(1, round(together))
        if impure <= _IMPURE_MAX and squared - 2 * together * requests + requests**2 <= _CHANGE_MAX:
            seconds = (one.last_s - one.first_s) / steps
            yield ObservedStep(requests, max(read, requests), seconds, steps, requests, one.first_s)


def _rows(observed: Sequence[ObservedStep]) -> Iterator[StepTiming]:
    """Observations of one run as rows: by number of requests, and by what they read in a few parts."""
    groups: dict[int, list[ObservedStep]] = {}
    for one in observed:
        groups.setdefault(one.requests, []).append(one)
    for requests, group in sorted(groups.items()):
        ordered = sorted(group, key=lambda one: one.kv_tokens)
        size = max(math.ceil(_STEPS_KEPT / ordered[0].steps), math.ceil(len(ordered) / _PARTS))
        for begin in range(0, len(ordered), size):
            part = ordered[begin : begin + size]
            # After a client stalled, all tokens may come together and tell nothing.
            is_seen = any(one.seconds > 0.0 for one in part)
            if is_seen and sum(one.steps for one in part) >= _STEPS_MIN:
                yield _row(requests, part)


def _row(requests: int, part: Sequence[ObservedStep]) -> StepTiming:
    """The row of similar observations. The variance of a mean over n steps is n times smaller."""
    _, kv, seconds, steps, seen_by, _ = (np.array(column, dtype=float) for column in zip(*part, strict=True))
    mean_s = float(np.average(seconds, weights=steps))
    spread_s = math.sqrt(float((steps * (seconds - mean_s) ** 2).sum()) / max(1, len(part) - 1))
    read = max(requests, round(float(np.average(kv, weights=steps))))
    timing = StepTiming(
        decode_requests=requests,
        decode_kv_tokens=read,
        mean_s=mean_s,
        count=max(1, round(float((steps / seen_by).sum()))),
    )
    return _with_percentiles(timing, seconds, spread_s, is_single=bool((steps == 1.0).all()))


def _with_percentiles(timing: StepTiming, seconds: Floats, spread_s: float, *, is_single: bool) -> StepTiming:
    """The timing with P50 and P99: counted from a hundred single steps on, else from the standard deviation."""
    if len(seconds) < 2:
        return timing
    p50_s = float(np.median(seconds))
    counted = is_single and len(seconds) >= _EMPIRICAL_MIN
    p99_s = float(np.quantile(seconds, 0.99)) if counted else p50_s + _P99 * spread_s
    return replace(timing, p50_s=p50_s, p99_s=p99_s)


# Prompts alone


def _prompts(alone: Sequence[tuple[int, float]]) -> dict[int, Floats]:
    """Time to first token of requests with no other in flight, by length of the prompt. [s]

    If there are more lengths than a table keeps, neighbours are grouped. Requests that took several times the median
    of their length are left out.

    Raises:
        InputError: no request was alone.
    """
    if not alone:
        raise InputError(
            "no prompt was computed alone; send prompts of several lengths with one output token each, at "
            "concurrency 1"
        )
    lengths = {tokens for tokens, _ in alone}
    gathered: dict[int, list[float]] = {}
    if len(lengths) <= NODES_MAX:
        for tokens, seconds in alone:
            gathered.setdefault(tokens, []).append(seconds)
    else:
        for part in np.array_split(np.array(alone), NODES_MAX):
            gathered.setdefault(round(float(part[:, 0].mean())), []).extend(part[:, 1].tolist())
        gathered.setdefault(alone[-1][0], []).append(alone[-1][1])  # the table reaches as far as the longest
    return {tokens: _without_stalls(np.array(found)) for tokens, found in gathered.items()}


def _without_stalls(seconds: Floats) -> Floats:
    """The durations without stalls: one stall would be taken for a longer step, of which there are only a few."""
    return seconds[seconds <= _STALL * np.median(seconds)]


def _alone(run: SeenRun) -> Iterator[SeenRequest]:
    """Requests with no other in flight from their start to their first token."""
    spans = sorted([(one.start_s, one.last_s, one) for one in run.requests], key=lambda span: span[0])
    others = heapq.merge(
        [(start, end) for start, end, _ in spans], sorted(run.others_s), key=lambda span: span[0]
    )
    everybody = np.array(list(others))
    over_s = np.maximum.accumulate(np.concatenate([[-np.inf], everybody[:, 1]]))
    for start_s, _, one in spans:
        first, after = (np.searchsorted(everybody[:, 0], start_s, side=side) for side in ("left", "right"))
        is_next_later = after == len(everybody) or everybody[after, 0] >= one.first_s
        if after - first == 1 and over_s[first] <= start_s and is_next_later:
            yield one


def _overhead_s(
    prompts: dict[int, Floats], decode: Sequence[StepTiming], settings: EngineSettings
) -> float | None:
    """Time of a request outside the engine; None if it cannot be told from its step. [s]

    A pass with hardly any prompt takes as long as one with a decoding request, since both read all weights once; the
    rest of the time to its first token is outside the engine. Two prompts extrapolate to an empty one, and no prompt
    takes less.
    """
    if settings.request_overhead_s is not None:
        return settings.request_overhead_s
    step_s = _alone_s(decode)
    first, second = (sorted(prompts) * 2)[:2]
    if step_s is None or len(prompts) < 2 or first > _SHORT_PROMPT:
        return None
    first_s, second_s = (float(np.median(prompts[tokens])) for tokens in (first, second))
    without_s = first_s - first * max(0.0, second_s - first_s) / (second - first)
    without_s = min(without_s, *(float(np.median(seconds)) for seconds in prompts.values()))
    return max(0.0, without_s - step_s)


def _alone_s(decode: Sequence[StepTiming]) -> float | None:
    """A step in which one request that has read little decodes; None if none was seen. [s]"""
    alone = [step for step in decode if step.decode_requests == 1]
    if not alone:
        return None
    least = min(alone, key=lambda step: step.decode_kv_tokens)
    return least.p50_s or least.mean_s


def _prefill_steps(
    prompts: dict[int, Floats], overhead_s: float, least_s: float, most: int
) -> tuple[list[StepTiming], list[int]]:
    """Rows of passes of one prompt, and lengths of prompts that could not be taken apart.

    A prompt longer than a pass is computed in several; its last pass took the difference to the prompt that ends
    where that pass begins, and no less than any pass takes.

    Args:
        least_s: shortest pass, as far as known. [s]
        most: tokens of a pass.
    """
    steps: list[StepTiming] = []
    left_out: list[int] = []
    for tokens, seconds in prompts.items():
        before = (tokens - 1) // most * most
        if not before:
            steps.append(_prefill_step(tokens, 0, seconds - overhead_s, len(seconds), float(seconds.std())))
            continue
        earlier = next(
            (prompts[one] for one in prompts if before * (1.0 - _NEAR) <= one <= before), np.zeros(0)
        )
        if not len(earlier):
            left_out.append(tokens)
            continue
        spread_s = math.hypot(float(seconds.std()), float(earlier.std()))
        count = min(len(seconds), len(earlier))
        last_s = np.maximum(seconds - float(np.median(earlier)), least_s)
        steps.append(_prefill_step(tokens - before, before, last_s, count, spread_s))
    return steps, left_out


def _prefill_step(tokens: int, past: int, seconds: Floats, count: int, spread_s: float) -> StepTiming:
    mean_s = float(np.median(seconds))  # a client's delays make a few longer, and none shorter
    if mean_s <= 0.0:
        raise InputError(
            f"a pass of {tokens} prompt tokens after {past} took {mean_s:g} s; prompts with more tokens must take "
            "longer, and --request-overhead be shorter than their first token takes"
        )
    timing = StepTiming(
        prefill_requests=1, prefill_tokens=tokens, prefill_kv_tokens=past, mean_s=mean_s, count=count
    )
    return _with_percentiles(timing, seconds, spread_s, is_single=past == 0)


# The run that a profile is checked by


def saturation_check(run: SeenRun, settings: EngineSettings, context_tokens_max: int) -> SaturationCheck:
    """Throughput of a run in which requests always wait, from the end of its first wave to the start of its last.

    Raises:
        InputError: too few requests, too different lengths, or longer ones than were measured.
    """
    slots, count = settings.sequences_max, len(run.requests)
    if count < _WAVES_MIN * slots:
        raise InputError(
            f"{run.name} is the saturated run, and has {count} requests; send at least {_WAVES_MIN} times the "
            f"{slots} of --sequences-max"
        )
    lengths = np.array([(one.input_tokens, one.output_tokens) for one in run.requests], dtype=float)
    variation = lengths.std(axis=0) / lengths.mean(axis=0)
    if variation.max() > _LENGTHS_CV_MAX:
        raise InputError(
            f"{run.name} is the saturated run, and its lengths vary by {100 * variation.max():.0f} %; send requests "
            "of equal input and output tokens, so that a simulation can be held against it"
        )
    ended_s = np.sort([one.last_s for one in run.requests])
    lasted_s = float(ended_s[count - slots - 1] - ended_s[slots - 1])
    if lasted_s <= 0.0:
        raise InputError(
            f"{run.name} is the saturated run, and all its requests end at once; send more of them"
        )
    given, got = (max(1, round(float(mean))) for mean in lengths.mean(axis=0))
    if given + got > context_tokens_max:
        raise InputError(
            f"{run.name} is the saturated run, and its requests of {given + got} tokens are longer than the "
            f"{context_tokens_max} of any measured context; send shorter ones"
        )
    return SaturationCheck(
        saturated_throughput_rps=(count - 2 * slots) / lasted_s, input_tokens=given, output_tokens=got
    )
