"""Session ladder: llm-d's benchmark of shared prefixes at rising rates, beside what was measured of it."""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from language_models import ask, table
from scipy.optimize import least_squares

from capacity.errors import DomainError
from capacity.profile.llm import Coefficients, KvCache, LimitsMeasured, LlmProfile
from capacity.profile.steps import StepTable, linear_table
from capacity.question.plan import Routing
from capacity.traffic.sessions.turns import Turns
from simulations.draws.tokens import Conversations, EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BLOCK_TOKENS = 16
ROUTINGS = tuple(one for one in Routing if one is not Routing.SHARED_QUEUE)
BASE_S, PREFILL_S, DECODE_S, READ_S = 0.0125, 6.12e-5, 1e-5, 3.9e-8
REACH = (1_024, 8_192, 40_000)
KV_TOKENS = 315_000
LADDER_RULES = EngineRules(sequences_max=1_024, tokens_max=8_192, blocks=KV_TOKENS // BLOCK_TOKENS)
REPLICAS, PROMPTS, PROMPTS_A_GROUP = 8, 750, 5
PREFIX, QUESTION, OUTPUT = 6_000, 1_200, 1_000
DRAINED_S = 2_000.0  # longer than any stage takes; nothing happens in what is left of it
SERVICE, SCORERS = "round-robin", "scorers"  # arms of the file; its round-robin is a Kubernetes Service
SEEDS = 5


def per_cent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


def draws_of(turns: Turns, starts_s: Floats, generator: np.random.Generator) -> TokenDraws:
    count = len(turns.input_tokens)
    return TokenDraws(
        arrived_s=np.zeros(count),
        input_tokens=turns.input_tokens,
        output_tokens=turns.output_tokens,
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=generator.random(2 * count),
        noise_seed=int(generator.integers(2**62)),
        sessions=Conversations(turns, starts_s),
    )


class Stage(NamedTuple):
    """A stage of the ladder: a number of Poisson arrivals at a rate."""

    rate_rps: float
    requests: int


class Measured(NamedTuple):
    """What was published of a rate of one arm."""

    tokens_per_s: float
    ttft_p90_s: float


class Answer(NamedTuple):
    """What was simulated of a rate of one arm."""

    tokens_per_s: float
    ttft_p90_s: float
    hit_share: float
    running_max: int
    busiest_share: float
    replicas_a_group: float


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Stages, of which the first is the warm-up, and what was measured in the others."""

    stages: tuple[Stage, ...]
    measured: dict[tuple[str, float], Measured]

    @classmethod
    def of(cls, folder: Path) -> "Ladder":
        with (folder / "llmd_shared_prefix_ladder.csv").open(encoding="utf-8") as file:
            stages = tuple(
                Stage(float(row["rate_rps"]), int(row["requests"])) for row in csv.DictReader(file)
            )
        with (folder / "llmd_qwen3_32b_h100_first.csv").open(encoding="utf-8") as file:
            measured = {
                (row["arm"], float(row["rate_rps"])): Measured(
                    float(row["output_tokens_per_s"]), float(row["ttft_p90_s"])
                )
                for row in csv.DictReader(file)
            }
        return cls(stages=stages, measured=measured)

    @property
    def rates(self) -> list[float]:
        return [stage.rate_rps for stage in self.stages[1:]]

    @property
    def bounds(self) -> Integers:
        return np.cumsum([0, *(stage.requests for stage in self.stages)])

    def peak(self, arm: str) -> float:
        """Largest measured throughput of an arm. [tokens/s]"""
        return max(seen.tokens_per_s for (name, _), seen in self.measured.items() if name == arm)

    def draws(self, seed: int) -> TokenDraws:
        """Prompts in one shuffled cycle; each second a Poisson count of them, at uniform times."""
        generator, count = np.random.default_rng(seed), int(self.bounds[-1])
        prompts = generator.permutation(PROMPTS)[np.arange(count) % PROMPTS]
        starts_s = [
            number * DRAINED_S + arrivals_s(stage, generator) for number, stage in enumerate(self.stages)
        ]
        prefix, whole = PREFIX // BLOCK_TOKENS, (PREFIX + QUESTION) // BLOCK_TOKENS
        own, total = whole - prefix, PROMPTS // PROMPTS_A_GROUP * prefix
        each = np.arange(PROMPTS)[:, None]
        contents = np.concatenate(
            [each // PROMPTS_A_GROUP * prefix + np.arange(prefix), total + each * own + np.arange(own)],
            axis=1,
        )
        sessions = Turns(
            first=np.arange(count + 1),
            input_tokens=np.full(count, PREFIX + QUESTION),
            output_tokens=np.full(count, OUTPUT),
            think_s=np.zeros(count),
            pace_s=np.zeros(count),
            contents=contents.ravel(),
            at=prompts * whole,
            listed=np.full(count, whole),
            private=total + PROMPTS * own + np.arange(count) * (OUTPUT + whole),
            cut=np.zeros(count, dtype=bool),
        )
        return draws_of(sessions, np.concatenate(starts_s), generator)

    def answers(self, draws: TokenDraws, records: TokenRecords) -> list[Answer]:
        """Answers by rate, without the warm-up; tokens/s count from the first arrival to the last answer."""
        found, bounds = [], self.bounds
        assert draws.sessions is not None
        group = draws.sessions.turns.at * BLOCK_TOKENS // (PREFIX + QUESTION) // PROMPTS_A_GROUP
        homes = group * REPLICAS + records.replica
        for begin, end in pairwise(bounds[1:]):
            part = slice(begin, end)
            arrived_s, finished_s = records.arrived_s[part], records.finished_s[part]
            changes = np.concatenate([records.first_s[part], finished_s])
            steps = np.repeat([1, -1], end - begin)[np.argsort(changes, kind="stable")]
            found.append(
                Answer(
                    tokens_per_s=OUTPUT * (end - begin) / float(finished_s.max() - arrived_s[0]),
                    ttft_p90_s=float(np.quantile(records.first_s[part] - arrived_s, 0.9)),
                    hit_share=float(records.hit_tokens[part].sum() / draws.input_tokens[part].sum()),
                    running_max=int(np.cumsum(steps).max()),
                    busiest_share=float(np.bincount(records.replica[part]).max() / (end - begin)),
                    replicas_a_group=len(np.unique(homes[part])) / len(np.unique(group[part])),
                )
            )
        return found

    def errors(self, arm: str, answers: Sequence[Answer]) -> Floats:
        """Tokens/s over measured ones, less 1, by rate."""
        pairs = zip(self.rates, answers, strict=True)
        return np.array(
            [found.tokens_per_s / self.measured[arm, rate].tokens_per_s - 1.0 for rate, found in pairs]
        )

    def ttft_errors(self, arm: str, answers: Sequence[Answer], from_rps: float) -> Floats:
        """P90 of TTFT over measured ones, less 1, at rates from this on."""
        pairs = zip(self.rates, answers, strict=True)
        return np.array(
            [
                a.ttft_p90_s / self.measured[arm, rate].ttft_p90_s - 1.0
                for rate, a in pairs
                if rate >= from_rps
            ]
        )


def arrivals_s(stage: Stage, generator: np.random.Generator) -> Floats:
    """The first arrivals of a Poisson process, second by second. [s]"""
    instants: list[float] = []
    second = 0
    while len(instants) < stage.requests:
        instants += np.sort(second + generator.random(generator.poisson(stage.rate_rps))).tolist()
        second += 1
    return np.array(instants[: stage.requests])


def published_steps() -> StepTable:
    return linear_table(BASE_S, PREFILL_S, DECODE_S, READ_S, REACH)


def played(
    ladder: Ladder, routing: Routing, seed: int, steps: StepTable, rules: EngineRules = LADDER_RULES
) -> tuple[list[Answer], float]:
    """A run of the whole ladder, and its CPU time. [s]"""
    draws = ladder.draws(seed)
    begun_s = time.process_time()
    records = serve_engines(steps, rules, REPLICAS, routing, draws)
    return ladder.answers(draws, records), time.process_time() - begun_s


class Arm(NamedTuple):
    """Runs of one routing beside an arm of the file, one for each seed."""

    arm: str
    routing: Routing
    runs: list[list[Answer]]
    cpu_s: list[float]

    def mape(self, ladder: Ladder) -> list[float]:
        return [float(np.abs(ladder.errors(self.arm, run)).mean()) for run in self.runs]

    def bias(self, ladder: Ladder) -> list[float]:
        return [float(ladder.errors(self.arm, run).mean()) for run in self.runs]

    def ttft_mape(self, ladder: Ladder, from_rps: float) -> list[float]:
        return [float(np.abs(ladder.ttft_errors(self.arm, run, from_rps)).mean()) for run in self.runs]

    @property
    def peaks(self) -> list[float]:
        return [max(one.tokens_per_s for one in run) for run in self.runs]

    def middle(self, field: str, rate: int) -> float:
        return float(np.median([getattr(run[rate], field) for run in self.runs]))


def arm_of(
    ladder: Ladder, arm: str, routing: Routing, seeds: int = SEEDS, rules: EngineRules = LADDER_RULES
) -> Arm:
    both = [played(ladder, routing, seed, published_steps(), rules) for seed in range(seeds)]
    return Arm(arm, routing, [run for run, _ in both], [cpu_s for _, cpu_s in both])


def spread(values: Sequence[float], text: Callable[[float], str] = per_cent) -> str:
    """The middle of several runs, and the lowest and the highest."""
    return f"{text(float(np.median(values)))} ({text(min(values))} to {text(max(values))})"


def print_rates(ladder: Ladder, arm: Arm) -> None:
    body = []
    for number, rate in enumerate(ladder.rates):
        seen, found = ladder.measured[arm.arm, rate], arm.middle("tokens_per_s", number)
        ttft_s, hits = arm.middle("ttft_p90_s", number), arm.middle("hit_share", number)
        cells = (
            f"{rate:g}",
            f"{seen.tokens_per_s:,.0f}",
            f"{found:,.0f}",
            f"{found / seen.tokens_per_s - 1.0:+.1%}",
        )
        body.append(
            (
                *cells,
                f"{seen.ttft_p90_s:.3f}",
                f"{ttft_s:.3f}",
                f"{ttft_s - seen.ttft_p90_s:+.3f}",
                per_cent(hits),
            )
        )
    print(f"**{arm.routing}** beside the measured arm `{arm.arm}`; middle of {len(arm.runs)} runs\n")
    head = (
        "rps",
        "tok/s measured",
        "simulated",
        "error",
        "TTFT P90 measured, s",
        "simulated",
        "difference",
        "hits",
    )
    table(head, body)


def whole(value: float) -> str:
    return f"{value:,.0f}"


def ladder(folder: Path) -> bool:
    """The three arms that were published, or are what the published one may have been."""
    of_all = Ladder.of(folder)
    arms = [
        arm_of(of_all, SERVICE, Routing.RANDOM),
        arm_of(of_all, SERVICE, Routing.ROUND_ROBIN),
        arm_of(of_all, SCORERS, Routing.PREFIX_LLM_D_SCORES),
    ]
    for arm in arms:
        print_rates(of_all, arm)
    body = []
    for arm in arms:
        ttft = spread(arm.ttft_mape(of_all, 20.0)) if arm.arm == SERVICE else "–"
        cells = (f"{arm.routing}", arm.arm, spread(arm.mape(of_all)), spread(arm.bias(of_all)), ttft)
        body.append((*cells, spread(arm.peaks, whole), spread(arm.cpu_s, "{:.2f}".format)))
    head = (
        "routing",
        "measured arm",
        "tok/s, MAPE of 16 rates",
        "bias",
        "TTFT P90 from 20 rps, MAPE",
        "peak tok/s",
        "CPU s",
    )
    table(head, body)
    return judged_arms(of_all, *arms)


def judged_arms(of_all: Ladder, service: Arm, in_turn: Arm, scorers: Arm) -> bool:
    top = of_all.peak(SCORERS)
    hits = [scorers.middle("hit_share", number) for number in range(len(of_all.rates))]
    short_s = [
        of_all.measured[SCORERS, rate].ttft_p90_s - scorers.middle("ttft_p90_s", number)
        for number, rate in enumerate(of_all.rates)
    ]
    at_10 = of_all.rates.index(10.0)
    seen_s = of_all.measured[SERVICE, 10.0].ttft_p90_s
    random_s, turn_s = (arm.middle("ttft_p90_s", at_10) for arm in (service, in_turn))
    print(f"TTFT P90 at 10 rps: measured {seen_s:.2f} s, random {random_s:.2f} s, round-robin {turn_s:.2f} s")
    print(f"The scorers' TTFT P90 is short by {min(short_s):.3f} to {max(short_s):.3f} s, in the middle "
          f"{float(np.median(short_s)):.3f} s, at the gateway\n")  # fmt: skip
    off = float(np.median(scorers.peaks)) / top - 1.0
    asked = (
        ("random: tok/s within 14 %", max(service.mape(of_all)) <= 0.14),
        ("random: TTFT P90 from 20 rps within 15 %", max(service.ttft_mape(of_all, 20.0)) <= 0.15),
        ("scorers: tok/s within 5 %", max(scorers.mape(of_all)) <= 0.05),
        (f"scorers: peak within 6 % of {top:,.0f}, off by {off:+.1%}", abs(off) <= 0.06),
        (f"scorers: hits of 94 to 99 %; {per_cent(min(hits))} to {per_cent(max(hits))}", min(hits) >= 0.94),
        ("the ladder in 2 CPU s", max(service.cpu_s + scorers.cpu_s) <= 2.0),
    )
    kept_all = [ask("ladder", text, kept=kept) for text, kept in asked]
    return all(kept_all)


def others(folder: Path) -> bool:
    """All other routers on the same ladder, for information."""
    of_all, body = Ladder.of(folder), []
    for routing in ROUTINGS:
        arm = arm_of(of_all, SCORERS, routing, seeds=2)
        last = len(of_all.rates) - 1
        cells = [f"{arm.middle('tokens_per_s', number):,.0f}" for number in (1, 4, 8, last)]
        hits = [arm.middle("hit_share", number) for number in (4, last)]
        ttft = [f"{arm.middle('ttft_p90_s', number):.2f}" for number in (4, last)]
        spreads = (f"{arm.middle('replicas_a_group', last):.1f}", per_cent(arm.middle("busiest_share", last)))
        cpu_s = f"{float(np.median(arm.cpu_s)):.2f}"
        body.append((f"{routing}", *cells, *map(per_cent, hits), *ttft, *spreads, cpu_s))
    rates = [f"{of_all.rates[number]:g} rps" for number in (1, 4, 8, len(of_all.rates) - 1)]
    head = ("routing", *(f"tok/s, {rate}" for rate in rates), f"hits, {rates[1]}", f"hits, {rates[3]}")
    ttft_heads = (f"TTFT P90, {rates[1]}, s", f"TTFT P90, {rates[3]}, s")
    table((*head, *ttft_heads, "replicas a group", "requests at the busiest", "CPU s"), body)
    return True


# How much depends on the size of the cache, which was not published.

SIZES = (0.9, 0.95, 1.0, 1.05, 1.1)


def size(folder: Path) -> bool:
    """Both arms with caches that are smaller and larger, for information."""
    of_all, body = Ladder.of(folder), []
    for factor in SIZES:
        tokens = round(factor * KV_TOKENS)
        rules = LADDER_RULES._replace(blocks=tokens // BLOCK_TOKENS)
        service = arm_of(of_all, SERVICE, Routing.RANDOM, 2, rules)
        scorers = arm_of(of_all, SCORERS, Routing.PREFIX_LLM_D_SCORES, 2, rules)
        errors = [f"{float(np.median(arm.bias(of_all))):+.1%}" for arm in (service, scorers)]
        off = f"{float(np.median(scorers.peaks)) / of_all.peak(SCORERS) - 1.0:+.1%}"
        hits = [per_cent(scorers.middle("hit_share", number)) for number in (0, len(of_all.rates) - 1)]
        body.append((f"{tokens:,}", *errors, off, *hits))
    head = ("KV tokens of a replica", "random, bias", "scorers, bias", "scorers, peak")
    table((*head, "scorers, hits at 3 rps", "at 60 rps"), body)
    return True


# What a calibration on one arm says of the other.

CALIBRATES = (0, 3, 6, 9, 12)  # every third rate of the service arm, from the first
BOUND = np.log(4.0)  # a coefficient is at most four times, or a quarter of, the published one


def calibrated(folder: Path) -> bool:
    """Four coefficients fitted to tokens/s and TTFT at five rates of the service arm, the cache as published."""
    of_all = Ladder.of(folder)
    usual = np.log([BASE_S, PREFILL_S, DECODE_S, READ_S])

    def steps(logs: Floats) -> StepTable:
        return linear_table(*np.exp(logs).tolist(), REACH)

    def residuals(logs: Floats) -> Floats:
        run, _ = played(of_all, Routing.RANDOM, 0, steps(logs))
        rows = [
            (found.tokens_per_s / seen.tokens_per_s, found.ttft_p90_s / seen.ttft_p90_s)
            for found, seen in ((run[n], of_all.measured[SERVICE, of_all.rates[n]]) for n in CALIBRATES)
        ]
        return np.log(rows).ravel()

    found = least_squares(
        residuals, usual, diff_step=0.03, max_nfev=12, bounds=(usual - BOUND, usual + BOUND)
    )
    names = ("s a step", "s a prefill token", "s a decoding request", "s a KV token")
    print("; ".join(f"{value:.3g} {name}" for value, name in zip(np.exp(found.x), names, strict=True)), "\n")
    service, scorers = (
        Arm(arm, routing, [played(of_all, routing, 0, steps(found.x))[0]], [])
        for arm, routing in ((SERVICE, Routing.RANDOM), (SCORERS, Routing.PREFIX_LLM_D_SCORES))
    )
    errors = np.abs(of_all.errors(SERVICE, service.runs[0]))
    chosen = np.isin(np.arange(len(errors)), CALIBRATES)
    inside, outside = per_cent(float(errors[chosen].mean())), per_cent(float(errors[~chosen].mean()))
    peak = scorers.peaks[0]
    print(f"MAPE of the rates that calibrate {inside}, of the others {outside}")
    print(
        f"the scorers' arm: bias {scorers.bias(of_all)[0]:+.1%}, peak {peak:,.0f} tok/s, "
        f"{peak / of_all.peak(SCORERS) - 1.0:+.1%}"
    )
    return refused(of_all, service, scorers)


def refused(of_all: Ladder, service: Arm, scorers: Arm) -> bool:
    """Whether a profile that saw only the service arm's passes refuses those of the scorers."""
    seen, needed = (max(one.running_max for one in arm.runs[0]) for arm in (service, scorers))
    print(
        f"requests that decode in the fleet, at most: {seen} under the service, {needed} under the scorers\n"
    )
    largest = -(-seen // REPLICAS)
    profile = LlmProfile(
        name="service-arm",
        kv=KvCache(tokens=KV_TOKENS, block_tokens=BLOCK_TOKENS),
        limits_measured=LimitsMeasured(
            sequences_max=largest, batched_tokens_max=8_192, context_tokens_max=40_000
        ),
        coefficients=Coefficients(
            base_s=BASE_S, per_prefill_token_s=PREFILL_S, per_decode_request_s=DECODE_S
        ),
    )
    try:
        profile.require(-(-needed // REPLICAS), 8_192)
    except DomainError as error:
        return ask(
            "calibrated", f"a profile of the service arm refuses the scorers' passes: {error}", kept=True
        )
    return ask("calibrated", "a profile of the service arm refuses the scorers' passes", kept=False)
