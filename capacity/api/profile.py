"""The verb `profile`: service times of a function, an endpoint or a server's histograms, or the steps of an engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from capacity.api.files import counts_drafts, document_of
from capacity.api.work import Report
from capacity.doors import door
from capacity.errors import InconclusiveError, InputError, quoted
from capacity.files import TEXT_LENGTH_MAX
from capacity.formats.registry import Kind, read
from capacity.profile.llm import (
    TOKENS_LIMIT,
    Coefficients,
    Engine,
    KvCache,
    LimitsMeasured,
    LlmProfile,
    Overhead,
)
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document
from capacity.profile.llm_loads import SeenLoad, load_of_run
from capacity.profile.llm_runs import SeenRun, drafted
from capacity.profile.llm_steps import SeenSteps, rows_of
from capacity.profile.llm_sweeps import EngineSettings, are_sweeps
from capacity.profile.llm_sweeps import sweep as seen_sweep
from capacity.profile.speculation import DRAFT_TOKENS_MAX, Speculation, together
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat, CaveatCode
from capacity.server.engine.asked import with_engine_flags
from capacity.units import SECONDS_PER_UNIT, require_count

if TYPE_CHECKING:
    from capacity.answers.evidence import LlmProfileAnswer, MeasurementAnswer
    from capacity.measurement.findings import Measurement
    from capacity.measurement.metrics import Histograms
    from capacity.measurement.rounds import Rounds
    from capacity.profile.profile import ServiceProfile

Given = Mapping[str, Any]


def _flag(name: str) -> str:
    """A keyword as its flag is typed."""
    return f"--{name.replace('_', '-')}"


_NEEDED = {
    "kv_tokens": "the engine's log says how many tokens its KV cache holds",
    "sequences_max": "it is what the engine was started with, such as vLLM's --max-num-seqs",
    "batched_tokens_max": "it is what the engine was started with, such as vLLM's --max-num-batched-tokens",
}
# Share of the tokens that one step may read that should have been read in a measured one.
_READ_SHARE = 0.5


def asked_engine(given: Given) -> LlmProfile:
    """A profile of what no client can see, from flags, which refuses at once all that is wrong there.

    Its steps are a linear stand-in for those to be measured.

    Raises:
        InputError: a flag is missing or invalid.
    """
    for name, where in _NEEDED.items():
        if given.get(name) is None:
            raise InputError(f"{_flag(name)} is needed, since clients do not see it; {where}")
    for name in ("sequences_max", "batched_tokens_max"):
        require_count(_flag(name), given[name], most=TOKENS_LIMIT)
    devices = 1 if given.get("devices") is None else given["devices"]
    require_count("--devices", devices)
    name, _, version = (given.get("runtime") or "").strip().rpartition(" ")
    asked = LlmProfile(
        name=given.get("name") or "measured",
        kv=KvCache(tokens=given["kv_tokens"]),
        limits_measured=LimitsMeasured(
            sequences_max=given["sequences_max"],
            batched_tokens_max=given["batched_tokens_max"],
            context_tokens_max=TOKENS_LIMIT,
        ),
        coefficients=Coefficients(base_s=1.0, per_prefill_token_s=0.0, per_decode_request_s=0.0),
        model=given.get("model"),
        device=given.get("device"),
        devices=devices,
        tensor_parallel=devices,
        all_reduce=devices > 1,  # a client waits for the communication too
        precision=given.get("precision"),
        hourly_usd=given.get("hourly_usd"),
        engine=Engine(name=name or version or None, version=version if name else None),
    )
    asked = with_engine_flags(asked, {**given, "draft_tokens": None})  # which is of what was measured
    read_llm_document(llm_profile_to_document(asked), "the profile")  # as it will be read again
    return asked


def sweep_settings(asked: LlmProfile, given: Given) -> EngineSettings:
    """Settings by which steps are computed; `asked` comes from `asked_engine`."""
    return EngineSettings(
        kv=asked.kv,
        sequences_max=asked.limits_measured.sequences_max,
        batched_tokens_max=asked.limits_measured.batched_tokens_max,
        request_overhead_s=parse.duration_s(
            given.get("request_overhead"), given.get("request_overhead_s"), "--request-overhead"
        ),
        draft_tokens=_draft_tokens(given),
    )


def _draft_tokens(given: Given) -> int:
    """Tokens that the engine drafts for each request in a step; 0 for none, or where files say it."""
    tokens = given.get("draft_tokens") or 0
    if not 0 <= tokens <= DRAFT_TOKENS_MAX:
        raise InputError(f"--draft-tokens must be from 0 to {DRAFT_TOKENS_MAX}, got {tokens}")
    return int(tokens)


def profile_of_sweeps(
    runs: Sequence[SeenRun], asked: LlmProfile, settings: EngineSettings
) -> "LlmProfileAnswer":
    """The profile that sweeps reveal, compared with the saturated run among them; a misfit is not refused here."""
    from capacity.answers.evidence import LlmProfileAnswer
    from capacity.search.engines import llm_profile_caveats
    from simulations.saturation import checked_rate_rps

    found = seen_sweep(runs, settings)
    profile = replace(
        asked,
        coefficients=None,
        steps=found.steps,
        limits_measured=found.limits_measured,
        overhead=Overhead(request_s=found.overhead_s),
        check=found.check,
        source=found.source,
        speculation=found.speculation,
    )
    return LlmProfileAnswer(
        profile=profile,
        checked_rps=checked_rate_rps(profile),
        caveats=(*llm_profile_caveats(profile), *_sweep_caveats(profile)),
    )


def measure(url: str, timeout_s: float, given: Given, report: Report) -> "LlmProfileAnswer":
    """The profile of a server by sweeps over it; `given` are the flags of `capacity profile`.

    Raises:
        InputError: a missing flag, or sweeps that do not tell the steps apart.
        DependencyError: the server fails, or is not OpenAI-compatible.
        InconclusiveError: this client was too slow.
    """
    from capacity.measurement.completions import completions_address
    from capacity.measurement.http import parse_address
    from capacity.measurement.sweeps import Server, sweeps_of

    asked_for = asked_engine(given)
    settings = sweep_settings(asked_for, given)
    for name, what in (
        ("model", "the server knows its model by a name"),
        ("context_tokens_max", "requests are measured up to some length"),
    ):
        if given.get(name) is None:
            raise InputError(f"{_flag(name)} is needed: {what}")
    seed = given.get("seed") or 0
    asked = sweeps_of(settings, given["context_tokens_max"], seed)
    fills = min(
        settings.batched_tokens_max, given["context_tokens_max"] - 1
    )  # the longest prompt, and its first token
    full = settings.batched_tokens_max
    if fills < full:
        report(
            f"no prompt fills a step of {full} tokens: steps are measured up to {fills}, which --batched-tokens-max "
            "of the plan will be"
        )
    settings = replace(settings, batched_tokens_max=fills)
    address = completions_address(parse_address(url, "--llm"))
    runs = Server(address=address, model=given["model"], timeout_s=timeout_s).measure(asked, seed, report)
    answer = profile_of_sweeps(runs, asked_for, settings)
    source = {"measured_by": f"capacity profile --llm, POST {address.path}, seed {seed}"}
    if fills < full:
        source["batched_tokens_max"] = (
            f"{fills}, since no prompt fills a step of the {full} tokens that the engine takes"
        )
    return replace(answer, profile=replace(answer.profile, source={**source, **answer.profile.source}))


def _sweep_caveats(profile: LlmProfile) -> Iterator[Caveat]:
    """Caveats of sweeps beyond those of their profile."""
    limits = profile.limits_measured
    read = max(step.decode_kv_tokens for step in profile.steps)
    most = min(profile.kv.usable_tokens, limits.sequences_max * limits.context_tokens_max)
    if read < _READ_SHARE * most:
        yield Caveat(
            code=CaveatCode.STEPS_READ_FEW,
            message=f"no step was measured that reads more than {read} cached tokens, and one may read {most}; "
            "send long prompts at higher concurrencies too, with more output tokens",
        )


def of_sweeps(paths: Sequence[str | Path], asked: Asked) -> "LlmProfileAnswer":
    """The profile that sweeps over a server reveal.

    Raises:
        InputError: a missing flag or sweep, or steps that miss the throughput of the saturated run.
    """
    engine = asked_engine(asked)
    settings = sweep_settings(engine, asked)
    of_engine, counted = _beside_drafts(paths)
    from simulations.saturation import require_check

    runs: list[SeenRun] = [run for path in of_engine for run in read(Path(path), Kind.RUNS)]
    if counted is not None:
        runs = [run if run.speculation else replace(run, speculation=counted) for run in runs]
    if not are_sweeps(runs):
        runs = [run.drafting(settings.draft_tokens) for run in runs]
        return _calibrated([load_of_run(run) for run in runs], asked, drafted(runs))
    for name in ("in_flight_max", "cached_share"):
        if asked.is_told(name):
            raise InputError(f"{_flag(name)} is of loads, and these are sweeps; leave it out")
    asked.progress("working out the steps")
    answer = profile_of_sweeps(runs, engine, settings)
    require_check(answer.profile)
    return answer


def _beside_drafts(paths: Sequence[str | Path]) -> tuple[list[str | Path], Speculation | None]:
    """Files of an engine, and what the page of metrics among them says of its drafts, if there is one.

    Raises:
        InputError: several such pages.
    """
    pages = [path for path in paths if counts_drafts(document_of(path))]
    if len(pages) > 1:
        raise InputError(
            f"{pages[0]} and {pages[1]} are both pages of metrics; give the last one of the engine"
        )
    counted: list[Speculation] = [read(Path(page), Kind.DRAFTS) for page in pages]
    return [path for path in paths if path not in pages], next(iter(counted), None)


def of_loads(paths: Sequence[str | Path], asked: Asked) -> "LlmProfileAnswer":
    """The profile that three loads on an engine or more calibrate, by simulating each of them.

    Raises:
        InputError: a missing flag, fewer than three loads, loads of different models, or all about as high.
    """
    _, counted = _beside_drafts(paths)
    if counted is not None or asked["draft_tokens"]:
        raise InputError(
            "some loads are figures, which do not say in how many steps tokens came; keep single requests, or leave "
            "out what says what was drafted"
        )
    return _calibrated([one for path in paths for one in read(Path(path), Kind.LOADS)], asked, None)


def _calibrated(
    loads: Sequence[SeenLoad], asked: Asked, speculation: Speculation | None
) -> "LlmProfileAnswer":
    """The profile that loads calibrate, by the drafts of their server."""
    from capacity.answers.evidence import LlmProfileAnswer
    from capacity.search.engines import llm_profile_caveats
    from simulations.calibration.calibrate import calibrate

    if asked.is_told("request_overhead"):
        raise InputError("--request-overhead is calibrated from loads too; leave it out")
    engine = replace(asked_engine(asked), speculation=speculation)
    if asked["in_flight_max"] is not None:
        require_count("--in-flight-max", asked["in_flight_max"])
        loads = [_held_back(one, asked["in_flight_max"]) for one in loads]
    asked.progress("calibrating the steps")
    limits = engine.limits_measured
    found = calibrate(
        loads, engine, (limits.sequences_max, limits.batched_tokens_max), asked.cached_share or 0.0
    )
    return LlmProfileAnswer(
        profile=found.profile,
        checked_rps=None,
        caveats=tuple(llm_profile_caveats(found.profile)),
        figures=found.figures,
    )


def _held_back(load: SeenLoad, most: int) -> SeenLoad:
    """An open load whose generator had no more requests than this in flight."""
    return load if load.users is not None or load.sent_s else replace(load, in_flight_max=most)


def of_steps(paths: Sequence[str | Path], asked: Asked) -> "LlmProfileAnswer":
    """The profile of steps that an engine recorded, up to the largest of them.

    Raises:
        InputError: no size of the KV cache, limits beyond the recorded steps, or too few steps.
    """
    if asked.is_told("draft_tokens"):
        raise InputError(
            "--draft-tokens is of requests, whose events say what was accepted, and these are steps; give vLLM's page "
            "of metrics beside them, or a log with its lines of SpecDecoding metrics"
        )
    of_engine, counted = _beside_drafts(paths)
    seen: list[SeenSteps] = [one for path in of_engine for one in read(Path(path), Kind.STEPS)]
    kv_tokens = _kv_tokens(seen, asked)
    asked.progress("working out the steps")
    from capacity.answers.evidence import LlmProfileAnswer
    from capacity.search.engines import llm_profile_caveats

    found = rows_of(seen, kv_tokens, asked.get("block_tokens") or 16)
    limits = found.limits_measured
    for name in ("sequences_max", "batched_tokens_max"):
        given, most = asked.get(name), getattr(limits, name)
        if given is not None and given > most:
            raise InputError(
                f"--{name.replace('_', '-')} is {given}, and no recorded step has more than {most}; leave it out, or "
                "record steps at a higher load"
            )
        limits = replace(limits, **{name: given or most})
    given = {**asked, "kv_tokens": kv_tokens, **{name: getattr(limits, name) for name in _OWN_LIMITS}}
    overhead_s = parse.seconds_of(asked, "request_overhead")
    profile = replace(
        asked_engine(given),
        coefficients=None,
        steps=found.steps,
        limits_measured=limits,
        overhead=Overhead(request_s=overhead_s or 0.0),
        source={**found.source, "overhead": _OUTSIDE if overhead_s is None else "given"},
        speculation=_drafted(seen, counted),
    )
    return LlmProfileAnswer(profile=profile, checked_rps=None, caveats=tuple(llm_profile_caveats(profile)))


def _drafted(seen: Sequence[SeenSteps], counted: Speculation | None) -> Speculation | None:
    """What was drafted in steps, and accepted.

    Raises:
        InputError: steps drafted, and neither their log nor a page of metrics says what was accepted.
    """
    known = [one for one in seen if one.speculation is not None]
    silent = [one for one in seen if one.draft_tokens and one.speculation is None]
    if silent and counted is None:
        raise InputError(
            f"{silent[0].name} has steps with {silent[0].draft_tokens} tokens drafted for a request, and does not say "
            "how many were accepted; keep its lines of SpecDecoding metrics, or give vLLM's page of metrics "
            "(GET /metrics) too"
        )
    if silent or not known:
        return counted
    drafted = [one.speculation for one in known if one.speculation is not None]
    return together(drafted, [len(one.steps) for one in known])


_OWN_LIMITS = ("sequences_max", "batched_tokens_max")
_OUTSIDE = (
    "none, since steps do not show the time of a request outside the engine; --request-overhead says it"
)


def _kv_tokens(seen: Sequence[SeenSteps], asked: Asked) -> int:
    """Size of the KV cache, by its flag or else by the engine's log."""
    if asked["kv_tokens"] is not None:
        return int(asked["kv_tokens"])
    sizes = sorted({one.kv_tokens for one in seen if one.kv_tokens is not None})
    if len(sizes) > 1:
        raise InputError(
            f"the files say KV caches of {sizes[0]} and of {sizes[-1]} tokens, which are different engines; import "
            "those of one engine"
        )
    if not sizes:
        raise InputError(
            f"--kv-tokens is needed, since {seen[0].name} does not say it; {_NEEDED['kv_tokens']}"
        )
    return sizes[0]


