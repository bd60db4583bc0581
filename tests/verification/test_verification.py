"""When prediction and measurement agree, and what a verification comes to."""

import math
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from screens import cells

from capacity.answer.documents import dumps, plain
from capacity.errors import DependencyError, InconclusiveError, InputError, UnstableError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import MmppArrivals, PoissonArrivals, TraceArrivals, Workload
from capacity.verification.calibrate import LoneRequests
from capacity.verification.prediction import REPLAYED_MIN, Prediction, Predictor, repeated
from capacity.verification.quantities import (
    QUANTITIES,
    Agreement,
    hold,
    limit_finding,
    read_tolerances,
    with_tolerances,
)
from capacity.verification.report import lags_s, verify_document, verify_tables
from capacity.verification.run import LoadRun, Schedule
from capacity.verification.subject import Subject
from capacity.verification.verification import Outcome, Verification, VerifiedRun, Verifier
from simulations.simulate import Simulation

BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
P99, LOSS, MEAN = BY_NAME["p99"], BY_NAME["loss"], BY_NAME["mean"]  # within 15 %, 0.5 points, 5 %


def around(value, share=0.0):
    return Interval(value=value, low=value * (1.0 - share), high=value * (1.0 + share))


@pytest.mark.parametrize(
    ("predicted", "measured", "error", "agreement"),
    [
        (around(10.0), around(10.0), 0.0, Agreement.AGREE),
        (around(11.4), around(10.0), 0.14, Agreement.AGREE),
        (around(11.6), around(10.0), 0.16, Agreement.DISAGREE),
        (around(8.6), around(10.0), -0.14, Agreement.AGREE),
        (around(8.4), around(10.0), -0.16, Agreement.DISAGREE),
        (around(10.0), around(10.0, 0.1), 0.0, Agreement.AGREE),
        (around(10.0), around(10.0, 0.2), 0.0, Agreement.UNSURE),  # the truth may be 8
        (around(11.4), around(10.0, 0.02), 0.14, Agreement.UNSURE),
        (around(12.0), around(10.0, 0.02), 0.2, Agreement.DISAGREE),
        (around(12.0), around(10.0, 0.1), 0.2, Agreement.UNSURE),  # or 11
        (around(10.0, 0.2), around(10.0), 0.0, Agreement.UNSURE),
        (around(12.0, 0.1), around(10.0), 0.2, Agreement.UNSURE),
        (around(10.0), Interval(value=10.0, low=0.0, high=20.0), 0.0, Agreement.UNSURE),
        (around(1.0), around(0.0), None, Agreement.DISAGREE),
        (around(0.0), around(0.0), 0.0, Agreement.AGREE),
    ],
)
def test_verdict_of_a_row(predicted, measured, error, agreement):
    held = hold(P99, predicted, measured)
    assert held.agreement is agreement
    assert held.error == (None if error is None else pytest.approx(error))


def performance(p99=0.02, mean=0.008, width=0.01, kind=Kind.MEASUREMENT, intervals=None, **others):
    return Performance(
        kind=kind,
        response_mean_s=mean,
        response_quantiles_s={0.99: around(p99, width)},
        intervals={"response_mean_s": around(mean, width), **(intervals or {})},
        **others,
    )


def load_run():
    instants_s = np.arange(10) * 0.1
    return LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=1.0),
        warm_up_s=0.0,
        sent_s=instants_s,
        ended_s=instants_s + 0.01,
        outcomes=np.full(10, 200),
        replicas=np.zeros(10, dtype=np.int64),
    )


def verification(measured, stationary, *, replay=None, objective=None, planned_s=None, faults=(), **others):
    workload = Workload(arrival_rate_rps=12345.6)
    return Verification(
        subject=Subject(
            profile=PROFILE, workload=workload, plan=PLAN, objective=objective, planned_s=planned_s or {}
        ),
        effort=Effort(),
        quantities=with_tolerances(read_tolerances([])),
        runs=(
            VerifiedRun(
                run=load_run(), measured=measured, replay=Prediction(performance=None), faults=faults
            ),
        ),
        measured=measured,
        stationary=Prediction(performance=stationary),
        replay=Prediction(performance=replay),
        **others,
    )


