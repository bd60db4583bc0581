"""Bulk rules: tails of every rule by a quadrature over arrival instants, and what no rule accepts.

The numbers come from the tagged request's integral on 20 Gauss-Legendre nodes between all kinks (theory, sec.
"Batches"; Chaudhry & Templeton 1983, ch. 3): position at arrival, window conditioned on its first arrival,
and the stationary law by dense elimination. They share no code with the sums that look back.
"""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from scipy.special import gammainc

from capacity.errors import CapacityError, DomainError, UnstableError
from capacity.question.plan import Routing
from capacity.queues.batch.bulk import Bulk
from capacity.queues.batch.by_size import BulkCTMC
from capacity.queues.batch.exponential import BulkMarkov
from capacity.queues.batch.gamma import BulkJitter
from capacity.queues.batch.which_law import BatchService, BulkQuestion
from capacity.queues.numerics.chains import at_least_between
from capacity.server.batch.batching import BatchTimer

TIMES_S = (1.0, 0.6, 1.5)  # a batch of 2 is faster than one request


def queue(rate_rps: float, **changes) -> Bulk:
    return Bulk(**{"arrival_rate_rps": rate_rps, "batch_times_s": TIMES_S, **changes})


OPEN = {"timer": BatchTimer.OPEN}
TAILS = [
    (queue(1.5, replicas=3), 1.2, 0.13919830866056662),
    (queue(1.5, replicas=3), 4.0, 3.323484087560627e-14),
    (queue(1.5, replicas=2, batch_size_min=2), 1.8, 0.23162518604226212),
    (queue(1.5, replicas=2, batch_size_min=2), 5.0, 0.005168466474930147),
    (queue(1.6, batch_wait_max_s=1.3), 2.0, 0.6325488451833773),
    (queue(1.6, batch_wait_max_s=1.3), 3.7, 0.1486307591261073),
    (queue(0.5, batch_wait_max_s=0.8), 1.3, 0.8333260125953835),
    (queue(0.5, batch_wait_max_s=0.8), 2.2, 0.023037301615193413),
    (queue(2.4, batch_wait_max_s=1.2, replicas=2), 1.9, 0.3724903030801061),
    (queue(2.4, batch_wait_max_s=1.2, replicas=2), 3.0, 0.006686369734201208),
    (queue(1.2, batch_wait_max_s=2.5, **OPEN), 2.4, 0.4859088538704872),
    (queue(1.2, batch_wait_max_s=2.5, **OPEN), 4.3, 0.03836853634149274),
    (queue(2.6, batch_wait_max_s=0.7, replicas=2, **OPEN), 1.5, 0.6623953116613532),
    (queue(2.6, batch_wait_max_s=0.7, replicas=2, **OPEN), 3.0, 0.035526208884361365),
]


@pytest.mark.parametrize(("law", "time_s", "tail"), TAILS)
def test_tails_by_quadrature(law, time_s, tail):
    assert law.response_tail(time_s) == pytest.approx(tail, rel=1e-12, abs=0.0)