# What makes a profile of files of each kind.
OF_FILES: Mapping[Kind, Callable[[Sequence[str | Path], Asked], "LlmProfileAnswer"]] = {
    Kind.RUNS: of_sweeps,
    Kind.LOADS: of_loads,
    Kind.STEPS: of_steps,
}


_TIMEOUT_MAX_S = 600.0
_LLM_TIMEOUT_S = 600.0  # requests of the saturated run wait for long
# Flags of one source alone; all others belong to all sources.
_OWNERS = {
    **dict.fromkeys(("body", "rows_key", "counters"), ("--url",)),
    **dict.fromkeys(("duration", "metric", "label", "metric_unit"), ("--metrics",)),
    **dict.fromkeys(("batch_sizes", "samples", "warm_up", "rests", "duration_max"), ("--callable", "--url")),
    "timeout": ("--url", "--metrics", "--llm"),
    **dict.fromkeys(
        ("kind", "confidence", "request_work"), ("--callable", "--url", "--metrics")
    ),
    **dict.fromkeys(
        (
            "devices", "kv_tokens", "block_tokens", "sequences_max", "batched_tokens_max", "context_tokens_max",
            "engine_policy", "prefix_caching", "async_scheduling", "chunked_prefill", "draft_tokens",
        ),
        ("--llm",),
    ),
}  # fmt: skip


