"""The verb `import_file`: the content of a file of another tool."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.answers.evidence import ImportAnswer
from capacity.api.files import document_of, engine_kind, require_engines, sources
from capacity.doors import door
from capacity.errors import CapacityError, InputError, quoted
from capacity.evidence.recorded import read_recorded
from capacity.formats.document import Document
from capacity.formats.registry import Format, Kind, format_of, read_document
from capacity.profile.load import load_llm
from capacity.profile.profile import ServiceProfile
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.units import require_count

if TYPE_CHECKING:
    from capacity.answers.evidence import LlmProfileAnswer


@door("import")
def import_file(asked: Asked) -> "LlmProfileAnswer | ImportAnswer":
    """The content of other tools' files: a profile, a workload, a load test, or the settings of a server.

    Raises:
        InputError: an unknown format; for a language model, a missing flag that clients cannot see, a missing sweep,
            or steps that miss the throughput of the saturated run among the files.
        DependencyError: a URL does not answer.
    """
    paths, kind = sources(asked["files"]), asked.kind
    if asked.profile is not None:
        if kind is not None:
            raise InputError(
                "--profile takes single requests, and --as what a file is read for; leave one out"
            )
        return with_host(paths, asked)
    if asked.is_told("every"):
        raise InputError("--every is of --profile, to which requests add the time of a host; give both")
    if kind is not None or (len(paths) == 1 and engine_kind(paths[0]) is None):
        if len(paths) > 1:
            raise InputError(f"--as {kind} reads one file, got {len(paths)}")
        return content_of(paths[0], kind, asked)
    held = require_engines(paths)
    if asked.device_kind is not None:
        raise InputError("--kind is of a profile of batch times, and these are of an engine; leave it out")
    from capacity.api.profile import OF_FILES

    return OF_FILES[held](paths, asked)


def with_host(paths: Sequence[str | Path], asked: Asked) -> "LlmProfileAnswer":
    """A profile of an engine, with what its host takes for each step by requests that it served.

    Raises:
        InputError: not the profile of a language model, files without single requests, or an invalid setting.
        DomainError: settings or steps beyond those of the profile.
    """
    from capacity.answers.evidence import LlmProfileAnswer
    from capacity.profile.llm_loads import load_of_run
    from capacity.search.engines import llm_profile_caveats
    from capacity.server.engine.asked import with_engine_flags
    from simulations.calibration.host import host_of

    require_count("--every", asked.every)
    base = with_engine_flags(load_llm(asked.profile), {**asked, "draft_tokens": None})
    told = ("name", "model", "device", "precision", "hourly_usd")
    base = replace(base, **{name: asked[name] for name in told if asked[name] is not None})
    limits = base.limits_measured
    settings = (
        asked.sequences_max or limits.sequences_max,
        asked.batched_tokens_max or limits.batched_tokens_max,
    )
    base.require(*settings)
    runs = [run for path in paths for run in read_document(document_of(path), Kind.RUNS)]
    asked.progress("calibrating the time of the host")
    found = host_of(base, [load_of_run(run) for run in runs], settings, slice(0, None, asked.every))
    return LlmProfileAnswer(
        profile=found.profile,
        checked_rps=None,
        caveats=tuple(llm_profile_caveats(found.profile)),
        figures=found.figures,
    )


# Kinds in order: the first that a file holds is read.
_PREFERRED = (Kind.PROFILE, Kind.LOAD_TEST, Kind.WORKLOAD, Kind.PLAN)


# Keywords of an import that describe a profile, and those that describe a language model's engine.
_OF_PROFILES = (
    "name", "model", "device", "device_kind", "precision", "runtime", "hourly_usd", "request_overhead",
    "request_overhead_s",
)  # fmt: skip


_OF_ENGINES = (
    "devices", "kv_tokens", "block_tokens", "sequences_max", "batched_tokens_max", "engine_policy", "prefix_caching",
    "async_scheduling", "chunked_prefill", "draft_tokens",
)  # fmt: skip


def content_of(source: str | Path, kind: str | None, given: Mapping[str, Any]) -> ImportAnswer:
    """The content of a file: what is asked for, else a profile, a load test, a workload or a plan, in this order.

    Args:
        given: keywords of `capacity.api.import_file`; what they say of a profile overrides the file.
    """
    document = document_of(source)
    found = format_of(document)
    document, given = _of_model(document, found, given)
    kinds = [one for one in _PREFERRED if one in found.READERS]
    if not kinds:
        read_document(document, Kind.PROFILE)  # reports what is in it
    asked = kinds[0] if kind is None else _kind(kind)
    reader = read_recorded if asked is Kind.WORKLOAD else partial(read_document, kind=asked)
    value: Any = reader(document)
    told = [name for name in (*_OF_PROFILES, *_OF_ENGINES) if given.get(name) not in (None, 1)]
    wrong = [name for name in told if asked is not Kind.PROFILE or name in _OF_ENGINES]
    if wrong:
        flag = "--" + wrong[0].removesuffix("_s").removeprefix("device_").replace("_", "-")
        raise InputError(f"{flag} does not apply to a {asked.value} of {found.NAME}; leave it out")
    if asked is Kind.PROFILE:
        value = _completed(value, given)
    others = tuple(one.value for one in kinds if one is not asked and _holds(document, one))
    return ImportAnswer(tool=found.NAME, kind=asked.value, found=value, others=others)


def _of_model(
    document: Document, found: Format, given: Mapping[str, Any]
) -> tuple[Document, Mapping[str, Any]]:
    """The part of a file on the model of `--model`, if it covers several; else `--model` is the model's name."""
    choose = getattr(found, "chosen", None)
    if choose is None or given.get("model") is None:
        return document, given
    one = choose(document, given["model"])
    return (document, given) if one is None else (one, {**given, "model": None})


def _completed(profile: ServiceProfile, given: Mapping[str, Any]) -> ServiceProfile:
    """The profile, completed by the given keywords."""
    overhead_s = parse.duration_s(
        given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
    )
    names = ("name", "model", "device", "precision", "runtime", "hourly_usd")
    said: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    if overhead_s is not None:
        said["request_overhead_s"] = overhead_s
    if given.get("device_kind") is not None:
        said["kind"] = given["device_kind"]
    return replace(profile, **said)


def _holds(document: Document, kind: Kind) -> bool:
    """Whether a file can be read for a purpose; its content may still be incomplete."""
    try:
        read_document(document, kind)
    except CapacityError:
        return False
    return True


def _kind(text: str) -> Kind:
    if text not in [one.value for one in _PREFERRED]:
        raise InputError(f"--as {quoted(text)} is none of {', '.join(one.value for one in _PREFERRED)}")
    return Kind(text)
