"""The verbs for files of other tools, to which `capacity.api` delegates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.errors import CapacityError, InputError, UnstableError, quoted
from capacity.evidence.audit import audit_findings
from capacity.evidence.compared import ComparedRun, compared, overloaded, unknown
from capacity.evidence.recorded import read_recorded
from capacity.evidence_answers import AuditAnswer, ImportAnswer, StagesAnswer
from capacity.files import is_file
from capacity.formats.document import Document
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.registry import Format, Kind, format_of, known_format, read_document

if TYPE_CHECKING:
    from capacity.formats.running_plan import RunningPlan
    from capacity.profile.profile import ServiceProfile

# Kinds in order: the first that a file holds is read.
_PREFERRED = (Kind.PROFILE, Kind.LOAD_TEST, Kind.WORKLOAD, Kind.PLAN)
# Keywords of an import that describe a profile, and those that describe a language model's engine.
_OF_PROFILES = (
    "name", "model", "device", "device_kind", "precision", "runtime", "hourly_usd", "request_overhead",
    "request_overhead_s",
)  # fmt: skip
_OF_ENGINES = (
    "devices", "kv_tokens", "block_tokens", "sequences_max", "batched_tokens_max", "engine_policy", "prefix_caching",
    "async_scheduling", "chunked_prefill",
)  # fmt: skip
_QUANTILE_MAX = 0.999


def document_of(source: str | Path) -> Document:
    """A file, or the answer of a URL, within limits.

    Raises:
        InputError, DependencyError: it cannot be read.
    """
    text = str(source)
    if text.startswith(("http://", "https://")):
        from capacity.measurement.http import read_url

        return Document.of(text[:200], read_url(text))
    return Document.read(Path(source))


def is_of_another_tool(source: str | Path) -> bool:
    """Whether a file has a known format; False if it cannot be read, which others report."""
    if str(source).startswith(("http://", "https://")):
        return True  # no plan is saved there
    try:
        return known_format(document_of(source)) is not None
    except CapacityError:
        return False


def is_sweep(source: str | Path) -> bool:
    """Whether a file is a run over a language model's server, with its single requests."""
    document = document_of(source)
    found = known_format(document)
    if found is None or Kind.RUNS not in found.READERS or Kind.PROFILE in found.READERS:
        return False
    has_requests = getattr(found, "has_requests", None)
    return has_requests is None or bool(has_requests(document))


def require_sweeps(sources: Sequence[str | Path]) -> None:
    """Refuse several files of which one is no sweep over a language model's server.

    Raises:
        InputError: a file of another format, or of an unknown one.
    """
    for source in sources:
        document = document_of(source)
        found = format_of(document)
        if Kind.RUNS not in found.READERS:
            raise InputError(
                f"{document.name} is from {found.NAME}, and several files are read together only where all are sweeps "
                "over the server of a language model; import it by itself"
            )


def is_of_sweeps(sources: Sequence[str]) -> bool:
    """Whether files are sweeps; a URL is none."""
    if len(sources) > 1:
        return True
    try:
        return not sources[0].startswith("http") and is_sweep(sources[0])
    except CapacityError:
        return False


def import_file(source: str | Path, kind: str | None, given: Mapping[str, Any]) -> ImportAnswer:
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
    read = read_recorded if asked is Kind.WORKLOAD else partial(read_document, kind=asked)
    value: Any = read(document)
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


def _completed(profile: "ServiceProfile", given: Mapping[str, Any]) -> "ServiceProfile":
    """The profile, completed by the given keywords."""
    from capacity.question import parse

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


def running_plan(source: object) -> "RunningPlan | None":
    """Batching of a running server, from a file of another tool; None for any other file."""
    if not isinstance(source, str | Path) or not is_file(source):
        return None
    document = Document.read(Path(source))
    found = known_format(document)
    if found is None or Kind.PLAN not in found.READERS:
        return None
    running: RunningPlan = read_document(document, Kind.PLAN)
    return running