@door("profile")
def measure_profile(asked: Asked) -> "MeasurementAnswer | LlmProfileAnswer":
    """Service times by batch size, as they are measured at a function or at a server that is running.

    One source is measured: a `function` or its name, an endpoint by `url` and `body`, a server's own histograms by
    `metrics`, or the engine of a language model by `llm`. An interrupt or a failure keeps what was measured before it:
    the answer's `stop` is then what ended it. `write_profile` writes what `plan` takes.

    Raises:
        InputError: an argument that cannot be read, or that belongs to another source.
        DependencyError: the function or the server fails.
        InconclusiveError: nothing was measured in time, or this client was too slow.
    """
    effort = Effort(confidence=asked.confidence, seed=asked.seed)  # refuses what is out of range
    source = asked_source(asked)
    _refuse_others(asked, source)
    if source == "--llm":
        timeout_s = _timeout_s(asked) if asked.is_told("timeout") else _LLM_TIMEOUT_S
        return _checked(measure(asked.llm, timeout_s, asked, asked.progress))
    from capacity.answers.evidence import MeasurementAnswer
    from capacity.server.batch.caveats import plausibility_caveats

    wanted = asked_profile(asked)
    outside_s = [parse.seconds_of(asked, name) for name in ("request_overhead", "request_work")]
    found = _SOURCES[source](asked, _rounds(asked), _timeout_s(asked), asked.progress)
    profile = found.profile(wanted, *outside_s)
    found = replace(found, caveats=(*found.caveats, *plausibility_caveats([profile], 0.99)))
    return MeasurementAnswer(found=found, profile=profile, seed=effort.seed, confidence=effort.confidence)


