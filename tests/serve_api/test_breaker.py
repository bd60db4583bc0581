"""The circuit breaker, by times that are handed in."""

import pytest

from serve_api.server.breaker import Breaker, CircuitState


@pytest.fixture
def breaker():
    return Breaker(failures_max=3, cooldown_s=5.0)


def fail(breaker, times, now_s=0.0):
    for _ in range(times):
        breaker.failed(now_s)


def test_it_opens_after_so_many_failures_in_a_row(breaker):
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state(0.0) is CircuitState.CLOSED
    fail(breaker, 1)
    assert breaker.state(0.0) is CircuitState.OPEN
    assert breaker.retry_after_s(2.0) == 3.0


def test_after_the_cool_down_it_is_half_open_until_a_batch_has_told(breaker):
    fail(breaker, 3)
    assert breaker.state(4.9) is CircuitState.OPEN
    assert breaker.state(5.0) is CircuitState.HALF_OPEN
    fail(breaker, 1, now_s=6.0)
    assert breaker.state(10.9) is CircuitState.OPEN
    assert breaker.state(11.0) is CircuitState.HALF_OPEN
    breaker.succeeded()
    assert breaker.state(11.0) is CircuitState.CLOSED


def test_a_model_that_hangs_is_left_alone_until_it_is_back(breaker):
    breaker.hold()
    assert breaker.state(1e9) is CircuitState.OPEN
    breaker.failed(0.0)
    assert breaker.state(4.9) is CircuitState.OPEN
    assert breaker.state(5.0) is CircuitState.HALF_OPEN