def load_test(source: str | Path) -> LoadTest:
    """The load test in a file."""
    found: LoadTest = read_document(document_of(source), Kind.LOAD_TEST)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the caller knows of a load test, and its file does not say.

    Attributes:
        users: users of a closed loop.
        loop: `open` or `closed`.
        think_time_s: mean time between an answer and the next request of a user. [s]
        rate_rps: arrival rate of the requests. [requests/s]
    """

    users: float | None = None
    loop: str | None = None
    think_time_s: float | None = None
    rate_rps: float | None = None

    def __post_init__(self) -> None:
        if self.users is not None and not self.users >= 1.0:
            raise InputError(f"--users must be at least 1, got {self.users:g}")
        if self.loop not in (None, Loop.OPEN, Loop.CLOSED):
            raise InputError(f"--loop must be open or closed, got {quoted(self.loop)}")
        if self.loop == Loop.OPEN and (self.users is not None or self.think_time_s is not None):
            raise InputError("--users and --think-time are for a closed loop; leave them out, or --loop open")


def audit(
    source: str | Path,
    told: Told,
    predicted: Callable[[LoadRun], ComparedRun] | None = None,
    notes: Sequence[str] = (),
) -> AuditAnswer:
    """Whether a load test can be believed; with a prediction, what each run should have shown.

    Args:
        predicted: function that predicts a run.
        notes: notes on the plan, shown below those on the test.
    """
    test = load_test(source)
    test = replace(test, notes=(*test.notes, *_unused(test, told), *notes))
    test = replace(test, runs=tuple(_completed_run(run, told) for run in test.runs))
    findings = tuple(audit_findings(test))
    if predicted is None:
        return AuditAnswer(test=test, findings=findings)
    whole = [run for run in test.runs if test.whole in (None, run.name)]  # the server answers all endpoints
    rows = tuple(predicted(run) for run in whole)
    return AuditAnswer(test=test, findings=findings, beside=rows)


def _unused(test: LoadTest, told: Told) -> Iterator[str]:
    """Notes on what the caller said and the file contradicts."""
    users = dict.fromkeys(f"{run.users:g}" for run in test.runs if run.users and run.users != told.users)
    if told.users is not None and users:
        counts = ", ".join(users)
        yield f"the file itself says how many users there were ({counts}): the {told.users:g} given are not used"


def _completed_run(run: LoadRun, told: Told) -> LoadRun:
    """The run, completed by what the caller knows."""
    run = _in_loop(run, told)
    if run.loop is Loop.OPEN and (told.users is not None or told.think_time_s is not None):
        flag = "--users" if told.users is not None else "--think-time"
        because = f" ({run.loop_because}); give --loop closed if they were not" if run.loop_because else ""
        raise InputError(f"{flag} is for a closed loop, and these requests were sent by a schedule{because}")
    is_closed = told.users is not None or told.think_time_s is not None
    loop = Loop.CLOSED if is_closed else run.loop
    return replace(
        run,
        users=run.users or told.users,
        loop=loop,
        think_time_s=run.think_time_s if told.think_time_s is None else told.think_time_s,
        **_rates(run, loop, told.rate_rps),
    )


def _rates(run: LoadRun, loop: Loop, told_rps: float | None) -> dict[str, Any]:
    """The caller's rate: of answers to users who waited, else of arrivals, if the run has no rate of its own."""
    is_unknown = run.throughput_rps is None
    if told_rps is None or not (is_unknown or loop is Loop.OPEN):
        return {}
    if loop is Loop.CLOSED:
        return {"throughput_rps": told_rps}
    return {"rate_asked_rps": run.rate_asked_rps or told_rps}


def _in_loop(run: LoadRun, told: Told) -> LoadRun:
    """The run with the loop that the caller names.

    Raises:
        InputError: the file itself names another loop.
    """
    if told.loop is None or told.loop == run.loop:
        return run
    if run.loop is Loop.SERVED and told.loop == Loop.OPEN:
        raise InputError(
            "these are the server's own figures, whoever sent the requests; leave out --loop open"
        )
    if run.loop in (Loop.OPEN, Loop.CLOSED) and not run.loop_because:
        raise InputError(f"--loop {told.loop}: the file says that the loop is {run.loop}; leave it out")
    return replace(run, loop=Loop(told.loop), loop_because="as --loop says")


def predicted(
    profile: Any, plan: Any, requests: Mapping[str, Any], effort: Mapping[str, Any], run: LoadRun
) -> ComparedRun:
    """The prediction of one run by simulation, or the reason why there is none.

    Args:
        requests: keywords of `capacity.simulate` for what requests are like, such as their lengths.
        effort: its keywords for seed, precision and workers.
    """
    from capacity import api
    from capacity.server.kinds import asked_of

    kind = asked_of([profile])
    try:
        how = {**kind.keywords(plan), **requests, **kind.traffic(run, plan, requests)}
        found = api.simulate(profile, plan.replicas, **how, quantile=_quantiles(run), **effort)
    except UnstableError as error:
        return overloaded(run, str(error))
    except CapacityError as error:
        return unknown(run, str(error))
    return compared(run, found.performance, profile.request_overhead_s)


def _quantiles(run: LoadRun) -> list[float]:
    """Quantiles to predict: the reported ones up to P99.9, since higher ones take too many requests."""
    return [q for q in run.quantiles_s if 0.0 < q <= _QUANTILE_MAX] or [0.99]


def explain(source: str | Path) -> StagesAnswer:
    """Where a request's time goes in the server that a file describes.

    Raises:
        InputError: the file has no stages.
    """
    running = running_plan(source)
    if running is not None:
        raise InputError(
            f"{Path(source).name} says how a server batches and nothing of its times; capacity simulate --profile "
            f"PROFILE --rate RATE {running.flags} says what that does"
        )
    test = load_test(source)
    if not any(run.stages_s for run in test.runs):
        raise InputError(
            f"{test.name} has no times of the server's stages; Triton's statistics, its page of metrics and "
            "perf_analyzer's results have"
        )
    return StagesAnswer(test=replace(test, runs=tuple(run for run in test.runs if run.stages_s)))


def sources(value: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """Files as a list, from one or several."""
    return [value] if isinstance(value, str | Path) else list(value)
