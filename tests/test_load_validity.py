"""Which load tests are valid: the rule on lag, request by request."""

import numpy as np
import pytest

from measurements.load_run import NOT_CONNECTED, LoadRun
from measurements.schedule import Schedule
from measurements.validity import faults


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


def test_it_is_the_latest_hundredth_that_counts():
    assert list(faults(load_run(0.5, 0.005, late=0.005), 900)) == []
    assert len(list(faults(load_run(0.5, 0.005, late=0.0125), 900))) == 1


def test_a_run_without_any_good_answer_is_invalid():
    (said,) = faults(load_run(0.0, 0.005, outcome=NOT_CONNECTED), 900)
    assert said.startswith("none of 1000 requests was answered with status 200")


def test_a_run_that_sent_less_than_it_meant_to_is_invalid():
    sent_s = np.arange(1000) * 0.01
    sent_s[-1] = np.nan
    (said,) = faults(load_run(0.0, 0.005, sent_s=sent_s), 900)
    assert said == "999 of 1000 requests were sent; send them again"
