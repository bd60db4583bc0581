"""Laws of trouble, each against a figure printed elsewhere, by a second road to the same number, and by a law."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ive

import capacity.queues as queues
from capacity.errors import DomainError, InconclusiveError, UnstableError
from capacity.profile.distribution import from_samples
from capacity.queues.durations import Duration, Family
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.queues.general.qbd import MarkovArrivals, PhaseService, solve
from capacity.queues.markov.erlang import erlang_b
from capacity.queues.markov.mm1 import MM1
from capacity.queues.markov.mmc import MMc
from capacity.queues.markov.mmck import MMcK
from capacity.queues.recovery import retrial
from capacity.queues.recovery.breakdowns import BreakdownMMc
from capacity.queues.recovery.copies import Hedged, Redundancy
from capacity.queues.recovery.drain import Drain
from capacity.queues.recovery.lifo import LastInFirstOut
from capacity.queues.recovery.mmcd import MMcD
from capacity.queues.recovery.pauses import PausedMG1
from capacity.queues.recovery.retrial import LongBackoff, Retrial

LAWS = settings(derandomize=True, deadline=None, max_examples=60)
RATES = st.floats(-2, 2).map(lambda power: 10.0**power)


def exponential(mean_s: float) -> Duration:
    return Duration(family=Family.EXPONENTIAL, mean_s=mean_s)


def law_of(chain: np.ndarray) -> np.ndarray:
    """Stationary law of a generator, by one linear system."""
    full = np.vstack([chain.T, np.ones(len(chain))])
    return np.linalg.lstsq(full, np.append(np.zeros(len(chain)), 1.0), rcond=None)[0]


def test_retrial_figures() -> None:
    one = Retrial(arrival_rate_rps=0.7, service_rate_rps=1.0, servers=1, retry_rate_per_s=0.5)
    assert one.orbit_mean == pytest.approx(4.9, rel=1e-12)
    four = Retrial(arrival_rate_rps=3.2, service_rate_rps=1.0, servers=4, retry_rate_per_s=1.0)
    assert f"{four.orbit_mean:.6f} {four.blocked_probability:.6f}" == "5.493026 0.512703"


@LAWS
@given(st.floats(0.05, 0.95), RATES)
def test_one_server_is_known_in_closed_form(load: float, retry: float) -> None:
    law = Retrial(arrival_rate_rps=load, service_rate_rps=1.0, servers=1, retry_rate_per_s=retry)
    assert law.orbit_mean == pytest.approx(load * (load + load * retry) / ((1 - load) * retry), rel=1e-9)
    assert law.blocked_probability == pytest.approx(load, rel=1e-9)


@pytest.mark.parametrize(("servers", "rate", "retry"), [(2, 1.2, 0.3), (3, 1.5, 2.0), (5, 3.0, 0.7)])
def test_retrials_by_one_linear_system(servers: int, rate: float, retry: float) -> None:
    orbits, width = 70, servers + 1
    chain = np.zeros((orbits * width, orbits * width))
    for orbit in range(orbits):
        for busy in range(width):
            here = orbit * width + busy
            if busy:
                chain[here, here - 1] = busy
            if busy < servers:
                chain[here, here + 1] = rate
                if orbit:
                    chain[here, here - width + 1] = orbit * retry
            elif orbit + 1 < orbits:
                chain[here, here + width] = rate
    np.fill_diagonal(chain, -chain.sum(axis=1))
    joint = law_of(chain).reshape(orbits, width)
    law = Retrial(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers, retry_rate_per_s=retry)
    assert law.orbit_mean == pytest.approx(joint.sum(axis=1) @ np.arange(orbits), rel=1e-6)
    assert law.blocked_probability == pytest.approx(joint[:, -1].sum(), rel=1e-6)


def test_at_once_tried_again_is_a_queue_and_much_later_a_long_backoff() -> None:
    soon = Retrial(arrival_rate_rps=2.5, service_rate_rps=1.0, servers=4, retry_rate_per_s=1e5)
    line = MMc(arrival_rate_rps=2.5, service_rate_rps=1.0, servers=4)
    assert soon.response_mean_s == pytest.approx(line.response_mean_s, rel=1e-4)
    late = Retrial(arrival_rate_rps=2.5, service_rate_rps=1.0, servers=4, retry_rate_per_s=0.003)
    long = LongBackoff(arrival_rate_rps=2.5, service_rate_rps=1.0, servers=4)
    assert late.attempts_mean == pytest.approx(long.attempts_mean, rel=5e-3)
    assert late.blocked_probability == pytest.approx(long.blocked_probability, rel=5e-3)


def test_long_backoff_figure() -> None:
    law = LongBackoff(arrival_rate_rps=2.8, service_rate_rps=1.0, servers=4, attempts=3)
    assert f"{law.tries_rps:.6f}" == "3.893222"
    assert law.loss_probability == pytest.approx(law.blocked_probability**3)


@LAWS
@given(st.floats(0.1, 0.95), st.integers(1, 40), st.none() | st.integers(1, 16))
def test_tries_bring_forth_themselves(load: float, servers: int, attempts: int | None) -> None:
    """No request is lost but after its last try: what is served and what is lost is what comes."""
    rate = load * servers
    law = LongBackoff(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers, attempts=attempts)
    blocked = erlang_b(law.tries_rps, servers)
    assert law.blocked_probability == pytest.approx(blocked)
    served = law.tries_rps * (1.0 - blocked)
    assert served == pytest.approx(rate * (1.0 - law.loss_probability), rel=1e-9)
    if attempts == 1:
        assert law.tries_rps == rate


def test_of_several_rates_of_tries_it_is_the_lowest() -> None:
    """A large fleet that is nearly full has two: that of its nature, and that of the storm that it may be held in."""
    law = LongBackoff(arrival_rate_rps=960.0, service_rate_rps=1.0, servers=1000, attempts=16)
    assert law.tries_rps < 1000.0

    def excess(tries: float) -> float:
        blocked = erlang_b(tries, 1000)
        return 960.0 * math.fsum(blocked**number for number in range(16)) - tries

    assert excess(1200.0) < 0.0 or excess(3000.0) < 0.0


def test_fixed_patience_figure() -> None:
    law = MMcD(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, patience_s=1.0)
    assert f"{law.abandon_probability:.6f}" == "0.180068"


@LAWS
@given(st.floats(0.1, 2.0), st.integers(1, 30), st.floats(0.01, 10.0))
def test_who_is_served_keeps_the_servers_busy(load: float, servers: int, patience: float) -> None:
    """The mean number of busy servers, by the states below c, is the rate of the served by their service."""
    law = MMcD(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers, patience_s=patience)
    weights = np.cumprod([law.empty_probability, *(load * servers / n for n in range(1, servers))])
    busy = float(weights @ np.arange(servers)) + servers * law.wait_probability
    assert law.served_share * load * servers == pytest.approx(busy, rel=1e-9)
    assert law.abandon_probability == pytest.approx(1.0 - law.served_share, abs=1e-12)
    assert weights.sum() + law.wait_probability == pytest.approx(1.0)
    waits, _ = quad(law.wait_tail, 0.0, patience, epsabs=1e-11, limit=200)
    responses = [law.response_tail(time_s) for time_s in (0.0, 0.5 * patience, 2.0 * patience)]
    assert responses == sorted(responses, reverse=True)
    assert responses[0] == pytest.approx(1.0)
    everyone = waits * law.served_share + patience * law.abandon_probability
    assert law.wait_mean_s == pytest.approx(everyone, rel=1e-6, abs=1e-9)
    assert law.response_mean_s == pytest.approx(1.0 + waits, rel=1e-6)


def test_fixed_patience_by_quadrature() -> None:
    """P(T > t) of served requests, by the density of the wait and the tail of the service."""
    law = MMcD(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, patience_s=1.0)
    excess, scale = 0.4, law.wait_tail(0.0) / math.expm1(0.4) * 0.4
    for time_s in (0.3, 1.0, 2.5):
        waited, _ = quad(
            lambda wait_s, until_s=time_s: scale * math.exp(excess * wait_s - max(0.0, until_s - wait_s)),
            0.0,
            1.0,
            points=[min(time_s, 1.0)],
        )
        at_once = (1.0 - law.wait_tail(0.0)) * math.exp(-time_s)
        assert law.response_tail(time_s) == pytest.approx(at_once + waited, rel=1e-9)
    assert law.response_tail(law.response_quantile_s(0.99)) == pytest.approx(0.01)
    assert law.wait_tail(law.wait_quantile_s(0.9)) == pytest.approx(0.1)
    assert law.wait_quantile_s(0.01) == 0.0


def test_without_patience_nobody_waits_and_with_much_nobody_leaves() -> None:
    hasty = MMcD(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, patience_s=1e-9)
    assert hasty.abandon_probability == pytest.approx(erlang_b(4.4, 4), rel=1e-6)
    lasting = MMcD(arrival_rate_rps=3.0, service_rate_rps=1.0, servers=4, patience_s=500.0)
    line = MMc(arrival_rate_rps=3.0, service_rate_rps=1.0, servers=4)
    assert lasting.response_quantile_s(0.99) == pytest.approx(line.response_quantile_s(0.99), rel=1e-9)
    assert lasting.wait_mean_s == pytest.approx(line.wait_mean_s, rel=1e-9)
    critical = MMcD(arrival_rate_rps=4.0, service_rate_rps=1.0, servers=4, patience_s=2.0)
    near = replace(critical, arrival_rate_rps=4.0 + 1e-7)
    assert near.abandon_probability == pytest.approx(critical.abandon_probability, rel=1e-6)


def test_newest_first_figure() -> None:
    law = LastInFirstOut(arrival_rate_rps=2.0, service_rate_rps=1.0, servers=1)
    assert f"{law.share_within(5.0):.6f}" == "0.467966"


@pytest.mark.parametrize(("rate", "servers"), [(2.0, 1), (0.8, 1), (1.0, 1), (5.0, 4), (3.0, 4)])
def test_newest_first_by_bessel_functions(rate: float, servers: int) -> None:
    """A busy period has the density sqrt(c mu/lambda) e^(-(lambda + c mu) t) I1(2 sqrt(lambda c mu) t) / t."""
    law = LastInFirstOut(arrival_rate_rps=rate, service_rate_rps=1.0, servers=servers)
    twice = 2.0 * math.sqrt(rate * servers)

    def density(time_s: float) -> float:
        damped = ive(1, twice * time_s) * math.exp((twice - rate - servers) * time_s)
        return math.sqrt(servers / rate) * damped / time_s

    for time_s in (0.1, 1.0, 5.0, 20.0):
        waited, _ = quad(
            lambda wait_s, until_s=time_s: density(wait_s) * -math.expm1(wait_s - until_s), 0.0, time_s
        )
        expected = law.wait_probability * waited - (1.0 - law.wait_probability) * math.expm1(-time_s)
        assert law.share_within(time_s) == pytest.approx(expected, rel=1e-8)


def test_newest_first_serves_all_below_capacity_and_a_share_above() -> None:
    calm = LastInFirstOut(arrival_rate_rps=3.0, service_rate_rps=1.0, servers=4)
    assert calm.wait_probability == pytest.approx(
        MMc(arrival_rate_rps=3.0, service_rate_rps=1.0, servers=4).wait_probability
    )
    assert calm.share_within(math.inf) == 1.0
    assert calm.share_within(3000.0) == pytest.approx(1.0, abs=1e-9)
    busy = LastInFirstOut(arrival_rate_rps=5.0, service_rate_rps=1.0, servers=4)
    assert busy.share_within(math.inf) == pytest.approx(0.8)
    assert busy.share_within(3000.0) == pytest.approx(0.8, abs=1e-9)
    assert busy.share_within(0.0) == busy.share_within(-1.0) == 0.0


def test_breakdown_figures() -> None:
    one = BreakdownMMc(
        arrival_rate_rps=0.6, service_rate_rps=1.0, servers=1, failure_rate_per_s=0.05, repair_rate_per_s=0.5
    )
    assert f"{one.in_system_mean:.6f}" == "2.262032"
    four = BreakdownMMc(
        arrival_rate_rps=2.8, service_rate_rps=1.0, servers=4, failure_rate_per_s=0.01, repair_rate_per_s=0.1
    )
    assert f"{four.in_system_mean:.6f}" == "6.188182"


@LAWS
@given(st.floats(0.05, 0.95), RATES, RATES, RATES)
def test_one_server_that_breaks_down(share: float, mu: float, xi: float, eta: float) -> None:
    rate = share * mu * eta / (xi + eta)
    law = BreakdownMMc(
        arrival_rate_rps=rate, service_rate_rps=mu, servers=1, failure_rate_per_s=xi, repair_rate_per_s=eta
    )
    both = xi + eta
    expected = rate * (both**2 + xi * mu) / (both * (mu * eta - rate * both))
    assert law.in_system_mean == pytest.approx(expected, rel=1e-8)
    assert law.load == pytest.approx(share)


@pytest.mark.parametrize(("servers", "load"), [(2, 0.5), (3, 0.7), (4, 0.6)])
def test_breakdowns_by_one_linear_system(servers: int, load: float) -> None:
    xi, eta, most, width = 0.2, 0.7, 90, servers + 1
    rate = load * servers * eta / (xi + eta)
    chain = np.zeros((most * width, most * width))
    for requests in range(most):
        for up in range(width):
            here = requests * width + up
            if requests + 1 < most:
                chain[here, here + width] = rate
            if requests:
                chain[here, here - width] = min(requests, up)
            if up:
                chain[here, here - 1] = up * xi
            if up < servers:
                chain[here, here + 1] = (servers - up) * eta
    np.fill_diagonal(chain, -chain.sum(axis=1))
    joint = law_of(chain).reshape(most, width).sum(axis=1)
    law = BreakdownMMc(
        arrival_rate_rps=rate,
        service_rate_rps=1.0,
        servers=servers,
        failure_rate_per_s=xi,
        repair_rate_per_s=eta,
    )
    assert law.in_system_mean == pytest.approx(joint @ np.arange(most), rel=1e-5)
    assert law.empty_probability == pytest.approx(joint[0], rel=1e-5)


def test_servers_that_hardly_ever_break_down_are_a_queue() -> None:
    law = BreakdownMMc(
        arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2, failure_rate_per_s=1e-9, repair_rate_per_s=1.0
    )
    line = MMc(arrival_rate_rps=9.0, service_rate_rps=5.0, servers=2)
    assert law.in_system_mean == pytest.approx(line.in_system_mean, rel=1e-6)
    assert law.response_mean_s == pytest.approx(line.response_mean_s, rel=1e-6)


def paused(idle: bool = True, **others: Any) -> PausedMG1:
    given = {"service": exponential(1.0), "pause": exponential(2.0), "pauses_per_s": 0.05} | others
    return PausedMG1(arrival_rate_rps=0.6, pauses_idle=idle, **given)


def test_pauses_at_any_time_are_breakdowns() -> None:
    law = BreakdownMMc(
        arrival_rate_rps=0.6, service_rate_rps=1.0, servers=1, failure_rate_per_s=0.05, repair_rate_per_s=0.5
    )
    assert paused().in_system_mean == pytest.approx(law.in_system_mean, rel=1e-12)


def test_pauses_while_working_are_a_service_of_two_phases() -> None:
    """Of the phases the first works and the second pauses; the chain of the wait and the service is exact."""
    law, unit = paused(idle=False), 1.0 + 0.05 * 2.0
    service = PhaseService(
        start=np.array([1.0, 0.0]),
        moves=unit * np.array([[0.0, 0.05], [0.5, 0.0]]),
        exits=unit * np.array([1.0, 0.0]),
    )
    poisson = MarkovArrivals(hidden=np.zeros((1, 1)), marked=np.array([[0.6 * unit]]))
    chain = solve(poisson, service, 1, 1.0 - 0.6 * unit)
    for time_s in (0.1, 1.0, 5.0, 18.0, 40.0):
        assert law.response_tail(time_s) == pytest.approx(chain.response_tail(time_s / unit), rel=1e-8)
    assert law.response_mean_s == pytest.approx((chain.wait_mean + 1.0) * unit, rel=1e-12)
    assert law.response_tail(law.response_quantile_s(0.99)) == pytest.approx(0.01, rel=1e-8)


@pytest.mark.long
@pytest.mark.parametrize(
    ("idle", "service", "pause"),
    [
        (True, exponential(1.0), Duration(family=Family.DETERMINISTIC, mean_s=2.0)),
        (False, Duration(family=Family.GAMMA, mean_s=1.0, scv=0.3), exponential(2.0)),
        (True, Duration(family=Family.ERLANG, mean_s=1.0, scv=0.5), Duration(family=Family.GAMMA, mean_s=2.0, scv=3.0)),
        (False, Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0), exponential(0.3)),
    ],
    ids=["constant pauses", "gamma", "erlang", "hyperexponential"],
)  # fmt: skip
def test_the_mean_is_the_area_under_the_tail(idle: bool, service: Duration, pause: Duration) -> None:
    law = paused(idle, service=service, pause=pause)
    area, _ = quad(law.response_tail, 0.0, 40.0 * law.response_mean_s, limit=300, epsabs=1e-8)
    assert law.response_mean_s == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("idle", [True, False])
def test_hardly_any_pauses_leave_the_queue_as_it_is(idle: bool) -> None:
    service = Duration(family=Family.GAMMA, mean_s=1.0, scv=0.3)
    law, line = paused(idle, service=service, pauses_per_s=1e-9), MG1(arrival_rate_rps=0.6, service=service)
    assert law.response_mean_s == pytest.approx(line.response_mean_s, rel=1e-7)
    assert law.response_quantile_s(0.99) == pytest.approx(line.response_quantile_s(0.99), rel=1e-6)


def test_a_node_at_the_arrival_rate_is_no_pole() -> None:
    law = paused()
    around = law._rest(np.array([0.6 + 0j, 0.6 + 1e-7j, 0.6 + 1e-3j, 0.62 + 0j]))
    assert np.abs(np.diff(around[:3])).max() < 1e-3
    limit = law._meets() * (0.6 / 0.05 + 0.6 * 2.0 / (1.0 + 1.2) ** 2)  # lambda times minus R*'(lambda)
    assert around[0] == pytest.approx(limit, rel=1e-11)


def test_tails_begin_at_one_and_end_at_nothing() -> None:
    law = paused()
    assert (law.response_tail(-1.0), law.response_tail(0.0), law.response_tail(math.inf)) == (1.0, 1.0, 0.0)
    assert law.response_tail(1e-9) == pytest.approx(1.0)
    assert law.response_tail(1e4) == pytest.approx(0.0, abs=1e-12)


def test_redundancy_figure() -> None:
    law = Redundancy(arrival_rate_rps=2.8, service_rate_rps=1.0, replicas=4, copies=2)
    assert f"{law.response_mean_s:.6f}" == "1.254529"


@LAWS
@given(st.floats(0.05, 0.95), st.integers(1, 30), st.data())
def test_redundancy_by_binomial_coefficients(load: float, replicas: int, data: st.DataObject) -> None:
    copies = data.draw(st.integers(1, replicas))
    law = Redundancy(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas, copies=copies)
    expected = math.fsum(
        1.0
        / (
            replicas * math.comb(replicas - 1, copies - 1) / math.comb(number - 1, copies - 1)
            - load * replicas
        )
        for number in range(copies, replicas + 1)
    )
    assert law.response_mean_s == pytest.approx(expected, rel=1e-12)


def test_one_copy_is_a_queue_each_and_copies_to_all_are_one_fast_server() -> None:
    one = Redundancy(arrival_rate_rps=2.4, service_rate_rps=1.0, replicas=4, copies=1)
    assert one.response_mean_s == pytest.approx(
        MM1(arrival_rate_rps=0.6, service_rate_rps=1.0).response_mean_s
    )
    every = Redundancy(arrival_rate_rps=2.4, service_rate_rps=1.0, replicas=4, copies=4)
    assert every.response_mean_s == pytest.approx(1.0 / (4.0 - 2.4))


@LAWS
@given(st.floats(0.0, 5.0))
def test_a_hedge_of_exponential_responses(delay_s: float) -> None:
    law = Hedged(response=exponential(1.0), delay_s=delay_s)
    late = math.exp(-delay_s)
    assert law.extra_load == pytest.approx(late)
    assert law.response_mean_s == pytest.approx(1.0 - late / 2.0)
    assert law.response_tail(delay_s + 1.0) == pytest.approx(late * math.exp(-2.0))
    assert law.response_tail(delay_s / 2.0) == pytest.approx(math.exp(-delay_s / 2.0))


def test_hedges_of_measured_responses() -> None:
    """Half of the responses take 1 s and half 3 s: after 1.5 s the slow half asks again."""
    law = Hedged(response=Empirical(law=from_samples([1.0, 3.0])), delay_s=1.5)
    assert law.extra_load == 0.5
    assert [law.response_tail(time_s) for time_s in (0.5, 2.0, 2.6, 3.0)] == [1.0, 0.5, 0.25, 0.0]
    assert law.response_mean_s == pytest.approx(0.5 * 1.0 + 0.25 * 2.5 + 0.25 * 3.0, rel=1e-3)


def test_a_drain_by_first_steps() -> None:
    """Mean and variance of the time from each backlog to none, of a chain cut far out, by linear systems."""
    rate, total, most = 3.0, 4.0, 1000
    chain = np.diag(np.full(most - 1, rate), 1) + np.diag(np.full(most - 1, total), -1)
    np.fill_diagonal(chain, -(rate + total))
    first = np.linalg.solve(chain, -np.ones(most))
    second = np.linalg.solve(chain, -2.0 * first)
    for backlog in (1, 7, 40):
        law = Drain(arrival_rate_rps=rate, service_rate_rps=1.0, servers=4, backlog=backlog)
        mean_s = first[backlog - 1]
        assert law.mean_s == pytest.approx(mean_s, rel=1e-9)
        assert law.standard_deviation_s**2 == pytest.approx(second[backlog - 1] - mean_s**2, rel=1e-6)


FASTER = 7.0
SCALED: dict[str, tuple[Callable[[float], Any], Callable[[Any], float]]] = {
    "retrial": (
        lambda k: Retrial(arrival_rate_rps=3 * k, service_rate_rps=k, servers=4, retry_rate_per_s=k / 2),
        lambda law: law.response_mean_s,
    ),
    "long backoff": (
        lambda k: LongBackoff(arrival_rate_rps=3 * k, service_rate_rps=k, servers=4, attempts=5),
        lambda law: 1.0 / law.tries_rps,
    ),
    "fixed patience": (
        lambda k: MMcD(arrival_rate_rps=5 * k, service_rate_rps=k, servers=4, patience_s=1 / k),
        lambda law: law.response_quantile_s(0.99),
    ),
    "breakdowns": (
        lambda k: BreakdownMMc(
            arrival_rate_rps=2 * k,
            service_rate_rps=k,
            servers=3,
            failure_rate_per_s=0.02 * k,
            repair_rate_per_s=0.3 * k,
        ),
        lambda law: law.response_mean_s,
    ),
    "pauses": (
        lambda k: PausedMG1(
            arrival_rate_rps=0.6 * k,
            service=exponential(1 / k),
            pause=exponential(2 / k),
            pauses_per_s=0.05 * k,
        ),
        lambda law: law.response_quantile_s(0.99),
    ),
    "redundancy": (
        lambda k: Redundancy(arrival_rate_rps=2.8 * k, service_rate_rps=k, replicas=4, copies=2),
        lambda law: law.response_mean_s,
    ),
    "hedge": (lambda k: Hedged(response=exponential(1 / k), delay_s=1 / k), lambda law: law.response_quantile_s(0.99)),
    "drain": (
        lambda k: Drain(arrival_rate_rps=3 * k, service_rate_rps=k, servers=4, backlog=9),
        lambda law: law.standard_deviation_s,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_times_shrink_as_all_rates_grow(name: str) -> None:
    make, time_s = SCALED[name]
    assert time_s(make(FASTER)) == pytest.approx(time_s(make(1.0)) / FASTER, rel=1e-8)


def test_newest_first_has_no_unit_of_time() -> None:
    slow = LastInFirstOut(arrival_rate_rps=2.0, service_rate_rps=1.0, servers=1)
    fast = LastInFirstOut(arrival_rate_rps=14.0, service_rate_rps=7.0, servers=1)
    assert fast.share_within(5.0 / 7.0) == pytest.approx(slow.share_within(5.0), rel=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retrial(arrival_rate_rps=4.0, service_rate_rps=1.0, servers=4, retry_rate_per_s=1.0),
        lambda: LongBackoff(arrival_rate_rps=4.0, service_rate_rps=1.0, servers=4),
        lambda: BreakdownMMc(
            arrival_rate_rps=3.0,
            service_rate_rps=1.0,
            servers=3,
            failure_rate_per_s=1e-3,
            repair_rate_per_s=1.0,
        ),
        lambda: paused(pauses_per_s=0.5),
        lambda: Redundancy(arrival_rate_rps=4.0, service_rate_rps=1.0, replicas=4, copies=2),
        lambda: Drain(arrival_rate_rps=4.0, service_rate_rps=1.0, servers=4, backlog=10),
    ],
    ids=["retrial", "long backoff", "breakdowns", "pauses", "redundancy", "drain"],
)
def test_a_queue_that_never_ends_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UnstableError, match="unstable queue"):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Retrial(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=2, retry_rate_per_s=0.0), "retry_rate_per_s"),
        (lambda: Retrial(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=201, retry_rate_per_s=1.0), "servers"),
        (lambda: LongBackoff(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=2, attempts=0), "attempts"),
        (lambda: MMcD(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=2, patience_s=0.0), "patience_s"),
        (lambda: MMcD(arrival_rate_rps=9.0, service_rate_rps=1.0, servers=2, patience_s=1e3), "x patience"),
        (lambda: LastInFirstOut(arrival_rate_rps=0.0, service_rate_rps=1.0, servers=2), "arrival_rate_rps"),
        (lambda: paused(pause=Duration(family=Family.LOGNORMAL, mean_s=1.0, scv=1.0)), "pause must not be lognormal"),
        (lambda: Redundancy(arrival_rate_rps=1.0, service_rate_rps=1.0, replicas=4, copies=5), "copies"),
        (lambda: Hedged(response=1.0, delay_s=1.0), "response must be"),  # type: ignore[arg-type]
        (lambda: Hedged(response=exponential(1.0), delay_s=-1.0), "delay_s"),
        (lambda: Drain(arrival_rate_rps=1.0, service_rate_rps=1.0, servers=4, backlog=0), "backlog"),
        (lambda: paused().response_quantile_s(1.0), "quantile"),
        (lambda: paused().response_tail(math.nan), "time_s"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DomainError, match=said):
        make()


def test_a_long_chain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrial, "_STATES_MAX", 5000)
    with pytest.raises(InconclusiveError, match="too short for this orbit"):
        Retrial(arrival_rate_rps=0.999, service_rate_rps=1.0, servers=1, retry_rate_per_s=1e-4)


def test_they_are_found_by_their_names() -> None:
    for law in (
        Retrial, LongBackoff, MMcD, LastInFirstOut, BreakdownMMc, PausedMG1, Redundancy, Hedged, Drain,
    ):  # fmt: skip
        assert getattr(queues, law.__name__) is law


def test_a_limited_queue_is_not_a_limited_wait() -> None:
    """As many places as are served within the patience lose about, but not exactly, as many."""
    patient = MMcD(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, patience_s=1.0)
    short = MMcK(arrival_rate_rps=4.4, service_rate_rps=1.0, servers=4, capacity=8)
    assert patient.abandon_probability == pytest.approx(short.loss_probability, rel=0.1)
    assert patient.abandon_probability != pytest.approx(short.loss_probability, rel=1e-3)
