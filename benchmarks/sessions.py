"""Sessions: holds caches, routers and their laws against exact counts, theory and a published benchmark.

    python benchmarks/sessions.py FOLDER [--only exact groups turns ladder others size calibrated conserved nothing]

FOLDER holds `mooncake_conversation.jsonl.gz` (kvcache-ai/Mooncake at 3b5a594, FAST25-release/traces, packed),
`llmd_shared_prefix_ladder.csv` (llm-d/llm-d-benchmark at 8bc9f1d) and `llmd_qwen3_32b_h100_first.csv` (llm-d/llm-d at
021723b8). Engines go by the rules of `vllm-v1@0.19`, each step composed when the one before has ended. Exits with
1 where a bar is missed.

Coefficients of the ladder are from figures that were published elsewhere; none is fitted to it, but in the section
`calibrated`, which says so.
"""

import argparse
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from language_models import ask, machine, table
from scipy.stats import ks_2samp
from session_ladder import (
    BASE_S,
    BLOCK_TOKENS,
    DECODE_S,
    PREFILL_S,
    READ_S,
    ROUTINGS,
    calibrated,
    draws_of,
    ladder,
    others,
    per_cent,
    size,
)

from capacity.confidence import student_t
from capacity.profile.llm import Coefficients, KvCache
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.lengths import LengthLaw
from capacity.traffic.sessions.hit_laws import GroupRequests
from capacity.traffic.sessions.laws import EXAMPLE, Groups, SessionLaws, parse_laws
from capacity.traffic.sessions.parse import read_sessions
from simulations.draws.arrivals import Seed
from simulations.draws.tokens import EngineRules
from simulations.engine_replication import draw_tokens, serve
from simulations.kernel.engines import serve_engines
from simulations.replication import Engine
from simulations.statistics.sessions import session_totals
from simulations.validation.agreement import Agreement, compare
from simulations.validation.session_systems import groups_alone, growing_sessions
from simulations.validation.token_systems import law_scenario

Floats = npt.NDArray[np.float64]

PLAIN = (Routing.ROUND_ROBIN, Routing.RANDOM, Routing.LEAST_OUTSTANDING, Routing.POWER_OF_TWO)


# Exact counts: a recorded trace, one request at a time.

COUNTS = (  # usable KV tokens of a replica, replicas in turn, tokens found
    (200_000_000, 1, 54_097_440),
    (200_000_000, 4, 28_317_680),
    (200_000_000, 8, 20_124_768),
    (1_000_000, 1, 7_842_736),
    (5_120_000, 1, 30_909_696),
    (15_360_000, 1, 47_981_456),
    (5_120_000, 4, 23_389_392),
)
APART_S = 1000.0


def exact(folder: Path) -> bool:
    """What finite caches find of Mooncake's conversation trace, to the token."""
    turns, _ = read_sessions(folder / "mooncake_conversation.jsonl.gz").as_recorded(BLOCK_TOKENS)
    draws = draws_of(turns, APART_S * np.arange(turns.sessions), np.random.default_rng(0))
    steps, prompts = (
        linear_table(1e-3, 1e-6, 1e-5, 0.0, (1_024, 8_192, 200_000)),
        int(turns.input_tokens.sum()),
    )
    body, all_kept = [], True
    for tokens, replicas, expected in COUNTS:
        rules = EngineRules(
            sequences_max=1_024, tokens_max=8_192, blocks=tokens // BLOCK_TOKENS, block_tokens=BLOCK_TOKENS
        )
        begun_s = time.process_time()
        found = int(serve_engines(steps, rules, replicas, Routing.ROUND_ROBIN, draws).hit_tokens.sum())
        cpu_s = time.process_time() - begun_s
        all_kept &= found == expected
        cells = (f"{tokens:,}", f"{replicas}", f"{expected:,}", f"{found:,}", f"{found - expected:,}")
        body.append((*cells, f"{found / prompts:.4f}", f"{cpu_s:.1f}"))
    print(f"{turns.sessions:,} requests, {prompts:,} prompt tokens\n")
    table(("KV tokens of a replica", "replicas", "expected", "found", "difference", "share", "CPU s"), body)
    return ask("exact", "every count is the expected integer", kept=all_kept)


# Laws, by simulation with an interval.