AT_20, AT_30, WIDE = performance(0.02), performance(0.03), performance(0.02, 0.008, 0.5)
LIMIT = {name: Objective.of(response={0.99: limit}) for name, limit in {"kept": 0.03, "missed": 0.01}.items()}
DOUBT = Objective.of(response={0.99: 0.0201})
UNMEASURED = Objective.of(response={0.999: 1.0})


@pytest.mark.parametrize(
    ("stationary", "changes", "outcome", "exit_code"),
    [
        (AT_20, {}, Outcome.AGREE, 0),
        (AT_30, {}, Outcome.DISAGREE, 4),
        (AT_20, {"replay": AT_30}, Outcome.DISAGREE, 4),
        (None, {"replay": AT_20}, Outcome.AGREE, 0),
        (None, {}, Outcome.UNSURE, 4),
        (WIDE, {}, Outcome.UNSURE, 4),
        (AT_20, {"objective": LIMIT["kept"]}, Outcome.AGREE, 0),
        (AT_20, {"objective": DOUBT}, Outcome.UNSURE, 4),
        (AT_20, {"objective": UNMEASURED}, Outcome.UNSURE, 4),
        (AT_30, {"objective": UNMEASURED}, Outcome.DISAGREE, 4),
        (AT_20, {"objective": LIMIT["missed"]}, Outcome.MISSED, 3),
        (AT_30, {"objective": LIMIT["missed"]}, Outcome.MISSED, 3),
        (AT_20, {"objective": LIMIT["missed"], "faults": ("late",)}, Outcome.INVALID, 4),
        (AT_20, {"faults": ("late",)}, Outcome.INVALID, 4),
        (AT_20, {"faults": ("late",), "stop": KeyboardInterrupt()}, Outcome.INTERRUPTED, 130),
        (AT_20, {"stop": DependencyError("gone")}, Outcome.STOPPED, 5),
        (AT_20, {"stop": InputError("refused")}, Outcome.STOPPED, 2),
        (AT_20, {"pool_faults": ("late",)}, Outcome.INVALID, 4),
    ],
)
def test_what_a_verification_comes_to(stationary, changes, outcome, exit_code):
    found = verification(AT_20, stationary, **changes)
    assert (found.outcome, found.exit_code) == (outcome, exit_code)
    if outcome in (Outcome.INVALID, Outcome.INTERRUPTED):
        assert {a for row in found.rows for a in row.agreements} == {Agreement.VOID}


MERELY_UP = {"throughput_rps": 100.0, "loss_probability": 0.0}


def test_throughput_and_loss_agree_of_any_server_that_is_up():
    """So that without a response that agrees nothing has been verified."""
    known = {name: around(value) for name, value in MERELY_UP.items()}
    measured = performance(0.02, 0.008, 0.5, intervals=known, **MERELY_UP)
    found = verification(measured, performance(0.02, 0.008, 0.0, intervals=known, **MERELY_UP))
    agreements = {row.quantity.name: row.stationary.agreement for row in found.rows}
    assert {agreements["throughput"], agreements["loss"]} == {Agreement.AGREE}
    assert {agreements["mean"], agreements["p99"]} == {Agreement.UNSURE}
    assert (found.outcome, found.exit_code) == (Outcome.UNSURE, 4)
    assert found.doubts == ("no response is known precisely enough to compare; raise --duration or --runs",)


