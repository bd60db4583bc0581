"""System: a queue whose law is known, and how the simulator plays it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from capacity.performance import Performance
from capacity.plan import Plan
from capacity.workload import Demand
from simulations.pool import Estimate, Pool, QuantileEstimate
from simulations.sample import Sample
from simulations.service import ALONE, ServiceTimes

Quantiles = tuple[float, ...]
MEANS = ("wait_probability", "wait_mean_s", "response_mean_s")
P50: Quantiles = (0.5,)
P99: Quantiles = (0.5, 0.99)


class Quantity(NamedTuple):
    """One number of a law, how far it may lie from the truth, and how a pool estimates it.

    Attributes:
        allowance: as a share of the truth, 0 where the law is exact.
    """

    theory: float
    allowance: float
    estimate: Callable[[Pool], Estimate | QuantileEstimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A queue that theory knows, and how the simulator plays it.

    Attributes:
        relaxation_requests: requests that arrive within one relaxation time.
        compared: fields of the performance, beside the quantiles.
        quantiles: of the response time, to compare.
        slowdowns: of instances that share a device, as `cluster.run` takes them.
        cool_down_requests: last requests of a run, which do not count since none come after them.
    """

    name: str
    theory: Performance
    plan: Plan
    workload: Demand
    service_times: ServiceTimes
    relaxation_requests: float
    compared: tuple[str, ...] = MEANS
    quantiles: Quantiles = P50
    slowdowns: tuple[float, ...] = ALONE
    cool_down_requests: int = 0

    def quantities(self) -> dict[str, Quantity]:
        """What is compared, by name."""
        errors, quantiles_s = self.theory.relative_error_max, self.theory.response_quantiles_s
        scalars = {
            name: Quantity(
                getattr(self.theory, name),
                errors.get(name, 0.0),
                partial(_estimate, name, self.plan.replicas),
            )
            for name in self.compared
        }
        quantiles = {
            f"response_p{100 * q:g}_s": Quantity(
                quantiles_s[q].value,
                errors.get("response_quantiles_s", 0.0),
                partial(Pool.response_quantile, quantile=q),
            )
            for q in self.quantiles
        }
        return scalars | quantiles


def _counted(sample: Sample) -> float:
    return float(sample.counted)


# What the sums of the samples give for one quantity: above and below a line.
_RATIOS: dict[str, tuple[Callable[[Sample], float], Callable[[Sample], float]]] = {
    "loss_probability": (lambda s: s.lost, lambda s: s.lost + s.counted),
    "throughput_rps": (_counted, lambda s: s.window_s),
    "batch_size_mean": (_counted, lambda s: s.batches),
    "wait_probability": (lambda s: s.waits.positive, _counted),
    "wait_mean_s": (lambda s: s.waits.total_s, _counted),
    "response_mean_s": (lambda s: s.responses.total_s, _counted),
}


def _estimate(name: str, replicas: int, pool: Pool) -> Estimate:
    """One quantity of a pool."""
    if name == "utilization":
        return pool.ratio(lambda s: s.busy_s, lambda s: replicas * s.window_s)
    return pool.ratio(*_RATIOS[name])
