"""Errors of the G/G/c approximations: the largest that were met against exact queues."""

import math
from collections.abc import Mapping

from capacity.queues.durations import Duration, Family
from capacity.queues.general.ggc_wait import Formula, is_poisson

_FEW, _MANY = 5, 20
_UTILIZATION_MIN = 0.7 * (1.0 - 1e-12)  # rates of 0.7 round to either side
_FIELDS = ("wait_probability", "wait_mean_s", "response_mean_s", "wait_quantiles_s", "response_quantiles_s")
_ALIKE = {"queue_length_mean": "wait_mean_s", "in_system_mean": "response_mean_s"}  # Little's law

# Rounded up; of the quantiles the P99. Rows: Poisson gaps, other gaps; 1 to 5 servers, to 20.
_MEASURED: dict[tuple[Formula, bool, bool], tuple[float | None, ...]] = {
    (Formula.ALLEN_CUNNEEN, True, True): (0.06, 0.30, 0.15, 0.16, 0.15),
    (Formula.ALLEN_CUNNEEN, True, False): (0.11, 1.0, 0.15, 0.90, 0.15),
    (Formula.ALLEN_CUNNEEN, False, True): (0.90, 0.63, 0.20, 0.30, 0.29),
    (Formula.ALLEN_CUNNEEN, False, False): (3.6, 2.6, 0.20, 1.4, 0.29),
    (Formula.KIMURA, True, True): (0.06, 0.32, 0.18, None, None),
    (Formula.KIMURA, True, False): (0.11, 0.50, 0.18, None, None),
    (Formula.WHITT, True, True): (0.06, 0.13, 0.09, 0.18, 0.18),
    (Formula.WHITT, True, False): (0.11, 0.30, 0.09, 0.25, 0.18),
    (Formula.WHITT, False, True): (0.16, 0.35, 0.18, 0.31, 0.24),
    (Formula.WHITT, False, False): (0.24, 0.86, 0.18, 0.71, 0.24),
    (Formula.TIJMS, True, True): (0.06, 0.22, 0.11, 0.10, None),
    (Formula.TIJMS, True, False): (0.11, 0.64, 0.11, 0.46, None),
}


def errors_measured(
    formula: Formula, arrival: Duration, service: Duration, servers: int, utilization: float
) -> Mapping[str, float]:
    """By field of a `Performance`, the largest relative error met; infinite where nobody looked.

    Against MAP/PH/c (M/G/1 and M/D/c beside it) at utilization 0.7 and 0.9 with 1 to 5 and 20
    servers. Poisson gaps with deterministic, Erlang-2, hyper-exponential and gamma services of scv 0,
    1/2, 2, 4 and 9; Erlang-4, hyper-exponential and gamma gaps (scv 4) with Erlang-2, exponential,
    hyper-exponential and gamma services (scv 4). Gamma laws above scv 1 as mixtures of 3 to 6
    exponentials with their first 5 to 11 moments. Two moments do not decide a wait, so that other laws
    (lognormal) may be further off: Gupta, Harchol-Balter, Dai & Zwart (2010), Queueing Systems 64, 5-48.
    Quantiles are the P99; near the share that does not wait they may be further off. M/M/c has no error.

    >>> from capacity.queues.durations import Family
    >>> poisson, gamma = (Duration(family=Family.GAMMA, mean_s=1.0, scv=c) for c in (1.0, 2.0))
    >>> errors_measured(Formula.WHITT, poisson, gamma, 4, 0.8)["wait_mean_s"]
    0.13
    >>> errors_measured(Formula.WHITT, poisson, gamma, 4, 0.3)["wait_mean_s"]
    inf
    """
    poisson = is_poisson(arrival)
    exact = poisson and is_poisson(service)
    seen = utilization >= _UTILIZATION_MIN and servers <= _MANY
    seen = seen and _seen(poisson=poisson, arrival=arrival, service=service)
    row = zip(_FIELDS, _MEASURED[formula, poisson, servers <= _FEW], strict=True)
    fields = {name: 0.0 if exact else error if seen else math.inf for name, error in row if error is not None}
    return fields | {name: fields[source] for name, source in _ALIKE.items()}


def _seen(*, poisson: bool, arrival: Duration, service: Duration) -> bool:
    """Whether the laws are of families that were measured, their variabilities within the measured ones."""
    if Family.LOGNORMAL in (arrival.family, service.family):
        return False
    if poisson:
        return service.variability <= 9.0
    return 0.25 <= arrival.variability <= 4.0 and 0.5 <= service.variability <= 4.0
