"""The verb `compare`: fleets under the same requests."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from capacity.answer.plan_like import as_saved
from capacity.api.asked import STARTS, asked_requests
from capacity.api.work import at_work
from capacity.doors import door
from capacity.files import located
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.question.budget import Effort
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.verbs import EFFORT
from capacity.server.kinds import asked_of, require_one_kind

if TYPE_CHECKING:
    from capacity.answer.saved_plan import SavedPlan
    from capacity.answers.comparison import ComparisonAnswer


@door("compare")
def compare(asked: Asked) -> "ComparisonAnswer":
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Raises:
        InputError: fewer than two fleets or too many, or an argument that cannot be read.
    """

    paths = [as_saved(one, f"plan {number}") for number, one in enumerate(asked.plans, start=1)]
    from capacity.answer.compare import common_scenario, contenders
    from capacity.answer.saved_plan import read_plans
    from capacity.answers.comparison import ComparisonAnswer

    saved = read_plans(paths, asked.arrivals if paths and asked.is_told("arrivals") else None)
    require_one_kind(saved)
    measured = _profiles_to_compare(saved, asked)
    usual = asked_of([*(one.profile for one in saved), *measured]).usual(asked)
    fleets = contenders(saved, paths, asked.fleet, measured, usual)
    first = fleets[0]
    fewest = replace(first.plan, replicas=min(one.plan.replicas for one in fleets))
    shared = common_scenario(saved, asked.rate) if saved else asked_requests(first.profile, fewest, asked)
    survival = parse.read_survival(asked)
    scenarios = [replace(shared, profile=one.profile, plan=one.plan).after(survival) for one in fleets]
    changes = {name: asked[name] for name in EFFORT.split() if asked[name] is not None}
    effort = replace(saved[0].effort if saved else Effort(), **changes)
    limited = {q for one in saved for q in one.question.objective.quantiles}
    quantiles = parse.read_quantiles(asked.quantile, sorted({0.5, 0.99, *limited}))
    with at_work(effort, asked.progress) as work:
        for one, scenario in zip(fleets, scenarios, strict=True):
            located(one.name, partial(work.require_answerable, scenario))
        work.report(f"simulating {len(fleets)} fleets under the same requests")
        comparison = work.compare(quantiles)(scenarios)
    return ComparisonAnswer(
        contenders=fleets,
        scenarios=tuple(scenarios),
        comparison=comparison,
        effort=effort,
        left_out=tuple(_left_out(saved)),
    )


def _left_out(saved: "Sequence[SavedPlan]") -> Iterator[Caveat]:
    """The autoscalers of saved plans, whose fleets are compared as fixed ones."""
    from capacity.answer.saved_autoscaler import LEFT_OUT

    if any(one.answer.get("autoscaled") is not None for one in saved):
        yield Caveat(code=CaveatCode.AUTOSCALER_LEFT_OUT, message=LEFT_OUT)


def _profiles_to_compare(saved: "Sequence[SavedPlan]", asked: Asked) -> list[Any]:
    """The profiles of fleets that flags describe, of the kind of the saved plans."""
    known = [parse.find_profile(one) for one in asked.profile]
    if not saved and not known:
        return []
    kind = asked_of([*(one.profile for one in saved), *known])
    kind.refuse(asked, STARTS)
    return [kind.ready(one, asked) for one in known]
