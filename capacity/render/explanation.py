"""Explanation in sentences, section by section, each with its numbers."""

import math
from collections.abc import Collection, Iterator

from rich.text import Text

from capacity.answer.refusals import fate_of_fewer, format_refusal
from capacity.answer.saturation import at_saturation, saturates
from capacity.answer.sentences import fleet, format_found
from capacity.explanation.binding import Binding, Burst, Cause
from capacity.explanation.explanation import Explanation
from capacity.explanation.savings import Lever, Saving
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, format_value
from capacity.question.plan import Plan
from capacity.search.recommendation import Change
from capacity.units import format_duration

_CAUSES = {
    Cause.STABILITY: "stability: with one fewer, requests would arrive faster than {leave}",
    Cause.BURSTINESS: "burstiness: Poisson arrivals at the same rate would need fewer",
    Cause.SERVICE_FLOOR: "the service itself: at best it takes half of the limit or more",
    Cause.BATCHING: "batching: waiting for a batch to fill and sharing it takes most of the time",
    Cause.SHARING: "sharing: a step takes longer, the more requests run together in an engine",
    Cause.QUEUEING: "queueing: requests wait for those before them",
}
_GAPS = "variation of the gaps between arrivals"
_LEVERS = {
    Lever.LIMIT: "a limit {:.3g} % higher",
    Lever.SERVICE: "service times {:.3g} % shorter",
    Lever.DEMAND: "{:.3g} % less traffic at the peak",
}


def sections(explanation: Explanation) -> Iterator[tuple[str, list[str]]]:
    """Titles, each with its sentences."""
    yield "What limits the plan", list(_binding(explanation))
    nearest = explanation.nearest
    fate = fate_of_fewer(Verdict.MISSED if nearest is None else nearest.verdict)
    is_extra = nearest is not None and nearest.accepted and explanation.must_recover
    yield (
        "Why one more than the limits need" if is_extra else f"Why one fewer {fate}",
        list(_fewer(explanation)),
    )
    yield explanation.plan.names.others, [_neighbour(explanation, one) for one in explanation.neighbours]
    yield "What the answer depends on", list(_sensitivities(explanation))
    yield "Checked", [f"{one.what}: {one.how}." for one in explanation.assumptions if one.checked]
    yield ("Assumed", [f"{one.what}: {one.how}." for one in explanation.assumptions if not one.checked])
    yield "What would save most", list(_savings(explanation))


def explanation_texts(explanation: Explanation) -> Iterator[Text]:
    """The whole explanation for the terminal."""
    for title, told in sections(explanation):
        if told:
            yield Text(f"{title}:", style="bold")
            yield from (Text(f"- {sentence}") for sentence in told)


def _binding(explanation: Explanation) -> Iterator[str]:
    binding = explanation.binding
    if binding is None:
        yield f"The plan was not simulated: {format_refusal(explanation.base)}."
        return
    cause = _CAUSES[binding.cause].format(leave=explanation.plan.names.leave)
    yield (
        f"{binding.limit.what} of {format_value(binding.limit, binding.found)} uses up "
        f"{100.0 * binding.share:.3g} % of what is allowed; what limits it most is {cause}."
    )
    if binding.load_fewer is not None:
        stays = "unstable" if binding.load_fewer >= 1.0 else "stable"
        yield f"Stability: one fewer would be {stays}, at load {binding.load_fewer:.3f} at best."
    if explanation.saturation is not None:
        yield f"{saturates(explanation.plan, explanation.saturation)} {at_saturation(explanation.saturation)}"

    yield from _times(binding)
    if binding.burst is not None:
        yield _burst(explanation, binding, binding.burst)


def _times(binding: Binding) -> Iterator[str]:
    """Where the time goes, for a limit on times."""
    if binding.floor_s is not None:
        share = 100.0 * binding.floor_s / binding.limit.allowed
        yield f"Service: at best {format_duration(binding.floor_s)}, {share:.3g} % of the limit."
    if binding.lone_s is not None:
        more_s = max(0.0, binding.found.value - binding.lone_s)
        wait = "" if binding.wait is None else f"; the wait alone has {binding.limit.what} "
        wait += "" if binding.wait is None else format_value(binding.limit, binding.wait)
        yield (
            f"Queueing and batching: a lone request takes {format_duration(binding.lone_s)}; waiting for "
            f"others and sharing a batch with them adds {format_duration(more_s)}{wait}."
        )
    if binding.unbatched is not None:
        yield f"Without batches: {_fate(binding.unbatched, binding.limit)}."


def _burst(explanation: Explanation, binding: Binding, burst: Burst) -> str:
    cv = "" if burst.cv is None else f"gaps vary by {burst.cv:.3g} of their mean (Poisson: 1); "
    counts = ""
    if burst.dispersion is not None:
        window = "long windows" if burst.window_s is None else format_duration(burst.window_s)
        counts = f"counts in {window} vary {burst.dispersion:.3g} times as much as Poisson's; "
    more = ""
    if burst.replicas is not None:
        more = f", and {burst.replicas} would be enough, {explanation.plan.replicas - burst.replicas} fewer"
        if burst.replicas >= explanation.plan.replicas:
            more = f", and {burst.replicas} would be needed"
    return f"Arrivals: {cv}{counts}under Poisson arrivals {_fate(burst.poisson, binding.limit)}{more}."


