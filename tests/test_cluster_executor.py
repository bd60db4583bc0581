"""Cluster executor: on a real Dask cluster of two processes, alive, crippled, dead, and of another version."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from capacity.errors import DependencyError, InputError
from simulations import cluster_executor
from simulations.cluster_executor import check_address, cluster, environment

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("capacity")
SIMULATE = [
    "simulate", "--profile", "resnet50-t4-fp16", "--rate", "1300rps", "--replicas", "2",
    "--batch-size-max", "16", "--routing", "shared-queue",
]  # fmt: skip
LONG = ["--precision", "0.001", "--requests-max", "400000000"]


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
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            yield Local(process, address, [int(pid) for pid in process.stdout.readline().split()])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local_cluster(2, tmp_path_factory.mktemp("cluster")) as running:
        yield running


def capacity(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )


@contextmanager
def started(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as program:
        try:
            yield program
        finally:
            program.kill()


# ---- Alive ----------------------------------------------------------------------------------


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
def test_a_sweep_of_few_cells_and_of_many_takes_a_cluster_too(local: Local, tmp_path: Path) -> None:
    """Few cells send their replications, many themselves."""
    common = [
        "--profile",
        "resnet50-t4-fp16",
        "--replicas",
        "1",
        "--batch-size-max",
        "1",
        "--precision",
        "0.9",
    ]
    common += ["--quantile", "0.5", "--json", "--rate"]
    for rates in ("100rps:200rps:50rps", "100rps:196.5rps:1.5rps"):
        there = capacity(tmp_path, "sweep", *common, rates, "--cluster", local.address)
        assert there.returncode == 0, there.stderr
        assert there.stdout == capacity(tmp_path, "sweep", *common, rates).stdout


def test_results_come_in_order_and_from_the_workers(local: Local) -> None:
    with cluster(local.address) as mapper:
        assert list(mapper(abs, range(-200, 0))) == list(range(200, 0, -1))
        assert set(mapper(call_getpid, [()] * 9)) <= set(local.workers)


def call_getpid(arguments: tuple[()]) -> int:
    return os.getpid(*arguments)


def test_identical_tasks_are_each_done(local: Local) -> None:
    """Dask takes the same function of the same argument for the same task, unless told that it is none."""
    with cluster(local.address) as mapper:
        assert len(set(mapper(os.urandom, [8] * 5))) == 5


def test_an_error_in_a_task_is_that_error_and_the_cluster_goes_on(local: Local) -> None:
    with cluster(local.address) as mapper:
        with pytest.raises(ValueError, match="non-negative"):
            list(mapper(time.sleep, [0.0, -1.0, *[0.1] * 10]))
        assert list(mapper(abs, [-1])) == [1]


# ---- Crippled and dead ----------------------------------------------------------------------


@pytest.mark.long
def test_a_killed_worker_changes_no_byte(tmp_path: Path) -> None:
    effort = ["--precision", "0.001", "--requests-max", "1000000", "--json"]
    here = capacity(tmp_path, *SIMULATE, *effort)
    with (
        local_cluster(2, tmp_path) as running,
        started(tmp_path, *SIMULATE, *effort, "--cluster", running.address) as program,
    ):
        assert program.stderr is not None
        assert program.stderr.readline().startswith("simulating")
        time.sleep(0.7)
        os.kill(running.workers[0], signal.SIGKILL)
        answer, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    assert answer == here.stdout
    assert len(errors.splitlines()) == 1


def test_a_scheduler_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    with (
        local_cluster(2, tmp_path) as running,
        started(tmp_path, *SIMULATE, *LONG, "--cluster", running.address) as program,
    ):
        assert program.stderr is not None
        assert program.stderr.readline().startswith("simulating")
        time.sleep(0.5)
        began_s = time.monotonic()
        running.process.kill()
        answer, errors = program.communicate(timeout=60)
    assert time.monotonic() - began_s < 15.0
    assert (program.returncode, answer) == (5, "")
    assert len(errors.splitlines()) == 1, errors
    assert f"the cluster at {running.address} is lost" in errors


def test_ctrl_c_leaves_a_busy_cluster_at_once(local: Local, tmp_path: Path) -> None:
    with started(tmp_path, *SIMULATE, *LONG, "--cluster", local.address) as program:
        assert program.stderr is not None
        program.stderr.readline()
        time.sleep(0.5)
        began_s = time.monotonic()
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (130, "interrupted\n")
    assert time.monotonic() - began_s < 8.0


def test_a_task_that_kills_every_worker_is_an_error(tmp_path: Path) -> None:
    with (
        local_cluster(1, tmp_path) as running,
        pytest.raises(DependencyError, match=r"kept killing its worker .*look at its logs") as error,
        cluster(running.address) as mapper,
    ):
        list(mapper(os._exit, [1]))
    assert error.value.exit_code == 5


def test_a_cluster_without_workers_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_executor, "PATIENCE_S", 1.0)
    with (
        local_cluster(0, tmp_path) as running,
        pytest.raises(DependencyError, match="has no workers; start some by `dask worker tcp://"),
        cluster(running.address),
    ):
        pass


def test_workers_that_do_not_come_back_are_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP of the process that would restart the worker, and that is the scheduler's, would hide it too."""
    monkeypatch.setattr(cluster_executor, "PATIENCE_S", 2.0)
    monkeypatch.setattr(cluster_executor, "_count_workers", lambda client: 0)
    with (
        local_cluster(1, tmp_path) as running,
        pytest.raises(DependencyError, match=r"has had no workers for 2 s; start some"),
        cluster(running.address) as mapper,
    ):
        list(mapper(time.sleep, [30.0]))


