"""Two workers: compares threads over the kernel with two independent processes.

    python benchmarks/two_workers.py [--rounds 5]

Each serves the same replications of the README's fleet; wall times are compared, since the gain from two cores
depends on the machine. Rounds alternate; the ratio is the median of the rounds'. Exit 1 if two workers reach less
than 0.9 of the two processes.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

from capacity.profile.load import load_profile
from capacity.question.scenario import Scenario
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.cases.batch import BatchCase
from simulations.draws.arrivals import Seed
from simulations.replication import replicate
from simulations.statistics.sample import Length
from simulations.workers import workers

LENGTH = Length(warm_up=1_000, measured=200_000, cool_down=500)
REPLICATIONS = 60
AT_LEAST = 0.9


def case() -> BatchCase:
    profile = load_profile("resnet50-t4-fp16")
    plan = BatchPlan(profile=profile.name, replicas=4, batch_size_max=16)
    return BatchCase(
        scenario=Scenario(
            profile=profile, workload=Workload(arrival_rate_rps=3200.0), plan=plan, quantiles=(0.99,)
        )
    )


def serve(numbers: range, count: int) -> None:
    with workers(count) as mapper:
        for _ in mapper(replicate, case().tasks(LENGTH, Seed(value=0), numbers)):
            pass


def alone(numbers: range, start: Barrier, stop: Barrier) -> None:
    """Run one of the two processes: compiled before the clock starts."""
    serve(range(1), 1)
    while True:
        start.wait()
        serve(numbers, 1)
        stop.wait()


def timed_s(work: Callable[..., None], *arguments: object) -> float:
    began_s = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    context = multiprocessing.get_context("spawn")
    start, stop = context.Barrier(3), context.Barrier(3)
    halves = (range(REPLICATIONS // 2), range(REPLICATIONS // 2, REPLICATIONS))
    for half in halves:
        context.Process(target=alone, args=(half, start, stop), daemon=True).start()
    serve(range(2), 2)

    def control() -> None:
        start.wait()
        stop.wait()

    control()
    shares, gains = [], []
    for _ in range(rounds):
        both_s, threads_s = timed_s(control), timed_s(serve, range(REPLICATIONS), 2)
        one_s = timed_s(serve, range(REPLICATIONS), 1)
        shares.append(both_s / threads_s)
        gains.append((one_s / threads_s, one_s / both_s))
    share = statistics.median(shares)
    threads, processes = (statistics.median(column) for column in zip(*gains, strict=True))
    million = REPLICATIONS * LENGTH.requests / 1e6
    print(f"{million:.1f} million requests a round, {rounds} rounds; times one worker's speed, medians:")
    print(f"two workers (threads)      {threads:.2f}")
    print(f"two independent processes  {processes:.2f}")
    spread = f"{min(shares):.2f} to {max(shares):.2f}"
    print(f"workers over processes     {share:.2f} ({spread}), at least {AT_LEAST}")
    sys.exit(0 if share >= AT_LEAST else 1)


if __name__ == "__main__":
    main()
