"""Saturated engine: one that begins with requests in the midst of their service, while others always wait.

It goes by the compiled rules of `continuous`. Only its beginning differs, and it may be looked at in between.
"""

from dataclasses import dataclass, replace

import numpy as np

from capacity.profile.llm import Scheduler
from capacity.profile.steps import StepTable
from simulations.draws.records import Integers
from simulations.draws.tokens import ALWAYS, EngineRules, TokenDraws
from simulations.kernel.continuous import advance, tell
from simulations.kernel.engine_world import STEPS, rows_for, with_rows, world_of
from simulations.kernel.state import NO_REQUEST, Structs


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What an engine has done by the end of its last step, counted from its beginning or from another instant.

    Attributes:
        generated: output tokens that it has given.
        prompted: prompt tokens that it has computed, or found in the cache, of requests that still have them.
        running_s, block_s: integrals over time of running requests, and of blocks in use. [s]
    """

    now_s: float
    generated: int
    prompted: int
    steps: int
    preemptions: int
    running_s: float
    block_s: float

    def since(self, before: "Progress") -> "Progress":
        """What was done after an earlier instant."""
        return Progress(
            now_s=self.now_s - before.now_s,
            generated=self.generated - before.generated,
            prompted=self.prompted - before.prompted,
            steps=self.steps - before.steps,
            preemptions=self.preemptions - before.preemptions,
            running_s=self.running_s - before.running_s,
            block_s=self.block_s - before.block_s,
        )


class SaturatedEngine:
    """One engine at work, with a line of requests.

    Its steps take their mean: without arrivals to wait for, noise of mean 1 does not change what follows what.

    Args:
        seated: requests in the midst of their service, as many as the cache has room for, those admitted first first.
        generated: output tokens that each of these has: at least one, and fewer than it will get. Shape `(seated,)`.
    """

    def __init__(self, table: StepTable, rules: EngineRules, seated: TokenDraws, generated: Integers) -> None:
        self._rules, self._now_s, self._count = rules, 0.0, len(generated)
        # A request has a block, and a token of a step, or the last one that it waits for.
        sequences = min(rules.sequences_max, rules.blocks, 2 * rules.tokens_max)
        world = world_of(replace(table, noise=np.zeros(0)), rules, 1, sequences, 0, ALWAYS)
        self._world = with_rows(world, _rows_of(seated))
        self._seat(generated)

    def _seat(self, generated: Integers) -> None:
        """All tokens of who runs are computed, but the last that it was given."""
        rows, engine, slots = self._world.rows, self._world.engines[0], self._world.tags.shape[1]
        rows["generated"], rows["computed"] = generated, rows["input"] + generated - 1
        rows["held"] = -(-rows["computed"] // self._rules.block_tokens)
        if self._world.drafts:
            self._world.drafts.rows["drafted"] = 0
        engine["free"] -= int(rows["held"].sum())
        engine["loose"] = engine["free"]
        engine["count"] = engine["outstanding"] = self._count
        self._world.running[0, : self._count] = np.arange(self._count)
        if self._rules.scheduler is Scheduler.LLAMA_CPP:  # the highest slots are taken first
            rows["slot"], engine["first"] = np.arange(slots - self._count, slots), self._count % slots

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        engine = self._world.engines[0]
        return int(engine["outstanding"] - engine["count"])

    def line_up(self, draws: TokenDraws) -> None:
        """More requests come to the end of the line; instants of arrival are not looked at.

        Raises:
            DomainError: a request that these rules could never serve.
        """
        draws.require_served(self._rules)
        engine, first, more = self._world.engines[0], self._count, len(draws.arrived_s)
        rows = np.concatenate([self._world.rows, _rows_of(draws)])
        rows["behind"][first:-1] = np.arange(first + 1, first + more)
        if engine["head"] == NO_REQUEST:
            engine["head"], engine["knock"] = first, 1
        else:
            rows["behind"][engine["tail"]] = first
        if np.isinf(engine["ends_s"]):
            engine["since_s"] = self._now_s
        engine["tail"] = first + more - 1
        engine["outstanding"] += more
        self._world, self._count = with_rows(self._world, rows), first + more

    def advance(self, span_s: float) -> None:
        """Compute all steps that end within a time. [s]"""
        self._now_s += span_s
        advance(self._world, 0, self._now_s, False)  # noqa: FBT003  (compiled code takes positions)

    @property
    def progress(self) -> Progress:
        """What was done since the beginning, requests that began in the midst of their service included."""
        rows, engine = self._world.rows, self._world.engines[0]
        if engine["flows"]:
            tell(self._world, 0, False)  # noqa: FBT003  (compiled code takes positions)
        untold = max(0, int(engine["stretch"])) * int(engine["count"])  # of a run of passes
        given = np.where(rows["generated"] > 0, rows["input"], np.minimum(rows["computed"], rows["input"]))
        return Progress(
            now_s=float(engine["started_s"]),
            generated=int(rows["generated"].sum()) + untold,
            prompted=int(given.sum()),
            steps=int(self._world.totals[STEPS]),
            preemptions=int(rows["preemptions"].sum()),
            running_s=float(engine["running_s"]),
            block_s=float(engine["block_s"]),
        )

    @property
    def largest(self) -> tuple[float, float, float, float]:
        """Largest values seen, in the order that `TokenRecords` has."""
        most = self._world.largest.tolist()
        return most[0], most[1], most[2], most[3]


def _rows_of(draws: TokenDraws) -> Structs:
    """Requests that nothing has happened to."""
    rows = rows_for(len(draws.arrived_s))
    rows["input"], rows["output"], rows["assumed"] = (
        draws.input_tokens,
        draws.output_tokens,
        draws.cached_tokens,
    )
    return rows