@pytest.mark.parametrize(
    ("intervals", "agreement"), [({}, "no interval"), ({"utilization": 0.0}, "disagree")]
)
def test_what_has_no_interval_is_in_no_verdict(intervals, agreement):
    known = {name: around(0.5, share) for name, share in intervals.items()}
    found = verification(
        performance(utilization=0.5, intervals=known), performance(utilization=0.9), replay=AT_20
    )
    (row,) = (row for row in found.rows if row.quantity.name == "utilization")
    assert row.stationary.agreement == agreement
    assert found.outcome is (Outcome.DISAGREE if intervals else Outcome.AGREE)


def test_who_gives_up_is_no_queues_loss():
    """Three in a hundred time out, and as many were to be refused by a full queue: that is not the same."""
    given_up = Interval(value=0.03, low=0.025, high=0.035)
    measured = performance(
        loss_probability=0.0,
        abandon_probability=0.03,
        intervals={"loss_probability": around(0.0), "abandon_probability": given_up},
    )
    found = verification(measured, performance(loss_probability=0.03))
    agreements = {row.quantity.name: row.stationary.agreement for row in found.rows}
    assert agreements["loss"] is agreements["given-up"] is Agreement.DISAGREE
    kept = Limit(measure=Measure.LOSS, allowed=0.04)
    assert limit_finding(kept, measured).verdict is Verdict.MET
    assert limit_finding(replace(kept, allowed=0.03), measured).verdict is Verdict.INCONCLUSIVE


def test_a_mean_that_is_open_above_may_miss_and_disagree_and_never_agrees():
    open_above = {"response_mean_s": Interval(value=0.048, low=0.03, high=math.inf)}
    measured = performance(mean=0.048, intervals=open_above)
    for allowed, verdict in (
        (0.02, Verdict.MISSED),
        (0.05, Verdict.INCONCLUSIVE),
        (10.0, Verdict.INCONCLUSIVE),
    ):
        finding = limit_finding(Limit(measure=Measure.RESPONSE_MEAN, allowed=allowed), measured)
        assert finding.verdict is verdict
    (row, *_) = verification(measured, performance(mean=0.008)).rows
    assert row.stationary.agreement is Agreement.DISAGREE
    (row, *_) = verification(measured, performance(mean=0.048)).rows
    assert row.stationary.agreement is Agreement.UNSURE
    document = verify_document(verification(measured, AT_20), {})
    assert document["measured"]["intervals"]["response_mean_s"]["high"] is None
    assert dumps(document)
    assert "at least 30 ms" in shown(verification(measured, AT_20))


@pytest.mark.parametrize(
    ("promise", "said", "times"),
    [
        (Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.0201), "P99 <= 20.1 ms lies within", 4.0),
        (Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.02), "within chance", math.inf),
        (Limit(measure=Measure.RESPONSE, quantile=0.999, allowed=1.0), "needs 50000 answers, and there were 10", 5e3),
        (Limit(measure=Measure.WAIT, quantile=0.99, allowed=1.0), "cannot be measured from outside", math.inf),
        (Limit(measure=Measure.UTILIZATION, allowed=0.5), "give --metrics", math.inf),
    ],
)  # fmt: skip
def test_a_promise_that_is_not_proven_is_told_with_what_would_tell(promise, said, times):
    finding = limit_finding(promise, AT_20)
    doubt, more = finding.doubt(10)
    assert said in doubt
    assert more == pytest.approx(times)


def test_a_doubt_says_how_long_a_load_test_would_tell():
    found = verification(
        AT_20, AT_20, objective=DOUBT
    )  # one run of a second, and four times as much is needed
    assert found.doubts == (
        "P99 <= 20.1 ms lies within the measured interval; --duration 4s or --runs 4 may tell",
    )
    assert "In doubt: P99 <= 20.1 ms lies within" in shown(found)
    (doubt,) = replace(found, runs=found.runs * 2).doubts
    assert doubt.endswith("; --duration 4s or --runs 8 may tell")


