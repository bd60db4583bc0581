"""The autoscaler of a plan on the terminal: what it is, what it costs beside a fixed fleet, and how sure that is."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from capacity.autoscaling.cheapest import AutoscaledPlan
from capacity.autoscaling.findings import Days
from capacity.question.autoscaler import Autoscaler
from capacity.render.autoscaling.screen import answer_text, course_lines, fleet_table
from capacity.units import format_duration

_CAVEAT = (
    "Note: it is judged by that day, with the chance of its arrivals; not by days with other rates, nor by the error "
    "of the profile."
)


def autoscaled_plan_tables(
    found: AutoscaledPlan, width: int, *, verbose: bool = False
) -> Iterator[RenderableType]:
    """The part of `capacity plan` about the autoscaler of the day."""
    yield Text()
    yield Text(_decision(found), style="bold")
    yield Text(answer_text(found.screen))
    yield Text(_certainty(found))
    yield fleet_table(found.screen)
    if verbose:
        yield from course_lines(found.screen.found, width)
    yield Text(_CAVEAT)


def _decision(found: AutoscaledPlan) -> str:
    """Which autoscaler to run; or that none is known to hold the limit."""
    limit = " and ".join(format_duration(one.allowed) for one in found.screen.found.fleet.limits)
    if found.chosen is not None:
        return f"Autoscaler: {autoscaler_in_words(found.chosen)}."
    nearest = autoscaler_in_words(found.screen.found)
    if found.verdict.exit_code == 3:
        return f"No autoscaler holds {limit} over the day; the nearest is {nearest}."
    return f"No autoscaler is known to hold {limit} over the day; the nearest is {nearest}."


def autoscaler_in_words(found: Days) -> str:
    """The target and the bounds."""
    scaler = found.fleet.autoscaler
    assert isinstance(scaler, Autoscaler)  # noqa: S101  (no fixed fleet is chosen)
    return f"--autoscale {scaler.target} with {scaler.replicas_min} to {scaler.replicas_max} replicas"


def _confidence(share: float) -> str:
    """A confidence in percents, with two digits of what is left to 100.

    >>> _confidence(0.95), _confidence(0.99966)
    ('95 %', '99.966 %')
    """
    return f"{100.0 - float(f'{100.0 * (1.0 - share):.2g}'):.10g} %"


def _certainty(found: AutoscaledPlan) -> str:
    """How many were simulated, and what confirms the one that was chosen."""
    count = "1 autoscaler was" if found.searched == 1 else f"{found.searched} autoscalers were"
    told = f"{count} simulated"
    if found.chosen is not None:
        told += (
            f"; this one was checked on fresh random numbers, over {found.chosen.runs} days, with intervals of "
            f"{_confidence(found.chosen.confidence)}"
        )
    doubtful = [autoscaler_in_words(one) for one in found.passed_over if not one.is_missed]
    if doubtful and found.chosen is not None:
        told += f". Cheaper, and undecided: {'; '.join(doubtful[:3])}"
    return f"{told}."
