"""When prediction and measurement agree, and what a verification comes to."""

import math
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from capacity.answer.documents import dumps
from capacity.errors import DependencyError, InconclusiveError, InputError, UnstableError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import LatencyObjective, Measure, Promise
from capacity.question.plan import Plan
from capacity.traffic.workload import PoissonArrivals, TraceArrivals, Workload
from capacity.verification.calibrate import LoneRequests
from capacity.verification.prediction import REPLAYED_MIN, Prediction, Predictor, repeated
from capacity.verification.quantities import (
    QUANTITIES,
    Agreement,
    hold,
    promise_finding,
    read_tolerances,
    with_tolerances,
)
from capacity.verification.report import verify_document, verify_tables
from capacity.verification.run import LoadRun, Schedule
from capacity.verification.subject import Subject
from capacity.verification.verification import Outcome, Verification, VerifiedRun
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


@pytest.mark.parametrize(
    ("predicted", "measured", "agreement"),
    [
        (around(0.0), around(0.0), Agreement.AGREE),
        (around(0.0), around(0.004), Agreement.AGREE),
        (around(0.0), around(0.01), Agreement.DISAGREE),
        (around(0.1), around(0.104), Agreement.AGREE),
        (around(0.0), Interval(value=0.0, low=0.0, high=0.01), Agreement.UNSURE),
    ],
)
def test_a_loss_is_compared_by_difference(predicted, measured, agreement):
    assert hold(LOSS, predicted, measured).agreement is agreement


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
LIMIT = {
    name: LatencyObjective(limits={0.99: limit}) for name, limit in {"kept": 0.03, "missed": 0.01}.items()
}
DOUBT = LatencyObjective(limits={0.99: 0.0201})
UNMEASURED = LatencyObjective(limits={0.999: 1.0})


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
    kept = Promise(measure=Measure.LOSS, allowed=0.04)
    assert promise_finding(kept, measured).verdict is Verdict.MET
    assert promise_finding(replace(kept, allowed=0.03), measured).verdict is Verdict.INCONCLUSIVE


def test_a_mean_that_is_open_above_may_miss_and_disagree_and_never_agrees():
    open_above = {"response_mean_s": Interval(value=0.048, low=0.03, high=math.inf)}
    measured = performance(mean=0.048, intervals=open_above)
    for allowed, verdict in (
        (0.02, Verdict.MISSED),
        (0.05, Verdict.INCONCLUSIVE),
        (10.0, Verdict.INCONCLUSIVE),
    ):
        finding = promise_finding(Promise(measure=Measure.RESPONSE_MEAN, allowed=allowed), measured)
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
        (Promise(measure=Measure.RESPONSE, quantile=0.99, allowed=0.0201), "P99 <= 20.1 ms lies within", 4.0),
        (Promise(measure=Measure.RESPONSE, quantile=0.99, allowed=0.02), "within chance", math.inf),
        (Promise(measure=Measure.RESPONSE, quantile=0.999, allowed=1.0), "needs 50000 answers, and there were 10", 5e3),
        (Promise(measure=Measure.WAIT, quantile=0.99, allowed=1.0), "cannot be measured from outside", math.inf),
        (Promise(measure=Measure.UTILIZATION, allowed=0.5), "give --metrics", math.inf),
    ],
)  # fmt: skip
def test_a_promise_that_is_not_proven_is_told_with_what_would_tell(promise, said, times):
    finding = promise_finding(promise, AT_20)
    doubt, more = finding.doubt(10)
    assert said in doubt
    assert more == pytest.approx(times)


def test_a_response_that_timed_out_is_open_above():
    measured = replace(AT_20, response_quantiles_s={0.99: Interval(value=0.02, low=0.01, high=math.inf)})
    promise = Promise(measure=Measure.RESPONSE, quantile=0.99, allowed=0.03)
    doubt, more = promise_finding(promise, measured).doubt(10)
    assert "requests that timed out or were refused have an unknown response time" in doubt
    assert more == math.inf


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


def test_a_quantile_that_was_promised_has_a_row_and_the_tolerance_of_the_next_higher_one():
    quantities = with_tolerances(read_tolerances(["p99=20%"]), (0.5, 0.9, 0.95, 0.99, 0.999))
    rows = [(quantity.name, quantity.tolerance) for quantity in quantities]
    assert rows[:6] == [
        ("mean", 0.05), ("p50", 0.05), ("p90", 0.1), ("p95", 0.1), ("p99", 0.2), ("p99.9", 0.2)
    ]  # fmt: skip


def test_the_plans_own_prediction_is_told_beside_the_calibrated_one():
    lone = LoneRequests(beside_s=0.001, batch_s=around(0.004))
    found = verification(AT_20, AT_20, planned_s={"P99": 0.017}, lone=lone)
    predicted = verify_document(found, {})["predicted"]
    assert (predicted["planned_s"], predicted["is_calibrated"]) == ({"P99": 0.017}, True)
    assert "The plan itself predicted: P99 17 ms. The predictions above are calibrated" in shown(found)


def test_promises_are_held_against_what_was_measured():
    objective = LatencyObjective(limits={0.99: 0.03}, response_mean_s=0.001, wait_limits={0.5: 0.1})
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


def test_tolerances_are_read():
    tolerances = read_tolerances(["p99=20%", " LOSS = 0.01 "])
    assert (tolerances["p99"], tolerances["loss"], tolerances["mean"]) == (0.2, 0.01, 0.05)
    assert next(q for q in with_tolerances(tolerances) if q.name == "p99").tolerance == 0.2


@pytest.mark.parametrize("text", ["p99", "p98=5%", "p99=", "p99=-5%", "p99=0", "p99=101%", "p99=nan", "=5%"])
def test_tolerances_that_are_none(text):
    with pytest.raises(InputError, match="--tolerance"):
        read_tolerances([text])


def test_a_second_tolerance_of_one_quantity_is_refused():
    with pytest.raises(InputError, match="names one twice"):
        read_tolerances(["p99=5%", "p99=6%"])


PROFILE = ServiceProfile(name="five", timings=(BatchTiming(batch_size=1, mean_s=0.005),))
PLAN = Plan(profile="five", replicas=1, batch_size_max=1)


def shown(found):
    """What a person sees."""
    console = Console(file=StringIO(), width=120, color_system=None)
    for table in verify_tables(found):
        console.print(table)
    return console.file.getvalue()


def run_of(schedule, warm_up_s=0.0):
    return LoadRun.blank(schedule, warm_up_s)


def predictor(simulate):
    """With a simulator that is told what is asked of it."""

    def simulator(quantiles):
        return lambda profile, workload, plan: simulate(quantiles, workload)

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


def test_a_replay_has_values_only():
    """Its intervals speak of other arrivals, and the run had the same."""
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    found = predictor(lambda quantiles, workload: WIDE).of([run_of(schedule)]).performance
    assert found.response_quantiles_s == {0.99: Interval.exact(0.02)}
    assert (found.response_mean_s, found.intervals) == (0.008, {})


def test_a_replay_repeats_what_counts_of_the_schedule_as_it_was():
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5, 1.75]), duration_s=2.0)
    trace = repeated([run_of(schedule, 0.4)])
    assert len(trace.instants_s) >= REPLAYED_MIN
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