def test_the_plans_own_prediction_is_told_beside_the_calibrated_one():
    lone = LoneRequests(beside_s=0.001, batch_s=around(0.004))
    found = verification(AT_20, AT_20, planned_s={"P99": 0.017}, lone=lone)
    predicted = verify_document(found, {})["predicted"]
    assert (predicted["planned_s"], predicted["is_calibrated"]) == ({"P99": 0.017}, True)
    assert "The plan itself predicted: P99 17 ms. The predictions above are calibrated" in shown(found)


def test_promises_are_held_against_what_was_measured():
    objective = Objective.of(response={0.99: 0.03}, response_mean=0.001, wait={0.5: 0.1})
    findings = verification(AT_20, AT_20, objective=objective).findings
    assert [finding.verdict for finding in findings] == [Verdict.MET, None, Verdict.MISSED]
    assert verification(AT_20, AT_20, objective=DOUBT).findings[0].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("share", [0.01, 0.999999])
def test_the_tables_cut_no_number_short(share):
    """However long the numbers are: an interval breaks between them."""
    intervals = {
        name: around(value, share)
        for name, value in {
            "response_mean_s": 1.234,
            "throughput_rps": 12345.6,
            "utilization": 0.5123,
            "loss_probability": 0.00123,
        }.items()
    }
    found = Performance(
        kind=Kind.MEASUREMENT,
        batch_size_mean=12.345,
        response_quantiles_s={q: around(0.0123, share) for q in (0.5, 0.95, 0.99)},
        intervals=intervals,
        **{name: interval.value for name, interval in intervals.items()},
    )
    answer = verification(found, found, replay=found, objective=LIMIT["kept"])
    text = shown(answer)
    assert "…" not in text
    words = (
        "P95",
        "utilization",
        "unsure" if share > 0.5 else "agree",
        "P99 <= 30 ms",
        "1.23",
        "no interval",
    )
    assert all(word in text for word in words)


def lines(found):
    return cells(verify_tables(found), 220)


def test_tables_show_each_figure_and_each_promise():
    measured = performance(0.02, 0.01, 0.1, utilization=0.5, loss_probability=0.25)
    objective = Objective.of(response={0.99: 0.021}, response_mean=0.012, wait={0.5: 0.1})
    found = verification(
        measured,
        performance(0.025, 0.011, 0.0, utilization=0.6, loss_probability=0.2),
        replay=performance(0.02, 0.01, 0.0),
        objective=objective,
        planned_s={"mean": 0.009, "P99": 0.017},
        notes=("of two", "of two"),
    )
    head, *rest = lines(found)
    assert head == [
        "1 replica of five with batches up to 1 at 12346 rps: the measurement is not precise enough to tell "
        "(figures: 1 agree, 3 unsure, 2 no interval)."
    ]
    table = {row[0]: row[1:] for row in rest}
    assert table["mean"] == ["10 (9 to 11) ms", "11 ms", "+10.0 %", "unsure", "10 ms", "+0.0 %", "unsure"]
    assert table["P99"] == ["20 (18 to 22) ms", "25 ms", "+25.0 %", "unsure", "20 ms", "+0.0 %", "agree"]
    assert table["utilization"] == ["50 %", "60 %", "+20.0 %", "no interval"]
    assert table["loss"] == ["25 %", "20 %", "-5.0 pp", "no interval"]
    assert table["P99 <= 21 ms"] == ["20 (18 to 22) ms", "in doubt"]
    assert table["mean <= 12 ms"] == ["10 (9 to 11) ms", "met"]
    assert table["wait P50 <= 100 ms"] == ["not measured"]
    assert ["The plan itself predicted: mean 9 ms, P99 17 ms."] in rest
    assert table["1"] == ["10", "0", "0 s", "0 s", "0 s", "10 ms", "20 (18 to 22) ms"]
    told = [
        row[0] for row in rest if row[0].startswith(("Note: ", "In doubt: ", "Invalid: ", "In brackets: "))
    ]
    assert told.count("Note: of two.") == 1
    assert any(
        one.startswith("Note: no measured P50: an interval needs 100 answered requests, and there were 10; ")
        for one in told
    )
    assert sum(one.startswith("In brackets: 95 % intervals") for one in told) == 1


