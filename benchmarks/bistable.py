"""Bistable: how often a fleet does not come back whose caches a restart has emptied, beside another model's counts.

    python benchmarks/bistable.py [--seeds 10] [--workers 2] [word ...]     # only the rows whose name holds a word

Four replicas serve an hour of conversations from empty caches. All are away from 20 min on for a while: what they
hold begins again, arrivals wait, and routers forget what the replicas held. A run is *not back* if the P99 of the time
to the first token is above 10 s over the tokens that come in its last 150 s. Each row of the table stands beside the
count that an independent simulator had, which is not published, with Fisher's exact test of the two counts; where that
said "overloaded" without a count, it is taken as all of ten. Nothing is fitted to them. Engines go by the rules of
`vllm-v1@0.19`, each step composed when the one before has ended.
"""

import argparse
import math
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.stats import fisher_exact

from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Abandoned, Protection
from capacity.traffic.clients import Clients
from capacity.traffic.sessions.laws import parse_laws
from simulations.draws.arrivals import Purpose, Seed, Stage
from simulations.draws.attempts import AttemptDraws, EngineFleet
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws
from simulations.draws.watching import Sight
from simulations.kernel.recovery.run import run

LAWS = parse_laws(
    "turns=geometric:mean=10; think=exponential:mean=4s; system=1024; first=constant:8150; user=constant:150; "
    "output=constant:100"
)
REPLICAS, SEQUENCES, STEP_TOKENS, BLOCK = 4, 1_024, 8_192, 16
KV_TOKENS = 310_000
REACH = (SEQUENCES, STEP_TOKENS, 200_000)
TABLE = linear_table(0.0125, 6.3e-5, 1e-5, 3.8e-8, REACH, per_prefill_kv_token_s=2.0e-9)
HOUR_S, AWAY_S, LAST_S, LATE_S = 3_600.0, 1_200.0, 150.0, 10.0


class Row(NamedTuple):
    """A fleet and its restart; `theirs` counts the runs of the reference that are not back, with their number."""

    routing: Routing
    sessions_per_s: float
    lasts_s: float | None
    theirs: tuple[int, int]
    kv_tokens: int = KV_TOKENS
    until_s: float = HOUR_S

    @property
    def name(self) -> str:
        """What the table calls it."""
        size = "" if self.kv_tokens == KV_TOKENS else f", KV {self.kv_tokens:,}"
        lasts = "none" if self.lasts_s is None else f"{self.lasts_s:g} s"
        return f"{self.routing.value} {self.sessions_per_s:g}{size}: {lasts}"


class Run(NamedTuple):
    """One run: P99 of the time to first token in its last 150 s, and hit shares before and at the end."""

    ttft_p99_s: float
    hits_before: float
    hits_after: float


def _rows() -> list[Row]:
    session = Routing.SESSION
    rows = [Row(session, 0.45, 120.0, (0, 5), until_s=2 * HOUR_S)]
    for rate, counts in (
        (0.7, {None: 0, 60.0: 1, 120.0: 10}),
        (0.8, {None: 0, 20.0: 0, 60.0: 6, 120.0: 10}),
        (0.9, {None: 0, 0.0: 1, 20.0: 1, 60.0: 7, 120.0: 10}),
        (1.0, {None: 3, 0.0: 4, 20.0: 6, 60.0: 10}),
    ):
        rows += [Row(session, rate, lasts_s, (count, 10)) for lasts_s, count in counts.items()]
    rows += [Row(session, 1.1, None, (3, 3)), Row(session, 0.9, 120.0, (0, 10), kv_tokens=620_000)]
    rows += [
        Row(Routing.PREFIX_LLM_D_SCORES, 0.9, lasts_s, (count, 10))
        for lasts_s, count in ((None, 0), (60.0, 1), (120.0, 10))
    ]
    rows += [
        Row(Routing.PREFIX_LLM_D, 0.9, lasts_s, (count, 10))
        for lasts_s, count in ((None, 0), (20.0, 10), (60.0, 10))
    ]
    rows += [
        Row(Routing.PREFIX_LLM_D, 0.8, 60.0, (9, 10)),
        Row(Routing.LEAST_OUTSTANDING, 1.0, None, (10, 10)),
    ]
    return [
        *rows,
        Row(Routing.ROUND_ROBIN, 0.5, None, (10, 10)),
        Row(Routing.ROUND_ROBIN, 0.4, None, (0, 10)),
    ]


