"""Profiles: how those of each kind of server are shown."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, picked, plain
from capacity.profile.llm import KvCache, LlmProfile
from capacity.profile.llm_loads import Figure
from capacity.profile.profile import ServiceProfile
from capacity.render.charts import profile_chart
from capacity.render.tables import caveat_lines, profile_tables, table
from capacity.search.engines import llm_profile_caveats
from capacity.server.batch.caveats import plausibility_caveats
from capacity.units import format_duration, format_rate


class Shown(NamedTuple):
    """A kind of profile as JSON, and as tables on a terminal of some width."""

    document: Callable[[Any], Document]
    tables: Callable[[Any, int], Iterator[RenderableType]]


def shown(profile: Any) -> Shown:
    """How a profile is shown."""
    return _SHOWN[type(profile)]


def _batch_profile_tables(profile: ServiceProfile, width: int) -> Iterator[RenderableType]:
    """One profile of batch times, its chart, and what in it may be a mistake."""
    yield from profile_tables(profile)
    yield Text(profile_chart(profile, width=width))
    yield from caveat_lines(plausibility_caveats([profile], 0.99))


def llm_profiles_table(profiles: Sequence[LlmProfile]) -> RenderableType:
    """The bundled profiles of language models by their names, which have the model and the device, a line each."""
    columns = ("<profile", "sequences", "tokens", "context", "USD/h")
    return table(
        columns,
        (
            (
                one.name,
                str(one.limits_measured.sequences_max),
                str(one.limits_measured.batched_tokens_max),
                str(one.limits_measured.context_tokens_max),
                "" if one.replica_hourly_usd is None else f"{one.replica_hourly_usd:.3f}",
            )
            for one in profiles
        ),
        title="Language models",
    )


def _llm_profile_tables(profile: LlmProfile, width: int) -> Iterator[RenderableType]:
    """One profile of a language model, and what its measurements leave open."""
    yield from llm_profile_pieces(profile)
    yield from caveat_lines(llm_profile_caveats(profile))


def check_table(profile: LlmProfile, checked_rps: float | None) -> RenderableType:
    """Sources of a profile, and its error against the saturated run that checks it."""
    rows = list(profile.source.items())
    rows.append(("request overhead", format_duration(profile.overhead.request_s)))
    if profile.overhead.step_s:
        rows.append(("host, each step", format_duration(profile.overhead.step_s)))
    if profile.check is not None and checked_rps is not None:
        measured_rps = profile.check.saturated_throughput_rps
        off = checked_rps / measured_rps - 1.0
        rows.append(
            (
                "check",
                f"{format_rate(checked_rps)} by these steps, {format_rate(measured_rps)} measured "
                f"({100.0 * off:+.1f} %), of {profile.check.input_tokens} input and "
                f"{profile.check.output_tokens} output tokens",
            )
        )
    if profile.calibration is not None:
        one = profile.calibration
        rows.append(
            ("residual", f"{100.0 * one.residual:.1f} % over {one.figures} figures of {one.loads} loads")
        )
    return table(("<", "<"), rows)


def calibration_table(figures: Sequence[Figure], told: str) -> RenderableType:
    """Figures of loads beside those of the profile, under a heading that says what the loads are."""
    names = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "response", "decode": "after the first token"}
    rows = []
    for one in figures:
        measure, _, which = one.name.partition("_")
        rows.append(
            (
                one.load,
                f"{names[measure]}, {which.upper() if which.startswith('p') else which}",
                format_duration(one.measured_s),
                format_duration(one.predicted_s),
                f"{100.0 * (one.predicted_s / one.measured_s - 1.0):+.1f} %",
            )
        )
    return table((f"<{told}", "<figure", "measured", "by these steps", "off"), rows)


def _cache(kv: KvCache) -> str:
    """Size of the KV cache, in words."""
    size = "unknown: give --kv-tokens," if kv.tokens is None else f"{kv.tokens} tokens"
    return f"{size} in blocks of {kv.block_tokens}"


def llm_profile_pieces(profile: LlmProfile) -> Iterator[RenderableType]:
    """Its engine, and its steps by decoding requests and by prompt tokens."""
    limits, steps = profile.limits_measured, profile.table
    engine = " ".join(part for part in (profile.engine.name, profile.engine.version) if part)
    rows = [
        ("model", profile.model or "unknown"),
        ("device", f"{profile.devices} x {profile.device or 'unknown'}"),
        ("engine", f"{engine or 'unknown'}, {profile.engine.rules.value}"),
        ("KV cache", _cache(profile.kv)),
        ("measured up to", f"{limits.sequences_max} sequences, {limits.batched_tokens_max} tokens a step, "
         f"{limits.context_tokens_max} tokens of context"),
    ]  # fmt: skip
    if (drafts := profile.speculation) is not None:
        method = "" if drafts.method is None else f" by {drafts.method.value}"
        said = f"{drafts.draft_tokens} tokens drafted{method}, {drafts.tokens_mean:.3g} tokens a step"
        rows.append(("speculation", said))
    yield table(("<", "<"), rows)
    contexts = sorted({float(steps.context[0]), float(steps.context[-1])})
    yield table(
        ("decoding requests", *(f"reading {context:.0f} tokens each" for context in contexts)),
        (
            (f"{n:g}", *(format_duration(steps.mean_s(decode_requests=n, kv_tokens=n * k)) for k in contexts))
            for n in steps.decode_requests.tolist()
            if n >= 1
        ),
    )
    yield table(
        ("prompt tokens", "step"),
        ((f"{n:g}", format_duration(steps.mean_s(n))) for n in steps.prefill_tokens.tolist() if n >= 1),
    )


def profile_document(profile: "ServiceProfile") -> Document:
    """A profile as a row of `capacity profiles`."""
    from capacity.server.batch.caveats import plausibility_caveats

    return {
        **picked(profile, "name", "model", "device", "kind", "precision", "runtime", "batch_sizes"),
        "service_mean_s": [profile.service_mean_s(size) for size in profile.batch_sizes],
        "throughput_rps": [profile.throughput_rps(size) for size in profile.batch_sizes],
        **picked(profile, "knee_batch_size", "spells", "batch_work_s", "request_work_s", "wake_s"),
        **picked(profile, "request_overhead_s", "hourly_usd", "source"),
        "caveats": plain(plausibility_caveats([profile], 0.99)),
    }


def llm_profile_document(profile: "LlmProfile") -> Document:
    """A profile of a language model as `capacity profiles` lists it."""
    from capacity.search.engines import llm_profile_caveats

    names = ("name", "model", "device", "devices", "tensor_parallel", "precision", "engine", "kv")
    return {
        **picked(profile, *names),
        **picked(profile, "limits_measured", "hourly_usd"),
        "steps": len(profile.steps),
        "decode": _decode_documents(profile),
        **picked(profile, "source"),
        "caveats": plain(tuple(llm_profile_caveats(profile))),
    }


def _decode_documents(profile: "LlmProfile") -> list[Document]:
    """Steps that only decode, at the middle of the measured contexts."""
    table = profile.table
    context = float(table.context[len(table.context) // 2])
    return [
        {
            "requests": int(requests),
            "context_tokens": int(context),
            "mean_s": table.mean_s(decode_requests=float(requests), kv_tokens=float(requests) * context),
        }
        for requests in table.decode_requests
        if requests >= 1
    ]


_SHOWN: dict[type, Shown] = {
    ServiceProfile: Shown(profile_document, _batch_profile_tables),
    LlmProfile: Shown(llm_profile_document, _llm_profile_tables),
}