def test_an_invalid_verification_has_its_faults_and_no_doubts():
    found = verification(AT_20, AT_30, objective=DOUBT, faults=("late",), pool_faults=("later",))
    told = [row[0] for row in lines(found)]
    assert ("Invalid: late." in told, "Invalid: later." in told) == (True, True)
    assert not any(one.startswith("In doubt") for one in told)
    assert "(figures" not in told[0]
    document = verify_document(found, {"cpu": "here"})
    assert (document["doubts"], document["pool_faults"], document["exit_code"]) == ([], ["later"], 4)
    assert (document["environment"], document["seed"], document["confidence"]) == ({"cpu": "here"}, 0, 0.95)
    assert document["predicted"]["planned_s"] is None
    assert document["rows"][0]["stationary"] == {
        "predicted": plain(around(0.008, 0.01)),
        "error": 0.0,
        "verdict": "void",
    }
    assert document["promises"][0]["verdict"] == "inconclusive"


def test_the_document_counts_what_happened_in_a_run():
    run = replace(
        load_run(),
        warm_up_s=0.15,
        cpu_share=0.5,
        sent_s=np.array([*np.arange(9) * 0.1 + 0.002 * np.arange(9), np.nan]),
        outcomes=np.array([200, 200, 503, 503, -1, -3, 200, 200, 200, 0]),
        replicas=np.array([0, 1, 2, 0, 2, 2, 0, 2, 2, -1]),
    )
    found = verification(AT_20, AT_20, stop=DependencyError("gone"))
    found = replace(found, runs=(replace(found.runs[0], run=run),))
    document = verify_document(found, {})
    assert document["stopped_by"] == "gone"
    (told,) = document["runs"]
    names = ("scheduled", "sent", "counted", "answered", "window_s", "cpu_share", "sent_by_url")
    assert [told[name] for name in names] == [10, 9, 7, 3, pytest.approx(0.85), 0.5, [3, 1, 5]]
    assert told["statuses"] == {"too_long": 1, "timeout": 1, "503": 2, "200": 3}
    assert told["lag_s"] == {
        "0.5": pytest.approx(0.010),
        "0.99": pytest.approx(0.01588),
        "max": pytest.approx(0.016),
    }
    (row,) = (row for row in lines(found) if row[0] == "1")
    assert row[1:6] == ["9", "4", "10 ms", "15.9 ms", "16 ms"]
    assert row[-1] == "too_long: 1, timeout: 1, 503: 2"


def test_missing_quantiles_are_noted_and_a_missing_mean_is_not():
    found = verification(AT_20, AT_20)
    found = replace(found, runs=(replace(found.runs[0], run=LoadRun.blank(load_run().schedule)),))
    told = verify_document(found, {})["notes"]
    assert [note.partition(":")[0] for note in told] == [
        f"no measured {name}" for name in ("P50", "P95", "P99")
    ]


def test_an_interrupt_is_not_reported_as_an_error():
    assert verify_document(verification(AT_20, AT_20, stop=KeyboardInterrupt()), {})["stopped_by"] is None


def test_a_run_that_counts_no_request_has_no_lag():
    blank = LoadRun.blank(load_run().schedule)
    assert lags_s(blank) == {}


class Load:
    """A load test whose runs are given."""

    in_flight_max = 900

    def __init__(self, *runs, stop=None, lone=None, workload=None):
        self.runs, self.stop, self.lone = list(runs), stop, lone
        self.workload = workload or Workload(arrival_rate_rps=100.0)
        self.is_calibrated, self.schedules = lone is not None, ()

    def lone_requests(self, confidence):
        assert confidence == 0.95
        if isinstance(self.lone, Exception):
            raise self.lone
        return self.lone

    def measure(self):
        return self.runs, self.stop


