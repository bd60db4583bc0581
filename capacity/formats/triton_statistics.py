"""Statistics of NVIDIA's Triton Inference Server, `GET v2/models/MODEL/stats`: times by executed batch size.

`inference_stats` has totals over requests, `batch_stats` totals over executions of each batch size. Times are in
nanoseconds. Requests that a response cache answered are in `success`, but not in queue, compute or batches.
"""

import json
import re
from functools import partial

from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.formats.buckets import SINCE_START
from capacity.formats.document import Document, Part, placed
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.profile.profile import BatchTiming, ServiceProfile

NAME = "Triton's statistics (GET v2/models/MODEL/stats)"
_COMPUTE = ("compute_input", "compute_infer", "compute_output")
_STAGES = ("queue", *_COMPUTE)
_MEND = (
    "more than the requests that may be in flight while they are read: was the server restarted, or did its response "
    "cache answer? read them again when it is idle"
)
# How much counters of a busy server may differ: executions at once, and their share.
_AT_ONCE, _SHARE = 16, 0.01
_LIVE = "the counters were read while requests ran; they differ by what was in flight"
_NEARLY = 0.01  # distance of inferences per request from a whole number


def recognises(document: Document) -> bool:
    """Whether it has the one key of every answer."""
    return "model_stats" in document.keys


def read_profile(document: Document) -> ServiceProfile:
    """Mean service time by batch size: input, inference and output of an execution together.

    Raises:
        InputError: more or fewer than one model, no executed batch, or counts that contradict each other.

    Source:
        Triton Inference Server, docs/protocol/extension_statistics.md, `model_stats`.
    """
    models = _models(document)
    if len(models) > 1:
        raise InputError(
            f"{document.name} has the statistics of {len(models)} models or versions ({_names(models)}); choose one: "
            "capacity import FILE --model NAME -o profile.json, or curl "
            "HOST:8000/v2/models/MODEL/versions/VERSION/stats"
        )
    (model,) = models
    sizes = [part for part in model.parts("batch_stats") if part.part("compute_infer").whole("count")]
    if not sizes:
        raise InputError(
            f"{model.where} has executed no batch; send requests, then save the statistics again"
        )
    _require_identities(model, sizes)
    return placed(document, document.name, partial(_profile, model, sizes))


def chosen(document: Document, model: str) -> Document | None:
    """The statistics of one of several models, by `name` or `name:version`; None if there is no choice.

    Raises:
        InputError: no model of that name, or several versions of it.
    """
    models = _models(document)
    if len(models) < 2:
        return None
    found = [at for at, one in enumerate(models) if model in (one.text("name"), _names([one]))]
    if len(found) != 1:
        told = f"has {len(found)} versions of" if found else "has no"
        raise InputError(
            f"{document.name} {told} model {quoted(model)}, of {_names(models)}; give one of these"
        )
    return Document(document.name, json.dumps({"model_stats": [document.object["model_stats"][found[0]]]}))


def _profile(model: Part, sizes: list[Part]) -> ServiceProfile:
    title = printable(model.text("name"))
    return ServiceProfile(
        name=_profile_name(title),
        timings=tuple(map(_timing, sizes)),
        model=title,
        runtime="triton",
        source=_source(model, title, sizes),
        timings_column="compute_input + compute_infer + compute_output (ns)",
    )


def _source(model: Part, title: str, sizes: list[Part]) -> dict[str, str]:
    found = {"figures": f"Triton's statistics of {title}, {model.whole('execution_count')} executions"}
    totals = _totals(sizes)
    is_live = any(total != model.whole(key) for key, total in totals.items()) or any(
        len(set(_executions(size).values())) > 1 for size in sizes
    )
    return found | ({"note": _LIVE} if is_live else {})


