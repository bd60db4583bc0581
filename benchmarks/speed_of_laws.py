"""Speed of laws: compares sizing at a million erlangs and P99 of batches with other methods, in one run.

    python benchmarks/speed_of_laws.py

Times are medians of several runs; compare the ratios, as machines are noisy. scipy.special has no queueing law: its
incomplete gamma function is made into Erlang's formula here, as a user would.
"""

import math
import platform
import statistics
import time
from collections.abc import Callable

import mpmath
from scipy.special import gammaincc, gammaln

from capacity.queues.batch.bulk import Bulk
from capacity.queues.markov.erlang import erlang_b
from capacity.queues.staffing import servers_for_wait_probability

MILLION = 1_000_000.0


def median_s(action: Callable[[], object], runs: int = 7) -> float:
    def once() -> float:
        begun_s = time.perf_counter()
        action()
        return time.perf_counter() - begun_s

    once()
    return statistics.median(once() for _ in range(runs))


def scipy_erlang_b(load: float, servers: float) -> float:
    return math.exp(servers * math.log(load) - load - gammaln(servers + 1)) / gammaincc(servers + 1, load)


def scipy_sizing(load: float, waiting: float) -> int:
    low, high = math.floor(load), math.ceil(load + 20.0 * math.sqrt(load))
    while high - low > 1:
        middle = (low + high) // 2
        lost = scipy_erlang_b(load, middle)
        delayed = lost / (1.0 - load / middle * (1.0 - lost))
        low, high = (low, middle) if delayed <= waiting else (middle, high)
    return high


def exact_erlang_b(load: float, servers: int) -> mpmath.mpf:
    with mpmath.workdps(50):
        a, c = mpmath.mpf(load), mpmath.mpf(servers)
        pmf = mpmath.exp(c * mpmath.log(a) - a - mpmath.loggamma(c + 1))
        return pmf / mpmath.gammainc(c + 1, a, regularized=True)


def line(what: str, ours_s: float, theirs: str, theirs_s: float) -> None:
    ours, other = f"{1e3 * ours_s:10.3f} ms", f"{1e3 * theirs_s:10.3f} ms"
    print(f"{what:44} {ours}   {theirs:34} {other}   {theirs_s / ours_s:8.1f} x")


def erlang() -> None:
    servers = 1_001_000
    exact = exact_erlang_b(MILLION, servers)
    for name, value in (
        ("ours", erlang_b(MILLION, servers)),
        ("scipy.special", scipy_erlang_b(MILLION, servers)),
    ):
        print(f"Erlang B at a million erlangs, relative error of {name}: {float(abs(value / exact - 1)):.1e}")
    line(
        "Erlang B at a million erlangs",
        median_s(lambda: erlang_b(MILLION, servers)),
        "mpmath at 50 digits",
        median_s(lambda: exact_erlang_b(MILLION, servers), 3),
    )
    line(
        "sizing at a million erlangs, P(wait) 1 %",
        median_s(lambda: servers_for_wait_probability(MILLION, 1.0, 0.01)),
        "scipy.special, bisection",
        median_s(lambda: scipy_sizing(MILLION, 0.01)),
    )
    ours, theirs = servers_for_wait_probability(MILLION, 1.0, 0.01), scipy_sizing(MILLION, 0.01)
    print(f"servers: ours {ours}, scipy.special {theirs}")


def batches() -> None:
    for size, replicas, limit_s in ((8, 1, 0.050), (64, 1, 0.500), (512, 1, 1.0), (64, 16, 0.500)):
        times_s = tuple(1e-3 * (0.1438 * b + 1.8874) for b in range(1, size + 1))
        for wait_s in (0.0, 0.002):

            def p99(
                times_s: tuple[float, ...] = times_s, replicas: int = replicas, wait_s: float = wait_s
            ) -> float:
                rate_rps = 0.8 * replicas * len(times_s) / times_s[-1]
                return Bulk(
                    arrival_rate_rps=rate_rps,
                    batch_times_s=times_s,
                    replicas=replicas,
                    batch_wait_max_s=wait_s,
                ).response_quantile_s(0.99)

            took, allowed = f"{1e3 * median_s(p99, 3):.1f} ms", f"{1e3 * limit_s:.0f} ms allowed"
            fleet = f"{replicas} replicas in turn" if replicas > 1 else "one replica"
            print(
                f"P99 of {fleet}, batches up to {size}, wait {1e3 * wait_s:g} ms, load 0.8: {took}, of {allowed}"
            )


if __name__ == "__main__":
    erlang()
    batches()
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
