"""Warm saturation: beside the saturation of engines that never forget, and where there is none."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.errors import UnstableError
from capacity.profile.llm import Coefficients, KvCache
from capacity.question.candidate import Reason
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.lengths import LengthLaw, LengthLaws
from capacity.traffic.sessions.parse import parse_sessions
from simulations import warm
from simulations.cases.engine import require_below_knee
from simulations.cold import cold_saturation_rps
from simulations.saturation import saturated
from simulations.servers import case_of
from simulations.validation.token_systems import law_scenario
from simulations.warm import load_while_warm, warm_saturation_rps

SESSIONS = parse_sessions(
    "turns=geometric:mean=4;think=exponential:mean=2s;system=160;first=constant:800;user=constant:160;"
    "output=constant:16"
).within(30_000)
LINE = Coefficients(base_s=0.05, per_prefill_token_s=5e-4, per_decode_request_s=0.0)


def scenario_of(kv_tokens: int, replicas: int = 1) -> TokenScenario:
    found = law_scenario(1.0, SESSIONS, LINE, slots=8, budget=2_048, kv=KvCache(tokens=kv_tokens))
    return replace(found, plan=replace(found.plan, replicas=replicas, routing=Routing.SESSION))


@pytest.mark.long
def test_caches_that_hold_everything_settle_up_to_where_engines_saturate() -> None:
    """The engine of `saturated` finds all that came before, as this one does; its last percents fluctuate too much."""
    scenario = scenario_of(1_000_000)
    found = warm_saturation_rps(scenario)
    assert found == pytest.approx(saturated(scenario).rate_rps, rel=0.06)


def test_caches_that_are_soon_full_settle_between_cold_saturation_and_that() -> None:
    scenario = scenario_of(40_000)
    cold, found = cold_saturation_rps(scenario), warm_saturation_rps(scenario)
    assert cold is not None
    assert found is not None
    assert 1.05 * cold < found < 0.9 * saturated(scenario).rate_rps
    assert warm_saturation_rps(scenario) == found
    for times, settles in ((0.9, True), (1.3, False)):
        runs = [warm._settles(scenario.at_rate(times * found), run) for run in range(3, 6)]
        assert all(runs) is settles


def test_a_session_more_that_is_live_is_told_from_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 100 of 200 sessions, one a second, go at once, and some of the others stay for ever."""
    scenario = scenario_of(40_000)

    def settles(staying: int) -> bool:
        turns: Any = type("Turns", (), {"first": np.arange(201)})()
        sessions: Any = type("Sessions", (), {"starts_s": np.arange(1.0, 201.0), "turns": turns})()
        ended_s = np.arange(1.0, 201.0) + 0.5
        ended_s[150 : 150 + staying] = np.inf
        monkeypatch.setattr(warm, "draw_tokens", lambda *_: type("Draws", (), {"sessions": sessions})())
        monkeypatch.setattr(warm, "serve", lambda *_: type("Records", (), {"finished_s": ended_s})())
        return warm._settles(scenario, 0)

    # One begins at the middle and one at the end; 1 % of 100 and four times the root of 1 are 5.
    assert settles(5)
    assert not settles(6)


def test_where_nothing_piles_up_or_too_much_would_be_simulated_there_is_none() -> None:
    scenario = scenario_of(40_000)
    single = LengthLaws(LengthLaw(kind="constant", mean=9), LengthLaw(kind="constant", mean=9))
    assert warm_saturation_rps(replace(scenario, lengths=single)) is None
    limited = replace(scenario, plan=replace(scenario.plan, queue_limit=5))
    assert warm_saturation_rps(limited) is None
    assert warm_saturation_rps(scenario_of(40_000, replicas=100)) is None


def test_a_fleet_whose_caches_cannot_stay_warm_has_no_numbers_and_is_in_no_plan() -> None:
    """Between cold and warm saturation it has, and is refused unless it may be bistable; above it has none at all."""
    scenario = scenario_of(40_000)
    cold_rps, warm_rps = cold_saturation_rps(scenario), warm_saturation_rps(scenario)
    assert cold_rps is not None
    assert warm_rps is not None
    below, between, above = (
        scenario.at_rate(rps) for rps in (0.99 * cold_rps, 0.99 * warm_rps, 1.05 * warm_rps)
    )
    assert [load_while_warm(one) for one in (below, between, above)] == pytest.approx([0.0, 0.99, 1.05])
    for one in (below, between):
        require_below_knee(one)
    with pytest.raises(UnstableError, match="sessions pile up") as caught:
        require_below_knee(above)
    assert caught.value.servers_min == math.ceil(1.05 * warm_rps / cold_rps)
    assert reason(below) is None
    assert reason(between) is Reason.BISTABLE
    assert reason(replace(between, bistable=True)) is None
    assert reason(replace(above, bistable=True)) is Reason.STABILITY


def reason(scenario: TokenScenario) -> Reason | None:
    refused = case_of(scenario).refused(0.95)
    return None if refused is None or refused.rejection is None else refused.rejection.reason