def _fewer(explanation: Explanation) -> Iterator[str]:
    nearest = explanation.nearest
    if nearest is None:
        yield "One is the minimum."
        return
    refused = {
        one.plan: one.rejection
        for one in explanation.fewer
        if one.performance is None and one.rejection is not None
    }
    unstable = {plan: one.needed for plan, one in refused.items() if _is_load(one)}
    if unstable:
        least = min(unstable.values())
        yield f"With {_sizes(unstable)} it would be unstable, at load {least:.3f} at best."
    losing = [plan for plan, one in refused.items() if one.is_loss]
    if losing:
        yield f"With {_sizes(losing)} it would reject more than is allowed."
    slow = [plan for plan, one in refused.items() if not _is_load(one) and not one.is_loss]
    if slow:
        sizes = _sizes(slow)
        yield f"{sizes[0].upper()}{sizes[1:]} are refused, or in doubt, with any number of replicas."
    if nearest.performance is not None:
        yield _closest(explanation, nearest)


def _closest(explanation: Explanation, nearest: Candidate) -> str:
    """The fate of the fleet of one fewer that is closest to the objective."""
    load = None if nearest.performance is None else nearest.performance.load
    at = "" if load is None else f", at load {load:.3f}"
    if nearest.accepted and explanation.must_recover:
        meets = "meets" if nearest.plan.replicas == 1 else "meet"
        return f"{fleet(nearest.plan)} {meets} the limits as well{at}: the plan has more to recover in time."
    if nearest.accepted:
        return (
            f"Short simulations accept {fleet(nearest.plan)}{at}; the stricter confirmation, or the "
            "budget, decided against it."
        )
    over = ""
    rejection = nearest.rejection
    if rejection is not None and nearest.verdict is Verdict.MISSED:
        over = f", {100.0 * (rejection.needed / rejection.allowed - 1.0):.3g} % over the limit"
    return f"Closest is {fleet(nearest.plan)}{at}: {format_refusal(nearest)}{over}."


def _sizes(plans: Collection[Plan]) -> str:
    """How much replicas of some plans take at once, in words."""
    sizes = [plan.at_once for plan in plans]
    text = next(plan.size_text for plan in plans)
    return text.replace(str(sizes[0]), ", ".join(map(str, sizes)), 1)


def _is_load(rejection: Rejection) -> bool:
    """Whether theory refused the load, even with the allowed losses taken off."""
    return rejection.limit is None and rejection.reason in (Reason.STABILITY, Reason.SURVIVAL)


def _neighbour(explanation: Explanation, change: Change) -> str:
    limit = None if explanation.binding is None else explanation.binding.limit
    setting = f"{change.what.capitalize()} {change.plan.value_text(change.what)}".rstrip()
    return f"{setting}: {_fate(change.candidate, limit)}{_shift(change)}."


def _sensitivities(explanation: Explanation) -> Iterator[str]:
    limit = None if explanation.binding is None else explanation.binding.limit
    for change in explanation.sensitivities:
        assert change.step is not None  # noqa: S101  (what was given has a step)
        name = _GAPS if change.what == "cv" else change.what
        count = change.replicas
        are = "replica is" if count == 1 else "replicas are"
        needs = "" if count is None else f"; {count} {are} enough with {explanation.plan.names.this}"
        yield (
            f"{name.capitalize()} {100.0 * change.step:+.3g} %: "
            f"{_fate(change.candidate, limit)}{_shift(change)}{needs}."
        )
    most = explanation.most_sensitive
    if most is not None:
        moved = most.shift_per_step
        how = (
            "makes the plan unstable"
            if moved == math.inf
            else f"moves the figure closest to its limit by {100.0 * moved:.3g} %"
        )
        name = _GAPS if most.what == "cv" else most.what
        yield f"The answer depends most on the {name}: a change of 10 % {how}."


def _savings(explanation: Explanation) -> Iterator[str]:
    best = explanation.best_saving
    if best is None:
        if explanation.nearest is not None:
            yield "No single change that was tried makes one replica fewer enough."
        return
    yield f"{_lever(best).capitalize()}: {fleet(best.plan)} would be enough{_price(best)}."
    for other in explanation.savings:
        if other is not best:
            yield f"The same with {_lever(other)}."


def _lever(saving: Saving) -> str:
    if saving.lever is Lever.ROUTING or saving.share is None:
        return f"routing {saving.plan.routing.value} alone"
    return _LEVERS[saving.lever].format(100.0 * saving.share)


def _price(saving: Saving) -> str:
    return "" if saving.hourly_usd is None else f", {saving.hourly_usd:.3f} USD/h less"


def _shift(change: Change) -> str:
    if change.shift is None or change.shift == math.inf:
        return ""
    return f" ({100.0 * change.shift:+.3g} %)"


def _fate(candidate: Candidate, limit: Limit | None) -> str:
    """The limited value and whether all limits are met; or why there is no value."""
    if candidate.performance is None or limit is None:
        return format_refusal(candidate) or candidate.verdict.value
    found = format_found(limit, candidate.performance)
    found = found if candidate.settled else found.replace(" is ", " is at least ", 1)
    kept = {Verdict.MET: "met", Verdict.MISSED: "missed", Verdict.INCONCLUSIVE: "in doubt"}
    return f"{found}, {kept[candidate.verdict]}"
