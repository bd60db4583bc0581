"""Report of recorded sessions, as a document and as a table."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, picked, plain
from capacity.render.tables import table
from capacity.traffic.sessions.description import BLOCK_TOKENS, HIT_SHARE, InfiniteCache, SessionsDescription
from capacity.units import format_duration, format_quantile, format_share


def sessions_document(about: SessionsDescription) -> Document:
    """Document of `capacity workload` of sessions."""
    given, got = about.counts
    rows = about.rows
    return {
        "trace": rows.name,
        "sessions": rows.sessions,
        "has_session_ids": rows.has_ids,
        **picked(about, "turns", "duration_s"),
        "turns_mean": rows.turns_mean,
        "input_tokens": plain(given),
        "output_tokens": plain(got),
        **picked(about, "growth_tokens_mean", "gaps_are_think_times"),
        "gap_quantiles_s": {str(q): gap_s for q, gap_s in about.gap_quantiles_s.items()},
        "sessions_live_mean": about.sessions_live_mean,
        "block_tokens": BLOCK_TOKENS,
        "infinite_cache": [plain(one) for one in about.infinite_caches],
        "kv_tokens_needed": {"share_of_hits": HIT_SHARE, "kv_tokens": about.kv_tokens_for(HIT_SHARE)},
        "remarks": list(rows.remarks),
    }


def sessions_tables(about: SessionsDescription) -> Iterator[RenderableType]:
    """The table of `capacity workload` of sessions, and how their file was read."""
    rows = about.rows
    prompts, answers = about.counts
    lines = [
        ("sessions", f"{rows.sessions} in {format_duration(about.duration_s)}"),
        ("turns", f"{about.turns}, {rows.turns_mean:.3g} a session"),
        ("prompt, answer", f"{prompts.mean:.0f}, {answers.mean:.0f} tokens on average{_growth(about)}"),
    ]
    if about.gap_quantiles_s:
        kind = (
            "from an answer to the next turn" if about.gaps_are_think_times else "from one turn to the next"
        )
        told = ", ".join(
            f"{format_quantile(q)} {format_duration(s)}" for q, s in about.gap_quantiles_s.items()
        )
        lines.append(("gap", f"{told}, {kind}"))
    if about.sessions_live_mean:
        lines.append(("live sessions", f"{about.sessions_live_mean:.3g} between first and last turn"))
    found = about.infinite_caches
    lines.append(("hits of infinite caches", "; ".join(map(_found, found))))
    if (room := about.kv_tokens_for(HIT_SHARE)) is not None:
        lines.append(
            (
                f"cache for {format_share(HIT_SHARE)} of them",
                f"{room} tokens at 1 replica",
            )
        )
    yield table(("<", "<"), lines)
    yield from (Text(f"Note: {remark}.") for remark in rows.remarks)


def _growth(about: SessionsDescription) -> str:
    growth = about.growth_tokens_mean
    return "" if growth is None else f", {growth:+.0f} a turn"


def _found(one: InfiniteCache) -> str:
    is_one = one.replicas == 1
    where = f"1 replica ({one.hit_tokens} tokens)" if is_one else f"{one.replicas} in turn ({one.hit_tokens})"
    return f"{100.0 * one.hit_share:.1f} % at {where}"
