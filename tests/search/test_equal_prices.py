"""Fleets of one price: of two profiles of one model both are judged, and the one farther within its limits wins."""

from dataclasses import replace

import pytest
from test_fewer_sequences import PROFILE, Judge, asked

from capacity.answer.sentences import explain
from capacity.search.plan_decision import recommend

# Two devices compute a step, or four in half the time at twice the price and more.
TP2 = replace(PROFILE, name="tp2", devices=2, tensor_parallel=2, all_reduce=True, hourly_usd=1.0)
TP4 = replace(TP2.scaled(0.5), name="tp4", devices=4, tensor_parallel=4, hourly_usd=1.5)


@pytest.mark.parametrize("profiles", [(TP2, TP4), (TP4, TP2)])
def test_of_two_profiles_at_one_price_the_one_with_more_room_wins(profiles: tuple[object, ...]) -> None:
    """3 x TP2 and 1 x TP4 cost 6 USD/h. TPOT is at 81 % of its limit by TP2, and TP4 has a load of 61 %."""
    question = asked(44.0, profiles=profiles, sequences_max=(64,))
    found = recommend(question, Judge(), has_headroom=False)
    assert found.plan is not None
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("tp4", 1, 6.0)
    judged = {(one.plan.profile, one.plan.replicas) for one in found.considered if one.accepted}
    assert judged >= {("tp2", 3), ("tp4", 1)}
    (other,) = found.alternatives
    assert (other.plan.profile, other.plan.replicas, other.accepted) == ("tp2", 3, True)
    assert "Instead: tp2 takes 3, 6.000 USD/h too: TPOT P99 16.2 ms." in " ".join(explain(found, question))


def test_twice_the_devices_that_are_hardly_quicker_lose_at_the_same_price() -> None:
    """2 x TP4 cost 6 USD/h too; more run at each, and TPOT is at 89 % of its limit."""
    slow = replace(TP2.scaled(0.9), name="slow", devices=4, tensor_parallel=4, hourly_usd=0.75)
    found = recommend(asked(44.0, profiles=(slow, TP2), sequences_max=(64,)), Judge(), plan_alone=True)
    assert found.plan is not None
    assert (found.plan.profile, found.plan.replicas, found.hourly_usd) == ("tp2", 3, 6.0)
    assert ("slow", 2) in {(one.plan.profile, one.plan.replicas) for one in found.considered if one.accepted}
