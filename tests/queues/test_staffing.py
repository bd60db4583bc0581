"""Staffing: the answer keeps its limit, one server less does not, at any load."""

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import DomainError, InputError
from capacity.queues.markov.erlang import SERVERS_MAX, servers_stable_min
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.staffing import servers_for_response, servers_for_wait, servers_for_wait_probability

HIT = 1.0 + 1e-13  # a share that is hit exactly is kept, whatever the rounding of load and limit
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
    assert queue(load, found).wait_probability <= limit * HIT
    if found > servers_stable_min(load, 1.0):
        assert queue(load, found - 1).wait_probability > limit * HIT


@laws
@given(st.floats(0.01, 200.0), st.floats(0.001, 0.999))
def test_fewest_servers_by_trying_all(load: float, limit: float) -> None:
    start = servers_stable_min(load, 1.0)
    fits = [queue(load, servers).wait_probability <= limit * HIT for servers in range(start, start + 100)]
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
    assert servers_for_wait_probability(load, 1.0, math.nextafter(limit, 0.0)) == agents
    assert servers_for_wait_probability(load, 1.0, limit * (1.0 - 1e-12)) == agents + 1


@pytest.mark.parametrize("service", ["0.002", "0.05", "0.1", "0.2", "0.3", "0.7", "1.5", "3", "7"])
@pytest.mark.parametrize("rate", ["0.1", "0.2", "0.3", "0.6", "0.7", "1.1", "3", "13"])
def test_a_limit_hit_exactly_in_decimals_is_kept(rate: str, service: str) -> None:
    """One server makes a share a wait, so that P(W <= 0) = 1 - a: no last binary digit decides."""
    load = Decimal(rate) * Decimal(service)
    if load >= 1:
        return
    arrival, speed = float(rate), 1.0 / float(service)
    assert servers_for_wait_probability(arrival, speed, float(load)) == 1
    assert servers_for_wait(arrival, speed, float(1 - load), 0.0) == 1
    assert MM1(arrival_rate_rps=arrival, service_rate_rps=speed).wait_quantile_s(float(1 - load)) == 0.0
    assert servers_for_wait_probability(arrival, speed, float(load * Decimal("0.999999999999"))) == 2


def test_a_limit_of_two_servers_hit_exactly() -> None:
    """a = 1/2 on two servers: C = a^2 / (2 + a) = 1/10."""
    assert [servers_for_wait_probability(0.05 * k, 0.1 * k, 0.1) for k in range(1, 200)] == [2] * 199


@pytest.mark.parametrize("load", [1e-6, 0.002174509, 0.05, 0.3])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99, 0.999, 0.9999])
@pytest.mark.parametrize("extra", [1e-6, 1e-3, 0.1, 1.0, 10.0, 100.0])
def test_few_servers_answer_soon_enough(load: float, quantile: float, extra: float) -> None:
    """Light traffic and wide limits, where the first guess looks at waits of e^-200 and less."""
    limit = -math.log1p(-quantile) * (1.0 + extra)
    found = servers_for_response(load, 1.0, quantile, limit)
    fits = [queue(load, servers).response_quantile_s(quantile) <= limit for servers in range(1, 60)]
    assert found == 1 + fits.index(True)


@pytest.mark.parametrize(
    "guess", [0.0, 50.0, 100.0, 104.0, 105.4, 107.0, 108.9, 111.0, 112.5, 150.0, 1e4, math.inf]
)
def test_the_first_guess_does_not_matter(guess: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[int]:
        by_share = [servers_for_wait_probability(100.0, 1.0, k / 20) for k in range(1, 20)]
        return by_share + [servers_for_response(100.0, 1.0, 0.99, 4.7 + k / 10) for k in range(10)]

    expected = found()
    monkeypatch.setattr("capacity.queues.staffing.halfin_whitt", lambda *_: guess)
    assert found() == expected


@pytest.mark.parametrize("load", [0.3, 7.0, 1000.0, 1e6])
def test_a_queues_own_quantile_gives_its_servers_back(load: float) -> None:
    for servers in (servers_stable_min(load, 1.0), math.ceil(load + math.sqrt(load)) + 1):
        model = queue(load, servers)
        assert servers_for_response(load, 1.0, 0.99, model.response_quantile_s(0.99)) == servers
        assert servers_for_wait(load, 1.0, 0.999, model.wait_quantile_s(0.999)) == servers


@pytest.mark.parametrize("limit", [0.0, 0.4, -math.log1p(-0.99) / 10.0])
def test_a_limit_below_service_alone_is_refused_before_any_search(limit: float) -> None:
    with pytest.raises(InputError, match=r"above the P99 of service alone, 0\.460517 s at 10 rps"):
        servers_for_response(100.0, 10.0, 0.99, limit)
    above = math.nextafter(-math.log1p(-0.99) / 10.0, 1.0)
    assert servers_for_response(100.0, 10.0, 0.99, above) < 100


def test_the_most_servers_that_can_be_sized() -> None:
    most = int(SERVERS_MAX)
    load = SERVERS_MAX - 1e5
    limit = queue(load, most).wait_probability
    assert servers_for_wait_probability(load, 1.0, limit) == most
    for ask in (
        lambda: servers_for_wait_probability(load, 1.0, limit * (1.0 - 1e-12)),
        lambda: servers_for_wait(1e10, 1.0, 0.99, 1.0),
        lambda: servers_for_response(1e300, 1e-300, 0.99, 1e301),
    ):
        with pytest.raises(DomainError, match=r"need more than 5e\+09 servers, beyond what can be sized"):
            ask()


SEARCHES = {
    "wait": lambda *rates, quantile=0.5, limit=1.0: servers_for_wait(*rates, quantile, limit),
    "response": lambda *rates, quantile=0.5, limit=1.0: servers_for_response(*rates, quantile, limit),
    "probability": lambda *rates, limit=0.2: servers_for_wait_probability(*rates, limit),
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_bad_rates_quantiles_and_limits_are_refused(search) -> None:
    for bad in (math.nan, 0.0, -1.0, math.inf, True):
        with pytest.raises(DomainError, match="arrival_rate_rps must be > 0"):
            search(bad, 1.0)
        with pytest.raises(DomainError, match="service_rate_rps must be > 0"):
            search(1.0, bad)
    if search is SEARCHES["probability"]:
        for bad in (math.nan, 0.0, 1.0, -0.1, 2.0, True, math.inf):
            with pytest.raises(DomainError, match=r"limit of the wait probability must be in \(0, 1\)"):
                search(1.0, 1.0, limit=bad)
        return
    for bad in (math.nan, 0.0, 1.0, -0.1, 99.0, True):
        with pytest.raises(DomainError, match="quantile must be in"):
            search(1.0, 1.0, quantile=bad, limit=9.0)
    for bad in (math.nan, math.inf, -1.0):
        with pytest.raises(DomainError, match="limit_s must be"):
            search(1.0, 1.0, limit=bad)
