"""Sessions course: how many sessions are live, what they find and how long they wait, second by second."""

import math
from dataclasses import replace

import numpy as np

from capacity.recovery.findings import SessionsCourse
from capacity.recovery.stress import Stress
from simulations.draws.attempts import AttemptDraws, Outcomes


def by_arrival(outcomes: Outcomes) -> Outcomes:
    """The outcomes of requests that have come, in the order of their arrival."""
    come = np.flatnonzero(~np.isnan(outcomes.arrived_s))
    come = come[np.argsort(outcomes.arrived_s[come], kind="stable")]
    return replace(
        outcomes,
        arrived_s=outcomes.arrived_s[come],
        answered_s=outcomes.answered_s[come],
        ended_s=outcomes.ended_s[come],
        attempts=outcomes.attempts[come],
    )


def sessions_course(stress: Stress, draws: AttemptDraws, outcomes: Outcomes) -> SessionsCourse:
    """The course of one run; a session ends with the turn after which none comes."""
    assert draws.sessions is not None  # noqa: S101  (whose course it is)
    assert draws.lengths is not None  # noqa: S101
    assert outcomes.tokens is not None  # noqa: S101  (which engines have)
    turns, seconds = draws.sessions.turns, math.floor(stress.until_s)
    edges = np.arange(seconds + 1.0)
    came = ~np.isnan(outcomes.arrived_s)
    last = turns.first[:-1] + np.add.reduceat(came, turns.first[:-1]) - 1
    begun, ended = (
        np.searchsorted(np.sort(instants_s), edges[1:], side="right")
        for instants_s in (draws.sessions.starts_s, outcomes.ended_s[last])
    )
    first_s, prompts = outcomes.tokens.first_s, draws.lengths.input_tokens
    known = ~np.isnan(first_s)
    weights = (prompts, outcomes.tokens.hit_tokens, np.ones(len(prompts)), first_s - outcomes.arrived_s)
    by_second = [np.histogram(first_s[known], edges, weights=one[known])[0] for one in weights]
    tokens, hits, firsts = ([round(one) for one in column.tolist()] for column in by_second[:3])
    return SessionsCourse(
        live=tuple((begun - ended).tolist()),
        prompt_tokens=tuple(tokens),
        hit_tokens=tuple(hits),
        firsts=tuple(firsts),
        waited_s=tuple(by_second[3].tolist()),
    )