POPULAR = (
    (1.0, 37.5, 0.6508, 0.6478),
    (0.0, 75.0, 0.5, 0.4999),
)  # exponent, room, Che, a simulation elsewhere
GROUPS = 150


def groups(folder: Path) -> bool:
    """Che's approximation, the exact law and the simulator."""
    body, all_kept = [], True
    for exponent, room, che, elsewhere in POPULAR:
        shares = tuple(Groups(count=GROUPS, exponent=exponent, prefix_tokens=1).shares.tolist())
        plain = GroupRequests(shares=shares, blocks=1, own_blocks=0, room=room)
        row = next(
            one
            for one in compare(groups_alone(exponent, GROUPS, room), 0, 20_000_000)
            if one.quantity == "hit_share"
        )
        off = row.simulation.value - row.theory
        all_kept &= row.verdict is Agreement.AGREES and abs(plain.che_hit_share - che) < 5e-5
        kind = f"Zipf {exponent:g}" if exponent else "equal"
        laws = (f"{plain.che_hit_share:.4f}", f"{plain.lru_hit_share:.4f}", f"{row.theory:.4f}")
        simulated = f"{row.simulation.value:.4f} ± {row.half_width:.4f}"
        body.append(
            (f"{kind}, room for {room:g}", f"{che:.4f}", f"{elsewhere:.4f}", *laws, simulated, f"{off:+.4f}")
        )
    head = (
        "groups",
        "Che, reference",
        "LRU elsewhere",
        "Che",
        "exact",
        "exact, a block of its own",
        "simulated",
        "off",
    )
    table(head, body)
    return ask(
        "groups",
        "Che to four digits, and the simulator within four standard errors of the law",
        kept=all_kept,
    )


def turns(folder: Path) -> bool:
    """Sessions that grow evenly, at a cache that forgets nothing."""
    body, all_kept = [], True
    for output in (1, 60):
        for row in compare(growing_sessions(5, output), 0, 20_000_000):
            all_kept &= row.verdict is Agreement.AGREES
            simulated = f"{row.simulation.value:.4f} ± {row.half_width:.4f}"
            body.append(
                (f"{output}", row.quantity, f"{row.theory:.4f}", simulated, f"{row.deviation_se:+.1f} SE")
            )
    table(("answer, tokens", "quantity", "law", "simulated", "off"), body)
    return ask(
        "turns", "0.8600 by the law, and the simulator within four standard errors of it", kept=all_kept
    )


# What holds in every run.

BUSY_RPS, FLEET, RUN_REQUESTS, RUNS = 12.0, 4, 16_000, 12
TALKS = EXAMPLE.replace("mean=20s", "mean=4s")


def busy_fleet(routing: Routing) -> TokenScenario:
    """Conversations at four replicas with caches that are too small for all of them."""
    line = Coefficients(
        base_s=BASE_S, per_prefill_token_s=PREFILL_S, per_decode_request_s=DECODE_S, per_kv_token_s=READ_S
    )
    scenario = law_scenario(
        BUSY_RPS, parse_laws(TALKS), line, kv=KvCache(tokens=150_000, block_tokens=BLOCK_TOKENS), slots=256
    )
    return replace(scenario, plan=replace(scenario.plan, replicas=FLEET, routing=routing))


class Balance(NamedTuple):
    """Accounts of one run: tokens and blocks that are missing, and live sessions counted in two ways."""

    tokens_off: int
    blocks_off: int
    live_seen: float
    live_by_little: float
    hit_share: float
    is_overloaded: bool


