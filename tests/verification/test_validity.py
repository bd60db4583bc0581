"""Which load tests are valid: the rule on lag, request by request."""

from dataclasses import replace

import numpy as np
import pytest

from capacity.verification.run import EXHAUSTED, NOT_CONNECTED, LoadRun, Schedule
from capacity.verification.validity import faults, tail_faults


def load_run(lag_s, response_s, *, late=0.02, outcome=200, **changes):
    """A thousand requests, of which a share is sent late, and whose answers take a time from when they were meant."""
    instants_s = np.arange(1000) * 0.01
    lags_s = np.where(np.arange(1000) % round(1.0 / late) == 0, lag_s, 0.0)
    return LoadRun(
        **{
            "schedule": Schedule(instants_s=instants_s, duration_s=10.0),
            "warm_up_s": 0.0,
            "sent_s": instants_s + lags_s,
            "ended_s": instants_s + np.maximum(response_s, lags_s),
            "outcomes": np.full(1000, outcome),
            "replicas": np.zeros(1000, dtype=np.int64),
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("lag_s", "response_s", "is_valid"),
    [
        (0.0, 0.005, True),
        (0.0009, 0.001, True),  # a millisecond is forgiven, however quick the server
        (0.0011, 0.005, False),
        (0.0011, 0.012, True),  # and a tenth of the median response
        (0.0049, 0.05, True),
        (0.0051, 0.05, False),
    ],
)
def test_the_rule_on_lag(lag_s, response_s, is_valid):
    found = list(faults(load_run(lag_s, response_s), 900))
    assert len(found) == (0 if is_valid else 1)


def test_it_is_the_latest_hundredth_that_may_fall_behind():
    assert list(faults(load_run(0.0015, 0.005, late=0.005), 900)) == []
    (said,) = faults(load_run(0.0015, 0.005, late=0.0125), 900)
    assert said.startswith("the load generator fell behind: P99 of its lag")
    assert "chrt --rr 1 capacity verify" in said  # which helps where no core is left


@pytest.mark.parametrize(
    ("lag_s", "response_s", "is_valid"),
    [
        (0.5, 0.005, False),  # half a second, once in 200 requests: 2.5 ms of a mean of 7.5 ms
        (0.018, 0.001, True),  # 0.09 ms more are forgiven, however quick the server
        (0.022, 0.001, False),
        (0.022, 0.01, True),  # and a fortieth of the mean response
        (0.06, 0.01, False),
    ],
)
def test_rare_stalls_are_in_the_mean_although_no_p99_shows_them(lag_s, response_s, is_valid):
    found = list(faults(load_run(lag_s, response_s, late=0.005), 900))
    assert found == [] if is_valid else found[0].startswith("the load generator stalled")


def test_a_lag_that_all_have_is_no_stall():
    run = load_run(0.0, 0.005)
    assert list(faults(load_run(0.0, 0.005, sent_s=run.sent_s + 0.0004), 900)) == []


@pytest.mark.parametrize(("late", "quantiles"), [(0.001, []), (0.004, ["P99"]), (0.02, ["P95", "P99"])])
def test_a_quantile_is_not_to_be_made_of_what_was_sent_late(late, quantiles):
    """Stalls of 40 ms of a server that takes 10 ms are the slowest requests that there are."""
    runs = [load_run(0.04, 0.01 + 1e-5 * np.arange(1000), late=late) for _ in range(5)]
    said = [
        text.removeprefix("the load generator determined ").partition(":")[0]
        for text in tail_faults(runs, (0.5, 0.95, 0.99))
    ]
    assert said == quantiles
    assert list(tail_faults(runs[:1], (0.99,))) == []  # which has no P99


def test_a_sender_without_rest_takes_answers_in_late():
    run = load_run(0.0, 0.005)
    assert list(faults(replace(run, cpu_share=0.9), 900)) == []
    assert len(list(faults(replace(run, cpu_share=0.91), 900))) == 1
    (said,) = faults(replace(run, cpu_share=0.97), 900)
    assert said.startswith("sending took 97 % of a core")


def test_what_this_machine_lacks_is_no_loss_of_the_server():
    outcomes = np.full(1000, 200)
    outcomes[7] = EXHAUSTED
    (said,) = faults(load_run(0.0, 0.005, outcomes=outcomes), 900)
    assert said.startswith("1 of 1000 requests found no free descriptor or port")


def test_a_run_without_any_good_answer_is_invalid():
    (said,) = faults(load_run(0.0, 0.005, outcome=NOT_CONNECTED), 900)
    assert said.startswith("none of 1000 requests was answered with status 200")


def test_a_run_that_gets_slower_was_no_steady_state():
    spread_s = np.random.default_rng(4).exponential(0.005, 1000)
    assert list(faults(load_run(0.0, spread_s), 900, is_steady=True)) == []
    (said,) = faults(
        load_run(0.0, spread_s + np.where(np.arange(1000) < 500, 0.0, 0.005)), 900, is_steady=True
    )
    assert said.startswith("the run was not stationary: the mean response of its second half differs by +")


@pytest.mark.parametrize(("times", "shift"), [(1.09, None), (1.11, "+11 %"), (0.91, None), (0.89, "-11 %")])
def test_a_shift_up_to_a_tenth_is_not_a_drift(times, shift):
    """Without noise, so that chance explains none of it."""
    responses_s = np.where(np.arange(1000) < 500, 0.005, 0.005 * times)
    found = list(faults(load_run(0.0, responses_s), 900, is_steady=True))
    assert [shift in said for said in found] == ([] if shift is None else [True])


@pytest.mark.parametrize(("count", "is_told"), [(199, False), (200, True)])
def test_a_drift_needs_200_answers(count, is_told):
    outcomes = np.where(np.arange(1000) < count, 200, NOT_CONNECTED)
    responses_s = np.where(np.arange(1000) < count // 2, 0.005, 0.01)
    found = list(faults(load_run(0.0, responses_s, outcomes=outcomes), 900, is_steady=True))
    assert len(found) == is_told


@pytest.mark.parametrize(("late", "is_told"), [(20, False), (21, True)])
def test_a_fifth_of_the_tail_may_have_been_sent_late(late, is_told):
    """The tail of P90 is the slowest 101 of 1000 requests, P90 itself among them."""
    responses_s = 0.01 + 1e-6 * np.arange(1000)
    sent_s = np.arange(1000) * 0.01
    sent_s[1000 - late :] += 0.0025
    found = list(tail_faults([load_run(0.0, responses_s, sent_s=sent_s)], (0.9,)))
    assert [said.startswith("the load generator determined P90: 21 %") for said in found] == [True] * is_told


@pytest.mark.parametrize(("lag_s", "response_s", "is_late"), [
    (0.0009, 0.002, False), (0.0011, 0.002, True), (0.0019, 0.02, False), (0.0021, 0.02, True),
])  # fmt: skip
def test_late_means_by_more_than_a_tenth_of_the_quantile_and_a_millisecond(lag_s, response_s, is_late):
    run = load_run(lag_s, response_s, late=1.0)
    assert len(list(tail_faults([run], (0.9,)))) == is_late


def test_a_stopped_run_has_no_other_fault():
    run = replace(load_run(0.5, 0.005), is_complete=False)
    assert list(faults(run, 900)) == ["the run was stopped after 1000 of 1000 requests; let it end"]
    overflowed = replace(load_run(0.0, 0.005), is_overflowed=True)
    (said,) = faults(overflowed, 7)
    assert said.startswith("7 requests were in flight, the most allowed: 1000 of 1000 were sent")
