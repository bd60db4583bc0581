"""Engines: those of language models, as a run of the recovery kernel has them."""

import numpy as np

from simulations.draws.attempts import AttemptDraws, EngineFleet, lengths_of
from simulations.draws.records import Integers
from simulations.draws.tokens import TokenDraws, TokenRecords
from simulations.draws.watching import Sight
from simulations.kernel.continuous import records_of, rows_for, world_of
from simulations.kernel.recovery.engine import ANSWER, Engines, advance
from simulations.kernel.recovery.state import NO_ONE, ROOM, World
from simulations.kernel.state import Structs


class EngineServers:
    """Engines of one fleet with their lines; a `run.Servers`."""

    moves = 1

    def __init__(self, fleet: EngineFleet, draws: AttemptDraws) -> None:
        tokens, rules = lengths_of(draws), fleet.rules
        most = min(rules.sequences_max, rules.blocks)  # who runs holds a block
        passes = world_of(fleet.table, rules, fleet.replicas, most, tokens.noise_seed, fleet.window_s)
        self._state = Engines(
            passes=passes._replace(rows=rows_for(ROOM)),
            lengths=_lengths(tokens),
            answers=_answers(len(draws.arrived_s)),
        )

    def advance(self, w: World, until_s: float) -> int:
        """Let things happen; see `loop.run_loop`."""
        return advance(w, self._state, until_s)

    def grow(self, attempts: int) -> None:
        """A request to an engine for each place of an attempt."""
        passes = self._state.passes
        if attempts == len(passes.rows):
            return
        more = rows_for(attempts - len(passes.rows))
        self._state = self._state._replace(passes=passes._replace(rows=np.concatenate([passes.rows, more])))

    def take(self, draws: AttemptDraws) -> None:
        """The lengths of all requests, where those so far were only of the first ones."""
        more = _answers(len(draws.arrived_s) - len(self._state.answers))
        self._state = self._state._replace(
            lengths=_lengths(lengths_of(draws)), answers=np.concatenate([self._state.answers, more])
        )

    def waiting(self, w: World) -> Integers:
        """Attempts in the line of each engine."""
        return np.asarray(w.replicas["outstanding"] - self._state.passes.engines["count"])

    def records(self, w: World) -> TokenRecords:
        """The records of the attempts that were answered, and of the time of all."""
        return records_of(self._state.passes, w.requests["arrived_s"].copy(), self._state.answers)

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


def _lengths(tokens: TokenDraws) -> Integers:
    """Prompt, output and cached tokens of each request, shape `(requests, 3)`."""
    columns = (tokens.input_tokens, tokens.output_tokens, tokens.cached_tokens)
    return np.column_stack(columns).astype(np.int64)
