"""The day of a saved plan on its report page: the hours, and the autoscaler beside the smallest fixed fleet."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from capacity.answer.saved_autoscaler import read_autoscaler
from capacity.answer.saved_day import DayCost, judged_by, read_day_costs, read_schedule
from capacity.performance import format_interval
from capacity.question.objective import Limit
from capacity.render.plan import hours_alike, schedule_sentences


class DayPart(NamedTuple):
    """A section of the page: its text, and a table of texts."""

    key: str
    title: str
    lead: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def day_parts(saved: Any) -> Iterator[DayPart]:
    """What a saved plan says of its day; nothing if it was made for one rate.

    Raises:
        InputError: the plan was edited.
    """
    day = read_schedule(saved)
    if day is not None:
        yield DayPart(
            key="day",
            title="The day, hour by hour",
            lead=" ".join(schedule_sentences(day)),
            caption="Fewest replicas that meet the objective in each hour",
            heads=("hours", "rate", "replicas"),
            rows=tuple(hours_alike(day)),
        )
    costs = read_day_costs(saved)
    if costs is not None:
        yield _autoscaled(saved, *costs)


def _autoscaled(saved: Any, found: DayCost, smallest: DayCost | None) -> DayPart:
    kept = read_autoscaler(saved)
    assert kept is not None  # noqa: S101  (it has costs)
    limits = judged_by(saved)
    scaler, fate = kept.autoscaler, "holds" if kept.is_confirmed else "is not known to hold"
    held = "the limit" if len(limits) == 1 else "the limits"
    lead = (
        f"--autoscale {scaler.target} with {scaler.replicas_min} to {scaler.replicas_max} replicas {fate} {held} "
        f"over {kept.curve.name}, of whose requests each was simulated; lost ones count as late."
    )
    rows = [("autoscaled", found), *([] if smallest is None else [("fixed", smallest)])]
    has_price = found.cost_usd is not None
    return DayPart(
        key="autoscaler",
        title="The autoscaler over the day",
        lead=lead,
        caption="The autoscaled fleet, and the smallest fixed fleet that holds the objective",
        heads=(
            "fleet",
            "replicas at most",
            *(limit.what for limit in limits),
            "replica-hours",
            *(["USD a day"] if has_price else []),
        ),
        rows=tuple(_row(name, one, limits) for name, one in rows),
    )


def _row(name: str, one: DayCost, limits: Sequence[Limit]) -> tuple[str, ...]:
    price = one.cost_usd
    return (
        name,
        str(one.replicas_max),
        *(
            f"over {limit.lost_text} lost" if found.value == math.inf else format_interval(found)
            for limit, found in zip(limits, one.limited, strict=True)
        ),
        f"{one.replica_hours.interval().value:.1f}",
        *([] if price is None else [f"{price.interval().value:.2f}"]),
    )