class Until:
    """A watcher that ends the run at an instant."""

    def __init__(self, until_s: float) -> None:
        self.next_s = until_s

    def look(self, sight: Sight) -> None:
        """End it."""


def one_run(row: Row, number: int) -> Run:
    """The run of one seed; every row has the same users at the same rate."""
    seed = Seed(value=0, stage=Stage.STRESS, replication=number)
    draws = _draws(row, seed)
    fleet = EngineFleet(
        table=TABLE,
        rules=EngineRules(sequences_max=SEQUENCES, tokens_max=STEP_TOKENS, blocks=row.kv_tokens // BLOCK),
        replicas=REPLICAS,
        routing=row.routing,
    )
    faults = []
    if row.lasts_s is not None:
        for instant_s, action in ((AWAY_S, Action.AWAY), (AWAY_S + row.lasts_s, Action.JOIN)):
            faults += [Fault(instant_s=instant_s, replica=r, action=action) for r in range(REPLICAS)]
    protection = Protection(abandoned=Abandoned.STOPPED)
    outcomes = run(fleet, draws, Clients(), protection, faults, watcher=Until(row.until_s))
    records = outcomes.tokens
    assert records is not None
    assert draws.lengths is not None
    first_s, prompts = records.first_s, draws.lengths.input_tokens
    last = first_s > row.until_s - LAST_S
    before = (first_s > AWAY_S - 300.0) & (first_s <= AWAY_S)
    ttft_s = (first_s - records.arrived_s)[last]
    return Run(
        float(np.quantile(ttft_s, 0.99)) if len(ttft_s) else math.inf,
        float(records.hit_tokens[before].sum() / max(1, prompts[before].sum())),
        float(records.hit_tokens[last].sum() / max(1, prompts[last].sum())),
    )


def _draws(row: Row, seed: Seed) -> AttemptDraws:
    """Sessions that begin at random as long as the run lasts."""
    gaps_s = seed.generator(Purpose.ARRIVALS).exponential(size=round(2.0 * row.sessions_per_s * row.until_s))
    starts_s = np.cumsum(gaps_s / row.sessions_per_s)
    starts_s = starts_s[starts_s < row.until_s]
    turns = LAWS.draw(len(starts_s), partial(seed.generator, Purpose.SESSIONS), BLOCK)
    count = len(turns.input_tokens)
    lengths = TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
        noise_seed=int(seed.generator(Purpose.STEPS).integers(2**62)),
        sessions=Conversations(turns, starts_s),
    )
    return AttemptDraws(
        arrived_s=lengths.arrived_s,
        service=np.zeros((0, 0)),
        routing=seed.generator(Purpose.ROUTING, 0).random((1, count, 2)),
        backoff=np.zeros((0, 0)),
        lengths=lengths,
    )


def line(row: Row, runs: Sequence[Run]) -> str:
    """A row of the table."""
    fallen = sum(one.ttft_p99_s > LATE_S for one in runs)
    theirs, of = row.theirs
    p = fisher_exact([[fallen, len(runs) - fallen], [theirs, of - theirs]])[1]
    before, after = (
        np.mean(shares) for shares in ([r.hits_before for r in runs], [r.hits_after for r in runs])
    )
    median_s = np.median([one.ttft_p99_s for one in runs])
    return (
        f"| {row.name} | {fallen} of {len(runs)} | {theirs} of {of} | {_chance(p)} | {before:.1%} | {after:.1%} "
        f"| {median_s:.1f} s |"
    )


def _chance(p: float) -> str:
    """A probability as the table has it."""
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    asked, begun_s = parser.parse_args(), time.perf_counter()
    print(
        "| routing, sessions/s: restart | not back | theirs | p | hits before | hits at the end | TTFT P99 |"
    )
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(asked.workers) as workers:
        for row in _rows():
            if not asked.words or any(word in row.name for word in asked.words):
                print(line(row, list(workers.map(partial(one_run, row), range(asked.seeds)))), flush=True)
    took_s = time.perf_counter() - begun_s
    print(
        f"\npython benchmarks/bistable.py --seeds {asked.seeds}, {platform.machine()}, Python "
        f"{platform.python_version()}, {datetime.now(UTC).date()}, {took_s:.0f} s"
    )


if __name__ == "__main__":
    main()
