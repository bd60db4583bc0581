"""Session systems: engines whose cache turns of sessions share, where theory knows what they find in it."""

from capacity.profile.llm import Coefficients, KvCache
from capacity.traffic.lengths import LengthLaw
from capacity.traffic.sessions.hit_laws import GroupRequests, unlimited_hit_share
from capacity.traffic.sessions.laws import Groups, SessionLaws, parse_laws
from simulations.statistics.intervals import Estimate
from simulations.statistics.pool import Pool
from simulations.statistics.sample import Sample
from simulations.statistics.sessions import SessionTotals
from simulations.statistics.tokens import TokenSample
from simulations.validation.systems import Quantity
from simulations.validation.token_systems import TokenSystem, law_scenario

# Passes so short that requests are served one at a time.
_BRIEF = Coefficients(base_s=1e-6, per_prefill_token_s=0.0, per_decode_request_s=0.0)
_GROUP_BLOCKS, _GROUP_BLOCK_TOKENS = 375, 16
_TURN_BLOCK_TOKENS, _TURN_ROOM = 50, 500_000


def _totals(sample: Sample) -> SessionTotals:
    assert isinstance(sample, TokenSample)  # noqa: S101
    assert sample.sessions is not None  # noqa: S101
    return sample.sessions


def _hits(sample: Sample) -> float:
    return float(_totals(sample).hit_tokens.sum())


def _prompts(sample: Sample) -> float:
    return float(_totals(sample).prompt_tokens.sum())


def hit_share(pool: Pool) -> Estimate:
    """Tokens found over tokens of prompts."""
    return pool.ratio(_hits, _prompts)


def _live_s(sample: Sample) -> float:
    return _totals(sample).live_s


def _live(pool: Pool) -> Estimate:
    return pool.ratio(_live_s, lambda sample: sample.window_s)


def groups_alone(exponent: float, groups: int, room: float) -> TokenSystem:
    """Requests of one turn, of groups by Zipf's law; there is room for this many groups.

    A request has a token of its own, whose block is not full and takes a place.
    """
    prefix = _GROUP_BLOCKS * _GROUP_BLOCK_TOKENS
    blocks, once = round(room * _GROUP_BLOCKS), LengthLaw(kind="constant", mean=1)
    popular = Groups(count=groups, exponent=exponent, prefix_tokens=prefix)
    law = GroupRequests(
        shares=tuple(popular.shares.tolist()), blocks=_GROUP_BLOCKS, own_blocks=1, room=blocks
    )
    found, approximate = law.lru_hit_share, law.che_hit_share
    part = prefix / (prefix + 1)
    return TokenSystem(
        name=f"{groups} groups, {f'Zipf {exponent:g}' if exponent else 'equal'}, room for {room:g}",
        scenario=law_scenario(
            1.0,
            SessionLaws(turns=once, first=once, output=once, groups=popular),
            _BRIEF,
            kv=KvCache(tokens=blocks * _GROUP_BLOCK_TOKENS, block_tokens=_GROUP_BLOCK_TOKENS),
        ),
        relaxation_requests=law.characteristic_requests,
        cool_down_requests=10,
        compared={
            "hit_share": Quantity(part * found, 0.0, hit_share),
            "hit_share_che": Quantity(part * approximate, abs(approximate / found - 1.0), hit_share),
        },
    )


def growing_sessions(turns: float, output: int) -> TokenSystem:
    """Sessions with a geometric number of turns at a cache that forgets nothing.

    They begin with 1,200 shared tokens and 400 of their own, and grow by 600 with each turn.
    """
    sessions = parse_laws(
        f"turns=geometric:mean={turns:g};think=constant:1s;system=1200;first=constant:400;"
        f"user=constant:{600 - output};output=constant:{output}"
    )
    lasts_s = turns - 1.0 + turns * output * _BRIEF.base_s  # thinking, and a pass for each token
    kv = KvCache(tokens=_TURN_ROOM * _TURN_BLOCK_TOKENS, block_tokens=_TURN_BLOCK_TOKENS)
    return TokenSystem(
        name=f"sessions of {turns:g} turns with answers of {output}",
        scenario=law_scenario(1.0, sessions, _BRIEF, kv=kv),
        relaxation_requests=10.0 * turns,
        cool_down_requests=10,
        compared={
            "hit_share": Quantity(unlimited_hit_share(sessions, _TURN_BLOCK_TOKENS), 0.0, hit_share),
            "sessions_live_mean": Quantity(lasts_s / turns, 0.0, _live),
        },
    )
