"""Contention fit: slowdowns from the throughput of a device with ever more instances busy."""

from collections.abc import Mapping

from capacity.contention import Contention, measured
from capacity.errors import InputError
from capacity.queues.scalability_fit import fit

INSTANCES_MAX = 1000  # of one device; more is a mistake
_FIT_SIZES_MIN = 3  # parameters of the universal scalability law


def from_sweep(throughputs_rps: Mapping[int, float]) -> Contention:
    """Slowdowns from throughput by number of busy instances, within what was measured.

    m instances that do X(m) together each take m·X(1)/X(m) times as long as one alone. Three numbers
    of instances or more are smoothed by the universal scalability law, whose slowdown is
    1 + sigma (m - 1) + kappa m (m - 1); of 1 and 2 alone the quotient stands as it is.

    Args:
        throughputs_rps: of the whole device, by number of instances that were always busy. [requests/s]

    Raises:
        InputError: one instance alone or a second number is missing, or two do less than none at all.
        DomainError: a throughput that is not positive and finite.

    Source:
        Gunther (2007), Guerrilla Capacity Planning, ch. 4-6.

    >>> from_sweep({1: 500.0, 2: 800.0}).slowdowns
    (1.0, 1.25)
    """
    if 1 not in throughputs_rps or len(throughputs_rps) < 2:
        raise InputError(
            f"a sweep of busy instances needs 1 and at least one more, got {sorted(throughputs_rps)[:6]}; "
            "measure one instance alone and all together"
        )
    most = max(throughputs_rps)
    if not 1 < most <= INSTANCES_MAX or min(throughputs_rps) < 1:
        raise InputError(
            f"busy instances must be from 1 to {INSTANCES_MAX}, got {sorted(throughputs_rps)[:6]}; "
            "they count those of one device"
        )
    if len(throughputs_rps) < _FIT_SIZES_MIN:
        return _of_two(throughputs_rps, most)
    law = fit({float(busy): rate for busy, rate in throughputs_rps.items()}).law
    return measured([1.0, *(1.0 / law.efficiency(busy) for busy in range(2, most + 1))])


def _of_two(throughputs_rps: Mapping[int, float], most: int) -> Contention:
    """Slowdowns of 1 and 2; of others the law's parameters could not be told."""
    if most > 2:
        raise InputError(
            f"a sweep of 1 and {most} busy instances leaves those between open; measure one of them too"
        )
    for busy, rate_rps in throughputs_rps.items():
        if not 0.0 < rate_rps < float("inf"):
            raise InputError(f"throughput of {busy} busy instances must be > 0 and finite, got {rate_rps}")
    return measured([1.0, max(1.0, 2.0 * throughputs_rps[1] / throughputs_rps[2])])
