"""The rate from empty caches and a backlog, against saturated engines of requests that find nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capacity.profile.llm import Coefficients, KvCache
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.lengths import LengthRows, parse_lengths
from capacity.traffic.sessions.parse import AnySessions, parse_sessions
from capacity.traffic.sessions.reuse import Requests
from capacity.traffic.sessions.turns import Turns
from simulations import cold
from simulations.cold import cold_saturation, cold_saturation_rps
from simulations.draws.tokens import TokenRecords
from simulations.saturation import load_with_hits, saturated, token_load
from simulations.validation.token_systems import law_scenario

LINE = Coefficients(
    base_s=0.0125, per_prefill_token_s=6.3e-5, per_decode_request_s=1e-5, per_kv_token_s=3.8e-8
)
CHAT = "turns=constant:6;think=exponential:mean=9s;first=constant:2000;user=constant:200;output=constant:40"


def fleet(lengths: AnyLengths, kv_tokens: int, replicas: int = 1) -> TokenScenario:
    found = law_scenario(
        1.0, lengths.within(9_000), LINE, slots=32, budget=4_096, kv=KvCache(tokens=kv_tokens)
    )
    return replace(found, plan=replace(found.plan, replicas=replicas))


def turns_of(sessions: AnySessions) -> LengthRows:
    """Prompts and answers of turns, as requests that repeat nothing."""
    drawn = sessions.draw(2_000, lambda part: np.random.default_rng([7, part]), 16)
    return LengthRows(tuple(drawn.input_tokens.tolist()), tuple(drawn.output_tokens.tolist()))


def test_sessions_of_one_turn_that_share_nothing_are_served_as_by_any_saturated_engine() -> None:
    alone = parse_lengths("input=constant:900;output=geometric:mean=40")
    one_turn = parse_sessions("turns=constant:1;first=constant:900;output=geometric:mean=40")
    assert cold_saturation_rps(fleet(one_turn, 200_000)) == pytest.approx(
        saturated(fleet(alone, 200_000)).rate_rps, rel=0.02
    )


def test_turns_find_nothing_where_four_times_as_many_sessions_wait_as_caches_hold() -> None:
    chat = parse_sessions(CHAT)
    cold_rps = cold_saturation_rps(fleet(chat, 120_000))
    assert cold_rps == pytest.approx(saturated(fleet(turns_of(chat), 120_000)).rate_rps, rel=0.03)


def test_what_all_share_is_found_also_in_a_backlog() -> None:
    """The system's prompt is 1,600 of 2,000 tokens, and a turn computes that much less."""
    own, shared = (
        cold_saturation_rps(fleet(parse_sessions(f"turns=constant:1;{first};output=constant:1"), 120_000))
        for first in ("first=constant:2000", "system=1600;first=constant:400")
    )
    assert own is not None
    assert shared is not None
    assert shared / own == pytest.approx(2_000 / 400, rel=0.15)


def test_each_replica_serves_as_much_and_other_requests_have_no_such_rate() -> None:
    chat = parse_sessions(CHAT)
    assert cold_saturation_rps(fleet(chat, 120_000, replicas=3)) == pytest.approx(
        3.0 * (cold_saturation_rps(fleet(chat, 120_000)) or 0.0)
    )
    assert cold_saturation_rps(fleet(parse_lengths("input=constant:9;output=constant:9"), 9_000)) is None


def hits_in_a_backlog(scenario: TokenScenario) -> float:
    """Share of their prompts that turns find while the cold rate is measured."""
    seen: list[TokenRecords] = []
    serve = cold.serve_engines

    def watched(*given: Any) -> TokenRecords:
        seen.append(serve(*given))
        return seen[-1]

    cold._of_one.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cold, "serve_engines", watched)
        patch.setattr(
            cold, "_chains", lambda *given, chains=cold._chains: drawn.append(chains(*given)) or drawn[-1]
        )
        drawn: list[Turns] = []
        cold_saturation_rps(scenario)
    return float(seen[0].hit_tokens.sum() / drawn[0].input_tokens.sum())


@pytest.mark.parametrize("first", ["first=constant:2000", "system=1600;first=constant:400"])
def test_the_load_is_one_at_the_rate_that_a_fleet_serves_with_the_hits_that_it_has_then(first: str) -> None:
    """Of a backlog in which turns find nothing, or what all share; between these rates lie the usual ones."""
    chat = CHAT.replace("first=constant:2000", first)
    engines = fleet(parse_sessions(chat), 120_000, replicas=2)
    cold_rps = cold_saturation_rps(engines)
    assert cold_rps is not None
    share = hits_in_a_backlog(engines)
    assert share < 0.01 or 0.4 < share < 0.8
    assert load_with_hits(engines.at_rate(cold_rps), share) == pytest.approx(1.0, rel=0.06)


def test_the_load_of_sessions_that_find_all_is_that_of_a_cache_without_an_end() -> None:
    engines = fleet(parse_sessions(CHAT), 120_000, replicas=2).at_rate(3.0)
    turns = engines.lengths.draw(2_731, lambda part: np.random.default_rng([2_731, part]), 16)
    most = (
        Requests.of(turns, np.arange(len(turns.input_tokens)), 16).hits(1).sum()
        * 16
        / turns.input_tokens.sum()
    )
    assert load_with_hits(engines, float(most)) == pytest.approx(token_load(engines), rel=1e-9)
    assert load_with_hits(engines, 0.5 * float(most)) > 1.3 * token_load(engines)
    assert load_with_hits(engines.at_rate(6.0), 0.5) == pytest.approx(2.0 * load_with_hits(engines, 0.5))


def test_the_cold_rate_has_an_interval_by_the_parts_of_its_run() -> None:
    """Students' t of four degrees on the times of five parts; twice the engines serve twice as much."""
    chat = parse_sessions(CHAT.replace("turns=constant:6", "turns=geometric:mean=6"))
    one, two = (cold_saturation(fleet(chat, 120_000, replicas=count), 0.95) for count in (1, 2))
    assert one is not None
    assert two is not None
    assert (two.value, two.low, two.high) == (2.0 * one.value, 2.0 * one.low, 2.0 * one.high)
    assert one.value == cold_saturation_rps(fleet(chat, 120_000))
    rate_rps, parts_s = cold._found(fleet(chat, 120_000)) or (0.0, ())
    half = 2.776445 * np.std(parts_s, ddof=1) / np.sqrt(5.0)
    assert len(parts_s) == 5
    assert 1.0 / one.low - 1.0 / rate_rps == pytest.approx(half, rel=1e-5)
    assert 1.0 / rate_rps - 1.0 / one.high == pytest.approx(half, rel=1e-5)
    assert cold_saturation(fleet(parse_lengths("input=constant:9;output=constant:9"), 9_000), 0.95) is None


def test_the_interval_of_the_cold_rate_holds_the_mean_of_other_draws() -> None:
    """A law of binomial numbers: of twenty intervals of 95 %, fifteen or fewer hold it once in 400 times."""
    engines = fleet(parse_sessions(CHAT.replace("turns=constant:6", "turns=geometric:mean=6")), 60_000)
    draw, found = np.random.default_rng, []
    for number in range(20):
        cold._of_one.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cold.np.random, "default_rng", lambda seed, number=number: draw([*seed, number]))
            found.append(cold_saturation(engines, 0.95))
    cold._of_one.cache_clear()
    mean_rps = np.mean([one.value for one in found])
    assert sum(one.low <= mean_rps <= one.high for one in found) > 15
