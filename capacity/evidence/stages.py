"""Stages: where a request spends its time in a server, and what its queue says."""

from collections.abc import Iterator
from dataclasses import dataclass

from capacity.evidence.inferences import implied_batch
from capacity.formats.load_test import INFERENCE, PREFILL, QUEUE, SERVER_STAGES, EngineNow, LoadRun
from capacity.units import format_duration, format_percent, format_rate

_SHORT = 0.02  # of a request's time, below which its wait is no queue
_FULL = 0.9  # of a KV cache, above which the next request may not fit
_MORE = 1.05  # requests in flight per user that rounding does not explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the queue of a server says.

    Attributes:
        queue_s, served_s: mean time of a request in the queue, and in all other stages of the server. [s]
        throughput_rps: requests answered per second; if that is not measured, those of one instance that is never
            idle. [requests/s]
        waiting, served: mean number of requests waiting, and being served.
        is_measured: whether the throughput was measured.
        client_batch: inferences per request if Little's law tells what the file does not; else 1.
    """

    queue_s: float
    served_s: float
    throughput_rps: float
    waiting: float
    served: float
    is_measured: bool
    client_batch: int


def waiting_of(run: LoadRun) -> Waiting | None:
    """Little's law for each stage; None without a queue or a throughput.

    Source:
        Little (1961), A proof for the queuing formula L = λW, Oper. Res. 9(3).
    """
    if QUEUE not in run.stages_s:
        return None
    queue_s = run.stages_s[QUEUE]
    served_s = sum(value_s for name, value_s in run.stages_s.items() if name in SERVER_STAGES[1:])
    client_batch = implied_batch(run) or 1
    throughput_rps, is_measured = run.throughput_rps, True
    if throughput_rps is not None:
        throughput_rps /= client_batch
    elif run.batch_size_mean and run.batch_mean_s:
        throughput_rps, is_measured = run.batch_size_mean / run.batch_mean_s, False
    if not throughput_rps:
        return None
    return Waiting(
        queue_s=queue_s,
        served_s=served_s,
        throughput_rps=throughput_rps,
        waiting=throughput_rps * queue_s,
        served=throughput_rps * served_s,
        is_measured=is_measured,
        client_batch=client_batch,
    )


def sentences(run: LoadRun) -> Iterator[str]:
    """Where the time goes, and why the queue is as long as it is."""
    total_s = sum(run.stages_s.values())
    if not total_s:
        return
    name, most_s = max(run.stages_s.items(), key=lambda one: one[1])
    yield f"{run.name}: {100.0 * most_s / total_s:.0f} % of a request's {format_duration(total_s)} is {name}."
    if PREFILL in run.stages_s:
        yield from _of_engine(run, total_s)
        return
    found = waiting_of(run)
    if found is None:
        return
    inference_s = run.stages_s.get(INFERENCE) or run.stages_s.get("compute")
    if inference_s:
        yield (
            f"A request waits {format_duration(found.queue_s)}, {found.queue_s / inference_s:.2g} times its "
            f"inference of {format_duration(inference_s)}."
        )
    rate = format_rate(found.throughput_rps)
    told = (
        f"at {rate}"
        if found.is_measured
        else f"at {rate}, the most that one instance serves if it is never idle"
    )
    if found.client_batch > 1:
        told += f", as each request must carry {found.client_batch} inferences for the law to hold"
    yield (
        f"By Little's law that is {found.waiting:.2g} requests waiting and {found.served:.2g} being served, {told}: "
        f"{found.waiting + found.served:.2g} in the server at once."
    )
    if run.users and found.waiting + found.served > _MORE * run.users:
        yield (
            f"A closed loop of {run.users:g} cannot have that many, so that the throughput is not of these requests: "
            "see capacity audit."
        )
        return
    yield from _why(run, found)


def _of_engine(run: LoadRun, total_s: float) -> Iterator[str]:
    """Why requests wait for the first step of a language model's engine."""
    queue_s, prefill_s = run.stages_s.get(QUEUE, 0.0), run.stages_s[PREFILL]
    yield (
        f"A request waits {format_duration(queue_s)} for its first step, and {format_duration(prefill_s)} more for its "
        "first token."
    )
    now = run.engine
    if now is not None:
        yield f"When the page was read, {_held(now)}."
    if queue_s < _SHORT * total_s:
        yield "The queue is short: a request waits hardly longer than for the step under way to end."
    elif now is None or now.kv_share is None or not now.waiting:
        yield (
            "The page does not show why: it was read while no request waited, or without the counts of requests "
            "and the use of the KV cache. Read it while the queue is long."
        )
    elif now.kv_share >= _FULL:
        yield (
            "Requests wait for room in the KV cache: more replicas, a larger cache or shorter contexts shorten the "
            "queue; a larger --max-num-seqs does not."
        )
    else:
        yield (
            "The KV cache has room, so that --max-num-seqs or the tokens of a step hold requests back: more "
            f"replicas shorten the queue; if {now.running:.0f} requests are all that --max-num-seqs allows, a larger "
            "one does too, and makes the time between tokens longer."
        )


def _held(now: EngineNow) -> str:
    """What an engine held, and how often it preempts."""
    ran = f"{now.running:.0f} request{'' if now.running == 1 else 's'} ran and {now.waiting:.0f} waited"
    full = "" if now.kv_share is None else f", with {format_percent(now.kv_share)} of the KV cache in use"
    often = f"; {100.0 * now.preemptions:.2g} of 100 requests were preempted" if now.preemptions else ""
    return f"{ran}{full}{often}"


def _why(run: LoadRun, found: Waiting) -> Iterator[str]:
    """What would shorten the queue."""
    batch = run.batch_size_mean
    if found.waiting < 0.5 * found.served:
        yield "The queue is short: a request waits about as long as the batch before it takes to end."
        return
    if run.users:
        yield (
            f"Of {run.users:g} users who wait for their answers {found.waiting:.2g} stand in the queue: it is as "
            "long as there are users beyond those being served. Fewer at once, or more replicas, shorten it."
        )
        return
    in_batch = "" if batch is None else f" Batches hold {batch:.2g} on average."
    yield (
        "More requests arrive at once than are served at once, so each waits for the batches of others."
        f"{in_batch} More replicas shorten the queue; larger batches do if a batch of twice the size takes less than "
        "twice as long."
    )
