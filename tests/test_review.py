"""Bugs that a cold review confirmed; each is red until it is mended."""

import contextlib
import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from cases import NOTHING, assert_kernel_gives, fixed

import simulations.compiled
from capacity.errors import CapacityError
from capacity.plan import BatchTimer, Plan, Routing
from capacity.profile import BatchTiming, ServiceProfile
from capacity.profile_files import load_profile
from capacity.queues.mdc import MDc
from capacity.workload import ClosedPopulation, LatencyObjective, TraceArrivals, Workload
from simulations import sample
from simulations.arrivals import ClosedDraws, Draws, Seed
from simulations.cluster import run
from simulations.estimate import Case, looks
from simulations.judge import SimulationJudge
from simulations.replication import Task, replicate
from simulations.sample import Length, Reduction
from simulations.service import ProfileTimes


@pytest.mark.parametrize("routing", [Routing.SHARED_QUEUE, Routing.ROUND_ROBIN])
@pytest.mark.parametrize("limit", [2**63 - 1, 2**63])
def test_a_queue_limit_beyond_the_integers_of_the_kernel_is_a_limit(limit: int, routing: Routing) -> None:
    """limit + room overflows: the kernel loses every request, and 2**63 is an internal error."""
    draws = Draws(arrived_s=np.arange(20) * 0.1, service=np.zeros(20), routing=np.zeros(40))
    plan = Plan(profile="x", replicas=1, batch_size_max=2, queue_limit=limit, routing=routing)
    times = fixed(lambda size: 0.25)
    assert_kernel_gives(run(plan, times, draws), plan, times, draws, 7)


def test_service_that_takes_no_time_is_the_same_by_either_engine() -> None:
    """A time of 0 is accepted; 32 of these 300 closed populations differ in who arrives when."""
    generator = np.random.default_rng(0)
    for number in range(300):
        users, think_s = int(generator.integers(1, 8)), generator.choice([0.001, 0.002, 0.003, 0.0], 80)
        plan = Plan(
            profile="x",
            replicas=int(generator.integers(1, 4)),
            batch_size_max=int(generator.integers(1, 5)),
            batch_wait_max_s=float(generator.choice([0.0, 0.001, 0.002])),
            timer=list(BatchTimer)[number % 2],
            routing=list(Routing)[number % 5],
        )
        draws = ClosedDraws(
            users=users, think_s=think_s, service=generator.random(80), routing=generator.random(160)
        )
        times = fixed(lambda size: 0.0)
        assert_kernel_gives(run(plan, times, draws), plan, times, draws, 5)


@pytest.mark.parametrize(
    "name", ["kernel_state.py", "tournament.py", "returns.py", "service_table.py", "tally.py"]
)
def test_compiled_code_is_kept_by_each_source_whose_constants_it_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constants are frozen into machine code: a stale one reads beyond its arrays (it did segfault)."""
    folder = Path(simulations.compiled.__file__).parent
    for path in folder.glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(simulations.compiled, "_HERE", tmp_path)
    before = simulations.compiled._fingerprint.__wrapped__()
    (tmp_path / name).write_text((tmp_path / name).read_text() + "\nANOTHER = 1\n")
    assert simulations.compiled._fingerprint.__wrapped__() != before


def test_a_response_of_zero_is_zero_in_cells() -> None:
    count = sample.EXACT_REQUESTS_MAX + 1
    instants_s = np.arange(count) * 1.0
    reduction = Reduction(Length(warm_up=0, measured=count, cool_down=0), count, 0.0, NOTHING, NOTHING)
    reduction.add(instants_s, instants_s, instants_s, np.ones(count, dtype=np.int64))
    assert reduction.sample().responses.quantile_s(0.5) == 0.0


def test_a_table_of_service_times_is_made_once_for_all_replications() -> None:
    """It takes 140 ms of Python for dlrm, twice in each replication of 2 ms, under the interpreter's lock."""
    profile = load_profile("resnet50-t4-fp16")
    made = []
    times = ProfileTimes(profile)
    place = ServiceProfile.place

    def counted(self: ServiceProfile, size: int) -> tuple[int, float]:
        made.append(size)
        return place(self, size)

    task = Task(
        plan=Plan(profile=profile.name, replicas=1, batch_size_max=128),
        workload=Workload(arrival_rate_rps=300.0),
        service_times=times,
        request_overhead_s=0.0,
        length=Length(warm_up=0, measured=100, cool_down=0),
        seed=Seed(value=0),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServiceProfile, "place", counted)
        for _ in range(3):
            replicate(task)
    assert len(made) <= 128


SECOND = ServiceProfile(name="d", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
PLAN = Plan(profile="d", replicas=1, batch_size_max=1)


def trace(seed: int) -> Workload:
    instants_s = np.cumsum(np.random.default_rng(seed).exponential(1 / 95.0, 12_000))
    return Workload(arrival_rate_rps=95.0, arrivals=TraceArrivals(instants_s=tuple(instants_s.tolist())))


def test_a_trace_of_a_few_busy_periods_is_not_believed() -> None:
    """M/D/1 at load 0.95, limit 10 % below the exact P99: of 30 certificates 'met' should be at most 3."""
    exact_s = MDc(arrival_rate_rps=95.0, service_time_s=0.01, servers=1).response_quantile_s(0.99)
    objective = LatencyObjective(limits={0.99: 0.9 * exact_s})
    verdicts = [
        SimulationJudge(profile=SECOND, seed=n).certify(trace(n), PLAN, objective, 1, 0).verdict.value
        for n in range(30)
    ]
    assert verdicts.count("met") <= 3, verdicts


def test_a_trace_is_settled_only_with_independent_exceedances() -> None:
    """About one independent response beyond P99 is seen (coverage 30 %, not 95 %), and it counts as settled."""
    found = [
        next(iter(looks(Case(profile=SECOND, workload=trace(n), plan=PLAN), Seed(value=0), 10**9)))
        for n in range(5)
    ]
    assert not any(look.settled and look.pool.independent_exceedances(0.99) < 10.0 for look in found)


def test_a_crowd_larger_than_the_run_takes_no_memory_of_its_own() -> None:
    """--users 1000000000 took 18 GB and never ended; only as many users as requests can matter."""
    import resource

    case = Case(
        profile=load_profile("resnet50-t4-fp16"),
        workload=ClosedPopulation(users=3_000_000),
        plan=Plan(profile="resnet50-t4-fp16", replicas=1, batch_size_max=8),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in looks(case, Seed(value=0), 1_000_000):
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_full_disk_does_not_stop_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NUMBA_CACHE_DIR on a full disk: an internal error, exit 1; it should compile in memory."""
    from numba.core.caching import IndexDataCacheFile

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_index", full)
    monkeypatch.setattr(IndexDataCacheFile, "_save_data", full)
    with contextlib.suppress(CapacityError):
        assert simulations.compiled.compiled(_plus_one)(1) == 2


def _plus_one(number: int) -> int:
    return number + 1


def test_simulate_says_that_the_precision_was_not_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """`plan` has the caveat `precision_missed`; `simulate` and `sweep` end with exit 0 and say nothing."""
    from cli import app

    arguments = "simulate --profile resnet50-t4-fp16 --rate 900rps --replicas 1 --batch-size-max 64 --json"
    with pytest.raises(SystemExit):
        app([*arguments.split(), "--precision", "0.0001", "--requests-max", "1000000", "--workers", "1"])
    assert "precision" in capsys.readouterr().out
