"""Staffing: the answer keeps its limit, one server less does not, at any load."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError
from capacity.queues.erlang import SERVERS_MAX, servers_stable_min
from capacity.queues.mmc import MMc
from capacity.queues.staffing import servers_for_response, servers_for_wait, servers_for_wait_probability

laws = settings(derandomize=True, deadline=None, max_examples=80)
loads = st.floats(-6, 9).map(lambda power: 10.0**power)
quantiles = st.sampled_from([0.5, 0.9, 0.99, 0.999, 0.9999])


def queue(load: float, servers: int, service: float = 1.0) -> MMc:
    return MMc(arrival_rate_rps=load * service, service_rate_rps=service, servers=servers)


@laws
@given(loads, quantiles, st.just(0.0) | st.floats(-12, 1).map(lambda power: 10.0**power))
def test_one_server_less_waits_too_long(load: float, quantile: float, limit: float) -> None:
    found = servers_for_wait(load, 1.0, quantile, limit)
    assert queue(load, found).wait_quantile_s(quantile) <= limit
    if found > servers_stable_min(load, 1.0):
        assert queue(load, found - 1).wait_quantile_s(quantile) > limit


@laws
@given(loads, quantiles, st.floats(-12, 1).map(lambda power: 10.0**power))
def test_one_server_less_answers_too_late(load: float, quantile: float, extra: float) -> None:
    limit = -math.log1p(-quantile) * (1.0 + 1e-12) + extra
    found = servers_for_response(load, 1.0, quantile, limit)
    assert queue(load, found).response_quantile_s(quantile) <= limit
    if found > servers_stable_min(load, 1.0):
        assert queue(load, found - 1).response_quantile_s(quantile) > limit


@laws
@given(loads, st.floats(-12, -1e-6).map(lambda power: 10.0**power))
def test_one_server_less_makes_too_many_wait(load: float, limit: float) -> None:
    found = servers_for_wait_probability(load, 1.0, limit)
    assert queue(load, found).wait_probability <= limit
    if found > servers_stable_min(load, 1.0):
        assert queue(load, found - 1).wait_probability > limit


@laws
@given(st.floats(0.01, 200.0), st.floats(0.001, 0.999))
def test_fewest_servers_by_trying_all(load: float, limit: float) -> None:
    start = servers_stable_min(load, 1.0)
    fits = [queue(load, servers).wait_probability <= limit for servers in range(start, start + 100)]
    assert servers_for_wait_probability(load, 1.0, limit) == start + fits.index(True)


@laws
@given(loads, st.floats(0.001, 0.999), st.integers(-40, 40))
def test_the_unit_of_time_does_not_matter(load: float, limit: float, power: int) -> None:
    k = 2.0**power
    assert servers_for_wait_probability(load * k, k, limit) == servers_for_wait_probability(load, 1.0, limit)
    assert servers_for_wait(load * k, k, limit, 0.5 / k) == servers_for_wait(load, 1.0, limit, 0.5)


def test_square_root_staffing() -> None:
    """Halfin & Whitt (1981): 0.2234 wait with one standard deviation of spare servers, at any size."""
    for load in (1e4, 1e6, 1e8, 1e9):
        found = servers_for_wait_probability(load, 1.0, 0.2234)
        assert (found - load) / math.sqrt(load) == pytest.approx(1.0, abs=2.0 / math.sqrt(math.sqrt(load)))


@pytest.mark.parametrize(("agents", "load"), [(2, 0.5), (10, 6.0), (111, 100.0), (1_001_000, 1e6)])
def test_a_queues_own_probability_gives_its_servers_back(agents: int, load: float) -> None:
    limit = queue(load, agents).wait_probability
    assert servers_for_wait_probability(load, 1.0, limit) == agents
    assert servers_for_wait_probability(load, 1.0, math.nextafter(limit, 0.0)) == agents + 1


@pytest.mark.parametrize("guess", [0.0, 50.0, 100.0, 104.0, 111.0, 112.5, 150.0, 1e4, math.inf])
def test_the_first_guess_does_not_matter(guess: float, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [servers_for_wait_probability(100.0, 1.0, k / 20) for k in range(1, 20)]
    monkeypatch.setattr("capacity.queues.staffing.halfin_whitt", lambda *_: guess)
    assert [servers_for_wait_probability(100.0, 1.0, k / 20) for k in range(1, 20)] == expected


def test_the_most_servers_that_can_be_sized() -> None:
    most = int(SERVERS_MAX)
    load = SERVERS_MAX - 1e5
    limit = queue(load, most).wait_probability
    assert servers_for_wait_probability(load, 1.0, limit) == most
    for ask in (
        lambda: servers_for_wait_probability(load, 1.0, math.nextafter(limit, 0.0)),
        lambda: servers_for_wait(1e10, 1.0, 0.99, 1.0),
        lambda: servers_for_response(1e300, 1e-300, 0.99, 1e301),
    ):
        with pytest.raises(DomainError, match=r"need more than 5e\+09 servers, beyond what can be sized"):
            ask()


@pytest.mark.parametrize("bad", [math.nan, 0.0, 1.0, -0.1, 2.0, True, math.inf])
def test_bad_limits_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match=r"limit of the wait probability must be in \(0, 1\)"):
        servers_for_wait_probability(1.0, 1.0, bad)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf, True])
def test_bad_rates_are_refused(bad: float) -> None:
    with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
        servers_for_wait_probability(bad, 1.0, 0.2)
    with pytest.raises(DomainError, match="service_rate_rps must be > 0"):
        servers_for_wait_probability(1.0, bad, 0.2)