def balance(routing: Routing, number: int) -> Balance:
    scenario = busy_fleet(routing)
    draws = draw_tokens(scenario, RUN_REQUESTS, Seed(value=3, replication=number))
    records = serve(scenario, draws, Engine.KERNEL)
    assert draws.sessions is not None
    first = draws.sessions.turns.first
    begun_s, ended_s = records.arrived_s[first[:-1]], records.finished_s[first[1:] - 1]
    part = draws.part(RUN_REQUESTS // 4, RUN_REQUESTS // 4)
    window_s = draws.span_s(part)
    overlap_s = np.clip(np.minimum(ended_s, window_s[1]) - np.maximum(begun_s, window_s[0]), 0.0, None)
    totals = session_totals(draws, records, part, np.zeros(0))
    assert totals is not None
    length_s = window_s[1] - window_s[0]
    asked = int((draws.input_tokens + draws.output_tokens - 1).sum())
    return Balance(
        tokens_off=records.computed + records.cached - asked - records.thrown_out,
        blocks_off=records.allocated - records.freed,
        live_seen=float(overlap_s.sum()) / length_s,
        live_by_little=totals.live_s / length_s,
        hit_share=float(records.hit_tokens.sum() / draws.input_tokens.sum()),
        is_overloaded=float(ended_s.max()) > float(begun_s[-1]) + length_s,
    )


def conserved(folder: Path) -> bool:
    """Little's law of sessions, and what is conserved, under each router."""
    body, all_kept = [], True
    for routing in ROUTINGS:
        runs = [balance(routing, number) for number in range(RUNS)]
        off = np.array([one.live_seen - one.live_by_little for one in runs])
        half = student_t(0.95, RUNS - 1) * float(off.std(ddof=1)) / RUNS**0.5
        lost = (sum(abs(one.tokens_off) for one in runs), sum(abs(one.blocks_off) for one in runs))
        overloaded = any(one.is_overloaded for one in runs)
        all_kept &= lost == (0, 0) and (overloaded or abs(float(off.mean())) <= 2.0 * half)
        live = [
            float(np.mean([getattr(one, name) for one in runs])) for name in ("live_seen", "live_by_little")
        ]
        hits = per_cent(float(np.mean([one.hit_share for one in runs])))
        difference = "overloaded, no steady state" if overloaded else f"{off.mean():+.2f} ± {half:.2f}"
        body.append(
            (f"{routing}", f"{lost[0]}", f"{lost[1]}", *(f"{one:.2f}" for one in live), difference, hits)
        )
    head = (
        "routing",
        "tokens missing",
        "blocks missing",
        "live sessions, counted",
        "rate x mean time",
        "difference",
    )
    table((*head, "hits"), body)
    return ask(
        "conserved",
        "no token and no block is missing, and Little's law holds where there is a steady state",
        kept=all_kept,
    )


# Without anything to share.


def alone_laws() -> SessionLaws:
    lengths = LengthLaw(kind="geometric", mean=300.0)
    return SessionLaws(turns=LengthLaw(kind="constant", mean=1), first=lengths, output=lengths)


def ttft_means_s(routing: Routing, runs: int) -> Floats:
    scenario = replace(busy_fleet(routing), lengths=alone_laws())
    found = []
    for number in range(runs):
        draws = draw_tokens(scenario, 1_000, Seed(value=int(routing is Routing.RANDOM), replication=number))
        records = serve(scenario, draws, Engine.KERNEL)
        found.append(float((records.first_s - records.arrived_s).mean()))
    return np.array(found)


def nothing(folder: Path) -> bool:
    """Requests that share nothing: the same bytes as without sessions, and a hash as good as chance."""
    scenario, all_kept = replace(busy_fleet(Routing.RANDOM), lengths=alone_laws()), True
    turned = draw_tokens(scenario, RUN_REQUESTS, Seed(value=5))
    assert turned.sessions is not None
    plain = replace(turned, arrived_s=turned.sessions.starts_s, sessions=None)
    for routing in PLAIN:
        planned = replace(scenario, plan=replace(scenario.plan, routing=routing))
        one, other = (serve(planned, draws, Engine.KERNEL) for draws in (plain, turned))
        same = all(
            np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
            for name in ("first_s", "finished_s", "replica", "preemptions", "gap_counts")
        )
        all_kept &= ask(
            "nothing", f"{routing}: the same bytes with sessions of one turn as without", kept=same
        )
    test = ks_2samp(ttft_means_s(Routing.SESSION, 200), ttft_means_s(Routing.RANDOM, 200))
    text = f"session and random have one law: two-sample Kolmogorov–Smirnov test, 200 runs each, p = {test.pvalue:.2f}"
    return all_kept & ask("nothing", text, kept=test.pvalue > 0.001)


SECTIONS = {
    one.__name__: one for one in (exact, groups, turns, ladder, others, size, calibrated, conserved, nothing)
}


def stamp() -> str:
    return f"{machine()}; CPython {platform.python_version()}, numpy {np.__version__}; {datetime.now(UTC):%Y-%m-%d}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    asked = parser.parse_args()
    print(f"{stamp()}\n")
    kept = True
    for name in asked.only:
        print(f"## {name}\n")
        kept &= SECTIONS[name](asked.folder)
        print()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
