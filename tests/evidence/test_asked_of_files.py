"""Files of other tools: how each of their runs is predicted, and what an import answers."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import capacity as cap
from capacity.answers.evidence import ImportAnswer
from capacity.api import files
from capacity.api.audit import Told, _completed_run, _unused, predicted
from capacity.api.files import sources
from capacity.api.imports import _completed, _holds, _kind
from capacity.errors import InconclusiveError, InputError, UnstableError
from capacity.evidence.compared import ComparedRun, Parting
from capacity.evidence.inferences import think_time_s
from capacity.formats.load_test import LoadRun, LoadTest, Loop, Samples, Times
from capacity.formats.own_load_test import load_test_to_document
from capacity.formats.running_plan import RunningPlan
from capacity.performance import Interval, Kind, Performance
from capacity.profile.load import load_any
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import Routing
from capacity.server.batch.asked import AskedBatches
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.asked import AskedEngines
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import TraceArrivals

PROFILE = ServiceProfile(
    name="five",
    timings=(BatchTiming(batch_size=1, mean_s=0.005), BatchTiming(batch_size=8, mean_s=0.01)),
    request_overhead_s=0.001,
)
PLAN = BatchPlan(profile="five", replicas=2, batch_size_max=8, batch_wait_max_s=0.002, queue_limit=16)
LLAMA = load_any("llama-3.1-8b-rtx-pro-6000-bf16")
P99 = {0.99: Interval.exact(0.02)}


def of_batches(run: LoadRun, **effort: Any) -> ComparedRun:
    return predicted(PROFILE, PLAN, {}, effort, run)


def of_tokens(run: LoadRun, replicas: int, lengths: str | None = None, **effort: Any) -> ComparedRun:
    plan = TokenPlan(profile=LLAMA.name, replicas=replicas, sequences_max=8, batched_tokens_max=2048)
    return predicted(LLAMA, plan, {"lengths": lengths}, effort, run)


@pytest.mark.parametrize(
    ("run", "think_s"),
    [
        (LoadRun(name="set", think_time_s=0.25, users=10.0, throughput_rps=10.0, mean_s=0.1), 0.25),
        (LoadRun(name="none", think_time_s=0.0, users=10.0, throughput_rps=10.0, mean_s=0.1), 0.0),
        (LoadRun(name="left", users=10.0, throughput_rps=20.0, mean_s=0.125), 0.375),
        (LoadRun(name="a tenth", users=10.0, throughput_rps=10.0, mean_s=0.9375), 0.0),
        (LoadRun(name="more", users=10.0, throughput_rps=10.0, mean_s=0.875), 0.125),
        (LoadRun(name="less than nothing", users=10.0, throughput_rps=10.0, mean_s=2.0), 0.0),
        (LoadRun(name="no users", throughput_rps=10.0, mean_s=0.1), 0.0),
        (LoadRun(name="no rate", users=10.0, mean_s=0.1), 0.0),
        (LoadRun(name="no mean", users=10.0, throughput_rps=10.0), 0.0),
    ],
    ids=lambda value: value.name if isinstance(value, LoadRun) else "",
)
def test_users_think_for_the_rest_of_their_cycle(run: LoadRun, think_s: float) -> None:
    """By Little's law: users = rate (response + rest). A rest up to a tenth of the response is not thinking."""
    assert think_time_s(run) == pytest.approx(think_s)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keywords of each simulation; each finds 100 rps."""
    found: list[dict[str, Any]] = []

    def simulate(profile: ServiceProfile, replicas: int, **how: Any) -> SimpleNamespace:
        found.append({"replicas": replicas, **how})
        return SimpleNamespace(performance=Performance(kind=Kind.SIMULATION, throughput_rps=100.0))

    monkeypatch.setattr("capacity.api.simulate.simulate", simulate)
    return found


def test_a_closed_loop_is_predicted_by_its_users(asked: list[dict[str, Any]]) -> None:
    run = LoadRun(
        name="a",
        loop=Loop.CLOSED,
        users=9.6,
        throughput_rps=100.0,
        mean_s=0.02,
        quantiles_s=P99 | {0.0: P99[0.99], 1.0: P99[0.99]},
    )
    found = of_batches(run, seed=3)
    assert [row.quantity for row in found.rows] == ["throughput"]
    (how,) = asked
    assert (how["replicas"], how["users"], how["seed"], how["quantile"]) == (2, 10, 3, [0.99])
    assert how["think_time_s"] == pytest.approx(0.076)
    assert (how["batch_size_max"], how["batch_wait_s"]) == (8, 0.002)
    assert how["preferred_sizes"] is None
    assert "rate_rps" not in how


@pytest.mark.parametrize(("users", "limit"), [(15.0, None), (16.0, None), (17.0, 16)])
def test_a_queue_with_room_for_all_users_has_no_limit(asked, users, limit) -> None:
    of_batches(LoadRun(name="a", loop=Loop.CLOSED, users=users))
    assert asked[0]["queue_limit"] == limit


@pytest.mark.parametrize(
    ("rates", "rate_rps"),
    [
        ({"rate_asked_rps": 50.0, "throughput_rps": 40.0}, 50.0),
        ({"throughput_rps": 40.0}, 40.0),
        ({}, None),
    ],
)
def test_an_open_loop_is_predicted_by_its_rate(asked, rates, rate_rps) -> None:
    found = of_batches(LoadRun(name="a", loop=Loop.OPEN, users=5.0, **rates))
    if rate_rps is None:
        assert (found.parting, found.message) == (
            Parting.UNKNOWN,
            "the file says neither users nor a rate; give --users or --rate",
        )
        assert asked == []
    else:
        assert (asked[0]["rate_rps"], asked[0]["quantile"], asked[0]["queue_limit"]) == (rate_rps, [0.99], 16)


def test_what_would_take_hundreds_of_millions_of_requests_is_not_asked_for(asked) -> None:
    quantiles_s = {q: Interval.exact(0.02) for q in (0.5, 0.99, 0.999, 0.9999, 0.99999)}
    of_batches(LoadRun(name="a", throughput_rps=10.0, quantiles_s=quantiles_s))
    of_batches(LoadRun(name="a", throughput_rps=10.0, quantiles_s={0.9999: P99[0.99]}))
    assert [how["quantile"] for how in asked] == [[0.5, 0.99, 0.999], [0.99]]


def test_single_requests_of_a_language_model_are_served_again_as_they_were_sent(asked) -> None:
    rows = LengthRows((100, 20, 50), (40, 30, 5))
    samples = Samples.of([7.0, 7.5, 9.0], [0.4, 0.3, 0.1])
    for loop in (Loop.OPEN, Loop.CLOSED, Loop.UNKNOWN):
        run = LoadRun(name="a", loop=loop, samples=samples, lengths=rows, throughput_rps=1.5)
        of_tokens(run, 2, seed=3)
    for how in asked:
        assert (how["replicas"], how["replay"], how["lengths"], how["sequences_max"]) == (2, True, rows, 8)
        assert how["arrivals"].instants_s == (0.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (LoadRun(name="a", throughput_rps=3.0), "how many tokens requests had; give --lengths"),
        (LoadRun(name="a", loop=Loop.CLOSED, throughput_rps=3.0), "predicted by their single requests"),
        (LoadRun(name="a", loop=Loop.SERVED), "give --users or --rate"),
    ],
)
def test_what_a_language_model_is_predicted_by_is_asked_for(asked, run, said) -> None:
    lengths = None if "--lengths" in said else "input=constant:9;output=constant:9"
    found = of_tokens(run, 1, lengths)
    assert (found.parting, said in found.message) == (Parting.UNKNOWN, True), found.message
    assert asked == []


def test_a_histogram_of_a_language_model_is_predicted_by_its_rate(asked: list[dict[str, Any]]) -> None:
    run = LoadRun(name="a", loop=Loop.SERVED, throughput_rps=3.0)
    of_tokens(run, 1, "input=constant:9;output=constant:9")
    (how,) = asked
    assert (how["rate_rps"], "replay" in how) == (3.0, False)


def test_a_language_model_that_answers_as_predicted_agrees(tmp_path: Path) -> None:
    """Requests that a simulation has served, as a load test; and the same with tokens that took half as long again."""
    rows, sent_s = LengthRows((100,) * 40, (20,) * 40), tuple(0.25 * number for number in range(40))
    arrivals = TraceArrivals(instants_s=sent_s, name="even")
    served = cap.simulate(LLAMA, 1, arrivals=arrivals, lengths=rows, replay=True, quantile=0.99).performance
    times = {
        measure: Times(
            mean_s=getattr(served, f"{measure}_mean_s"), quantiles_s=getattr(served, f"{measure}_quantiles_s")
        )
        for measure in ("response", "ttft", "tpot")
    }
    for slower, parting in ((1.0, Parting.AGREES), (1.5, Parting.SLOWER)):
        response_s = slower * times["response"].mean_s
        run = LoadRun(
            name="a",
            samples=Samples.of(sent_s, [response_s] * 40),
            lengths=rows,
            mean_s=response_s,
            measures={name: times[name] for name in ("ttft", "tpot")},
        )
        path = tmp_path / "run.json"
        test = LoadTest(tool="x", name="x", runs=(run,))
        path.write_text(json.dumps(load_test_to_document(test)), encoding="utf-8")
        (found,) = cap.audit(path, profile=LLAMA, loop="open").beside
        assert found.parting is parting, found.message
        assert {"response mean", "TTFT P99", "TPOT mean"} <= {row.quantity for row in found.rows}


def test_requests_that_carry_several_inferences_are_not_predicted(asked: list[dict[str, Any]]) -> None:
    found = of_batches(LoadRun(name="a", throughput_rps=10.0, batch_size=4))
    assert found.message.startswith("each request carries 4 inferences, which share a batch; measure with")
    assert asked == []


@pytest.mark.parametrize(
    ("error", "parting"),
    [(UnstableError("it grows"), Parting.OVERLOADED), (InconclusiveError("too few"), Parting.UNKNOWN)],
)
def test_a_simulation_that_fails_leaves_its_reason(monkeypatch, error, parting) -> None:
    def simulate(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("capacity.api.simulate.simulate", simulate)
    found = of_batches(LoadRun(name="a", throughput_rps=10.0))
    assert (found.parting, found.message) == (parting, str(error))


def test_users_are_given_for_a_closed_loop_whose_file_lacks_them() -> None:
    found = _completed_run(LoadRun(name="a"), Told(users=4.0))
    assert (found.users, found.loop) == (4.0, Loop.CLOSED)
    assert _completed_run(LoadRun(name="a", users=7.0), Told(users=1.0)).users == 7.0
    thinks = LoadRun(name="a", think_time_s=0.2)
    assert _completed_run(thinks, Told(users=1.0)).think_time_s == 0.2
    assert _completed_run(thinks, Told(think_time_s=0.5)).think_time_s == 0.5
    with pytest.raises(InputError, match="--users must be at least 1, got 0.5"):
        Told(users=0.5)
    with pytest.raises(InputError, match="--users is for a closed loop, and these requests were sent by"):
        _completed_run(LoadRun(name="a", loop=Loop.OPEN), Told(users=4.0))


def test_a_loop_is_told_where_the_file_does_not_name_it() -> None:
    unsaid, guessed = LoadRun(name="a"), LoadRun(name="a", loop=Loop.OPEN, loop_because="even gaps")
    assert _completed_run(unsaid, Told(loop="open")).loop is Loop.OPEN
    assert _completed_run(unsaid, Told(loop="closed")).loop is Loop.CLOSED
    assert _completed_run(guessed, Told(loop="closed", users=5.0)).loop is Loop.CLOSED
    assert _completed_run(guessed, Told(loop="open")).loop_because == "even gaps"
    with pytest.raises(InputError, match="even gaps.; give --loop closed if they were not"):
        _completed_run(guessed, Told(users=4.0))
    with pytest.raises(InputError, match="--loop open: the file says that the loop is closed"):
        _completed_run(LoadRun(name="a", loop=Loop.CLOSED), Told(loop="open"))
    with pytest.raises(InputError, match="the server's own figures"):
        _completed_run(LoadRun(name="a", loop=Loop.SERVED), Told(loop="open"))


def test_users_that_the_file_counts_otherwise_are_not_used_and_that_is_told() -> None:
    runs = (LoadRun(name="a", users=4.0), LoadRun(name="b", users=8.0), LoadRun(name="c"))
    test = LoadTest(tool="x", name="x", runs=runs)
    assert list(_unused(test, Told(users=8.0))) == [
        "the file itself says how many users there were (4): the 8 given are not used"
    ]
    assert list(_unused(replace(test, runs=runs[1:]), Told(users=8.0))) == []
    assert list(_unused(test, Told())) == []


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"loop": "ajar"}, "--loop must be open or closed"),
        ({"loop": "open", "users": 3.0}, "are for a closed loop"),
        ({"loop": "open", "think_time_s": 1.0}, "are for a closed loop"),
    ],
)
def test_what_contradicts_itself_is_refused(others: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Told(**others)


def test_a_rate_is_told_where_the_file_has_none() -> None:
    served = _completed_run(LoadRun(name="a", loop=Loop.SERVED), Told(rate_rps=50.0))
    assert (served.throughput_rps, served.rate_asked_rps) == (
        None,
        50.0,
    )  # of arrivals, and none that was measured
    counted = LoadRun(name="a", loop=Loop.SERVED, throughput_rps=40.0)
    assert _completed_run(counted, Told(rate_rps=50.0)).rate_asked_rps is None
    assert _completed_run(LoadRun(name="a"), Told(rate_rps=50.0, users=4.0)).throughput_rps == 50.0
    known = _completed_run(LoadRun(name="a", loop=Loop.OPEN, throughput_rps=40.0), Told(rate_rps=50.0))
    assert (known.throughput_rps, known.rate_asked_rps) == (40.0, 50.0)


RUNNING = RunningPlan(
    name="m",
    batch_size_max=16,
    batch_wait_max_s=0.001,
    replicas=2,
    preferred_batch_sizes=(4, 8, 16),
    notes=("first",),
)


def test_the_plan_of_a_server_is_limited_to_the_sizes_of_the_profile() -> None:
    found, notes = AskedBatches().running(PROFILE, RUNNING)
    assert (found.replicas, found.batch_size_max, found.routing) == (2, 8, Routing.SHARED_QUEUE)
    assert (found.preferred_sizes, found.batch_wait_max_s, found.queue_limit) == ((4, 8), 0.001, None)
    alone, _ = AskedBatches().running(PROFILE, RunningPlan(name="m", batch_size_max=4, queue_limit=3))
    assert (alone.routing, alone.batch_size_max, alone.queue_limit) == (Routing.ROUND_ROBIN, 4, 3)
    assert notes == (
        "first",
        "the server forms batches up to 16, and the profile has times up to 8: predicted with 8",
    )
    fits = RunningPlan(name="m", batch_size_max=8, notes=("n",))
    assert AskedBatches().running(PROFILE, fits)[1] == ("n",)
    with pytest.raises(
        InputError, match="forms batches, and llama.* is the profile of a language model; leave"
    ):
        AskedEngines().running(LLAMA, fits)


def test_flags_replace_what_the_file_says() -> None:
    said = {"name": "b", "hourly_usd": 2.0, "device_kind": "gpu", "request_overhead": "3ms", "model": None}
    found = _completed(PROFILE, said)
    assert (found.name, found.hourly_usd, found.kind, found.request_overhead_s) == ("b", 2.0, "gpu", 0.003)
    assert found.model == PROFILE.model
    assert _completed(PROFILE, {}) == PROFILE
    assert _completed(PROFILE, {"request_overhead_s": 0.0}).request_overhead_s == 0.0


def test_kinds_are_named() -> None:
    assert [_kind(name).value for name in ("profile", "load-test", "workload", "plan")] == [
        "profile", "load-test", "workload", "plan",
    ]  # fmt: skip
    with pytest.raises(InputError, match="--as 'runs' is none of profile, load-test, workload, plan"):
        _kind("runs")


def test_a_file_that_cannot_be_read_for_a_purpose_does_not_serve_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(document: Any, kind: Any) -> None:
        if kind == "plan":
            raise InputError("it has none")

    monkeypatch.setattr("capacity.api.imports.read_document", read)
    document: Any = "a document"
    kinds: list[Any] = ["profile", "plan"]
    assert [_holds(document, kind) for kind in kinds] == [True, False]


def test_one_source_or_several() -> None:
    assert sources("a") == ["a"]
    assert sources(Path("a")) == [Path("a")]
    assert sources(("a", Path("b"))) == ["a", Path("b")]


def test_a_file_that_cannot_be_read_is_no_sweep(tmp_path: Path) -> None:
    assert files.is_of_engines(["a", "b"])
    assert not files.is_of_engines(["http://127.0.0.1:9/"])
    assert not files.is_of_engines([str(tmp_path / "none.json")])
    assert not files.is_of_another_tool(tmp_path / "none.json")
    assert files.is_of_another_tool("https://127.0.0.1:9/")


def test_an_imported_trace_is_written_from_0_on(tmp_path: Path) -> None:
    trace = TraceArrivals(instants_s=(5.0, 5.25, 6.0), name="t")
    found = ImportAnswer(tool="x", kind="workload", found=trace, others=("profile", "plan"))
    assert found.rows() == [{"t_s": 5.0}, {"t_s": 5.25}, {"t_s": 6.0}]
    found.write(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "t_s\n0.0\n0.25\n1.0\n"
    found.write(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == found.document()["workload"]
    assert "x: a workload. It also holds a profile and a plan: give --as." in found.explain()
    with pytest.raises(InputError, match="p.csv"):
        ImportAnswer(tool="x", kind="profile", found=PROFILE).write(tmp_path / "p.csv")


def test_an_imported_plan_has_its_flags_in_the_document_alone() -> None:
    found = ImportAnswer(tool="x", kind="plan", found=RUNNING)
    document = found.to_dict()["plan"]
    assert (document["name"], document["flags"]) == ("m", RUNNING.flags)
    (row,) = found.rows()
    assert (row["batch_size_max"], "flags" in row) == (16, False)
    assert "It also holds" not in found.explain()
    (first, *_) = ImportAnswer(tool="x", kind="profile", found=PROFILE).rows()
    assert first == {"batch_size": 1, "mean_s": 0.005}
