"""Compare token fleets: reads the fleets to compare, saved or typed, and their common requests."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from capacity.answer.compare import CONTENDERS_MAX, count_of, fields_of
from capacity.answer.saved_llm_plan import SavedLlmPlan
from capacity.errors import InputError, quoted
from capacity.files import printable
from capacity.profile.llm import LlmProfile
from capacity.question.comparison import Contender
from capacity.question.parse import read_routing
from capacity.question.tokens import TokenPlan, TokenScenario
from capacity.units import format_rate

_KEYS = ("replicas", "sequences", "tokens", "routing", "profile")


def common_scenario(plans: Sequence[SavedLlmPlan], rate_rps: float | None) -> TokenScenario:
    """The scenario that all plans share, or all of them at the given rate.

    Raises:
        InputError: the plans are for different requests.
    """
    scenarios = [plan.question.scenario(plan.plan) for plan in plans]
    if rate_rps is not None:
        scenarios = [one.at_rate(rate_rps) for one in scenarios]
    first = scenarios[0]
    for plan, other in zip(plans[1:], scenarios[1:], strict=True):
        alike = replace(other, profile=first.profile, plan=first.plan, objective=first.objective)
        if alike == first:
            continue
        rates_rps = [one.workload.arrival_rate_rps for one in (first, other)]
        if rates_rps[0] != rates_rps[1]:
            told = " and ".join(map(format_rate, rates_rps))
            fix = f"({told}); give --rate to compare them at one rate"
        else:
            fix = "(other arrivals or lengths); make the plans for the same requests"
        raise InputError(f"{plans[0].name} and {plan.name} are for different workloads {fix}")
    return first


def token_contenders(
    saved: Sequence[SavedLlmPlan],
    names: Sequence[str | Path | SavedLlmPlan],
    fleets: Sequence[str],
    profiles: Sequence[LlmProfile],
) -> tuple[Contender[LlmProfile, TokenPlan], ...]:
    """Saved plans, then fleets of the given profiles, or of the first plan's profiles if none is given.

    Raises:
        InputError: fewer than two, more than `CONTENDERS_MAX`, or a fleet without a profile.
    """
    known = profiles or (saved[0].question.profiles if saved else ())
    if fleets and not known:
        raise InputError("a --fleet needs a --profile, or a saved plan to take it from")
    found = (
        *(
            Contender(name=_name(name), profile=plan.profile, plan=plan.plan)
            for plan, name in zip(saved, names, strict=True)
        ),
        *(parse_token_fleet(text, known) for text in fleets),
    )
    if not 2 <= len(found) <= CONTENDERS_MAX:
        raise InputError(
            f"give 2 to {CONTENDERS_MAX} fleets to compare, saved plans or --fleet replicas=4,sequences=128; "
            f"got {len(found)}"
        )
    return found


def _name(plan: str | Path | SavedLlmPlan) -> str:
    return plan.name if isinstance(plan, SavedLlmPlan) else printable(str(plan))


def parse_token_fleet(text: str, profiles: Sequence[LlmProfile]) -> Contender[LlmProfile, TokenPlan]:
    """A fleet from `replicas=4,sequences=128,tokens=2048,routing=random,profile=NAME`.

    Args:
        profiles: profiles to choose from by name; the first if none is named.

    Raises:
        InputError: an unknown or repeated key, no replicas, or an invalid value.
        DomainError: settings beyond what was measured.
    """
    fields = fields_of(text, _KEYS)
    where = f"--fleet {quoted(text)}"
    named = {one.name: one for one in profiles}
    name = fields.get("profile", profiles[0].name)
    if name not in named:
        raise InputError(f"{where} names none of the profiles; use one of {', '.join(list(named)[:5])}")
    if "replicas" not in fields:
        raise InputError(f"{where} says nothing of replicas; replicas=4,sequences=128 is a fleet")
    profile = named[name]
    counts = {
        key: count_of(value, where) for key, value in fields.items() if key not in ("routing", "profile")
    }
    limits = profile.limits_measured
    plan = TokenPlan(
        profile=name,
        replicas=counts["replicas"],
        sequences_max=counts.get("sequences", limits.sequences_max),
        batched_tokens_max=counts.get("tokens", limits.batched_tokens_max),
        routing=read_routing(fields.get("routing", "round-robin")),
    )
    profile.require(plan.sequences_max, plan.batched_tokens_max)
    return Contender(name=printable(text)[:80], profile=profile, plan=plan)
