"""Streams: what load tests of language models have in common: their rate, their lengths, and how long they last."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.render.deploy.engines import Engines, read_engines
from capacity.traffic.any_lengths import are_sessions
from capacity.traffic.workload import DeterministicArrivals, GammaArrivals, PoissonArrivals

# Answers beyond the highest quantile with a limit, so that it has an interval; and the shortest load test. [s]
_BEYOND, _DURATION_MIN_S = 50, 300
_DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Lengths of prompts or of answers, as load generators take them. [tokens]"""

    mean: int
    deviation: int
    least: int
    most: int

    @classmethod
    def of(cls, counts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Self:
        """Mean, standard deviation and ends of some lengths."""
        return cls(
            mean=max(1, round(float(counts.mean()))),
            deviation=round(float(counts.std())),
            least=int(counts.min()),
            most=int(counts.max()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The load of a plan for a language model."""

    engines: Engines
    input: Tokens
    output: Tokens

    @property
    def duration_s(self) -> int:
        """Length of the load test, by the highest quantile that has a limit. [s]"""
        highest = max(self.engines.saved.question.objective.quantiles, default=0.99)
        return max(_DURATION_MIN_S, math.ceil(_BEYOND / (1.0 - highest) / self.engines.rate_rps))

    @property
    def pattern(self) -> tuple[str, float | None] | None:
        """Kind of the arrivals, and the shape of gamma gaps; None of arrivals that no generator draws."""
        arrivals = self.engines.saved.question.workload.arrivals
        if isinstance(arrivals, PoissonArrivals):
            return "poisson", None
        if isinstance(arrivals, DeterministicArrivals):
            return "constant", None
        return ("gamma", arrivals.cv**-2) if isinstance(arrivals, GammaArrivals) else None

    def notes(self, tool: str, has: tuple[str, ...]) -> Iterator[str]:
        """What a tool does differently from what was evaluated.

        Args:
            has: kinds of arrivals that it draws.
        """
        yield (
            f"{tool} draws the lengths of prompts and answers independently, by normal laws; the plan has those of its "
            "own, which P99 depends on. capacity verify --plan sends those."
        )
        kind = self.pattern
        if kind is None or kind[0] not in has:
            yield f"The plan was evaluated with other arrivals than {tool} has, which come at the same rate here."
        yield "Lay the result beside the plan: capacity audit RESULT --plan PLAN."


def streams_of(saved: SavedPlan, target: str) -> Streams:
    """The load of a saved plan.

    Raises:
        InputError: requests are turns of sessions, or of users without a rate.
    """
    lengths = saved.question.space.lengths
    if are_sessions(lengths):
        raise InputError(
            f"{saved.name} was planned for sessions, whose turns --target {target} does not describe; plan for "
            "--lengths"
        )
    given, got = lengths.draw(np.random.default_rng(0).random((_DRAWS, 2)))
    return Streams(engines=read_engines(saved), input=Tokens.of(given), output=Tokens.of(got))
