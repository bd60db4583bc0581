"""Cluster executor: on a real Dask cluster of two processes, alive, lost, and of another version."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from in_process import capacity

from capacity.errors import DependencyError, InputError
from simulations import cluster_executor
from simulations.cluster_executor import _require_workers, cluster, environment

HERE = Path(__file__).parents[1]
SIMULATE = [
    "simulate", "--profile", "resnet50-t4-fp16", "--rate", "1300rps", "--replicas", "2",
    "--batch-size-max", "16", "--routing", "shared-queue",
]  # fmt: skip


@dataclass
class Local:
    process: subprocess.Popen[str]
    address: str
    workers: list[int]


@contextmanager
def local_cluster(workers: int, tmp_path: Path) -> Iterator[Local]:
    with subprocess.Popen(
        [sys.executable, HERE / "local_cluster.py", str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    ) as process:
        try:
            address = process.stdout.readline().strip()
            yield Local(process, address, [int(pid) for pid in process.stdout.readline().split()])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local_cluster(2, tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.mark.long
def test_the_bytes_are_those_of_a_run_here(local: Local, tmp_path: Path) -> None:
    here = capacity(tmp_path, *SIMULATE, "--json", "--workers", "1")
    there = capacity(tmp_path, *SIMULATE, "--json", "--cluster", local.address)
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout
    lines = there.stderr.splitlines()
    assert lines[0] == "simulating 2 replicas, batch 16"
    assert len(lines) == 2
    assert lines[1].startswith("done in")


@pytest.mark.long
def test_plan_takes_a_cluster_too(local: Local, tmp_path: Path) -> None:
    arguments = [
        "plan", "--profile", "resnet50-t4-fp16", "--rate", "300rps", "--slo-p99", "20ms",
        "--requests-max", "480000", "--json",
    ]  # fmt: skip
    there = capacity(tmp_path, *arguments, "--cluster", local.address)
    assert there.returncode == 0, there.stderr
    assert there.stdout == capacity(tmp_path, *arguments).stdout


@pytest.mark.long
def test_results_come_in_order_and_an_error_is_that_error(local: Local) -> None:
    with cluster(local.address) as mapper:
        assert list(mapper(abs, [-3, -3, 2])) == [3, 3, 2]
        with pytest.raises(ValueError, match="math domain error"):
            list(mapper(math.log, [1, 0]))
        assert list(mapper(abs, [-1])) == [1]


@pytest.mark.long
def test_a_scheduler_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    with (  # noqa: PT012  (raised by the mapper, or by the end of the context)
        pytest.raises(DependencyError, match="lost|no workers"),
        local_cluster(1, tmp_path) as mine,
        cluster(mine.address) as mapper,
    ):
        os.killpg(mine.process.pid, signal.SIGKILL)
        list(mapper(abs, range(5)))


def test_workers_that_do_not_come_back_are_not_waited_for_without_end(monkeypatch) -> None:
    class Empty:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            raise TimeoutError

    with pytest.raises(DependencyError, match=r"no workers for 10 s; start some by `dask worker tcp://a:1`"):
        cluster_executor._require_workers(Empty(), "tcp://a:1")


def test_a_single_worker_is_enough() -> None:
    class OfOne:
        def wait_for_workers(self, count: int, timeout: float) -> None:
            if count > 1:
                raise TimeoutError(f"1 of {count} workers after {timeout:g} s")

    _require_workers(OfOne(), "127.0.0.1:8786")  # type: ignore[arg-type]


def test_no_scheduler_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_executor, "PATIENCE_S", 0.5)
    with pytest.raises(DependencyError, match="no Dask scheduler answers"), cluster("tcp://127.0.0.1:1"):
        pass


class Executor:
    """Runs each task as it is submitted, and counts them."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, function: Callable[[int], int], task: int) -> Future[int]:
        self.submitted += 1
        future: Future[int] = Future()
        future.set_result(function(task))
        return future