def _checked(answer: "LlmProfileAnswer") -> "LlmProfileAnswer":
    """The answer, ended by a misfit if its steps miss the rate of the saturated run."""
    from simulations.saturation import require_check

    try:
        require_check(answer.profile)
    except InputError as error:
        return replace(answer, stop=InconclusiveError(str(error)))
    return answer


def asked_source(given: Given) -> str:
    """The source that was given, exactly one."""
    flags = {
        "--callable": ("callable_name", "function"), "--url": ("url",), "--metrics": ("metrics",), "--llm": ("llm",)
    }  # fmt: skip
    chosen = [flag for flag, names in flags.items() for name in names if given.get(name) is not None]
    if len(chosen) != 1:
        raise InputError(
            f"give one of {', '.join(flags)}, got {' and '.join(chosen) or 'none'}; "
            "each measures the same thing in a different way"
        )
    if (chosen[0] == "--url") != (given["body"] is not None):
        raise InputError("give --url and --body FILE.json together: where to send, and what")
    return chosen[0]


def _refuse_others(asked: Asked, source: str) -> None:
    """Refuse a flag of another source, which would be ignored."""
    for name, owners in _OWNERS.items():
        if source not in owners and (asked.is_told(name) or asked[name] is False):  # --no-rests
            raise InputError(
                f"{_flag(name)} is only for {' and '.join(owners)}, not for {source}; leave it out"
            )


