"""Gate inputs: a saved plan's question with a new rate or new profiles in the roles of the old ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from capacity.errors import InputError
from capacity.plan import Plan
from capacity.plan_file import SavedPlan
from capacity.profile import ServiceProfile
from capacity.question import Question
from capacity.reading import printable
from capacity.units import format_rate
from capacity.workbench import Effort
from capacity.workload import ClosedPopulation, Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProfile:
    """A profile that takes the place of a saved one.

    Attributes:
        role: name of the one that it replaces; None where that is to be seen from its own name.
        is_bare: whether it has batch times alone, as a CSV, so that price, overhead and instances stay.
    """

    profile: ServiceProfile
    role: str | None = None
    is_bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """What is judged, and how it differs from what was saved.

    Attributes:
        plan: the saved one, by the name of the profile that it now has.
        effort: how hard to try.
        replaced: names of the profiles that were replaced, each with that of the new one.
        notes: what was replaced, and what was kept, in sentences.
    """

    question: Question
    plan: Plan
    effort: Effort
    replaced: Mapping[str, str]
    notes: tuple[str, ...]

    def role(self, profile: str) -> str:
        """The saved profile in whose place a profile stands."""
        return next((old for old, new in self.replaced.items() if new == profile), profile)


def gate_inputs(
    saved: SavedPlan, new: Sequence[NewProfile], rate_rps: float | None, requests_max: int | None = None
) -> GateInputs:
    """The saved question with what is new.

    Raises:
        InputError: a profile that replaces none, two that replace one, or a rate for users who have none.
    """
    question, plan = saved.question, saved.plan
    by_role: dict[str, ServiceProfile] = {}
    notes: list[str] = []
    for one in new:
        role = _role(one, saved)
        if role in by_role:
            raise InputError(f"two profiles take the place of {role}; give one --profile for each")
        old = question.profile(role)
        by_role[role] = _completed(one, old)
        notes.append(_replacement(old, by_role[role], is_bare=one.is_bare))
    if rate_rps is not None:
        question = replace(question, workload=_at_rate(question.workload, rate_rps, saved.name, notes))
    if by_role:
        profiles = tuple(by_role.get(profile.name, profile) for profile in question.profiles)
        question = replace(question, profiles=profiles)
    name = by_role[plan.profile].name if plan.profile in by_role else plan.profile
    return GateInputs(
        question=question,
        plan=replace(plan, profile=name),
        effort=saved.effort if requests_max is None else replace(saved.effort, requests_max=requests_max),
        replaced={role: profile.name for role, profile in by_role.items()},
        notes=tuple(notes),
    )


def _role(new: NewProfile, saved: SavedPlan) -> str:
    """The saved profile that a new one stands for: the one that is named, of its name, or the only one."""
    names = [profile.name for profile in saved.question.profiles]
    if new.role is not None:
        return new.role
    if new.profile.name in names:
        return new.profile.name
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"--profile {new.profile.name} is none of the profiles of {saved.name} ({', '.join(names[:5])}); say "
        f"which it replaces: --profile {names[0]}=FILE"
    )


def split_role(text: str, saved: SavedPlan) -> tuple[str | None, str]:
    """`NAME=FILE`, where a saved profile has that name; else a file alone."""
    name, separator, file = text.partition("=")
    if separator and name in [profile.name for profile in saved.question.profiles]:
        return name, file
    return None, text


def _completed(new: NewProfile, old: ServiceProfile) -> ServiceProfile:
    """The new profile with what its file cannot say taken from the old one."""
    profile = new.profile
    if profile.hourly_usd is None:
        profile = replace(profile, hourly_usd=old.hourly_usd)
    if not new.is_bare:
        return profile
    return replace(
        profile,
        spells=old.spells,
        batch_work_s=old.batch_work_s,
        request_work_s=old.request_work_s,
        wake_s=old.wake_s,
        request_overhead_s=old.request_overhead_s,
        instances_per_device=old.instances_per_device,
        memory_bytes=old.memory_bytes,
    )


def _replacement(old: ServiceProfile, new: ServiceProfile, *, is_bare: bool) -> str:
    kept = (
        "; its price, work beside batches, wake, spells, request overhead and instances per device are kept"
        if is_bare
        else ""
    )
    same = old == new
    if same:
        return f"profile {old.name} is the one that was saved"
    by = "by another of its name" if old.name == new.name else f"by {new.name}"
    return f"profile {old.name} is replaced {by}{kept}"


def _at_rate(workload: Demand, rate_rps: float, name: str, notes: list[str]) -> Demand:
    if isinstance(workload, ClosedPopulation):
        raise InputError(
            f"{printable(name)} is for {workload.users} users, who have no rate; leave --rate out, or make a "
            "plan for arrivals at a rate"
        )
    if not math.isclose(rate_rps, workload.arrival_rate_rps, rel_tol=1e-12):
        notes.append(
            f"the arrival rate is {format_rate(rate_rps)} instead of {format_rate(workload.arrival_rate_rps)}"
        )
    return replace(workload, arrival_rate_rps=rate_rps)