def _profile_name(title: str) -> str:
    """The model's name in the characters that a profile's name can have."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", title).lstrip("._-")[:128] or "triton-model"


def _timing(size: Part) -> BatchTiming:
    executions = _executions(size)
    if not all(_is_live(count, executions["compute_infer"]) for count in executions.values()):
        counts = ", ".join(f"{stage} {number}" for stage, number in executions.items())
        raise InputError(f"{size.where} counts executions differently ({counts}), {_MEND}")
    means_ns = (_nonnegative(size.part(stage), "ns") / count for stage, count in executions.items())
    return BatchTiming(batch_size=size.whole("batch_size"), mean_s=1e-9 * sum(means_ns))


def _executions(size: Part) -> dict[str, int]:
    """How often each part of an execution of this size was counted."""
    return {stage: size.part(stage).whole("count") for stage in _COMPUTE}


def _totals(sizes: list[Part]) -> dict[str, int]:
    """Totals over sizes: each execution has one size, and each inference is in one execution."""
    executions = {size.whole("batch_size"): size.part("compute_infer").whole("count") for size in sizes}
    return {
        "execution_count": sum(executions.values()),
        "inference_count": sum(size * number for size, number in executions.items()),
    }


def _is_live(one: int, other: int, each: int = 1) -> bool:
    """Whether two counts are of one server, read a moment apart.

    Args:
        each: what an execution adds to them at most.
    """
    return abs(one - other) <= min(_AT_ONCE * each, _SHARE * max(one, other))


def _require_identities(model: Part, sizes: list[Part]) -> None:
    """Refuse totals that differ by more than can be in flight."""
    largest = max(size.whole("batch_size") for size in sizes)
    for key, total in _totals(sizes).items():
        if not _is_live(total, model.whole(key), largest if key == "inference_count" else 1):
            raise InputError(
                f"{model.where}.{key} is {model.whole(key)}, but batch_stats add up to {total}, {_MEND}"
            )


def read_load_test(document: Document) -> LoadTest:
    """A run for each model that answered: means, and mean time in each stage; there are no percentiles.

    Raises:
        InputError: no model that answered, or counts that cannot be.

    Source:
        Triton Inference Server, docs/protocol/extension_statistics.md, `inference_stats`.
    """
    models = [one for one in _models(document) if one.part("inference_stats").part("success").whole("count")]
    if not models:
        raise InputError(f"{document.name} counts no successful request; send some, then save it again")
    return LoadTest(
        tool="triton",
        name=document.name,
        runs=tuple(placed(document, model.where, partial(_run, model)) for model in models),
        notes=(SINCE_START, *(note for model in models for note in _notes(model))),
    )


def _run(model: Part) -> LoadRun:
    stats = model.part("inference_stats")
    succeeded = _nonnegative(stats.part("success"), "count")
    computed = succeeded - _hits(model)
    inferences = _nonnegative(model, "inference_count")
    carried = inferences / computed if computed > 0 else 1.0
    client_batch = max(1, round(carried)) if abs(carried - round(carried)) <= _NEARLY else 1
    size, batch_s = _batches(model, client_batch)
    return LoadRun(
        name=_names([model]),
        loop=Loop.SERVED,
        succeeded=succeeded,
        failed=_nonnegative(stats.part("fail"), "count") if "fail" in stats else None,
        mean_s=1e-9 * _nonnegative(stats.part("success"), "ns") / succeeded,
        stages_s={
            stage.replace("_", " "): mean for stage in _STAGES if (mean := _mean_s(stats, stage)) is not None
        },
        batch_size=client_batch,
        batch_size_mean=size,
        batch_mean_s=batch_s,
    )


def _batches(model: Part, client_batch: int) -> tuple[float | None, float | None]:
    """Mean requests per batch, and mean time of a batch [s]; None if none was executed."""
    executed = model.whole("execution_count")
    total_ns = sum(
        _nonnegative(size.part(stage), "ns") for size in model.parts("batch_stats") for stage in _COMPUTE
    )
    inferences = model.whole("inference_count")
    if not executed or not inferences or not total_ns:
        return None, None
    return inferences / client_batch / executed, 1e-9 * total_ns / executed


def _mean_s(stats: Part, stage: str) -> float | None:
    if stage not in stats or not _nonnegative(stats.part(stage), "count"):
        return None
    return 1e-9 * _nonnegative(stats.part(stage), "ns") / _nonnegative(stats.part(stage), "count")


def _notes(model: Part) -> list[str]:
    name, notes = _names([model]), []
    inferences = _nonnegative(model, "inference_count")
    if inferences and (executions := _nonnegative(model, "execution_count")):
        mean = inferences / executions
        notes.append(f"{name}: {mean:.3g} inferences in a batch on average, over {executions} executions")
    if hits := _hits(model):
        notes.append(
            f"{name}: the response cache answered {hits} requests, which are in the mean but in no stage or batch"
        )
    return notes


def _hits(model: Part) -> int:
    stats = model.part("inference_stats")
    return _nonnegative(stats.part("cache_hit"), "count") if "cache_hit" in stats else 0


def _nonnegative(part: Part, key: str) -> int:
    found = part.whole(key)
    if found < 0:
        raise InputError(f"{part.where}.{key} must not be below 0, got {found}")
    return found


def _models(document: Document) -> list[Part]:
    models = Part(document.name, document.object).parts("model_stats")
    if not models:
        raise InputError(f"{document.name} has no model in model_stats; load one, and send requests to it")
    return models


def _names(models: list[Part]) -> str:
    shown = [
        f"{one.text('name')}:{one.text('version')}" if "version" in one else one.text("name")
        for one in models
    ]
    return printable(", ".join(shown[:5]) + (", ..." if len(shown) > 5 else ""))


READERS = {"profile": read_profile, "load-test": read_load_test}