class Bench:
    """Simulations that all find the same; keeps overhead and workload of each, and may be interrupted at one."""

    def __init__(self, interrupted_at=None):
        self.interrupted_at, self.seen, self.opened, self.told = interrupted_at, [], 0, []

    @contextmanager
    def __call__(self, effort):
        self.opened += 1
        yield self

    def report(self, message):
        self.told.append(message)

    def replays(self, parts, quantiles):
        raise AssertionError("no request has lengths")

    def simulate(self, quantiles):
        def simulated(scenario):
            self.seen.append((scenario.profile.request_overhead_s, scenario.workload))
            if len(self.seen) == self.interrupted_at:
                raise KeyboardInterrupt
            return AT_20

        return simulated


def verified(load, bench=None):
    """The verification of a load test."""
    subject = Subject(profile=PROFILE, workload=load.workload, plan=PLAN, objective=LIMIT["kept"])
    verifier = Verifier(subject=subject, load=load, effort=Effort(), workbench=bench or Bench())
    return verifier.verify(with_tolerances(read_tolerances([])), ("first",))


def test_predictions_after_a_calibration_have_this_clients_overhead():
    bench, lone = Bench(), LoneRequests(beside_s=0.001, batch_s=around(0.005))
    found = verified(Load(load_run(), lone=lone), bench)
    assert found.lone == lone
    assert {overhead_s for overhead_s, _ in bench.seen} == {0.001}
    assert found.notes[0] == "first"
    assert found.notes[1].startswith("a request takes this client 1 ms outside its batch")
    assert bench.told == ["simulating the requests that were sent"]


def test_a_calibration_that_fails_leaves_the_profiles_overhead():
    bench = Bench()
    found = verified(Load(load_run(), lone=InconclusiveError("no header")), bench)
    assert (found.lone, {overhead_s for overhead_s, _ in bench.seen}) == (None, {0.0})
    assert found.notes == ("first", "the request overhead is the profile's: no header")


def test_one_run_is_replayed_once_and_several_runs_also_together():
    bench = Bench()
    found = verified(Load(load_run()), bench)
    assert len(bench.seen) == 2  # the long run, and the replay
    assert found.replay is found.runs[0].replay
    bench = Bench()
    found = verified(Load(load_run(), load_run()), bench)
    assert len(bench.seen) == 4
    assert (len(found.runs), found.stop, bench.opened) == (2, None, 2)


@pytest.mark.parametrize("stop", [DependencyError("gone"), KeyboardInterrupt()])
def test_runs_are_replayed_after_a_failure_but_not_after_an_interrupt(stop):
    bench = Bench()
    found = verified(Load(load_run(), load_run(), stop=stop), bench)
    assert found.stop is stop
    is_interrupt = isinstance(stop, KeyboardInterrupt)
    assert len(bench.seen) == (1 if is_interrupt else 4)
    assert (found.replay == Prediction()) == is_interrupt
    assert [run.replay == Prediction() for run in found.runs] == [is_interrupt] * 2


def test_an_interrupted_replay_leaves_what_was_measured():
    found = verified(Load(load_run(), load_run()), Bench(interrupted_at=3))
    assert isinstance(found.stop, KeyboardInterrupt)
    assert ([run.replay for run in found.runs], found.replay) == ([Prediction()] * 2, Prediction())
    assert found.outcome is Outcome.INTERRUPTED