@pytest.mark.long
@pytest.mark.parametrize(
    "law", [*dict.fromkeys(law for law, _, _ in TAILS), queue(1.4), queue(1.4, batch_size_min=3)]
)
@pytest.mark.parametrize("scale_s", [0.007, 1.0 / 3.0])
def test_no_tail_rises_where_an_age_is_a_number_of_whole_services(law, scale_s):
    # An age of m services belongs to one m: in floats, 3 * 0.1 is not 0.3.
    scaled = replace(
        law,
        arrival_rate_rps=law.arrival_rate_rps / scale_s,
        batch_times_s=tuple(scale_s * time_s for time_s in law.batch_times_s),
        batch_wait_max_s=scale_s * law.batch_wait_max_s,
    )
    full_s = scaled.batch_times_s[-1]
    times_s = sorted(
        math.nextafter(part * full_s * k, part * full_s * (k + step))
        for k in range(1, 13)
        for part in (1.0, 1.0 / 3.0, 0.4)
        for step in (-1, 0, 1)
    )
    for tail in (scaled.wait_tail, scaled.response_tail):
        values = [tail(time_s) for time_s in times_s]
        assert all(after <= before * (1.0 + 1e-11) + 1e-15 for before, after in pairwise(values))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_times_s": [1.0, 2.0]}, r"batch_times_s must be a tuple .* got \[1.0, 2.0\]"),
        ({"batch_times_s": (1.0, math.nan)}, "batch_times_s of a batch of 2 must be > 0 and finite, got nan"),
        ({"batch_times_s": (0.0,)}, "batch_times_s of a batch of 1 must be > 0 and finite, got 0.0"),
        ({"arrival_rate_rps": -1.0}, "arrival_rate_rps must be > 0 and finite, got -1.0"),
        ({"arrival_rate_rps": math.inf}, "arrival_rate_rps must be > 0 and finite, got inf"),
        ({"arrival_rate_rps": 1e-200, "batch_times_s": (1e-200,)}, "load must be > 0 and finite, got 0.0"),
        ({"batch_size_min": 2, "batch_wait_max_s": 1.0}, "got 2 and 1 s; give batch_size_min or"),
        ({"batch_wait_max_s": 1.500001}, "since the oldest request .* take the timer 'open'"),
        ({"batch_wait_max_s": math.nan}, "batch_wait_max_s must be >= 0 and finite, got nan"),
        ({"replicas": True}, "replicas must be an integer >= 1, got True"),
        ({"replicas": 10**9}, "3000000000 phases, more than 2048; simulate instead"),
        ({"replicas": 2, "routing": Routing.SHARED_QUEUE}, "routing shared-queue .* simulate instead"),
        ({"replicas": 2, "routing": Routing.LEAST_OUTSTANDING}, "only round-robin and random have"),
    ],
)
def test_refused_before_any_computation(changes, words, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr("capacity.queues.batch.chain.stationary", never)
    with pytest.raises(DomainError, match=words):
        queue(**{"rate_rps": 1.0, **changes})


def test_limits_that_are_still_allowed():
    assert queue(1.0, batch_wait_max_s=1.5).response_tail(0.5) == 1.0  # T = s_B
    lone = Bulk(
        arrival_rate_rps=0.5, batch_times_s=(1.0,), batch_wait_max_s=9.0
    )  # B = 1: nothing to wait for
    assert lone.wait_mean_s == pytest.approx(0.5, rel=1e-12)
    assert queue(1.0, routing=Routing.SHARED_QUEUE).load == 0.5  # one replica has one queue


def test_a_random_split_has_no_phases_to_limit():
    fleet = queue(1000.0, replicas=1000, routing=Routing.RANDOM)
    assert fleet.response_quantile_s(0.99) == queue(1.0).response_quantile_s(0.99)


def test_an_atom_of_the_timer_is_met_whatever_the_rounding():
    times_s, wait_s = (0.1, 0.2), 1.7
    atom_s = 0.1 + wait_s  # a lone request whose timer ran out
    for step in range(60):
        rate = 0.1 + 0.013 * step
        law = Bulk(
            arrival_rate_rps=rate, batch_times_s=times_s, batch_wait_max_s=wait_s, timer=BatchTimer.OPEN
        )
        at, before = law.response_tail(atom_s), law.response_tail(math.nextafter(atom_s, 0.0))
        assert before - at > 0.5 * law.empty_probability * math.exp(-rate * wait_s)


def test_an_arrival_between_two_late_times_keeps_its_digits():
    # N(t) >= 1 fails with e^-t, N(t) >= 2 with (1 + t) e^-t: from 1 - tails nothing would be left
    one, two = at_least_between([1, 2], 50.0, 60.0)
    assert one == pytest.approx(math.exp(-50.0) - math.exp(-60.0), rel=1e-12, abs=0.0)
    assert two == pytest.approx(51.0 * math.exp(-50.0) - 61.0 * math.exp(-60.0), rel=1e-12, abs=0.0)
    early = at_least_between([9], 0.1, 0.2)
    assert early[0] == pytest.approx(gammainc(9.0, 0.2) - gammainc(9.0, 0.1), rel=1e-12, abs=0.0)


@pytest.mark.parametrize("service", BatchService)
def test_a_question_without_batch_times_is_refused(service):
    with pytest.raises(DomainError, match="batch_times_s must be a tuple with one time at least"):
        BulkQuestion(arrival_rate_rps=1.0, batch_times_s=(), batch_service=service)


def test_the_law_of_each_kind_of_service():
    def law(times_s, service=BatchService.EXPONENTIAL, **changes):
        question = BulkQuestion(arrival_rate_rps=0.5, batch_times_s=times_s, batch_service=service, **changes)
        return question.law()

    shared = {"replicas": 2, "routing": Routing.SHARED_QUEUE}
    assert isinstance(law((1.0, 1.0), **shared), BulkMarkov)
    assert isinstance(law((1.0, 1.5), **shared), BulkCTMC)
    assert isinstance(law((1.0, 1.5)), BulkJitter)
    assert isinstance(law((1.0, 1.5), BatchService.DETERMINISTIC, service_cv=0.5), BulkJitter)
    with pytest.raises(DomainError, match="exponential service only; simulate"):
        law((1.0, 1.5), BatchService.DETERMINISTIC, service_cv=0.5, **shared)


def test_unstable_names_load_and_replicas():
    with pytest.raises(UnstableError, match="load 1.25 >= 1 .* use at least 2 replicas") as refusal:
        queue(2.5)
    assert refusal.value.servers_min == 2
    with pytest.raises(CapacityError, match="use at least 4 replicas"):
        queue(7.5, replicas=3)
