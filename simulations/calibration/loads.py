"""Loads as a load generator sends them, served by one simulated engine from rest."""

from dataclasses import dataclass

import numpy as np

from capacity.profile.llm_loads import SeenLoad, measured_by
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import EngineRules, Loop, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines

_SETTLED_S = 1e-9  # change of an instant at which requests held back have found their places
_ROUNDS = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """What clients see of a load. Shape `(requests,)` each. [s]

    Attributes:
        largest: as of `TokenRecords`.
    """

    ttft_s: Floats
    response_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    largest: tuple[float, float, float, float]

    def figure(self, name: str, counted: slice = slice(None)) -> float:
        """A figure by its name, as `e2e_p90`, `ttft_mean` and `ttft_short`. [s]"""
        known = measured_by(
            self.ttft_s[counted],
            self.response_s[counted],
            self.input_tokens[counted],
            self.output_tokens[counted],
        )
        if name in known:
            return float(np.median(known[name]))
        measure, _, which = name.partition("_")
        values = known[measure]
        return float(values.mean() if which == "mean" else np.quantile(values, float(which[1:]) / 100.0))


def served(
    table: StepTable,
    rules: EngineRules,
    load: SeenLoad,
    request_s: float = 0.0,
    seed: int = 0,
    cached_share: float = 0.0,
) -> Served:
    """Serve a load by one engine at rest; requests that the generator held back are sent when another is answered.

    Args:
        request_s: time of each request outside the engine. [s]
        seed: decides when requests are sent whose instants are not known.
    """
    given, got = (_column(one, load.requests) for one in (load.input_tokens, load.output_tokens))
    cached = np.floor(cached_share * given).astype(np.int64)

    def serve(sent_s: Floats, loop: Loop | None = None) -> TokenRecords:
        draws = TokenDraws(
            arrived_s=sent_s, input_tokens=given, output_tokens=got, cached_tokens=cached,
            routing=np.zeros(2 * len(given)), noise_seed=seed, loop=loop,
        )  # fmt: skip
        return serve_engines(table, rules, 1, Routing.ROUND_ROBIN, draws)

    if load.users is not None:
        records = serve(
            np.zeros(len(given)),
            Loop(users=load.users, think_s=np.full(len(given), request_s + load.think_s), spread_s=0.0),
        )
        sent_s = records.arrived_s
    else:
        due_s = sent_s = _sent_s(load, seed)
        records = serve(sent_s)
        for _ in range(_ROUNDS):
            held_s = _held_s(load, due_s, records.finished_s + request_s)
            if np.abs(held_s - sent_s).max() < _SETTLED_S:
                break
            sent_s = held_s
            records = serve(sent_s)
    return Served(
        ttft_s=records.first_s - sent_s + request_s,
        response_s=records.finished_s - sent_s + request_s,
        input_tokens=given,
        output_tokens=got,
        largest=records.largest,
    )


def _column(lengths: tuple[int, ...], count: int) -> Integers:
    """A length for each request, over and over if there are fewer."""
    return np.resize(np.array(lengths, dtype=np.int64), count)


def _sent_s(load: SeenLoad, seed: int) -> Floats:
    """Instants of sending: as recorded, at equal gaps, or at random over as long as it took to send them. [s]"""
    if load.sent_s:
        return np.array(load.sent_s)
    span_s = load.requests / (load.rate_rps or np.inf)
    if load.is_even:
        return np.linspace(0.0, span_s, load.requests, endpoint=False)
    return np.sort(np.random.default_rng(seed).random(load.requests)) * span_s


def _held_s(load: SeenLoad, due_s: Floats, finished_s: Floats) -> Floats:
    """Instants of sending if no more may be in flight than the generator allows, by when requests were answered."""
    most = load.in_flight_max
    if most is None or len(due_s) <= most or load.sent_s:
        return due_s
    gone_s = np.sort(finished_s)[: len(due_s) - most]
    held_s = np.concatenate([due_s[:most], np.maximum(due_s[most:], gone_s)])
    return np.maximum.accumulate(held_s)