def slowing_run():
    """A thousand requests, of which the second half takes twice as long."""
    instants_s = np.arange(1000) * 0.01
    return LoadRun(
        schedule=Schedule(instants_s=instants_s, duration_s=10.0),
        sent_s=instants_s,
        ended_s=instants_s + np.where(np.arange(1000) < 500, 0.01, 0.02),
        outcomes=np.full(1000, 200),
        replicas=np.zeros(1000, dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("arrivals", "is_steady"),
    [
        (PoissonArrivals(), True),
        (MmppArrivals(ratio=5.0, burst_mean_s=0.5, calm_mean_s=2.0), False),
        (TraceArrivals(instants_s=(0.0, 0.01, 0.02)), False),
    ],
)
def test_only_a_steady_load_must_be_stationary(arrivals, is_steady):
    found = verified(Load(slowing_run(), workload=Workload(arrival_rate_rps=100.0, arrivals=arrivals)))
    assert [fault.startswith("the run was not stationary") for fault in found.faults] == [True] * is_steady


def test_the_reason_for_missing_metrics_is_a_note():
    runs = load_run(), replace(load_run(), unseen="not known")
    assert verified(Load(*runs)).notes == ("first", "not known")


def test_a_plan_that_cannot_keep_up_is_refused_before_any_request():
    load = Load(workload=Workload(arrival_rate_rps=201.0))
    with pytest.raises(UnstableError):
        verified(load)


PROFILE = ServiceProfile(name="five", timings=(BatchTiming(batch_size=1, mean_s=0.005),))
PLAN = BatchPlan(profile="five", replicas=1, batch_size_max=1)


def shown(found):
    """What a person sees."""
    console = Console(file=StringIO(), width=120, color_system=None)
    for table in verify_tables(found):
        console.print(table)
    return console.file.getvalue()


def run_of(schedule, warm_up_s=0.0):
    return LoadRun.blank(schedule, warm_up_s)


def predictor(simulate):
    """With a simulator that records what it is asked."""

    def simulator(quantiles):
        return lambda scenario: simulate(quantiles, scenario.workload)

    return Predictor(profile=PROFILE, plan=PLAN, quantiles=(0.5, 0.95, 0.99), simulator=simulator)


def test_a_replay_leaves_out_what_it_is_too_short_for():
    asked = []

    def simulate(quantiles, workload):
        asked.append(quantiles)
        if max(quantiles) > 0.9:
            raise InconclusiveError(f"too few for {max(quantiles)}")
        return AT_20

    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    found = predictor(simulate).of([run_of(schedule)])
    assert found.reasons == (
        "no P99 of the replay: too few for 0.99",
        "no P95 of the replay: too few for 0.95",
    )
    assert asked == [(0.5, 0.95, 0.99), (0.5, 0.95), (0.5,)]


def test_a_replay_without_any_figure_has_all_the_reasons():
    def simulate(quantiles, workload):
        raise InconclusiveError("too few")

    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    found = predictor(simulate).of([run_of(schedule)])
    assert found == Prediction(
        reasons=tuple(f"no {name} of the replay: too few" for name in ("P99", "P95", "P50"))
    )
    found = predictor(simulate).in_the_long_run(Workload(arrival_rate_rps=1.0))
    assert found.reasons[0] == "no P99 of the long run; capacity simulate can simulate longer: too few"


def test_a_run_that_counts_no_request_is_not_replayed():
    schedule = Schedule(instants_s=np.array([0.25, 0.5]), duration_s=2.0)
    found = predictor(lambda quantiles, workload: AT_20).of([run_of(schedule, 1.0)])
    assert found.performance is None
    assert found.reasons[0].startswith("the schedule cannot be replayed: ")


def test_a_replay_has_values_only():
    """Its intervals speak of other arrivals, and the run had the same."""
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    known = replace(WIDE, wait_quantiles_s={0.5: around(0.001, 0.5)})
    found = predictor(lambda quantiles, workload: known).of([run_of(schedule)]).performance
    assert found.wait_quantiles_s == {}
    assert found.response_quantiles_s == {0.99: Interval.exact(0.02)}
    assert (found.response_mean_s, found.intervals) == (0.008, {})


def test_a_replay_repeats_what_counts_of_the_schedule_as_it_was():
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5, 1.75]), duration_s=2.0)
    trace = repeated([run_of(schedule, 0.4)])
    assert len(trace.instants_s) == 200_001
    assert len(repeated([run_of(schedule, 1.75)]).instants_s) == 200_000
    assert trace.instants_s[:6] == pytest.approx((0.1, 1.1, 1.35, 1.7, 2.7, 2.95))
    assert trace.rate_rps == pytest.approx(3 / 1.6, rel=1e-4)
    seen = []
    predictor(lambda quantiles, workload: seen.append(workload) or AT_20).of([run_of(schedule, 0.4)])
    assert seen[0].arrivals == trace
    assert seen[0].arrival_rate_rps == trace.rate_rps
    long = Schedule(instants_s=np.arange(REPLAYED_MIN + 10.0), duration_s=REPLAYED_MIN + 10.0)
    assert repeated([run_of(long, 10.0)]).instants_s == tuple(np.arange(float(REPLAYED_MIN)))


