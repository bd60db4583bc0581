"""Engines: those of language models, as a run of the recovery kernel has them."""

import numpy as np

from simulations.draws.attempts import AttemptDraws, EngineFleet, lengths_of
from simulations.draws.records import Integers
from simulations.draws.tokens import ALWAYS, TokenDraws
from simulations.draws.watching import Sight
from simulations.kernel.continuous import rows_for, world_of
from simulations.kernel.recovery.engine import Engines, advance
from simulations.kernel.recovery.state import ROOM, World


class EngineServers:
    """Engines of one fleet with their lines; a `run.Servers`."""

    moves = 1

    def __init__(self, fleet: EngineFleet, draws: AttemptDraws) -> None:
        tokens, rules = lengths_of(draws), fleet.rules
        most = min(rules.sequences_max, rules.blocks)  # who runs holds a block
        passes = world_of(fleet.table, rules, fleet.replicas, most, tokens.noise_seed, ALWAYS)
        self._state = Engines(passes=passes._replace(rows=rows_for(ROOM)), lengths=_lengths(tokens))

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
        self._state = self._state._replace(lengths=_lengths(lengths_of(draws)))

    def waiting(self, w: World) -> Integers:
        """Attempts in the line of each engine."""
        return np.asarray(w.replicas["outstanding"] - self._state.passes.engines["count"])

    def sight(self, w: World, now_s: float) -> Sight:
        """Engines as a watcher sees them: who runs is served, and a pass is work."""
        engines = self._state.passes.engines
        computes = (engines["ends_s"] < np.inf) | w.replicas["is_hung"]
        so_far_s = np.where(computes, now_s - engines["started_s"], 0.0)
        return Sight(now_s, self.waiting(w), engines["count"].copy(), engines["busy_s"] + so_far_s)


def _lengths(tokens: TokenDraws) -> Integers:
    """Prompt, output and cached tokens of each request, shape `(requests, 3)`."""
    columns = (tokens.input_tokens, tokens.output_tokens, tokens.cached_tokens)
    return np.column_stack(columns).astype(np.int64)
