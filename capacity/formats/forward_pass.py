"""Forward pass metrics of Dynamo as lines of JSON: what each step of an engine held, and how long it took.

A line is the message itself, the record of Dynamo's trace with the message under `fpm`, or the message with its counts
at the top, as its simulator prints it. An idle engine sends a message of zeros.
"""

from capacity.errors import InputError
from capacity.formats.document import Document, Part
from capacity.profile.llm_steps import STEPS_MAX, SeenStep, SeenSteps

NAME = "Dynamo's forward pass metrics (JSON lines)"
_COUNTS = ("num_prefill_requests", "sum_prefill_tokens", "num_decode_requests", "sum_decode_kv_tokens")
_SCHEDULED, _FPM = "scheduled_requests", "fpm"


def recognises(document: Document) -> bool:
    """Whether its first line has the duration of a step, and what it held."""
    line = document.first_line
    inner = line.get(_FPM)
    message = inner if isinstance(inner, dict) else line
    return "wall_time" in message and (_SCHEDULED in message or set(_COUNTS) <= message.keys())


def read_steps(document: Document) -> tuple[SeenSteps, ...]:
    """The steps of each engine, which is a worker and its rank.

    Raises:
        InputError: a line that is no message, counts that cannot be, or no step at all.

    Source:
        ai-dynamo/dynamo, components/src/dynamo/common/forward_pass_metrics.py, and its trace `dynamo.fpm.trace.v1`.
    """
    engines: dict[tuple[str, int], list[SeenStep]] = {}
    count = 0
    for where, line in document.each_line():
        whole = Part(where, line)
        message = whole.part(_FPM) if _FPM in whole else whole
        step = _step(message)
        if step is None:
            continue
        count += 1
        if count > STEPS_MAX:
            raise InputError(f"{document.name} has more than {STEPS_MAX} steps; keep fewer")
        engines.setdefault(_engine(message), []).append(step)
    if not engines:
        raise InputError(
            f"{document.name} has no step in which anything was computed; record some under load"
        )
    source = {"steps": "wall times of forward passes, from the choice of requests to their new tokens"}
    return tuple(
        SeenSteps(
            name=document.name if len(engines) == 1 else f"{document.name} worker {worker} rank {rank}",
            steps=tuple(steps),
            source=source,
        )
        for (worker, rank), steps in engines.items()
    )


def _engine(message: Part) -> tuple[str, int]:
    worker = message.value("worker_id") if "worker_id" in message else ""
    return str(worker)[:80], message.whole("dp_rank") if "dp_rank" in message else 0


def _step(message: Part) -> SeenStep | None:
    """The step; None if the engine was idle."""
    held = message.part(_SCHEDULED) if _SCHEDULED in message else message
    prompts, tokens, requests, read = (held.whole(name) for name in _COUNTS)
    seconds = message.number("wall_time")
    if not (tokens or requests):
        return None
    past = held.whole("sum_prefill_kv_tokens") if "sum_prefill_kv_tokens" in held else 0
    if seconds <= 0.0:
        raise InputError(
            f"{message.where} computed {tokens} prompt tokens and {requests} requests in {seconds:g} s"
        )
    if min(prompts, tokens, requests, read, past) < 0 or (tokens and not prompts):
        raise InputError(f"{message.where} has counts that cannot be: {prompts} prompts with {tokens} tokens")
    return SeenStep(prompts, tokens, past, requests, read, None, seconds)


READERS = {"steps": read_steps}
