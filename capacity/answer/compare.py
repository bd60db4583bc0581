"""Compare: reads the fleets to compare, saved or typed, and their common requests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from capacity.errors import InputError
from capacity.files import printable
from capacity.question.comparison import Contender
from capacity.question.scenario import AnyScenario
from capacity.server.kinds import typed_of
from capacity.server.typed import Fields
from capacity.traffic.workload import Demand, Workload
from capacity.units import format_rate

CONTENDERS_MAX = 8


class SavedFleet(Protocol):
    """A saved plan, of any kind of server."""

    @property
    def name(self) -> str:
        """Name of its file."""

    @property
    def plan(self) -> Any:
        """The fleet that was recommended."""

    @property
    def question(self) -> Any:
        """What was asked."""


def common_scenario(plans: Sequence[SavedFleet], rate_rps: float | None) -> AnyScenario:
    """The scenario of the first plan, whose requests all plans share, or share at the given rate.

    Raises:
        InputError: the plans are for different requests.
    """
    first, *others = (_at_rate(plan, rate_rps) for plan in plans)
    for plan, other in zip(plans[1:], others, strict=True):
        if _requests(other) == _requests(first):
            continue
        rates = [_rate_rps(one.workload) for one in (first, other)]
        if None not in rates and rates[0] != rates[1]:
            both = " and ".join(format_rate(rate or 0.0) for rate in rates)
            mend = f"({both}); give --rate to compare them at one rate"
        elif other.workload != first.workload:
            mend = "(other arrivals); make the plans for the same arrivals"
        else:
            mend = "(other lengths); make the plans for the same requests"
        raise InputError(f"{plans[0].name} and {plan.name} are for different workloads {mend}")
    return first


def _requests(scenario: AnyScenario) -> tuple[Any, ...]:
    return scenario.workload, scenario.lengths, scenario.cached_share, scenario.in_order


def _at_rate(plan: SavedFleet, rate_rps: float | None) -> AnyScenario:
    scenario: AnyScenario = plan.question.scenario(plan.plan)
    if rate_rps is None:
        return scenario
    if not isinstance(scenario.workload, Workload):
        raise InputError(f"{plan.name} is for users, not for a rate; leave --rate out")
    return scenario.at_rate(rate_rps)


def _rate_rps(workload: Demand) -> float | None:
    return workload.arrival_rate_rps if isinstance(workload, Workload) else None


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def parse_fleet(
    text: str, profiles: Sequence[Any], usual: Mapping[str, Any] = _NOTHING
) -> Contender[Any, Any]:
    """A fleet as it is typed, `replicas=4,batch=16,routing=random,profile=NAME`.

    Args:
        profiles: profiles to choose from by name, of one kind; the first if none is named.
        usual: values of keys that the text leaves out.

    Raises:
        InputError: an unknown or repeated key, no replicas, or an invalid value.
        DomainError: settings beyond what was measured.
    """
    typed = typed_of(profiles[0])
    fields = Fields.read(text, typed, usual)
    named = {one.name: one for one in profiles}
    name = fields.text("profile", profiles[0].name)
    if name not in named:
        raise InputError(
            f"{fields.where} names none of the profiles; use one of {', '.join(list(named)[:5])}"
        )
    plan = typed.plan(named[name], fields)
    return Contender(name=printable(text)[:80], profile=named[name], plan=plan)


def contenders(
    saved: Sequence[SavedFleet],
    names: Sequence[str | Path | SavedFleet],
    fleets: Sequence[str],
    measured: Sequence[Any],
    usual: Mapping[str, Any] = _NOTHING,
) -> tuple[Contender[Any, Any], ...]:
    """Saved plans, then fleets of the given profiles, or of the first plan's profiles if none is given.

    Args:
        usual: values of keys that fleets leave out.

    Raises:
        InputError: fewer than two, more than `CONTENDERS_MAX`, or a fleet without a profile.
    """
    profiles = measured or (saved[0].question.profiles if saved else ())
    if fleets and not profiles:
        raise InputError("a --fleet needs a --profile, or a saved plan to take it from")
    found = (
        *(_saved(plan, _name(name)) for plan, name in zip(saved, names, strict=True)),
        *(parse_fleet(text, profiles, usual) for text in fleets),
    )
    if not 2 <= len(found) <= CONTENDERS_MAX:
        example = typed_of(*profiles[:1]).example
        raise InputError(
            f"give 2 to {CONTENDERS_MAX} fleets to compare, saved plans or --fleet {example}; got {len(found)}"
        )
    return found


def _saved(plan: SavedFleet, name: str) -> Contender[Any, Any]:
    """The fleet of a saved plan."""
    return Contender(name=name, profile=plan.question.profile(plan.plan.profile), plan=plan.plan)


def _name(plan: str | Path | SavedFleet) -> str:
    return printable(str(plan)) if isinstance(plan, str | Path) else plan.name
