"""When prediction and measurement agree, and what a verification comes to."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from capacity.errors import InconclusiveError, InputError, UnstableError
from capacity.guarded import Terminated
from capacity.objective import LatencyObjective
from capacity.performance import Interval, Kind, Performance
from capacity.plan import Plan, Verdict
from capacity.profile import BatchTiming, ServiceProfile
from capacity.workload import PoissonArrivals, TraceArrivals, Workload
from measurements.agreement_row import Agreement, hold
from measurements.load_run import LoadRun
from measurements.measured import median_performance
from measurements.prediction import REPLAYED_MIN, Prediction, Predictor, repeated
from measurements.quantities import QUANTITIES, read_tolerances, with_tolerances
from measurements.schedule import Schedule
from measurements.verification import Outcome, Verification, VerifiedRun
from measurements.verify_document import Setting
from measurements.verify_report import verify_tables
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


def performance(p99=0.02, mean=0.008, width=0.01, kind=Kind.MEASUREMENT, **others):
    return Performance(
        kind=kind,
        response_mean_s=mean,
        response_quantiles_s={0.99: around(p99, width)},
        intervals={"response_mean_s": around(mean, width)},
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


def verification(measured, stationary, *, replays=None, objective=None, faults=(), interrupt=None):
    replays = [None] * len(measured) if replays is None else replays
    return Verification(
        quantities=with_tolerances(read_tolerances([])),
        runs=tuple(
            VerifiedRun(run=load_run(), measured=m, replay=Prediction(performance=r), faults=faults)
            for m, r in zip(measured, replays, strict=True)
        ),
        stationary=Prediction(performance=stationary),
        objective=objective,
        interrupt=interrupt,
    )


AT_20, AT_30, WIDE = performance(0.02), performance(0.03), performance(0.02, 0.008, 0.5)
LIMIT = {
    name: LatencyObjective(limits={0.99: limit}) for name, limit in {"kept": 0.03, "missed": 0.01}.items()
}
DOUBT = LatencyObjective(limits={0.99: 0.0201})


@pytest.mark.parametrize(
    ("stationary", "changes", "outcome", "exit_code"),
    [
        (AT_20, {}, Outcome.AGREE, 0),
        (AT_30, {}, Outcome.DISAGREE, 4),
        (AT_20, {"replays": [AT_30]}, Outcome.DISAGREE, 4),
        (None, {"replays": [AT_20]}, Outcome.AGREE, 0),
        (None, {}, Outcome.UNSURE, 4),
        (WIDE, {}, Outcome.UNSURE, 4),
        (AT_20, {"objective": LIMIT["kept"]}, Outcome.AGREE, 0),
        (AT_20, {"objective": DOUBT}, Outcome.AGREE, 0),
        (AT_20, {"objective": LIMIT["missed"]}, Outcome.MISSED, 3),
        (AT_30, {"objective": LIMIT["missed"]}, Outcome.MISSED, 3),
        (AT_20, {"objective": LIMIT["missed"], "faults": ("late",)}, Outcome.INVALID, 4),
        (AT_20, {"faults": ("late",)}, Outcome.INVALID, 4),
        (AT_20, {"faults": ("late",), "interrupt": KeyboardInterrupt()}, Outcome.INTERRUPTED, 130),
        (AT_20, {"interrupt": Terminated()}, Outcome.INTERRUPTED, 143),
    ],
)
def test_what_a_verification_comes_to(stationary, changes, outcome, exit_code):
    found = verification([AT_20], stationary, **changes)
    assert (found.outcome, found.exit_code) == (outcome, exit_code)
    if outcome in (Outcome.INVALID, Outcome.INTERRUPTED):
        assert {a for row in found.rows for a in row.agreements} == {Agreement.VOID}


def test_the_measured_value_is_the_median_over_runs():
    found = verification([performance(0.02), performance(0.05), performance(0.03)], AT_30)
    assert found.measured.response_quantiles_s[0.99] == around(0.03, 0.01)
    assert found.outcome is Outcome.AGREE
    assert found.replay is None


def test_a_median_stays_within_its_ends_and_lacks_what_some_run_lacks():
    runs = [
        performance(0.02, width=0.5, throughput_rps=100.0, utilization=0.4),
        performance(0.03, width=0.1, throughput_rps=90.0),
    ]
    median = median_performance(runs)
    p99 = median.response_quantiles_s[0.99]
    assert (p99.value, p99.low, p99.high) == pytest.approx((0.025, 0.0185, 0.0315))
    assert (median.throughput_rps, median.utilization) == (95.0, None)


def test_promises_are_held_against_what_was_measured():
    objective = LatencyObjective(limits={0.99: 0.03}, response_mean_s=0.001, wait_limits={0.5: 0.1})
    findings = verification([AT_20], AT_20, objective=objective).findings
    assert [finding.verdict for finding in findings] == [Verdict.MET, None, Verdict.MISSED]
    assert verification([AT_20], AT_20, objective=DOUBT).findings[0].verdict is Verdict.INCONCLUSIVE


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
    answer = verification([found], found, replays=[found], objective=LIMIT["kept"])
    setting = Setting(
        plan=PLAN, workload=Workload(arrival_rate_rps=12345.6), seed=0, confidence=0.95, environment={}
    )
    console = Console(file=StringIO(), width=120, color_system=None)
    for table in verify_tables(answer, setting):
        console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    for shown in ("P95", "utilization", "unsure" if share > 0.5 else "agree", "P99 <= 30 ms", "1.23"):
        assert shown in text


def test_tolerances_are_read():
    tolerances = read_tolerances(["p99=20%", " LOSS = 0.01 "])
    assert (tolerances["p99"], tolerances["loss"], tolerances["mean"]) == (0.2, 0.01, 0.05)
    assert next(q for q in with_tolerances(tolerances) if q.name == "p99").tolerance == 0.2


@pytest.mark.parametrize("text", ["p99", "p98=5%", "p99=", "p99=-5%", "p99=0", "p99=101%", "p99=nan", "=5%"])
def test_tolerances_that_are_none(text):
    with pytest.raises(InputError, match="--tolerance"):
        read_tolerances([text])


def test_a_second_tolerance_of_one_quantity_is_refused():
    with pytest.raises(InputError, match="for the second time"):
        read_tolerances(["p99=5%", "p99=6%"])


PROFILE = ServiceProfile(name="five", timings=(BatchTiming(batch_size=1, mean_s=0.005),))
PLAN = Plan(profile="five", replicas=1, batch_size_max=1)


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
    found = predictor(simulate).of(schedule, 0.0)
    assert found.reasons == (
        "no P99 of the replay: too few for 0.99",
        "no P95 of the replay: too few for 0.95",
    )
    assert asked == [(0.5, 0.95, 0.99), (0.5, 0.95), (0.5,)]


def test_a_replay_has_values_only():
    """Its intervals speak of other arrivals, and the run had the same."""
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5]), duration_s=2.0)
    found = predictor(lambda quantiles, workload: WIDE).of(schedule, 0.0).performance
    assert found.response_quantiles_s == {0.99: Interval.exact(0.02)}
    assert (found.response_mean_s, found.intervals) == (0.008, {})


def test_a_replay_repeats_what_counts_of_the_schedule_as_it_was():
    schedule = Schedule(instants_s=np.array([0.25, 0.5, 1.5, 1.75]), duration_s=2.0)
    trace = repeated(schedule, 0.4)
    assert len(trace.instants_s) >= REPLAYED_MIN
    assert trace.instants_s[:6] == pytest.approx((0.5, 1.5, 1.75, 2.1, 3.1, 3.35))
    assert trace.rate_rps == pytest.approx(3 / 1.6, rel=1e-4)
    seen = []
    predictor(lambda quantiles, workload: seen.append(workload) or AT_20).of(schedule, 0.4)
    assert seen[0].arrivals == trace
    assert seen[0].arrival_rate_rps == trace.rate_rps
    long = Schedule(instants_s=np.arange(REPLAYED_MIN + 10.0), duration_s=REPLAYED_MIN + 10.0)
    assert repeated(long, 10.0).instants_s == tuple(np.arange(10.0, REPLAYED_MIN + 10.0))


def test_a_replay_is_what_the_queue_does_to_these_arrivals():
    """Against Lindley's recursion, since service takes the same time always."""
    instants_s = np.cumsum(np.random.default_rng(8).exponential(0.01, 6000))
    schedule = Schedule(instants_s=instants_s, duration_s=float(instants_s[-1]) + 0.01)
    found = Predictor(
        profile=PROFILE, plan=PLAN, quantiles=(0.5, 0.99), simulator=lambda q: Simulation(quantiles=q)
    ).of(schedule, 5.0)
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

    found = predictor(simulate).of(Schedule(instants_s=np.array([0.0, 1.0]), duration_s=2.0), 0.0)
    assert found.performance is None
    assert found.reasons == ("the schedule cannot be replayed: unstable plan: load 1.2",)


def test_the_long_run_is_refused_where_there_is_none():
    def simulate(quantiles, workload):
        raise UnstableError("unstable plan: load 1.2")

    trace = Workload(arrival_rate_rps=1.0, arrivals=TraceArrivals(instants_s=(0.0, 1.0, 2.0)))
    assert predictor(simulate).in_the_long_run(trace).performance is None
    with pytest.raises(UnstableError):
        predictor(simulate).in_the_long_run(Workload(arrival_rate_rps=1.0, arrivals=PoissonArrivals()))