def _rounds(given: Asked) -> "Rounds":
    """Batches to time, and how long at most."""
    from capacity.measurement.rounds import Rounds, parse_batch_sizes

    return Rounds(
        batch_sizes=parse_batch_sizes(given["batch_sizes"]),
        samples=given["samples"],
        warm_up=given["warm_up"],
        seed=given["seed"],
        duration_max_s=given.duration_max,
        has_rests=given["rests"],
    )


def _timeout_s(given: Given) -> float:
    """The timeout of a request, if it is in range. [s]"""
    timeout_s = parse.seconds_of(given, "timeout")
    if timeout_s is None or not 0.001 <= timeout_s <= _TIMEOUT_MAX_S:
        typed = given["timeout"] or f"{timeout_s:g}s"
        raise InputError(f"--timeout must be from 1ms to {_TIMEOUT_MAX_S:g}s, got {typed.strip()}")
    return timeout_s


def asked_profile(given: Given) -> "ServiceProfile":
    """A profile with what cannot be measured; refuses at once what could not be read back from a file."""
    from capacity.profile.formats import profile_to_document, read_document
    from capacity.profile.profile import BatchTiming, DeviceKind, ServiceProfile

    lines: dict[str, Any] = {name: given[name] for name in ("model", "device", "precision", "runtime")}
    for flag, text in lines.items():
        if text is not None and not (text.isprintable() and len(text) <= TEXT_LENGTH_MAX):
            raise InputError(f"--{flag} must be one line of {TEXT_LENGTH_MAX} characters at most")
    kinds: tuple[DeviceKind, ...] = get_args(DeviceKind)
    kind = given["kind"]
    if kind not in (None, *kinds):
        raise InputError(f"--kind must be {' or '.join(kinds)}, got {quoted(kind)}")
    timings = (BatchTiming(batch_size=1, mean_s=1.0),)
    asked = ServiceProfile(
        name=given["name"] or _NAME, timings=timings, kind=kind, hourly_usd=given["hourly_usd"], **lines
    )
    read_document(profile_to_document(asked), "the profile")
    return asked


