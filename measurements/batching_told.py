"""Batching told: how servers say that they put requests together, and where that is not as planned."""

import math
from collections.abc import Iterator, Sequence

from capacity.plan import Plan
from capacity.units import format_duration
from measurements.address import Address
from measurements.metrics_text import Scrape

SIZE_MAX, WAIT_MAX = "serve_batch_size_max", "serve_batch_wait_max_seconds"
# A wait is written by hand from a plan's, with three digits and in some unit.
_WAIT_REL, _WAIT_ABS_S = 0.02, 1e-6


def batching_notes(addresses: Sequence[Address], pages: Sequence[Scrape], plan: Plan) -> tuple[str, ...]:
    """What to say where servers tell of other batches or waits than the plan's: nothing if none does.

    A prediction is then one of another server. Servers that tell nothing are taken to be as planned.

    Args:
        addresses: of the metrics.
        pages: that were found there, in the same order.
    """
    others = list(_others(addresses, pages, plan))
    if not others:
        return ()
    address, size_max, wait_max_s = others[0]
    who = f"{address.host}:{address.port}"
    if len(pages) > 1:
        who = f"{len(others)} of {len(pages)} servers, {who} first,"
    told, planned = _shown(size_max, wait_max_s), _shown(plan.batch_size_max, plan.batch_wait_max_s)
    return (
        f"{who} says that it makes {told}, and the plan has {planned}: start it as planned, or verify it "
        f"as it is, by --profile, --rate, --batch-size-max {size_max}, --batch-wait {1e3 * wait_max_s:g}ms "
        "and what else the plan has",
    )


def _shown(size_max: int, wait_max_s: float) -> str:
    return f"batches up to {size_max} that wait up to {format_duration(wait_max_s)}"


def _others(
    addresses: Sequence[Address], pages: Sequence[Scrape], plan: Plan
) -> Iterator[tuple[Address, int, float]]:
    for address, page in zip(addresses, pages, strict=True):
        size_max = _told(page, SIZE_MAX, plan.batch_size_max)
        wait_max_s = _told(page, WAIT_MAX, plan.batch_wait_max_s)
        is_same_wait = math.isclose(wait_max_s, plan.batch_wait_max_s, rel_tol=_WAIT_REL, abs_tol=_WAIT_ABS_S)
        if size_max != plan.batch_size_max or not is_same_wait:
            yield address, round(size_max), wait_max_s


def _told(page: Scrape, name: str, otherwise: float) -> float:
    """A gauge's value; another where there is none, or one that says nothing."""
    told = next(iter(page.series(name).values()), otherwise)
    return told if 0.0 <= told < 2.0**53 else otherwise
