"""The circuit breaker, by a clock that the test has."""

from serve_api.breaker import Breaker, CircuitState
from serve_api.settings import BreakerSettings

CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


def breaker(failures_max=2, probes_max=1):
    return Breaker(BreakerSettings(failures_max=failures_max, cooldown_s=10.0, probes_max=probes_max))


def opened():
    circuit = breaker()
    circuit.failed(99.0)
    circuit.failed(100.0)
    return circuit


def test_it_opens_after_as_many_failures_in_a_row():
    circuit = breaker()
    circuit.failed(1.0)
    assert circuit.state(1.0) is CLOSED
    assert circuit.admits(1.0, in_system=1000)
    circuit.failed(2.0)
    assert circuit.state(2.0) is OPEN
    assert not circuit.admits(2.0, in_system=0)


def test_a_success_between_failures_starts_the_count_anew():
    circuit = breaker()
    for _ in range(3):
        circuit.failed(1.0)
        circuit.succeeded()
    assert circuit.state(1.0) is CLOSED


def test_it_is_half_open_after_the_cool_down_and_not_before():
    circuit = opened()
    assert circuit.state(109.9) is OPEN
    assert circuit.retry_after_s(104.0) == 6.0
    assert circuit.state(110.0) is HALF_OPEN
    assert circuit.retry_after_s(110.0) == 0.0


def test_half_open_it_admits_as_many_probes_at_once():
    circuit = opened()
    assert circuit.admits(110.0, in_system=0)
    assert not circuit.admits(110.0, in_system=1)
    wide = breaker(probes_max=3)
    wide.trip(100.0)
    assert [wide.admits(110.0, in_system=n) for n in range(5)] == [True, True, True, False, False]


def test_a_probe_that_succeeds_closes_it():
    circuit = opened()
    circuit.succeeded()
    assert circuit.state(110.0) is CLOSED
    circuit.failed(111.0)
    assert circuit.state(111.0) is CLOSED  # the failures before are forgotten


def test_after_a_trip_one_failed_probe_is_enough_whatever_was_counted_before():
    circuit = breaker(failures_max=5)
    circuit.trip(100.0)
    circuit.failed(110.0)
    assert circuit.state(115.0) is OPEN


def test_a_probe_that_fails_opens_it_for_another_cool_down():
    circuit = opened()
    circuit.failed(115.0)
    assert circuit.state(124.9) is OPEN
    assert circuit.state(125.0) is HALF_OPEN


def test_held_it_stays_open_until_it_is_tripped():
    circuit = breaker()
    circuit.hold()
    assert circuit.state(1e9) is OPEN
    assert not circuit.admits(1e9, in_system=0)
    circuit.trip(100.0)
    assert circuit.state(110.0) is HALF_OPEN


def test_unless_it_is_closed_a_batch_holds_no_more_than_the_probes():
    circuit = breaker(probes_max=3)
    assert circuit.batch_requests_max >= 65_536  # as many rows as a batch can have
    circuit.trip(100.0)
    assert circuit.batch_requests_max == 3
