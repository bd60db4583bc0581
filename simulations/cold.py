"""Cold saturation: the rate at which an engine serves turns of sessions from a backlog that its cache cannot hold."""

import math
from dataclasses import replace
from functools import cache

import numpy as np

from capacity.performance import Interval
from capacity.profile.llm import LlmProfile
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.ring import even_replicas
from capacity.traffic.any_lengths import AnySessions, are_sessions
from capacity.traffic.sessions.turns import Turns
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws
from simulations.kernel.engines import serve_engines
from simulations.statistics.scatter import mean_of_runs

# Sessions in the backlog, as a multiple of those that the cache holds, and turns that each chain of sessions serves.
_TIMES_HELD, _TURNS_OF_EACH, _CHAINS_MIN = 4.0, 60, 32
_BEGINS, _ENDS = 0.3, 0.8  # shares of the run between which turns are counted
# Parts of the turns that are counted, by whose scatter their rate is known. Each chain serves a session or so in each;
# more parts would be alike, as a long session lasts for several, and their interval too narrow.
_PARTS = 5


def cold_saturation_rps(scenario: TokenScenario) -> float | None:
    """The rate of a fleet whose caches are empty while four times the sessions that they hold wait. [turns/s]

    None of requests that come by themselves. At lower rates a backlog shrinks whatever the caches have lost; at higher
    ones a fleet may be stable as long as its caches are warm, and never come back from cold ones.
    """
    found = _found(scenario)
    return None if found is None else even_replicas(scenario.plan) * found[0]


def cold_saturation(scenario: TokenScenario, confidence: float) -> Interval | None:
    """The rate of `cold_saturation_rps`, with its interval by consecutive parts of the run that finds it. [turns/s]

    Source:
        Schmeiser (1982), Batch size effects in the analysis of simulation output, Operations Research 30(3).
    """
    found = _found(scenario)
    if found is None:
        return None
    rate_rps, parts_s = found
    seen = mean_of_runs(parts_s, confidence)
    half = rate_rps * (seen.high - seen.value)  # of the time for a turn, as a share
    most = rate_rps / (1.0 - half) if half < 1.0 else math.inf
    return Interval(value=rate_rps, low=rate_rps / (1.0 + half), high=most).scaled(
        even_replicas(scenario.plan)
    )


def _found(scenario: TokenScenario) -> tuple[float, tuple[float, ...]] | None:
    """What `_of_one` finds of one engine; None of requests that come by themselves."""
    lengths, plan = scenario.lengths, scenario.plan
    if not are_sessions(lengths):
        return None
    one = replace(plan, replicas=1, routing=Routing.ROUND_ROBIN, queue_limit=None, router=None)
    return _of_one(scenario.profile, one, lengths)


@cache
def _of_one(profile: LlmProfile, plan: TokenPlan, lengths: AnySessions) -> tuple[float, tuple[float, ...]]:
    """The rate of one engine [turns/s], and its mean time for a turn in consecutive parts. [s]"""
    rules = EngineRules.of(profile, plan.sequences_max, plan.batched_tokens_max)
    turns = _chains(lengths, rules)
    count = len(turns.input_tokens)
    draws = TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        sessions=Conversations(turns, np.zeros(turns.sessions)),
    )
    records = serve_engines(profile.table, rules, 1, Routing.ROUND_ROBIN, draws)
    records.require_measured(profile.table, profile.name)
    ends_s = np.sort(records.finished_s)
    begins, ends = int(_BEGINS * count), int(_ENDS * count)
    edges = np.linspace(begins, ends, _PARTS + 1).astype(np.int64)
    parts_s = tuple((np.diff(ends_s[edges]) / np.diff(edges)).tolist())
    return (ends - begins) / float(ends_s[ends] - ends_s[begins]), parts_s


def _chains(lengths: AnySessions, rules: EngineRules) -> Turns:
    """Chains of sessions that follow each other without a pause, each of which is one session of a run.

    There are four times as many as the cache has room for, so that each turn finds at most what all share.
    """
    held = rules.blocks * rules.block_tokens / lengths.moments.input
    chains = max(_CHAINS_MIN, math.ceil(_TIMES_HELD * held))
    sessions = chains * math.ceil(_TURNS_OF_EACH / lengths.turns_mean)
    drawn = lengths.draw(sessions, lambda part: np.random.default_rng([sessions, part]), rules.block_tokens)
    each = sessions // chains
    return replace(
        drawn,
        first=drawn.first[::each],
        think_s=np.zeros_like(drawn.think_s),
        pace_s=np.zeros_like(drawn.pace_s),
        cut=np.zeros(chains, dtype=bool),
    )
