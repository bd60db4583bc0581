"""Saturation in words: what a replica of a language model runs out of, and what its caches find."""

from collections.abc import Iterator

from capacity.performance import Performance, format_share_interval, format_turns
from capacity.question.overload import Saturation
from capacity.question.plan import Plan
from capacity.units import format_rate


def hits(performance: Performance) -> Iterator[str]:
    """What turns of sessions find in the caches, and what the fleet does from empty ones; nothing of others."""
    share, cold_rps = performance.hit_share, performance.cold_saturation
    if share is None or cold_rps is None:
        return
    found, live = format_share_interval(share.interval), performance.sessions_live_mean
    yield (
        f"Prefix hits {found}, {live:.3g} sessions live; from empty caches and a backlog the fleet serves "
        f"{format_turns(cold_rps)}."
    )


def saturates(plan: Plan, one: Saturation, *, briefly: bool = False) -> str:
    """The resource that a replica runs out of first, where that was measured, and whether a setting gives it more."""
    running = f"{one.running_mean:.0f} requests running"
    tokens = plan.other_setting[1]
    is_covered = {"slots": str(plan.at_once), "tokens": tokens}.get(one.binding) != str(one.measured_max)
    is_smaller = one.binding != "tokens" and one.tokens_measured not in (None, int(tokens))
    steps = f" of {tokens} tokens a step" if is_smaller else ""
    at = f"An engine{steps} saturates at {format_rate(one.rate_rps)}, bound by"
    if briefly:
        most = "" if is_covered else ", the most measured"
        what = {
            "kv_cache": "its KV cache, not by --sequences-max",
            "slots": f"--sequences-max {plan.at_once}{most}",
            "tokens": f"--batched-tokens-max {tokens}{most}",
        }[one.binding]
        return f"{at} {what}."
    first = "" if is_covered else f", once it is measured: the profile covers up to {one.measured_max}"
    what = {
        "kv_cache": f"its KV cache with {running}, so that a larger --sequences-max would not help",
        "slots": f"its {plan.at_once} sequences: a larger --sequences-max may carry more{first}",
        "tokens": f"its {tokens} tokens a step with {running}: a larger --batched-tokens-max may carry more{first}",
    }[one.binding]
    return f"{at} {what}."


def at_saturation(one: Saturation) -> str:
    """What goes on in a replica then."""
    return (
        f"Its KV cache is then {100.0 * one.kv_utilization:.0f} % full, and {100.0 * one.prefill_time_share:.0f} % of "
        "its time goes to prompts."
    )
