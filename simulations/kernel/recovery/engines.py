"""Engines: those of language models, as a run of the recovery kernel has them."""

from typing import Any

import numpy as np

from capacity.traffic.clients import Clients
from capacity.traffic.sessions.turns import Turns
from simulations.draws.attempts import AttemptDraws, EngineFleet, lengths_of
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import TokenDraws, TokenRecords
from simulations.draws.watching import Sight
from simulations.kernel.engine_world import assumed_hits, records_of, rows_for, with_rows, world_of
from simulations.kernel.recovery.engine import ANSWER, NEW_SESSION, Engines, advance
from simulations.kernel.recovery.state import NO_ONE, ROOM, World
from simulations.kernel.state import Structs
from simulations.routing.conversations.beliefs import beliefs_of
from simulations.routing.conversations.routers import fleet_seen


class EngineServers:
    """Engines of one fleet with their lines; a `run.Servers`."""

    moves = 1

    def __init__(self, fleet: EngineFleet, draws: AttemptDraws, clients: Clients) -> None:
        tokens, rules = lengths_of(draws), fleet.rules
        turns = None if tokens.sessions is None else tokens.sessions.turns
        self._rules, self._tokens = rules, tokens
        most = min(rules.sequences_max, rules.blocks)  # who runs holds a block
        longest = int((tokens.input_tokens + tokens.output_tokens).max(initial=1))
        passes = world_of(
            fleet.table, rules, fleet.replicas, most, tokens.noise_seed, fleet.window_s, turns, longest
        )
        if turns is not None and clients.attempts > 1:  # one at a turn may look for what another is computing
            passes = passes._replace(rules=passes.rules._replace(flows=0))
        self._state = Engines(
            passes=with_rows(passes, rows_for(ROOM))._replace(turns=_places(passes.turns, ROOM)),
            lengths=_lengths(tokens),
            answers=_answers(len(draws.arrived_s)),
            router=_router(fleet, tokens),
            given=passes.turns,
            think_s=_think_s(turns),
            pace_s=np.zeros(0) if turns is None else turns.pace_s,
        )

    def advance(self, w: World, until_s: float) -> int:
        """Let things happen; see `loop.run_loop`."""
        return advance(w, self._state, until_s)

    def grow(self, attempts: int) -> None:
        """A request to an engine for each place of an attempt."""
        passes = self._state.passes
        if attempts == len(passes.rows):
            return
        more = attempts - len(passes.rows)
        self._state = self._state._replace(
            passes=with_rows(passes, np.concatenate([passes.rows, rows_for(more)]))._replace(
                turns=np.concatenate([passes.turns, _places(passes.turns, more)])
            )
        )

    def take(self, draws: AttemptDraws) -> None:
        """The lengths of all requests, where those so far were only of the first ones."""
        more = _answers(len(draws.arrived_s) - len(self._state.answers))
        self._tokens = lengths_of(draws)
        self._state = self._state._replace(
            lengths=_lengths(self._tokens), answers=np.concatenate([self._state.answers, more])
        )

    def waiting(self, w: World) -> Integers:
        """Attempts in the line of each engine."""
        return np.asarray(w.replicas["outstanding"] - self._state.passes.engines["count"])

    def records(self, w: World) -> TokenRecords:
        """The records of the attempts that were answered, and of the time of all."""
        answers = self._state.answers.copy()
        answers["first_s"][np.isnan(answers["finished_s"])] = np.nan
        is_plain = self._tokens.sessions is None
        hit_tokens = assumed_hits(self._rules, self._tokens) if is_plain else answers["hits"]
        events = answers["events"] if self._rules.acceptance else self._tokens.output_tokens
        return records_of(self._state.passes, w.requests["arrived_s"].copy(), answers, hit_tokens, events)

    def sight(self, w: World, now_s: float) -> Sight:
        """Engines as a watcher sees them: who runs is served, and a pass is work."""
        engines = self._state.passes.engines
        computes = (engines["ends_s"] < np.inf) | w.replicas["is_hung"]
        so_far_s = np.where(computes, now_s - engines["started_s"], 0.0)
        return Sight(now_s, self.waiting(w), engines["count"].copy(), engines["worked_s"] + so_far_s)


def _answers(requests: int) -> Structs:
    """Requests without an answer."""
    answers = np.zeros(requests, dtype=ANSWER)
    answers["first_s"] = answers["finished_s"] = np.nan
    answers["replica"] = NO_ONE
    return answers


def _places(turns: Structs, attempts: int) -> Structs:
    """Places of attempts, which may be at turns if there are any."""
    return np.zeros(attempts if len(turns) else 0, dtype=turns.dtype)


def _router(fleet: EngineFleet, tokens: TokenDraws) -> Any:
    """What a router of conversations believes at first; empty where a policy picks."""
    if tokens.sessions is None or not fleet.routing.needs_sessions:
        return ()
    seen = fleet_seen(fleet.table, fleet.rules, fleet.replicas, tokens, fleet.router)
    return beliefs_of(fleet.routing, seen, tokens.sessions.turns)


def _think_s(turns: Turns | None) -> Floats:
    """Times before turns, and once more; empty without sessions. [s]"""
    if turns is None:
        return np.zeros(0)
    return np.append(np.where(turns.turn > 0, turns.think_s, NEW_SESSION), NEW_SESSION)


def _lengths(tokens: TokenDraws) -> Integers:
    """Prompt, output and cached tokens of each request, and whether a session begins; shape `(requests, 4)`."""
    begins = (
        np.zeros(len(tokens.input_tokens)) if tokens.sessions is None else tokens.sessions.turns.turn == 0
    )
    columns = (tokens.input_tokens, tokens.output_tokens, tokens.cached_tokens, begins)
    return np.column_stack(columns).astype(np.int64)