def test_workers_at_work_are_waited_for(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_executor, "PATIENCE_S", 1.0)
    with cluster(local.address) as mapper:
        assert list(mapper(time.sleep, [3.5])) == [None]


def test_only_workers_that_stay_away_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 0.0, "workers": 1}
    monkeypatch.setattr(cluster_executor.time, "monotonic", lambda: now["s"])
    monkeypatch.setattr(cluster_executor, "_count_workers", lambda client: now["workers"])
    watch = cluster_executor._Watch(SimpleNamespace(status="running"), "tcp://h:1")
    for seconds, workers in ((100.0, 1), (101.0, 0), (109.0, 0), (109.5, 1), (112.0, 0), (119.0, 0)):
        now.update(s=seconds, workers=workers)
        watch()
    now.update(s=119.6)
    with pytest.raises(DependencyError, match="tcp://h:1 has had no workers for 10 s"):
        watch()


# ---- Not there, and of another kind ---------------------------------------------------------


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "refused"])
def test_what_is_no_scheduler_is_not_waited_for_without_end(
    silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_executor, "PATIENCE_S", 1.0)
    monkeypatch.setattr(cluster_executor, "_CLOSE_S", 0.5)
    began_s = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not silent:
            server.close()
        with (
            pytest.raises(DependencyError, match="no Dask scheduler answers at tcp://127.0.0.1:.*dask sched"),
            cluster(f"tcp://127.0.0.1:{port}"),
        ):
            pass
    assert time.monotonic() - began_s < 5.0


@pytest.mark.parametrize(("failing", "met"), [(1, True), (2, True), (3, False)])
def test_a_greeting_that_comes_with_other_news_is_asked_for_again(
    local: Local, monkeypatch: pytest.MonkeyPatch, failing: int, met: bool
) -> None:
    """Dask asserts that it is alone, and now and then it is not."""
    import distributed

    client = distributed.Client
    left = iter([AssertionError] * failing)

    def greeted(*arguments: object, **settings: object) -> object:
        for error in left:
            raise error
        return client(*arguments, **settings)

    monkeypatch.setattr(distributed, "Client", greeted)
    if met:
        with cluster(local.address) as mapper:
            assert list(mapper(abs, [-1])) == [1]
    else:
        with (
            pytest.raises(DependencyError, match=r"no Dask scheduler answers .*AssertionError"),
            cluster(local.address),
        ):
            pass


def test_tls_without_certificates_says_so() -> None:
    with (
        pytest.raises(DependencyError, match=r"check address and certificates"),
        cluster("tls://127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize("name", ["capacity", "numpy", "python", "scipy", "simpy"])
def test_another_version_there_is_refused(local: Local, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    other = {**environment(), name: "0.0.1"}
    monkeypatch.setattr(cluster_executor, "environment", Anywhere(other))
    with (
        pytest.raises(DependencyError, match=f"has {name} .*, and here is 0.0.1: .*install the same version"),
        cluster(local.address),
    ):
        pass


class Anywhere:
    """Ours here, and what the workers really are there: pickled, it is the true function."""

    def __init__(self, ours: dict[str, str]) -> None:
        self.ours = ours

    def __call__(self) -> dict[str, str]:
        return self.ours

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return getattr, (__import__("simulations.cluster_executor", fromlist=["x"]), "environment")


def test_workers_that_round_differently_are_told_of(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_executor, "_digits", lambda: "others")
    told: list[str] = []
    with cluster(local.address, told.append) as mapper:
        assert list(mapper(abs, [-1])) == [1]
    assert len(told) == 1
    assert told[0].startswith("warning: 2 of 2 workers, tcp://127.0.0.1")
    assert "round differently" in told[0]


def test_workers_like_this_process_are_not_told_of(local: Local) -> None:
    told: list[str] = []
    with cluster(local.address, told.append):
        pass
    assert told == []


def test_a_worker_without_capacity_is_refused() -> None:
    told = {"tcp://1.2.3.4:5": ModuleNotFoundError("No module named 'simulations'")}
    with pytest.raises(DependencyError, match=r"tcp://1.2.3.4:5 .* cannot run capacity \(ModuleNotFound"):
        cluster_executor._require_same(told, "tcp://h:1", print)


def test_dask_that_is_not_installed_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match=r"pip install 'capacity\[cluster\]'"), cluster("tcp://h:1"):
        pass


@pytest.mark.parametrize(
    "address",
    ["", "h", "h:1", "tcp://", "tcp://h", "tcp://h:", "tcp://h:0", "tcp://h:65536", "tcp://h:99999999",
     "http://h:1", "inproc://h:1", "ucx://h:1", "tcp://h:1/x", "tcp://h:1\n", "tcp://a b:1", "tcp://:1",
     "tcp://\x1b[31m:1", "tcp://" + "a" * 300 + ":1", "TCP://h:1", "tcp://u:p@h:1", "tcp://h:١"],
)  # fmt: skip
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(InputError, match=r"is no address; write tcp://HOST:PORT or tls://HOST:PORT") as error:
        check_address(address)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("address", ["tcp://h:1", "tls://10.0.0.1:65535", "tcp://[::1]:8786", "tcp://a-b.c_d:8786"])  # fmt: skip
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("command", ["plan", "simulate", "sweep"])
def test_either_workers_or_a_cluster(tmp_path: Path, command: str) -> None:
    arguments = ["--slo-p99", "1s"] if command == "plan" else ["--replicas", "1"]
    common = ["--profile", "resnet50-t4-fp16", "--rate", "5rps", *arguments]
    done = capacity(tmp_path, command, *common, "--workers", "2", "--cluster", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: give either --workers or --cluster, which has workers of its own\n"
    done = capacity(tmp_path, command, *common, "--cluster", "127.0.0.1")
    assert done.returncode == 2
    assert "is no address" in done.stderr
