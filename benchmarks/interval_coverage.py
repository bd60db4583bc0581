"""Coverage: how often the 95 % interval of a P99 holds the exact value, over many independent experiments.

    python benchmarks/interval_coverage.py [--experiments 400] [--precision 0.02] [--system NAME]

Each experiment is what `capacity simulate` does with a seed of its own and a budget that always suffices:
replications are added until the interval is as narrow as asked. Of 400 experiments at 95 %, chance alone
moves the share by 1.1 % (one standard error). Exit 1 where a share lies outside 93 to 97 %.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from capacity.plan import Plan, Routing
from capacity.profile import BatchTiming, ServiceProfile
from capacity.profile_files import load_profile
from capacity.queues.bulk import Bulk
from capacity.queues.mdc import MDc
from capacity.queues.mmc import MMc
from capacity.queues.mmpp import MMPPMc
from capacity.workload import MmppArrivals, Workload
from simulations.arrivals import Seed
from simulations.case import Case
from simulations.estimate import precise_look
from simulations.service import ExponentialTimes, ServiceTimes

QUANTILE, CONFIDENCE, REQUESTS_MAX = 0.99, 0.95, 2_000_000_000
ALLOWED = (0.93, 0.97)
SECOND = ServiceProfile(name="one-second", timings=(BatchTiming(batch_size=1, mean_s=1.0),))


# As variable as exponential service; how long runs are goes by the profile.
_QUANTILES_S = tuple(-math.log1p(-(place + 0.5) / 2000) for place in range(2000))
VARIABLE = ServiceProfile(name="variable", timings=(BatchTiming(batch_size=1, samples_s=_QUANTILES_S),))


class ExponentialCase(Case):
    """A case of exponential service of mean 1 s, which no profile can tell to the last digit."""

    @property
    def service_times(self) -> ServiceTimes:
        return ExponentialTimes(1.0)


@dataclass(frozen=True)
class System:
    """A queue whose P99 is known."""

    name: str
    case: Case
    exact_s: float


def systems() -> Iterator[System]:
    yield _single("M/M/1, load 0.9", 0.9, 1, ExponentialCase)
    yield _single("M/M/8, load 0.8", 0.8, 8, ExponentialCase)
    yield _single("M/D/1, load 0.9", 0.9, 1, Case)
    yield _bursty()
    profile, size = load_profile("resnet50-t4-fp16"), 16
    times_s = tuple(profile.service_mean_s(batch) for batch in range(1, size + 1))
    rate_rps = 0.8 * size / times_s[-1]
    yield System(
        name=f"batches up to {size}, load 0.8",
        case=Case(
            profile=ServiceProfile(
                name="means",
                timings=tuple(BatchTiming(batch_size=i + 1, mean_s=x) for i, x in enumerate(times_s)),
            ),
            workload=Workload(arrival_rate_rps=rate_rps),
            plan=Plan(profile="means", replicas=1, batch_size_max=size),
        ),
        exact_s=Bulk(arrival_rate_rps=rate_rps, batch_times_s=times_s).response_quantile_s(QUANTILE),
    )


def _bursty() -> System:
    """MMPP/M/1 whose bursts come near to saturation, for 100 services each."""
    load, arrivals = 0.7, MmppArrivals(ratio=2.0, burst_mean_s=100.0, calm_mean_s=100.0)
    law = MMPPMc(
        arrival_rates_rps=arrivals.rates_rps(load),
        switch_rates_per_s=(0.01, 0.01),
        service_rate_rps=1.0,
        servers=1,
    )
    case = ExponentialCase(
        profile=VARIABLE,
        workload=Workload(arrival_rate_rps=load, arrivals=arrivals),
        plan=Plan(profile=VARIABLE.name, replicas=1, batch_size_max=1),
    )
    return System(name="MMPP/M/1, load 0.7", case=case, exact_s=law.response_quantile_s(QUANTILE))


def _single(name: str, load: float, servers: int, kind: type[Case]) -> System:
    """Requests one by one at a shared queue, of 1 s each on average."""
    rate = load * servers
    law = (
        MDc(arrival_rate_rps=rate, service_time_s=1.0, servers=servers)
        if kind is Case
        else MMc(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers)
    )
    plan = Plan(profile=SECOND.name, replicas=servers, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    profile = SECOND if kind is Case else VARIABLE
    case = kind(profile=profile, workload=Workload(arrival_rate_rps=rate), plan=plan)
    return System(name=name, case=case, exact_s=law.response_quantile_s(QUANTILE))


def experiment(system: System, number: int, precision: float) -> tuple[bool, float, float, int]:
    """Whether the interval holds the exact value; its relative half-width; its deviation; requests."""
    look = precise_look(system.case, Seed(value=number), REQUESTS_MAX, precision, CONFIDENCE)
    interval = look.pool.response_quantile(QUANTILE).interval(CONFIDENCE)
    holds = interval.low <= system.exact_s <= interval.high
    return holds, interval.relative_half_width, interval.value / system.exact_s - 1.0, look.requests


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--precision", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--system", default="", help="one whose name begins so")
    options = parser.parse_args()
    print("| system | exact P99 | covered | mean half-width | mean deviation | requests, median |")
    print("|---|---|---|---|---|---|")
    good = True
    with ThreadPoolExecutor(options.workers) as executor:
        for system in (one for one in systems() if one.name.startswith(options.system)):
            results = list(
                executor.map(
                    lambda number, of=system: experiment(of, number, options.precision),
                    range(options.experiments),
                )
            )
            holds, widths, deviations, requests = (np.array(column) for column in zip(*results, strict=True))
            share = float(holds.mean())
            error = float(deviations.std(ddof=1)) / math.sqrt(len(results))
            good = good and ALLOWED[0] <= share <= ALLOWED[1]
            cells = (
                system.name,
                f"{system.exact_s:.6g} s",
                f"{100 * share:.1f} %",
                f"{100 * widths.mean():.2f} %",
                f"{100 * deviations.mean():+.3f} ± {100 * error:.3f} %",
                f"{np.median(requests):,.0f}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
