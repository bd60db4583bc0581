"""Schedules of sessions: small runs in which prompts repeat what came before, and many things happen at one instant."""

from dataclasses import fields
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from versions import perhaps_with_drafts, version_rules

from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import Routing
from capacity.traffic.sessions.turns import Turns
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws, TokenRecords

REACH = (64, 4096, 4096)
STEP_S = 0.25
SERVERS = ("engine-0:8000", "engine-1:8000", "engine-2:8000", "engine-3:8000")  # whose addresses nginx hashes


class Schedule(NamedTuple):
    """All that a run of sessions needs."""

    table: StepTable
    rules: EngineRules
    replicas: int
    routing: Routing
    draws: TokenDraws
    queue_limit: int | None


def turns_of(generator: np.random.Generator, sessions: int, block: int) -> Turns:
    """Sessions of one to four turns, in up to three groups that share a prefix."""
    counts = generator.integers(1, 5, sessions)
    first = np.concatenate([[0], np.cumsum(counts)])
    total, groups = int(first[-1]), int(generator.integers(1, 4))
    prefix = int(generator.integers(0, 30))
    blocks = prefix // block
    given, got = np.zeros(total, dtype=np.int64), generator.integers(1, 12, total)
    for session in range(sessions):
        prompt = prefix + int(generator.integers(1, 20))
        for row in range(first[session], first[session + 1]):
            given[row] = prompt
            prompt += int(got[row]) + int(generator.integers(1, 10))
    session = np.repeat(np.arange(sessions), counts)
    return Turns(
        first=first,
        input_tokens=given,
        output_tokens=got,
        think_s=generator.choice([0.0, STEP_S, 2 * STEP_S, 0.37], total),
        pace_s=generator.choice([0.0, 0.0, 4 * STEP_S], total),
        contents=np.arange(groups * blocks),
        at=generator.integers(0, groups, sessions)[session] * blocks,
        listed=np.full(total, blocks),
        private=10_000 + 1_000 * session,
        cut=np.zeros(sessions, dtype=bool),
    )


@st.composite
def schedules(draw: st.DrawFn, routings: tuple[Routing, ...]) -> Schedule:
    """Steps on the grid of all other instants, or off it; small caches, so that blocks run short."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    block, chunked = draw(st.sampled_from([1, 4, 16])), draw(st.booleans())
    turns = turns_of(generator, draw(st.integers(1, 14)), block)
    longest = int((turns.input_tokens + turns.output_tokens).max())
    is_linear = draw(st.booleans())
    each_s = (0.01 * STEP_S, 0.05 * STEP_S, 1e-4 * STEP_S) if is_linear else (0.0, 0.0, 0.0)
    total = len(turns.input_tokens)
    return Schedule(
        table=linear_table(STEP_S, *each_s, REACH),
        rules=draw(
            perhaps_with_drafts(
                EngineRules(
                    sequences_max=draw(st.integers(1, 8)),
                    tokens_max=draw(st.integers(1, 40)) if chunked else longest + 5,
                    blocks=-(-longest // block) + draw(st.sampled_from([0, 2, 10, 60])) // block,
                    block_tokens=block,
                    chunked=chunked,
                    ahead=draw(st.booleans()),
                    caching=draw(st.integers(0, 3)) > 0,
                    reserve=draw(st.booleans()),
                    **draw(version_rules()),
                )
            )
        ),
        replicas=draw(st.integers(1, 3)),
        routing=draw(st.sampled_from(routings)),
        draws=TokenDraws(
            arrived_s=np.zeros(total),
            input_tokens=turns.input_tokens,
            output_tokens=turns.output_tokens,
            cached_tokens=np.zeros(total, dtype=np.int64),
            routing=generator.random(2 * total),
            noise_seed=2**61 + 1,
            sessions=Conversations(turns, np.sort(generator.choice(np.arange(20) * STEP_S, turns.sessions))),
        ),
        queue_limit=draw(st.sampled_from([None, None, 1, 2])),
    )


@st.composite
def schedules_of_sglang(draw: st.DrawFn, routings: tuple[Routing, ...]) -> Schedule:
    """As `schedules`, by SGLang's rules; the cache has just room for the longest request, or more."""
    schedule = draw(schedules(routings))
    old, draws = schedule.rules, schedule.draws
    block, longest = old.block_tokens, int((draws.input_tokens + draws.output_tokens).max())
    rules = EngineRules(
        sequences_max=old.sequences_max,
        tokens_max=block * draw(st.integers(1, 12)) if old.chunked else longest + 5,
        blocks=-(-(longest + block + 1) // block) + draw(st.sampled_from([0, 2, 10, 60])) // block,
        block_tokens=block,
        chunked=old.chunked,
        ahead=old.ahead,
        caching=old.caching,
        unfilled_first=True,
        mixed=draw(st.booleans()),
        scheduler=Scheduler.SGLANG,
    )
    return schedule._replace(rules=rules)


def differing(one: TokenRecords, other: TokenRecords) -> list[str]:
    """Names of the records that are not alike, bit for bit."""
    names = []
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if not np.array_equal(mine, theirs, equal_nan=np.asarray(mine).dtype.kind == "f"):
            names.append(field.name)
    return names
