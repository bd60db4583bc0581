"""The arithmetic of the benchmarks of sessions, without the measurements that they read."""

import random

import brute_sessions as brute
import numpy as np
import pytest
import session_ladder as ladder

from capacity.question.plan import Routing

STAGES = (ladder.Stage(15.0, 750), ladder.Stage(40.0, 800))
MEASURED = {
    (arm, 40.0): ladder.Measured(tokens_per_s=10_000.0, ttft_p90_s=0.1)
    for arm in (ladder.SERVICE, ladder.SCORERS)
}


def test_prompts_of_the_ladder_share_what_its_benchmark_says() -> None:
    """6,000 tokens in a group of five, 7,200 when a prompt comes again after 750 others, and nothing otherwise."""
    draws = ladder.Ladder(stages=STAGES, measured=MEASURED).draws(3)
    assert draws.sessions is not None
    turns = draws.sessions.turns
    listed = [tuple(turns.contents[at : at + 450].tolist()) for at in turns.at]
    assert listed[:50] == listed[750:800]
    assert len(set(listed[:750])) == 750
    groups = [one[:375] for one in listed[:750]]
    assert len(set(groups)) == 150
    assert {groups.count(group) for group in set(groups)} == {5}
    assert len({number for one in listed for number in one}) == 150 * 375 + 750 * 75
    assert turns.private.min() > max(max(one) for one in listed)


def test_stages_of_the_ladder_are_poisson_and_one_after_the_other() -> None:
    arrived_s = ladder.arrivals_s(ladder.Stage(40.0, 40_000), np.random.default_rng(1))
    assert (np.diff(arrived_s) >= 0.0).all()
    assert arrived_s[-1] == pytest.approx(1_000.0, rel=0.02)
    counts = np.bincount(arrived_s[:-200].astype(int))[:-1]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_answers_of_the_ladder_are_of_its_stages() -> None:
    of_two = ladder.Ladder(stages=STAGES, measured=MEASURED)
    (found,), _ = ladder.played(of_two, Routing.PREFIX_LLM_D_SCORES, 0, ladder.published_steps())
    assert 800 * ladder.OUTPUT / 60.0 < found.tokens_per_s < 40.0 * ladder.OUTPUT
    assert found.hit_share > 0.8
    assert found.replicas_a_group < 2.0
    assert 1.0 / ladder.REPLICAS <= found.busiest_share < 0.2
    errors = of_two.errors(ladder.SCORERS, [found])
    assert errors.tolist() == [found.tokens_per_s / 10_000.0 - 1.0]


@pytest.mark.long
def test_a_fleet_is_served_alike_by_the_second_simulator() -> None:
    dice = random.Random(3)
    for number, routing in enumerate(("random", "least-outstanding", "session")):
        fleet = brute.random_fleet(dice, routing)
        theirs = [brute.Brute(fleet, 100 * number + run).run() for run in range(8)]
        ours = [brute.product_run(fleet, number, run) for run in range(8)]
        for which in range(2):
            off = brute.deviation([one[which] for one in ours], [one[which] for one in theirs])
            assert abs(off) < brute.DEVIATION_MAX_SE, (routing, which)