def _of_callable(given: Given, rounds: "Rounds", _: float, report: Report) -> "Measurement":
    """Times of calls of a Python function."""
    from capacity.measurement.callable import load, measure_callable

    name, function = given["callable_name"], given["function"]
    if function is None:
        function = load(name)
    elif not callable(function):
        raise InputError(f"function must be a function that takes the batch size, got {function!r:.40}")
    else:
        name = getattr(function, "__qualname__", type(function).__name__)
    return measure_callable(function, name, rounds, given["confidence"], report)


def _of_endpoint(given: Given, rounds: "Rounds", timeout_s: float, report: Report) -> "Measurement":
    """Times of requests, a batch each."""
    from capacity.measurement.endpoint import Endpoint, measure_endpoint, read_request
    from capacity.measurement.http import parse_address

    counters = given["counters"]
    endpoint = Endpoint(
        address=parse_address(given["url"], "--url"),
        request=read_request(Path(given["body"]), given["rows_key"]),
        rows_key=given["rows_key"],
        timeout_s=timeout_s,
        counters=None if counters is None else parse_address(counters, "--counters"),
    )
    return measure_endpoint(endpoint, rounds, confidence=given["confidence"], report=report)


def _of_metrics(given: Given, _: "Rounds", timeout_s: float, report: Report) -> "Measurement":
    """Batch times of a server under traffic, from its own histograms."""
    from capacity.measurement.counted import measure_metrics
    from capacity.measurement.http import parse_address
    from capacity.measurement.rounds import DURATION_MAX_S

    where, duration_s = asked_histograms(given), parse.seconds_of(given, "duration")
    duration_s = _WATCHED_S if duration_s is None else duration_s
    if not 0.0 < duration_s <= DURATION_MAX_S:
        raise InputError(
            f"--duration must be above 0s and at most {DURATION_MAX_S / 3600:g}h, got {given['duration'] or duration_s}"
        )
    return measure_metrics(
        parse_address(given["metrics"], "--metrics"),
        where,
        duration_s=duration_s,
        timeout_s=timeout_s,
        confidence=given["confidence"],
        report=report,
    )


def asked_histograms(given: Given) -> "Histograms":
    """Names from `--metric`, `--label` and `--metric-unit`."""
    from capacity.measurement.metrics import Histograms

    metric, unit = given["metric"], given["metric_unit"]
    if unit is None and not metric.endswith("_seconds"):
        raise InputError(
            f"--metric {quoted(metric)} does not end in _seconds; give its unit, such as --metric-unit ms"
        )
    if unit is not None and unit not in SECONDS_PER_UNIT:
        raise InputError(f"--metric-unit {quoted(unit)} is unknown; use one of {', '.join(SECONDS_PER_UNIT)}")
    return Histograms(metric=metric, label=given["label"], unit_s=float(SECONDS_PER_UNIT[unit or "s"]))


_SOURCES = {"--callable": _of_callable, "--url": _of_endpoint, "--metrics": _of_metrics}
_WATCHED_S = 30.0  # unless it is said for how long
_NAME = "measured"
