"""Cluster executor: the mapper over the workers of a running Dask cluster, whatever becomes of it.

Dask is asked for its `concurrent.futures` executor and for nothing else: it restarts workers, gives the tasks
of a lost one to another, and says when it cannot. A worker must have the same versions as this process, for
others may give other bytes; one that computes other last digits, as another kind of CPU may, is only told of.
"""

import hashlib
import logging
import platform
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from capacity.errors import DependencyError, InputError
from simulations.parallel import ExecutorMapper, Mapper

if TYPE_CHECKING:
    from distributed import Client

# How long to wait for the scheduler, for its first worker, and for a worker to come back.
PATIENCE_S = 10.0
_CLOSE_S = 2.0
_GREETINGS = 3
_ADDRESS = re.compile(r"(?:tcp|tls)://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")
_SUBMITTED_PER_THREAD, _SUBMITTED_MIN = 4, 64  # more workers may join
_PACKAGES = ("capacity", "numpy", "scipy", "simpy", "numba")
_NOISY = ("distributed", "tornado", "asyncio")


@contextmanager
def cluster(address: str, warn: Callable[[str], None] = warnings.warn) -> Iterator[Mapper]:
    """A mapper over the workers of the cluster whose scheduler listens at `address`.

    Args:
        address: `tcp://HOST:PORT` or `tls://HOST:PORT`; certificates are Dask's own settings.
        warn: is told what may change the last digits of an answer.

    Raises:
        InputError: the address is none.
        DependencyError: Dask is not installed; no scheduler, no worker, or other versions there; and later,
            from the mapper, a scheduler that is lost or workers that do not come back.
    """
    check_address(address)
    _require_dask()
    with _quiet():
        client = _connect(address)
        try:
            _require_same(_ask(client, address), address, warn)
            mapper = _mapper(client, address)
            try:
                yield mapper
            finally:
                mapper.abandon()
        finally:
            with suppress(Exception):  # a farewell that fails must not hide why we leave
                client.close(timeout=_CLOSE_S)


def check_address(address: str) -> None:
    """Refuse what is not the address of a scheduler.

    >>> check_address("tcp://10.0.0.7:8786")
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[1]) < 2**16:
        shown = "".join(c if c.isprintable() else "?" for c in address[:80])
        raise InputError(f"--cluster {shown!r} is no address; write tcp://HOST:PORT or tls://HOST:PORT")


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise DependencyError(
            "--cluster needs Dask, which is not installed; pip install 'capacity[cluster]'"
        ) from None


def _connect(address: str) -> "Client":
    from distributed import Client

    def connect() -> "Client":
        """Dask takes a greeting that came together with news of the cluster for none; another rarely does."""
        for _ in range(_GREETINGS - 1):
            with suppress(AssertionError):
                return Client(address, timeout=PATIENCE_S, set_as_default=False)
        return Client(address, timeout=PATIENCE_S, set_as_default=False)

    try:
        return _in_time(connect)
    except Exception as error:  # of any kind: of the network, of certificates, of what is no scheduler
        raise DependencyError(
            f"no Dask scheduler answers at {address} ({_short(error)}); start one by `dask scheduler`, "
            "check address and certificates, or leave --cluster out"
        ) from None


def _in_time(connect: "Callable[[], Client]") -> "Client":
    """What `connect` gives or raises; Dask waits without end for a server that accepts and is silent."""
    outcome: Future[Client] = Future()

    def run() -> None:
        try:
            outcome.set_result(connect())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(PATIENCE_S + _CLOSE_S)


def _ask(client: "Client", address: str) -> dict[str, Any]:
    """What each worker says of itself, by its address."""

    async def everybody() -> dict[str, Any]:
        told: dict[str, Any] = await client.run(environment, on_error="return")
        return told

    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        told: dict[str, Any] = client.sync(everybody, callback_timeout=PATIENCE_S)
    except (OSError, TimeoutError):
        workers = _count_workers(client)
        what = f"{workers} workers, and not all answer" if workers else "no workers"
        raise DependencyError(
            f"the cluster at {address} has {what}; start some by `dask worker {address}`, or leave "
            "--cluster out"
        ) from None
    return told


def environment() -> dict[str, str]:
    """What the bytes of an answer depend on: versions, and the last digits of some arithmetic."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return {**found, "digits": _digits()}


def _digits() -> str:
    """Digest of numbers that vector units of different kinds round differently."""
    import numpy as np

    gaps = np.random.default_rng(0).gamma(0.7, size=4096)
    numbers = np.concatenate([gaps, np.log(gaps), np.exp(-gaps), np.sqrt(gaps), [gaps.sum(), gaps @ gaps]])
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def _require_same(told: Mapping[str, Any], address: str, warn: Callable[[str], None]) -> None:
    """Every worker has our versions.

    Raises:
        DependencyError: the first that has not, by name and by how to mend it.
    """
    ours = environment()
    for worker, theirs in sorted(told.items()):
        if not isinstance(theirs, Mapping):
            raise DependencyError(
                f"the worker {worker} of {address} cannot run capacity ({_short(theirs)}); install "
                f"capacity {ours['capacity']} there, with the packages that are here"
            )
        for name, own in ours.items():
            if name != "digits" and theirs.get(name) != own:
                raise DependencyError(
                    f"the worker {worker} of {address} has {name} {theirs.get(name)}, and here is {own}: "
                    "other bytes could come out; install the same version there"
                )
    others = [worker for worker, theirs in sorted(told.items()) if theirs["digits"] != ours["digits"]]
    if others:
        warn(
            f"warning: {len(others)} of {len(told)} workers, {others[0]} first, round differently from here, "
            "as other CPUs do: last digits may depend on which worker does what"
        )


def _mapper(client: "Client", address: str) -> ExecutorMapper:
    from distributed.scheduler import KilledWorker

    threads = sum(client.nthreads().values())
    return ExecutorMapper(
        client.get_executor(pure=False),
        submitted_max=max(_SUBMITTED_MIN, _SUBMITTED_PER_THREAD * threads),
        lost=f"the cluster at {address} is lost: its scheduler left, or a task kept killing its worker (out "
        "of memory?); look at its logs and run again, or leave --cluster out",
        failures=(BrokenExecutor, CancelledError, KilledWorker),
        check=_Watch(client, address),
    )


class _Watch:
    """Raises when a scheduler or all workers have been away for too long, while tasks wait for them."""

    def __init__(self, client: "Client", address: str) -> None:
        self._client = client
        self._address = address
        self._seen_s = time.monotonic()

    def __call__(self) -> None:
        now_s = time.monotonic()
        if self._client.status == "running" and _count_workers(self._client):
            self._seen_s = now_s
        elif now_s - self._seen_s > PATIENCE_S:
            raise DependencyError(
                f"the cluster at {self._address} has had no workers for {PATIENCE_S:.0f} s; start some by "
                f"`dask worker {self._address}` and run again, or leave --cluster out"
            )


def _count_workers(client: "Client") -> int:
    """How many workers the scheduler has; none where it does not answer."""

    async def ask() -> int:
        return len(await client.scheduler.ncores())

    try:
        count: int = client.sync(ask, callback_timeout=_CLOSE_S)
    except Exception:  # whatever it says, it is not an answer
        return 0
    return count


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own lines and warnings off stderr, once it is imported: what matters is raised as our error."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _NOISY]
    loggers = [logging.getLogger(name) for name in {*names, *_NOISY}]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _short(error: object) -> str:
    """What an error says, in one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else f"{text[:200]}..."
