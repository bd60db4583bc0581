"""Token tables: what `plan` and `simulate` show for fleets that serve language models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.sentences import asides, fate_of_fewer, token_refusal
from capacity.answer.sweep import AnyTable
from capacity.performance import Interval, Performance, format_interval
from capacity.profile.llm import KvCache, LlmProfile
from capacity.question.candidate import Candidate, Reason, Verdict
from capacity.question.objective import Limit, Objective, format_value
from capacity.question.plan import Plan
from capacity.render.plan import plan_table
from capacity.render.rates import scale_cells, scale_heads, stretches_in_words
from capacity.render.tables import caveat_lines, no_numbers, size_columns, table
from capacity.search.engines import llm_profile_caveats
from capacity.search.max_rate import Rates, caveats
from capacity.search.recommendation import Change, Recommendation
from capacity.server.engine.space import EngineQuestion
from capacity.units import format_duration, format_quantile, format_rate, quantile_name


def token_tables(
    found: Recommendation, question: EngineQuestion, confidence: float, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """All tables of `capacity plan` for a language model."""
    yield Text(verdict_sentence(found, question), style="bold")
    if found.plan is not None:
        yield Text(why_not_fewer(found, question))
        yield Text(binding_sentence(found))
        yield from map(Text, asides(found, question))
    yield Text()
    if found.plan is not None:
        yield plan_table(found, verbose=verbose)
        yield Text()
    yield considered_table(found.considered, found.objective)
    if found.changes:
        yield changes_table(found.changes)
    if verbose:
        tally = found.tally
        yield Text(
            f"Candidates: {tally.screened} screened by theory, {tally.simulated} simulated, "
            f"{tally.certified} "
            f"confirmed; {tally.requests:.3g} requests."
        )
    if found.performance is not None:
        yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(found.caveats)


def _fleet(plan: Plan) -> str:
    return f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''} of {plan.profile}"


def _limits_text(objective: Objective) -> str:
    parts = [str(one) for one in objective.limits]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def verdict_sentence(found: Recommendation, question: EngineQuestion) -> str:
    """The answer in one sentence."""
    rate, limits = format_rate(question.workload.arrival_rate_rps), _limits_text(found.objective)
    if found.plan is None or found.performance is None:
        if found.verdict is Verdict.INCONCLUSIVE:
            return f"Inconclusive: no fleet is known to meet {limits} at {rate}, and some may."
        return f"No fleet of up to {question.replicas_max} replicas meets {limits} at {rate}."
    kept = "; ".join(
        f"{one.what} is {format_value(one, value)}"
        for one in found.objective.limits
        if (value := one.found(found.performance)) is not None
    )
    price = "" if found.hourly_usd is None else f", for {found.hourly_usd:.3f} USD/h"
    verb = "meets" if found.plan.replicas == 1 else "meet"
    return f"{_fleet(found.plan)} {verb} {limits} at {rate}{price}: {kept}."


def why_not_fewer(found: Recommendation, question: EngineQuestion) -> str:
    """Why one replica fewer is not enough."""
    plan = found.plan
    assert plan is not None  # noqa: S101  (the caller has one)
    if plan.replicas == 1:
        return "There is no smaller fleet."
    fewer = next(
        (
            one
            for one in found.considered
            if one.plan.replicas == plan.replicas - 1 and _alike(one.plan, plan)
        ),
        None,
    )
    count = f"{plan.replicas - 1} replica{'s' if plan.replicas > 2 else ''}"
    if fewer is None and question.replicas_min >= plan.replicas:
        return f"Fewer than {plan.replicas} replicas were not tried; the reason is below."
    if fewer is not None and fewer.accepted:
        verb = "meets" if plan.replicas == 2 else "meet"
        return f"{count} {verb} the limits as well: one more is for what else was asked, such as to recover in time."
    if fewer is None or fewer.rejection is None:
        return f"{count}: not judged."
    return f"One fewer {fate_of_fewer(fewer.verdict)}: with {count}, {token_refusal(fewer)}."


def _alike(one: Plan, other: Plan) -> bool:
    """Whether two plans differ in their replicas alone."""
    return replace(one, replicas=other.replicas) == other


def binding_sentence(found: Recommendation) -> str:
    """The resource that an engine of the plan runs out of first."""
    plan, one = found.plan, found.saturation
    assert plan is not None and one is not None  # noqa: S101, PT018  (the caller has both)
    sequences, tokens = plan.settings
    what = {
        "kv_cache": f"its KV cache, {100.0 * one.kv_utilization:.0f} % full with {one.running_mean:.0f} requests",
        "slots": f"its {sequences:g} sequences",
        "tokens": f"its {tokens} tokens a step, with {one.running_mean:.0f} requests running",
    }[one.binding]
    return (
        f"An engine saturates at {format_rate(one.rate_rps)}, bound by {what}; "
        f"{100.0 * one.prefill_time_share:.0f} % of its time then goes to prompts."
    )


def considered_table(candidates: Sequence[Candidate[Any]], objective: Objective) -> RenderableType:
    """Every candidate, with the values of the limits and its refusal; columns that all share are left out."""
    limits = objective.limits
    settings = {
        "<profile": [one.plan.profile for one in candidates],
        "<routing": [one.plan.routing.value for one in candidates],
        "sequences": [f"{one.plan.settings[0]:g}" for one in candidates],
        "tokens": [str(one.plan.settings[1]) for one in candidates],
    }
    shown = {name: values for name, values in settings.items() if len(set(values)) > 1}
    rows = [
        (
            *(values[place] for values in shown.values()),
            str(one.plan.replicas),
            _load(one),
            *(_value(one, limit) for limit in limits),
            _fate(one),
        )
        for place, one in enumerate(candidates)
    ]
    columns = (*shown, "replicas", "load", *(f"~{one.what}" for one in limits), "<verdict")
    return table(columns, rows, title="Considered")


def _fate(candidate: Candidate[Any]) -> str:
    """The verdict on a candidate, and its reason."""
    verdict = candidate.verdict.value
    return verdict if candidate.rejection is None else f"{verdict}: {token_refusal(candidate)}"


def _value(candidate: Candidate[Any], limit: Limit) -> str:
    """Value of the limited quantity."""
    value = None if candidate.performance is None else limit.found(candidate.performance)
    return "" if value is None or math.isinf(value.value) else format_value(limit, value)


def _load(candidate: Candidate[Any]) -> str:
    found = candidate.performance
    load = candidate.rejection.needed if candidate.rejection and _is_load(candidate) else found and found.load
    return "" if load is None else f"{load:.3f}"


def _is_load(candidate: Candidate[Any]) -> bool:
    return candidate.rejection is not None and candidate.rejection.reason is Reason.STABILITY


def changes_table(changes: Sequence[Change]) -> RenderableType:
    """Effects of other engine settings on the same fleet."""

    def p99(found: Performance | None, name: str) -> str:
        known = {} if found is None else getattr(found, name)
        return format_interval(known[0.99]) if 0.99 in known else ""

    rows = [
        (
            one.what,
            "" if one.saturation is None else format_rate(one.saturation.rate_rps * one.plan.replicas),
            p99(one.candidate.performance, "ttft_quantiles_s"),
            p99(one.candidate.performance, "itl_quantiles_s"),
            p99(one.candidate.performance, "response_quantiles_s"),
        )
        for one in changes
    ]
    return table(("<setting", "saturates at", "TTFT P99", "ITL P99", "P99"), rows, title="Other settings")


def rates_tables(rates: Rates, confidence: float) -> Iterator[RenderableType]:
    """Tables of `capacity max-rate` for a language model."""
    scenario, one = rates.scenario, rates.saturation
    assert one is not None  # noqa: S101  (of engines it is known)
    most_rps = scenario.plan.replicas * one.rate_rps
    yield from (Text(sentence, style="bold") for sentence in _rates_sentences(rates, most_rps))
    limits = scenario.objective.limits
    columns = (*scale_heads(rates.scale), "load", *(f"~{one.what}" for one in limits), "<verdict")
    rows = [
        (
            *scale_cells(rates.scale, point.size),
            f"{point.size / most_rps:.3f}",
            *(_value(point.candidate, limit) for limit in limits),
            _fate(point.candidate),
        )
        for point in rates.points
    ]
    yield table(columns, rows)
    yield Text(f"In brackets: {100.0 * confidence:g} % intervals.")
    yield from caveat_lines(caveats(rates))


def _rates_sentences(rates: Rates, most_rps: float) -> Iterator[str]:
    """Up to which rate the objective is met, and where the engines saturate."""
    plan = rates.scenario.plan
    verb, end = ("meets", "s") if plan.replicas == 1 else ("meet", "")
    limits, fleet = _limits_text(rates.scenario.objective), _fleet(plan)
    if not rates.stretches:
        if rates.verdict is Verdict.INCONCLUSIVE:
            yield f"No rate is known at which {fleet} would meet {limits}."
        else:
            yield f"{fleet} {verb} {limits} at no rate that was tried."
        return
    yield f"{fleet} {verb} {limits} {stretches_in_words(rates)}, and saturate{end} at {format_rate(most_rps)}."


def token_sweep_table(common: AnyTable, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each row of a sweep: settings that differ, rate, load, quantiles of TTFT and TPOT, outcome and why.

    A profile, a routing and a number of replicas that all rows share are in the title.
    """
    q, sizes = max(common.quantiles), size_columns(common.scale)
    settings = {
        "<profile": "profile",
        "<routing": "routing",
        "sequences": "sequences_max",
        "tokens": "batched_tokens_max",
        "replicas": "replicas",
    }
    shown = {head: key for head, key in settings.items() if len({row[key] for row in rows}) > 1}
    measures = {"TTFT": "ttft", "TPOT": "tpot"}

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        found = (
            [row[f"{name}_{quantile_name(q)}{end}_s"] for end in ("", "_low", "_high")]
            for name in measures.values()
        )
        return (
            *(str(row[key]) for key in shown.values()),
            *(cell(row) for cell in sizes.values()),
            "" if row["load"] is None else f"{row['load']:.3f}",
            *("" if ends[0] is None else format_interval(_interval(*ends)) for ends in found),
            row["outcome"],
            *([no_numbers(row)] if is_refused else []),
        )

    is_refused = any(map(no_numbers, rows))
    why = ["<why"] if is_refused else []
    heads = (f"~{name} {format_quantile(q)}" for name in measures)
    words = {key: str(value) for row in rows[:1] for key, value in row.items() if key not in shown.values()}
    if "replicas" in words:
        words["replicas"] += " replica" if words["replicas"] == "1" else " replicas"
    title = ", ".join(words[key] for key in ("profile", "routing", "replicas") if key in words)
    return table((*shown, *sizes, "load", *heads, "<outcome", *why), map(cells, rows), title=title or None)