class Client:
    """A stand-in for the client of a cluster with one worker."""

    def __init__(self, threads: int = 3, failure: Exception | None = None) -> None:
        self.threads, self.failure, self.closed, self.executor = threads, failure, 0, Executor()

    def __call__(self, address: str, timeout: float, set_as_default: bool) -> "Client":
        assert (address, set_as_default) == ("tcp://a:1", False)
        return self

    def wait_for_workers(self, count: int, timeout: float) -> None:
        assert (count, timeout) == (1, 10.0)

    def run(self, function: Callable[[], dict[str, str]]) -> dict[str, dict[str, str]]:
        if self.failure is not None:
            raise self.failure
        return {"tcp://w:1": function()}

    def nthreads(self) -> dict[str, int]:
        return {"tcp://w:1": self.threads}

    def get_executor(self, pure: bool) -> Executor:
        assert not pure  # the same task twice is two tasks
        return self.executor

    def close(self, timeout: float) -> None:
        self.closed += 1
        raise OSError("it is gone already")


@pytest.mark.parametrize(("threads", "window"), [(3, 64), (16, 64), (17, 68)])
def test_four_tasks_a_thread_or_64_are_submitted_ahead(monkeypatch, threads, window) -> None:
    client = Client(threads)
    monkeypatch.setattr("distributed.Client", client)
    with cluster("tcp://a:1") as mapper:
        results = iter(mapper(abs, range(-100, 0)))
        assert next(results) == 100
        assert client.executor.submitted == window
    assert client.closed == 1


def test_a_worker_without_capacity_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(failure=ModuleNotFoundError("No module named 'simulations'"))
    monkeypatch.setattr("distributed.Client", client)
    said = r"a worker of tcp://a:1 cannot run capacity \(ModuleNotFoundError: No module .*\); install capacity there"
    with pytest.raises(DependencyError, match=said), cluster("tcp://a:1"):
        pass
    assert client.closed == 1


@pytest.mark.parametrize("error", [BrokenExecutor(), CancelledError()])
def test_a_lost_cluster_is_reported_and_other_errors_pass(monkeypatch, error) -> None:
    monkeypatch.setattr("distributed.Client", Client())
    with pytest.raises(DependencyError, match="the cluster at tcp://a:1 is lost"), cluster("tcp://a:1"):
        raise error
    with pytest.raises(ZeroDivisionError), cluster("tcp://a:1"):
        raise ZeroDivisionError


def test_missing_dask_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = r"--cluster needs Dask; pip install 'capacity-planner\[cluster\]'"
    with pytest.raises(DependencyError, match=said), cluster("tcp://a:1"):
        pass


@pytest.mark.parametrize("name", ["numpy", "capacity", "python"])
def test_another_version_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ours = environment() | {name: "0.0"}
    monkeypatch.setattr(cluster_executor, "environment", lambda: ours)
    with pytest.raises(DependencyError, match=rf"has {name} .*, and here is 0\.0"):
        cluster_executor._require_same({"tcp://w:1": environment()}, "tcp://s:1", warn=pytest.fail)


def test_a_worker_that_rounds_differently_is_named() -> None:
    warned: list[str] = []
    theirs = {"tcp://w:1": environment() | {"digits": "other"}, "tcp://w:2": environment()}
    cluster_executor._require_same(theirs, "tcp://s:1", warned.append)
    assert warned == ["warning: worker tcp://w:1 rounds differently from here: last digits may differ"]


@pytest.mark.parametrize(
    "address", ["", "localhost:8786", "tcp://a", "http://a:1", "tcp://a b:1", "tcp://a:1/x"]
)
def test_what_is_not_an_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(InputError, match="is not an address"), cluster(address):
        pass


@pytest.mark.parametrize("command", ["plan", "simulate", "sweep"])
def test_either_workers_or_a_cluster(tmp_path: Path, command: str) -> None:
    arguments = ["--slo-p99", "1s"] if command == "plan" else ["--replicas", "1"]
    common = ["--profile", "resnet50-t4-fp16", "--rate", "5rps", *arguments]
    done = capacity(tmp_path, command, *common, "--workers", "2", "--cluster", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: give either --workers or --cluster, which has workers of its own\n"
    done = capacity(tmp_path, command, *common, "--cluster", "127.0.0.1")
    assert done.returncode == 2
    assert "is not an address" in done.stderr