def test_schedules_are_replayed_one_after_another():
    first = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    second = Schedule(instants_s=np.array([0.75, 1.0]), duration_s=1.0)
    trace = repeated([run_of(first, 0.5), run_of(second, 0.5)])
    assert trace.instants_s[:6] == pytest.approx((0.0, 1.0, 1.75, 2.0, 2.0, 3.0))
    assert trace.rate_rps == pytest.approx(4 / 2.0, rel=1e-4)


def test_copies_that_meet_at_an_instant_do_not_fall_behind_it():
    """A trace ends at its last request, and 0.1 + 0.2 is more than 0.3."""
    metronome = Schedule(instants_s=np.linspace(0.0, 0.1, 3), duration_s=0.1)
    assert len(repeated([run_of(metronome)]).instants_s) >= REPLAYED_MIN


def test_a_replay_is_what_the_queue_does_to_these_arrivals():
    """Against Lindley's recursion, since service takes the same time always."""
    instants_s = np.cumsum(np.random.default_rng(8).exponential(0.01, 6000))
    schedule = Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]) + 0.01)
    found = Predictor(
        profile=PROFILE, plan=PLAN, quantiles=(0.5, 0.99), simulator=lambda q: Simulation(quantiles=q)
    ).of([run_of(schedule, 5.0)])
    counted_s = instants_s[instants_s >= 5.0]
    twice_s = np.concatenate([counted_s, counted_s + schedule.duration_s - 5.0])
    free_s, responses_s = 0.0, []
    for instant_s in twice_s:
        free_s = max(instant_s, free_s) + 0.005
        responses_s.append(free_s - instant_s)
    again_s = responses_s[len(counted_s) :]
    quantiles_s = found.performance.response_quantiles_s
    assert found.reasons == ()
    for quantile in (0.5, 0.99):
        assert quantiles_s[quantile].value == pytest.approx(np.quantile(again_s, quantile), rel=0.01)
    assert found.performance.response_mean_s == pytest.approx(np.mean(again_s), rel=0.005)


def test_a_schedule_that_comes_too_fast_is_no_error_of_the_replay():
    def simulate(quantiles, workload):
        raise UnstableError("unstable plan: load 1.2")

    found = predictor(simulate).of([run_of(Schedule(instants_s=np.array([0.0, 1.0]), duration_s=2.0))])
    assert found.performance is None
    assert found.reasons == ("the schedule cannot be replayed: unstable plan: load 1.2",)


def test_the_long_run_is_refused_where_there_is_none():
    def simulate(quantiles, workload):
        raise UnstableError("unstable plan: load 1.2")

    trace = Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0, 2.0)))
    assert predictor(simulate).in_the_long_run(trace).performance is None
    with pytest.raises(UnstableError):
        predictor(simulate).in_the_long_run(Workload(arrival_rate_rps=1.0, arrivals=PoissonArrivals()))
