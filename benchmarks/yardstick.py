"""Yardstick: the loops of event_loop.c, compiled on first use and called from Python.

    python benchmarks/yardstick.py

It prints the time of one request. It needs a C compiler (cc, gcc or clang); without one, `yardstick()` is None.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capacity.question.plan import Routing

Floats = NDArray[np.float64]

SOURCE = Path(__file__).with_name("event_loop.c")
FLAGS = ("-O3", "-shared", "-fPIC")
NATIVE = "-march=native"  # not every compiler knows it
ROUTINGS = {Routing.LEAST_OUTSTANDING: 0, Routing.POWER_OF_TWO: 1}
_ARRAY = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
_HEAD = (_ARRAY, ctypes.c_int64, ctypes.c_uint64, ctypes.c_double)  # responses, requests, seed, mean gap
_REST = {
    "mmc": (ctypes.c_double, ctypes.c_int),
    "mmc_sorted": (ctypes.c_double, ctypes.c_int),
    "batches": (_ARRAY, ctypes.c_int, ctypes.c_double, ctypes.c_int),
    "own_queues": (ctypes.c_double, ctypes.c_int, ctypes.c_int),
}


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The compiled loops; each gives the responses of this many requests, in order of arrival. [s]"""

    library: ctypes.CDLL

    def mmc(
        self, seed: int, requests: int, *, rate_rps: float, service_mean_s: float, servers: int
    ) -> Floats:
        return self._run("mmc", seed, requests, rate_rps, service_mean_s, servers)

    def mmc_sorted(
        self, seed: int, requests: int, *, rate_rps: float, service_mean_s: float, servers: int
    ) -> Floats:
        """M/M/c without a heap."""
        return self._run("mmc_sorted", seed, requests, rate_rps, service_mean_s, servers)

    def batches(
        self,
        seed: int,
        requests: int,
        *,
        rate_rps: float,
        batch_times_s: tuple[float, ...],
        wait_max_s: float,
        servers: int,
    ) -> Floats:
        """A fleet of batches; `batch_times_s` are those of batches of 1, 2, ... up to the largest."""
        times_s = np.array([0.0, *batch_times_s])
        return self._run(
            "batches", seed, requests, rate_rps, times_s, len(batch_times_s), wait_max_s, servers
        )

    def own_queues(
        self,
        seed: int,
        requests: int,
        *,
        rate_rps: float,
        service_mean_s: float,
        replicas: int,
        routing: Routing,
    ) -> Floats:
        return self._run("own_queues", seed, requests, rate_rps, service_mean_s, replicas, ROUTINGS[routing])

    def _run(self, name: str, seed: int, requests: int, rate_rps: float, *rest: object) -> Floats:
        responses_s = np.empty(requests)
        mean_s = getattr(self.library, name)(responses_s, requests, seed, 1.0 / rate_rps, *rest)
        if not mean_s > 0.0:
            raise ValueError(f"{name} of event_loop.c refuses its arguments, or memory is short")
        return responses_s


def compiler() -> str | None:
    """The first C compiler on the path."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@functools.cache
def yardstick() -> Yardstick | None:
    """The loops, compiled for this machine; None without a compiler."""
    command = compiler()
    if command is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "event_loop.so"
        build = [command, *FLAGS, str(SOURCE), "-o", str(built), "-lm"]
        if subprocess.run([*build, NATIVE], check=False, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(build, check=True)
        library = ctypes.CDLL(str(built))
    for name, rest in _REST.items():
        function = getattr(library, name)
        function.argtypes, function.restype = (*_HEAD, *rest), ctypes.c_double
    return Yardstick(library)


def compiler_version() -> str:
    """First line of the compiler's version message."""
    command = compiler()
    if command is None:
        return "no C compiler"
    said = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.splitlines()[0]


def main() -> None:
    loops = yardstick()
    if loops is None:
        raise SystemExit("no C compiler: install one to run the yardstick")
    times_s = tuple(1e-3 * (2.0 + 0.5 * size) for size in range(1, 17))
    fleet = {"rate_rps": 12.8, "service_mean_s": 1.0, "replicas": 16}
    runs = {
        "M/M/8": functools.partial(loops.mmc, rate_rps=6.4, service_mean_s=1.0, servers=8),
        "M/M/8, sorted": functools.partial(loops.mmc_sorted, rate_rps=6.4, service_mean_s=1.0, servers=8),
        "batches": functools.partial(
            loops.batches, rate_rps=4480.0, batch_times_s=times_s, wait_max_s=0.005, servers=4
        ),
        **{rule: functools.partial(loops.own_queues, **fleet, routing=rule) for rule in ROUTINGS},
    }
    for name, run in runs.items():
        best_s = float("inf")
        for seed in range(7):
            begun_s = time.process_time()
            run(seed, 2_000_000)
            best_s = min(best_s, time.process_time() - begun_s)
        print(f"{name:20} {best_s / 2e6 * 1e9:6.1f} ns a request, best of 7")


if __name__ == "__main__":
    main()
