"""Batches as they are typed: `replicas=4,batch=16,wait=2ms,batching=torchserve`."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from capacity.errors import InputError, quoted
from capacity.files import located
from capacity.profile.profile import ServiceProfile
from capacity.question.parse import read_choice
from capacity.server.batch.batching import Batching, BatchTimer, batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.server.typed import Fields
from capacity.units import parse_duration_s


class TypedBatches:
    """A `capacity.server.typed.TypedFleet` of batch servers."""

    keys = (
        "replicas", "batch", "wait", "routing", "batching", "preferred-sizes", "timer", "queue-limit",
        "outstanding-max", "profile",
    )  # fmt: skip
    example = "replicas=4,batch=16"

    def plan(self, profile: ServiceProfile, fields: Fields) -> BatchPlan:
        """The plan, by default with the profile's largest batch and no wait.

        Raises:
            InputError: a value that cannot be read.
        """
        by_key, routing = fields.by_key, fields.routing
        rule = located(
            fields.where,
            lambda: read_batching(
                by_key.get("batching", Batching.TRITON), by_key.get("preferred-sizes"), by_key.get("timer")
            ),
        )
        return BatchPlan(
            profile=profile.name,
            replicas=fields.count("replicas"),
            batch_size_max=fields.count("batch", profile.batch_size_max),
            batch_wait_max_s=parse_duration_s(fields.text("wait", "0s"), f"{fields.where}: wait"),
            routing=routing,
            batching=rule.batching,
            preferred_sizes=rule.preferred_sizes,
            queue_limit=fields.count("queue-limit") if "queue-limit" in by_key else None,
            outstanding_max=fields.count("outstanding-max") if "outstanding-max" in by_key else None,
        )


class BatchingRule(NamedTuple):
    """Rule by which batches start, and its preferred sizes, rising."""

    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()


def read_batching(
    batching: str, preferred_sizes: "str | Iterable[int] | None", timer: str | None = None
) -> BatchingRule:
    """Values of `--batching` and `--preferred-sizes`.

    Args:
        timer: value of the former flag `--timer`, `oldest` or `open`.

    >>> read_batching("triton", "8,4").preferred_sizes
    (4, 8)
    """
    found = read_choice(Batching, batching, "--batching")
    if timer is not None:
        meant = batching_of(read_choice(BatchTimer, timer, "--timer"))
        if found not in (Batching.TRITON, meant):
            raise InputError(
                f"--timer {timer} is --batching {meant}, and --batching {found} is given; keep one"
            )
        found = meant
    return BatchingRule(found, _read_sizes(preferred_sizes))


def _read_sizes(sizes: "str | Iterable[int] | None") -> tuple[int, ...]:
    """Sizes from `4,8`, or from numbers."""
    if sizes is None:
        return ()
    if not isinstance(sizes, str):
        return tuple(sorted(set(sizes)))
    parts = [part.strip() for part in sizes.replace("+", ",").split(",")]
    if any(re.fullmatch(r"[0-9]{1,9}", part) is None for part in parts):
        raise InputError(f"--preferred-sizes {quoted(sizes)} is not a list of batch sizes, such as 4,8")
    return tuple(sorted({int(part) for part in parts}))
