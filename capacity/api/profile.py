"""The profile of a language model's engine, from sweeps over its server."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capacity.api.work import Report
from capacity.errors import InputError
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
from capacity.profile.llm_runs import SeenRun
from capacity.profile.llm_sweeps import EngineSettings
from capacity.profile.llm_sweeps import sweep as seen_sweep
from capacity.question import parse
from capacity.question.caveat import Caveat, CaveatCode
from capacity.server.engine.asked import with_engine_flags
from capacity.units import require_count

if TYPE_CHECKING:
    from capacity.answers.evidence import LlmProfileAnswer

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
    asked = with_engine_flags(asked, given)
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
    )


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
