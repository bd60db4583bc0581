"""Places: a limit of the requests that a replica may hold at once, and what a replica serves that is always full.

A balancer holds back the requests for which no replica has a place, in one queue, first come first served. It is
`maxconn` of HAProxy's servers, `max_ongoing_requests` of Ray Serve and `containerConcurrency` of Knative.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from capacity.errors import InputError
from capacity.profile.distribution import ServiceLaw
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.traffic.workload import Demand, is_patient

_LEAVE_OUT = "leave out --outstanding-max"
# Of balancers that hold nothing back: what full servers leave is refused.
_REFUSING = (Routing.LEAST_OUTSTANDING_NGINX, Routing.POWER_OF_TWO_NGINX)


def require_places(
    outstanding_max: int | None,
    batching: Batching,
    preferred_sizes: tuple[int, ...],
    routings: Iterable[Routing],
    queue_limit: int | None,
) -> None:
    """Refuse a limit of outstanding requests where it has no meaning, or is not simulated.

    Raises:
        InputError: what contradicts, and the mend.
    """
    if outstanding_max is None:
        return
    asked = set(routings)
    if Routing.SHARED_QUEUE in asked:
        raise InputError(
            "with a shared queue no request is at a replica before its batch starts, so that there is nothing to "
            f"limit; {_LEAVE_OUT}, or take another --routing"
        )
    if asked & set(_REFUSING):
        raise InputError(
            "nginx refuses requests for which no server has a place (max_conns), and holds none back; "
            f"{_LEAVE_OUT}, or take another --routing"
        )
    if queue_limit is not None:
        raise InputError(
            "requests beyond the outstanding ones wait at the balancer, and those beyond a queue limit are rejected: "
            "give --outstanding-max or --queue-limit, not both"
        )
    if batching is Batching.RAY_SERVE or preferred_sizes:
        what = "ray-serve batching" if batching is Batching.RAY_SERVE else "preferred sizes"
        raise InputError(f"a limit of outstanding requests is not simulated with {what}; {_LEAVE_OUT}")


def require_batch_fits(outstanding_max: int | None, batch_size_max: int) -> None:
    """Refuse fewer places than the largest batch takes.

    Raises:
        InputError: both numbers, and the mend.
    """
    if outstanding_max is not None and outstanding_max < batch_size_max:
        raise InputError(
            f"no batch would ever be full: at most {outstanding_max} requests are outstanding at a replica, and "
            f"batches have up to {batch_size_max}; give --outstanding-max {batch_size_max} or more, or a smaller "
            "--batch-size-max"
        )


def require_own_devices(outstanding_max: int | None, profile: ServiceProfile) -> None:
    """Refuse instances that share a device.

    Raises:
        InputError: there are several on each.
    """
    if outstanding_max is not None and profile.instances_per_device > 1:
        raise InputError(
            "a limit of outstanding requests is not simulated for instances that share a device; "
            f"{_LEAVE_OUT}, or give --instances-per-device 1"
        )


def require_plain(outstanding_max: int | None, workload: Demand) -> None:
    """Refuse clients who give up or try again.

    Raises:
        InputError: the workload has them.
    """
    if outstanding_max is not None and not is_patient(workload):
        raise InputError(
            "a limit of outstanding requests is not simulated with clients who give up or try again; "
            f"{_LEAVE_OUT}, or the timeout"
        )


@lru_cache(maxsize=1024)
def always_full_rps(
    profile: ServiceProfile, outstanding_max: int, batch_size_max: int, batching: Batching, wait_s: float
) -> float:
    """Rate of a replica whose N places are all taken, as others always wait at the balancer. [requests/s]

    When its batch of b ends, the replica starts the N - b that wait at it, up to B of them, and b others take the free
    places at that instant. So from N = 2B on all batches are full. With fewer places and without a batch wait b and
    N - b alternate for as long as others wait, whatever b was first: batches divide the places, and the queue at the
    balancer has to shrink at the slowest of these pairs, since chance leads to any of them. Then N/(s_b + s_(N-b)) is
    the largest rate at which it does not grow for ever, which with N = B is far below B/s_B.

    With a batch wait w the N - b that wait when a batch of b ends were there for as long as it took. If that is less
    than w, they are not due, the free places are taken first, and the next batch is full. So a full batch follows a
    full one with the probability p = P(S_B < w), and otherwise one of N - B does, and then a full one: (B + (1 -
    p)(N - B))/(s_B + (1 - p)s_(N-B)). Any other pair leads there, unless both its batches always take w or longer. A
    wait that counts from when a free replica sees a request (`torchserve`) is never over then, and all batches are
    full.

    Args:
        outstanding_max: N, at least B.
        wait_s: w. [s]

    Source:
        The pairs, and that they last, are worked out here, from the batching semantics.
    """
    import numpy as np

    places, size, full_s = outstanding_max, batch_size_max, profile.service_mean_s(batch_size_max)
    if places >= 2 * size or size == 1 or (wait_s > 0.0 and batching is Batching.TORCHSERVE):
        return profile.throughput_rps(size)
    sizes = np.arange(max(1, places - size), min(size, places - 1) + 1)  # of pairs, in whatever order
    means_s, shortest_s = (
        np.interp(sizes, profile.batch_sizes, values)
        for values in ([law.mean_s for law in profile.laws], [law.durations_s[0] for law in profile.laws])
    )
    stays = np.minimum(shortest_s, shortest_s[::-1]) >= wait_s
    slowest_s = float(np.max(means_s + means_s[::-1], where=stays, initial=0.0))
    after_full = (1.0 - _shorter(profile.law(size), wait_s)) * (places - size)
    then_s = after_full / (places - size) * profile.service_mean_s(places - size) if after_full > 0.0 else 0.0
    by_full_ones = (size + after_full) / (full_s + then_s)
    return min(by_full_ones, places / slowest_s) if slowest_s > 0.0 else by_full_ones


def _shorter(law: ServiceLaw, limit_s: float) -> float:
    """Probability that a batch takes less than a time."""
    place = bisect_left(law.durations_s, limit_s)
    if place in (0, len(law.durations_s)):
        return float(place > 0)
    (x0, x1), (u0, u1) = law.durations_s[place - 1 : place + 1], law.probabilities[place - 1 : place + 1]
    return u0 + (u1 - u0) * (limit_s - x0) / (x1 - x0)