def _interval(value: float, low: float, high: float | None) -> Interval:
    return Interval(value=value, low=low, high=math.inf if high is None else high)


def explanation_tables(found: Recommendation, question: EngineQuestion) -> Iterator[RenderableType]:
    """Tables of `capacity explain` for a language model."""
    yield Text(why_not_fewer(found, question), style="bold")
    yield Text(binding_sentence(found))
    yield changes_table(found.changes)


def llm_profiles_table(profiles: Sequence[LlmProfile]) -> RenderableType:
    """The bundled profiles of language models, a line each."""
    columns = ("<profile", "<model", "<device", "devices", "sequences", "tokens", "context", "steps")
    return table(
        columns,
        (
            (
                one.name,
                one.model or "",
                one.device or "",
                str(one.devices),
                str(one.limits_measured.sequences_max),
                str(one.limits_measured.batched_tokens_max),
                str(one.limits_measured.context_tokens_max),
                str(len(one.steps)),
            )
            for one in profiles
        ),
        title="Language models",
    )


def llm_profile_tables(profile: LlmProfile) -> Iterator[RenderableType]:
    """One profile of a language model, and what its measurements leave open."""
    yield from llm_profile_pieces(profile)
    yield from caveat_lines(llm_profile_caveats(profile))


def check_table(profile: LlmProfile, checked_rps: float | None) -> RenderableType:
    """Sources of a profile, and its error against the saturated run that checks it."""
    rows = list(profile.source.items())
    rows.append(("request overhead", format_duration(profile.overhead.request_s)))
    if profile.check is not None and checked_rps is not None:
        measured_rps = profile.check.saturated_throughput_rps
        off = checked_rps / measured_rps - 1.0
        rows.append(
            (
                "check",
                f"{format_rate(checked_rps)} by these steps, {format_rate(measured_rps)} measured ({off:+.1%}), of "
                f"{profile.check.input_tokens} input and {profile.check.output_tokens} output tokens",
            )
        )
    return table(("<", "<"), rows)


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
        ("engine", f"{engine or 'unknown'}, {profile.engine.scheduler.value}"),
        ("KV cache", _cache(profile.kv)),
        ("measured up to", f"{limits.sequences_max} sequences, {limits.batched_tokens_max} tokens a step, "
         f"{limits.context_tokens_max} tokens of context"),
    ]  # fmt: skip
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
