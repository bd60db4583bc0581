"""Language models: compares predictions with published measurements, one table for each set.

    python benchmarks/language_models.py FOLDER [--only runs rates cells stages coverage speed digits]

FOLDER holds `llmservingsim_requests.csv` (casys-kaist/LLMServingSim at 5daddb2), `inference_perf_kubecon_h100.csv`
(kubernetes-sigs/inference-perf at 7de5ef2), `aic_silicon_e2e.csv` (ai-dynamo/aiconfigurator at 095f58a51) and
`blis_vllm_h100_stages.csv` (inference-sim/training at ed5c1d2). Exits with 1 where a bar is missed.

No judged row has a part in its own calibration; rules that look at rates and lengths alone fix which rows calibrate.
`digits`, run only where it is asked for, says how far answers of stages go with the last digits of a calculation.
"""

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

import capacity as cap
from capacity.answers.evidence import LlmProfileAnswer
from capacity.confidence import student_t
from capacity.formats.registry import Kind, read
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from capacity.profile.llm_formats import with_settings
from capacity.profile.llm_loads import Figure, SeenLoad
from capacity.profile.load import load_llm
from capacity.profile.steps import StepTable
from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows
from simulations.calibration.calibrate import forecast
from simulations.calibration.fit import SEED, Fit, fit, fit_scattered, root
from simulations.calibration.host import Hosted, host_of
from simulations.calibration.law import Reach, StepLaw
from simulations.cases.engine import KNEE
from simulations.draws.tokens import EngineRules, TokenDraws, TokenRecords
from simulations.kernel.engines import serve_engines
from simulations.saturation import saturation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Row = dict[str, str]

SECTIONS = ("runs", "rates", "cells", "stages", "coverage", "speed")
RUNS = 12  # the middle one is the prediction
REACH_MAX = 1.25
MOVED = 0.1  # logarithm over which the effect of a calibrated value is taken
RESAMPLES = 24  # resamples of profile and users together, for the interval
# Allowed errors of the calibrating figures: those over hundreds of passes, and the first token, over few.
NOISE = {"e2e": 0.02, "tpot": 0.02, "ttft": 0.05}
# The server sends each token as two lines, and closes with as many; its client counts lines as tokens.
LINES_A_TOKEN, LINES_MORE = 2, 1.5


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_of(law: StepLaw, prompt_max: int, context_max: int) -> StepTable:
    """The table of a profile with these steps, up to these numbers of tokens of prompts and of context."""
    reach = Reach(requests=law.at[-1], prompt_tokens=prompt_max, context=context_max, past=context_max)
    return law.table(reach)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests of a run: when they are sent and how long they are.

    Attributes:
        flight_max: largest number of requests in flight; the sender holds the others back.
    """

    sent_s: Floats
    input_tokens: Integers
    output_tokens: Integers
    cached_tokens: Integers
    flight_max: int | None = None

    def draws(self, sent_s: Floats) -> TokenDraws:
        return TokenDraws(
            arrived_s=sent_s,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            routing=np.zeros(2 * len(sent_s)),
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Durations of the requests of a run. [s]

    Attributes:
        read_max: largest number of decoding requests of a pass, times the largest number of tokens that each reads.
    """

    ttft_s: Floats
    response_s: Floats
    output_tokens: Integers
    finished_s: Floats = field(repr=False)
    read_max: float = 0.0

    @property
    def tpot_s(self) -> Floats:
        return (self.response_s - self.ttft_s) / (self.output_tokens - 1)

    def value(self, name: str) -> float:
        """A statistic by its column: `e2e_p99_s`, `ttft_mean_s`, `tpot_mean_s` and their like."""
        what, which, _ = name.split("_")
        values = {"e2e": self.response_s, "ttft": self.ttft_s, "tpot": self.tpot_s}[what]
        return float(values.mean() if which == "mean" else np.percentile(values, float(which[1:])))


def served(table: StepTable, rules: EngineRules, load: Load, request_s: float = 0.0) -> Seen:
    """Serve a load with one engine; requests held back are sent when one has finished."""
    sent_s, most = load.sent_s, load.flight_max
    while True:
        records = serve_engines(table, rules, 1, Routing.ROUND_ROBIN, load.draws(sent_s))
        finished_s = records.finished_s + request_s
        if most is None or len(sent_s) <= most:
            break
        gone_s = np.sort(finished_s)[: len(sent_s) - most]
        held_s = np.maximum.accumulate(
            np.concatenate([load.sent_s[:most], np.maximum(load.sent_s[most:], gone_s)])
        )
        if np.abs(held_s - sent_s).max() < 1e-9:
            break
        sent_s = held_s
    records.require_measured(table, "calibrated")
    return Seen(
        ttft_s=records.first_s - sent_s + request_s,
        response_s=records.finished_s - sent_s + request_s,
        output_tokens=load.output_tokens,
        finished_s=finished_s,
        read_max=records.largest[0] * records.largest[2],
    )


Predict = Callable[[Floats, int], Floats]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Result of a calibration, and the root of the covariance of the logarithms of its values."""

    fit: Fit
    root: Floats

    def resampled(self, generator: np.random.Generator) -> Floats:
        """Values that another calibration of the same kind might find."""
        moved = self.root @ generator.standard_normal(len(self.fit.values))
        return np.asarray(self.fit.values * np.exp(np.clip(moved, -2.0, 2.0)))


def calibrated(
    starts: Sequence[Sequence[float]],
    predict: Predict,
    measured: Sequence[float],
    named: Sequence[tuple[int, str]],
) -> Calibrated:
    """The product's fit to figures of stages whose instants of sending are not known.

    Args:
        predict: figures by values and by the draw of instants.
        named: number of the stage and name of each measured value.
    """
    allowed = np.array([noise_of(name) for _, name in named])
    stage_of = np.array([stage for stage, _ in named])
    found = fit_scattered(starts, predict, measured, allowed, stage_of)

    def moved(by: Floats) -> Floats:
        return predict(found.values * np.exp(by), SEED)

    return Calibrated(fit=found, root=root(found, moved, np.full(len(found.values), MOVED)))


def interval(values: Sequence[float], middle: float) -> tuple[float, float]:
    """95 % interval around a middle, for logarithms."""
    spread = student_t(0.95, len(values) - 1) * float(np.std(np.log(values), ddof=1))
    return middle * float(np.exp(-spread)), middle * float(np.exp(spread))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A statistic of a row: measured, and predicted with an interval."""

    name: str
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Error as a share of the measured value."""
        return self.predicted / self.measured - 1.0

    @property
    def is_inside(self) -> bool:
        return self.low <= self.measured <= self.high


def judged(
    names: Sequence[str], measured: Callable[[str], float], runs: Sequence[Seen], resampled: Sequence[Seen]
) -> dict[str, Judged]:
    found = {}
    for name in names:
        middle = float(np.median([run.value(name) for run in runs]))
        low, high = interval([run.value(name) for run in resampled], middle)
        found[name] = Judged(name=name, measured=measured(name), predicted=middle, low=low, high=high)
    return found


def per_cent(share: float) -> str:
    return f"{100.0 * share:+.1f} %"


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4g}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    for line in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(line) + " |")
    print()


def noise_of(name: str) -> float:
    return NOISE[name.partition("_")[0]]


def ask(section: str, text: str, *, kept: bool) -> bool:
    """Print a bar and whether it is met."""
    print(f"- {'kept' if kept else '**MISSED**'} ({section}): {text}")
    return kept


# Runs: a step profile of kernel times, and requests one by one.

RUN_KV_TOKENS = 535_040
RUN_PROFILE, RUN_SETTINGS = "llama-3.1-8b-rtx-pro-6000-bf16", (128, 2048)
RUN_FIRST, RUN_EVERY = 60, 5  # requests that calibrate the host time; the others are judged by it
RUN_BARS = (9.0, 4.0, 5.0)
RUN_BEST = (4.0, 1.0, 1.8)


@dataclass(frozen=True, kw_only=True)
class Run:
    """The published requests of the RTX PRO 6000, in the order in which they came."""

    load: Load
    ttft_s: Floats
    response_s: Floats


def published_run(folder: Path) -> Run:
    found = sorted(rows(folder / "llmservingsim_requests.csv"), key=lambda row: float(row["queued_s"]))

    def column(name: str) -> Floats:
        return np.array([float(row[name]) for row in found])

    sent_s = column("queued_s")
    given, got = (column(name).astype(np.int64) for name in ("input_tokens", "output_tokens"))
    load = Load(sent_s=sent_s, input_tokens=given, output_tokens=got, cached_tokens=np.zeros_like(given))
    return Run(load=load, ttft_s=column("first_token_s") - sent_s, response_s=column("last_token_s") - sent_s)


def as_aiperf(run: Run) -> str:
    """The run as aiperf's `profile_export.jsonl` has it, without gaps between tokens, which are not published."""
    lines = []
    load = run.load
    for sent_s, ttft_s, response_s, given, got in zip(
        load.sent_s.tolist(), run.ttft_s.tolist(), run.response_s.tolist(), load.input_tokens.tolist(),
        load.output_tokens.tolist(), strict=True,
    ):  # fmt: skip
        told = {
            "time_to_first_token": (1e3 * ttft_s, "ms"),
            "request_latency": (1e3 * response_s, "ms"),
            "input_sequence_length": (given, "tokens"),
            "output_sequence_length": (got, "tokens"),
        }
        sent_ns = round(1e9 * sent_s)
        metadata = {
            "request_start_ns": sent_ns,
            "request_end_ns": sent_ns + round(1e9 * response_s),
            "was_cancelled": False,
        }
        metrics = {name: {"value": value, "unit": unit} for name, (value, unit) in told.items()}
        lines.append(json.dumps({"metadata": metadata, "metrics": metrics}))
    return "\n".join(lines)


def imported(path: Path, every: int, switch: str) -> LlmProfileAnswer:
    """What `capacity import --profile` makes of the run, with its engine's settings."""
    answer = cap.import_file(
        path, profile=RUN_PROFILE, every=every, kv_tokens=RUN_KV_TOKENS, sequences_max=RUN_SETTINGS[0],
        batched_tokens_max=RUN_SETTINGS[1], async_scheduling=switch,
    )  # fmt: skip
    assert isinstance(answer, LlmProfileAnswer)
    return answer


def errors_of(figures: Sequence[Figure]) -> dict[str, float]:
    return {f"{one.name}_s": one.predicted_s / one.measured_s - 1.0 for one in figures}


def without_host(load: SeenLoad, switch: str) -> dict[str, float]:
    """Errors of all requests by the profile as it comes with the package."""
    base = with_settings(load_llm(RUN_PROFILE), kv_tokens=RUN_KV_TOKENS, async_scheduling=switch == "on")
    seen = forecast(base, RUN_SETTINGS, load, 0)
    names = [f"{what}_{which}" for which in ("mean", "p99") for what in ("ttft", "tpot", "e2e")]
    return {f"{name}_s": seen.figure(name) / load.figures[name] - 1.0 for name in names}


def first_calibrate(load: SeenLoad, switch: str) -> Hosted:
    """What the first requests of the run calibrate, by the function behind `capacity import --profile`."""
    base = with_settings(load_llm(RUN_PROFILE), kv_tokens=RUN_KV_TOKENS, async_scheduling=switch == "on")
    return host_of(base, [load], RUN_SETTINGS, slice(0, RUN_FIRST))


def within(errors: dict[str, float], bars: Sequence[float]) -> bool:
    """Whether the three means are within these bars in per cent."""
    return all(
        100.0 * abs(errors[f"{what}_mean_s"]) <= bar
        for what, bar in zip(("ttft", "tpot", "e2e"), bars, strict=True)
    )


def runs(folder: Path) -> bool:
    run = published_run(folder)
    body, bars = [], []
    with TemporaryDirectory() as place:
        path = Path(place) / "run.jsonl"
        path.write_text(as_aiperf(run))
        (load,) = read(path, Kind.LOADS)
        for name, switch in (("synchronous", "off"), ("asynchronous", "on")):
            errors = without_host(load, switch)
            body.append([name, "none", "nothing", "all 300", *map(per_cent, errors.values())])
            bars.append((f"{name}, without host time: TTFT, TPOT, E2E within {RUN_BARS} %", errors, RUN_BARS))
            fifth = imported(path, RUN_EVERY, switch)
            for split, found in (
                (f"the first {RUN_FIRST} of 300", first_calibrate(load, switch)),
                ("every fifth, by `capacity import`", fifth),
            ):
                errors, added_s = errors_of(found.figures), found.profile.overhead.step_s or 0.0
                body.append([name, f"{ms(added_s)} ms", split, "the others", *map(per_cent, errors.values())])
                bars.append((f"{name}, host time from {split}: within {RUN_BEST} %", errors, RUN_BEST))
    body.append(
        ["best published", "", "", "all 300", "-4.0 %", "-1.0 %", "-1.8 %", "-2.0 %", "+0.6 %", "-1.6 %"]
    )
    print("\n### One published run on an RTX PRO 6000\n")
    kinds = [f"{what} {which}" for which in ("mean", "P99") for what in ("TTFT", "TPOT", "E2E")]
    table(["scheduling", "host time a pass", "calibrated on", "judged", *kinds], body)
    kept = [ask("runs", text, kept=within(errors, bar)) for text, errors, bar in bars]
    return all(kept)


# Rates: stages of rising rate on one H100, some of which calibrate.

RATE_STATISTICS = ("e2e_mean_s", "e2e_p99_s", "ttft_mean_s", "ttft_p99_s", "tpot_mean_s")
RATE_BARS = {"e2e_mean_s": 0.07, "e2e_p99_s": 0.07, "ttft_p99_s": 0.20}
RATE_SECONDS, RATE_SLOTS, RATE_IN_FLIGHT, RATE_BUDGET = 60.0, 128, 440, 8192
# The lowest rate, whose first tokens have the server's warm-up in them, one halfway to saturation, one beyond it.
RATE_CALIBRATES = {
    0: ("tpot_mean_s",),
    2: ("e2e_p50_s", "e2e_p90_s", "ttft_p50_s", "ttft_p90_s"),
    5: ("e2e_mean_s", "ttft_mean_s", "tpot_mean_s"),
}
RATE_RULES = EngineRules(
    sequences_max=RATE_SLOTS, tokens_max=RATE_BUDGET, blocks=25_000, chunked=False, caching=False
)


def output_tokens(row: Row) -> int:
    """Output tokens of each request, from the lines that the client counted as tokens."""
    span_s = float(row["e2e_mean_s"]) - float(row["ttft_mean_s"])
    return round((span_s / float(row["tpot_client_mean_s"]) - LINES_MORE) / LINES_A_TOKEN)


def measured_of(row: Row, output: int) -> Callable[[str], float]:
    """A statistic of a row; the mean TPOT from mean durations and true output tokens."""

    def value(name: str) -> float:
        if name == "tpot_mean_s":
            return (float(row["e2e_mean_s"]) - float(row["ttft_mean_s"])) / (output - 1)
        return float(row[name])

    return value


def rate_load(row: Row, seed: int) -> Load:
    """Requests with exponential gaps rescaled to the stage, which are sorted uniforms; prompts as reported."""
    generator = np.random.default_rng([seed, int(row["stage"])])
    count = int(row["n_ok"])
    mean, low, high = (float(row[f"prompt_len_{which}"]) for which in ("mean", "min", "max"))
    given = np.clip(np.rint(generator.normal(mean, (high - low) / 6.0, count)), low, high).astype(np.int64)
    return Load(
        sent_s=np.sort(generator.random(count)) * RATE_SECONDS,
        input_tokens=given,
        output_tokens=np.full(count, output_tokens(row), dtype=np.int64),
        cached_tokens=np.zeros(count, dtype=np.int64),
        flight_max=RATE_IN_FLIGHT,
    )


def rate_cost(values: Floats) -> StepLaw:
    """A table over the batch, of two straight lines."""
    base_s, near_s, far_s, per_prompt_s, request_s = (float(value) for value in values)
    half = RATE_SLOTS // 2
    return StepLaw(
        at=(1, half, RATE_SLOTS),
        decode_s=(base_s, base_s + half * near_s, base_s + half * (near_s + far_s)),
        per_prompt_s=per_prompt_s,
        request_s=request_s,
    )


def rate_served(row: Row, cost: StepLaw, seed: int) -> Seen:
    return served(table_of(cost, RATE_BUDGET, 512), RATE_RULES, rate_load(row, seed), cost.request_s)


def rate_fit(stages: Sequence[Row]) -> Calibrated:
    wanted = [(at, name) for at, names in RATE_CALIBRATES.items() for name in names]

    def predict(values: Floats, seed: int) -> Floats:
        cost = rate_cost(values)
        seen = {at: rate_served(stages[at], cost, seed) for at in RATE_CALIBRATES}
        return np.array([seen[at].value(name) for at, name in wanted])

    measured = [measured_of(stages[at], output_tokens(stages[at]))(name) for at, name in wanted]
    some = (5e-6, 2e-5, 5e-5)
    starts = list(product((6.5e-3,), some, some, some, (1.5e-2,)))
    return calibrated(starts, predict, measured, wanted)


def saturated_rps(cost: StepLaw, given: int, got: int, rules: EngineRules, prompt_max: int) -> float:
    """Saturation rate: requests that an engine finishes while others always wait."""
    count = 20 * rules.sequences_max
    lengths = (np.full(count, given, dtype=np.int64), np.full(count, got, dtype=np.int64))
    load = Load(
        sent_s=np.zeros(count),
        input_tokens=lengths[0],
        output_tokens=lengths[1],
        cached_tokens=np.zeros(count, dtype=np.int64),
    )
    ended_s = np.sort(served(table_of(cost, prompt_max, given + got), rules, load).finished_s)
    first, last = count // 4, 3 * count // 4
    return (last - first) / float(ended_s[last] - ended_s[first])


@dataclass(frozen=True, kw_only=True)
class JudgedRow:
    """A row that had no part in the calibration.

    Attributes:
        reach: most tokens that a pass reads, over the most that it read while calibrating.
        has_warm_up: whether the server's first requests are among those measured.
    """

    name: str
    load: float
    found: dict[str, Judged]
    reach: float = 1.0
    has_warm_up: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether passes have calibrated sizes, or nearly."""
        return self.reach <= REACH_MAX


def judged_rates(stages: Sequence[Row]) -> tuple[Fit, list[JudgedRow]]:
    found = rate_fit(stages)
    cost, generator = rate_cost(found.fit.values), np.random.default_rng(7)
    most_rps = saturated_rps(cost, 204, output_tokens(stages[0]), RATE_RULES, RATE_BUDGET)
    others = [rate_cost(found.resampled(generator)) for _ in range(RESAMPLES)]
    answers = []
    for row in stages:
        if int(row["stage"]) in RATE_CALIBRATES:
            continue
        answers.append(
            JudgedRow(
                name=f"{row['config']}, {float(row['rate_rps']):.4g} rps",
                load=float(row["rate_rps"]) / most_rps,
                found=judged(
                    RATE_STATISTICS,
                    measured_of(row, output_tokens(row)),
                    [rate_served(row, cost, seed) for seed in range(RUNS)],
                    [rate_served(row, other, 100 + seed) for seed, other in enumerate(others)],
                ),
            )
        )
    return found.fit, answers


def rate_rows(folder: Path, config: str) -> list[Row]:
    found = [row for row in rows(folder / "inference_perf_kubecon_h100.csv") if row["config"] == config]
    return sorted(found, key=lambda row: int(row["stage"]))


def print_judged(head: str, answers: Sequence[JudgedRow], names: Sequence[str]) -> None:
    body = [
        [
            row.name,
            f"{row.load:.2f}",
            name.removesuffix("_s").replace("_", " "),
            ms(one.measured),
            ms(one.predicted),
            per_cent(one.error),
            f"{ms(one.low)} to {ms(one.high)}",
            "yes" if one.is_inside else "no",
            f"{row.reach:.1f}",
        ]
        for row in answers
        for name, one in ((name, row.found[name]) for name in names)
    ]
    print("\n" + head + "\n")
    table(
        [
            "judged",
            "load",
            "statistic",
            "measured [ms]",
            "predicted [ms]",
            "error",
            "95 %",
            "inside",
            "reach",
        ],
        body,
    )


def rates(folder: Path) -> tuple[bool, list[JudgedRow]]:
    print("\n### One H100 at seven rates\n")
    kept, everything = True, []
    for config in ("vllm", "vllm+quantization"):
        found, answers = judged_rates(rate_rows(folder, config))
        cost = rate_cost(found.values)
        print(
            f"\n{config}: passes of {', '.join(ms(one) for one in cost.decode_s)} ms at "
            f"{', '.join(map(str, cost.at))} decoding requests, {1e6 * cost.per_prompt_s:.3g} µs a prompt token, "
            f"{ms(cost.request_s)} ms a request outside; residual {100 * found.residual:.1f} %\n"
        )
        print_judged(f"#### {config}", answers, RATE_STATISTICS)
        everything += answers
        for row in answers:
            is_knee = 0.85 < row.load < 1.0 / 0.85
            for name, bar in RATE_BARS.items():
                one = row.found[name]
                if is_knee:
                    ok = one.is_inside or row.load > KNEE
                    text = f"{row.name}: {name} at the knee: inside its interval, or inconclusive above load {KNEE}"
                else:
                    ok, text = abs(one.error) <= bar, f"{row.name}: {name} within {100 * bar:g} %"
                kept &= ask("rates", text, kept=ok)
    return kept, everything


# Cells: closed loops of equal lengths, six of a system calibrate.

DENSE = ("Llama-3.1-70B", "Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct-FP8", "Qwen3-32B")
CELLS_MIN, CELL_BAR, CELL_BUDGET = 9, 0.05, 8192
CELL_TURNS = 4  # requests of a user, of which the last but one counts


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A closed loop of users whose requests are of equal length."""

    users: int
    given: int
    got: int
    tpot_s: float
    ttft_s: float

    @property
    def waits(self) -> bool:
        """Whether a request spent at least a fifth of its time before its first token."""
        return self.ttft_s >= 0.2 * (self.ttft_s + (self.got - 1) * self.tpot_s)

    @property
    def mix(self) -> tuple[int, int]:
        return self.given, self.got

    def predicted_s(self, cost: StepLaw) -> float:
        """Predicted TPOT: one slot for each user, and requests always wait."""
        count = CELL_TURNS * self.users
        load = Load(
            sent_s=np.zeros(count),
            input_tokens=np.full(count, self.given, dtype=np.int64),
            output_tokens=np.full(count, self.got, dtype=np.int64),
            cached_tokens=np.zeros(count, dtype=np.int64),
        )
        rules = EngineRules(
            sequences_max=self.users,
            tokens_max=CELL_BUDGET,
            blocks=2 * self.users * (self.given + self.got) // 16 + 2,
        )
        seen = served(table_of(cost, CELL_BUDGET, self.given + self.got), rules, load)
        order = np.argsort(seen.finished_s, kind="stable")
        counted = order[(CELL_TURNS - 2) * self.users : (CELL_TURNS - 1) * self.users]
        return float(seen.tpot_s[counted].mean())


def systems(folder: Path) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for row in rows(folder / "aic_silicon_e2e.csv"):
        model = row["model_path"].rpartition("/")[2]
        if row["mode"] != "agg" or model not in DENSE or not row["concurrency"]:
            continue
        precision = row["gemm_quant_mode"] or row["precision"] or "bf16"
        version = row["backend_version"] or "unstated"
        name = f"{model}, {row['system']}, {row['backend']} {version}, TP {row['tp_size']}, {precision}"
        found[name].append(
            Cell(
                users=int(row["concurrency"]),
                given=int(row["isl"]),
                got=int(row["osl"]),
                tpot_s=float(row["silicon_tpot_ms"]) / 1e3,
                ttft_s=float(row["silicon_ttft_ms"]) / 1e3,
            )
        )
    return dict(sorted(found.items()))


def calibrating(cells: Sequence[Cell]) -> list[Cell]:
    """Six cells, by lengths and users alone.

    From the mix with the fewest input tokens to an output token: the fewest users, the middle and the most; from that
    with the most of them the fewest and the most; from the longest of the others the most. If mixes were not measured
    at several numbers of users, six in equal steps of the order by users and input.
    """
    mixes: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in sorted(cells, key=lambda one: one.users):
        mixes[cell.mix].append(cell)
    by_ratio = sorted(mixes, key=lambda mix: (mix[0] / mix[1], mix[0]))
    short, long = mixes[by_ratio[0]], mixes[by_ratio[-1]]
    if len(short) >= 3 and len(long) >= 2 and len(by_ratio) >= 3:
        other = max(by_ratio[1:-1], key=sum)
        return [short[0], short[len(short) // 2], short[-1], long[0], long[-1], mixes[other][-1]]
    ordered = sorted(cells, key=lambda one: (one.users, one.given, one.got))
    return [ordered[round(at)] for at in np.linspace(0, len(ordered) - 1, 6)]


def cell_fit(cells: Sequence[Cell], users_max: int) -> tuple[Fit, Callable[[Floats], StepLaw]]:
    counts = sorted({cell.users for cell in cells})
    at = tuple(sorted({1, counts[0], counts[len(counts) // 2], users_max}))

    def cost(values: Floats) -> StepLaw:
        base_s, *rises_s = (float(value) for value in values[:3])
        low, middle, high = at[-3:]
        known = {low: base_s, middle: base_s + rises_s[0], high: base_s + sum(rises_s)}
        known.setdefault(1, base_s)
        return StepLaw(
            at=at,
            decode_s=tuple(known[one] for one in at),
            per_read_s=float(values[3]),
            per_prompt_s=float(values[4]),
        )

    def predict(values: Floats) -> Floats:
        one = cost(values)
        return np.array([cell.predicted_s(one) for cell in cells])

    least_s = min(cell.tpot_s for cell in cells)
    starts = [
        (0.7 * least_s, rise * least_s, rise * least_s, read * least_s, prompt * least_s)
        for rise, read, prompt in product((0.01, 0.1), (1e-7, 1e-6), (1e-3, 3e-3))
    ]
    errors = NOISE["tpot"] ** 2 * np.eye(len(cells))
    return fit(starts, predict, [cell.tpot_s for cell in cells], errors), cost


@dataclass(frozen=True, kw_only=True)
class System:
    """The judged cells of a system, and their errors."""

    name: str
    residual: float
    cells: list[Cell]
    off: Floats

    @property
    def mape(self) -> float:
        return float(np.abs(self.off).mean())

    @property
    def row(self) -> list[str]:
        worst = int(np.abs(self.off).argmax())
        where = self.cells[worst]
        return [
            self.name,
            str(len(self.cells)),
            f"{100 * self.residual:.1f} %",
            f"{100 * self.mape:.1f} %",
            per_cent(float(self.off.mean())),
            f"{per_cent(self.off[worst])} at {where.users} x {where.given}/{where.got}",
        ]


def judged_system(name: str, found: Sequence[Cell]) -> System:
    chosen = calibrating(found)
    fitted, cost = cell_fit(chosen, max(cell.users for cell in found))
    one = cost(fitted.values)
    rest = [cell for cell in found if cell not in chosen]
    off = np.array([cell.predicted_s(one) / cell.tpot_s - 1.0 for cell in rest])
    return System(name=name, residual=fitted.residual, cells=rest, off=off)


def cells(folder: Path) -> bool:
    everyone = systems(folder)
    enough = {name: found for name, found in everyone.items() if len(found) >= CELLS_MIN}
    answers = [judged_system(name, found) for name, found in enough.items()]
    print("\n### Closed loops of equal lengths\n")
    table(
        ["system", "judged cells", "residual of the 6", "MAPE", "mean error", "worst cell"],
        [one.row for one in answers],
    )
    left_out = [f"{name} ({len(found)})" for name, found in everyone.items() if name not in enough]
    print(f"Fewer than {CELLS_MIN} cells: {'; '.join(left_out)}.\n")
    off = np.abs(np.concatenate([one.off for one in answers]))
    waits = np.array([cell.waits for one in answers for cell in one.cells])
    fits = np.concatenate([np.full(len(one.off), one.residual <= CELL_BAR) for one in answers])
    parts = {
        "all": np.full(len(off), fill_value=True),
        f"systems whose six leave at most {100 * CELL_BAR:g} %": fits,
        f"systems whose six leave more than {100 * CELL_BAR:g} %": ~fits,
        "requests spend less than a fifth of their time before the first token": ~waits,
        "requests spend more": waits,
    }
    table(
        ["judged cells", "number", "MAPE", "median", "within 5 %"],
        [
            [
                name,
                str(part.sum()),
                f"{100 * off[part].mean():.1f} %",
                f"{100 * np.median(off[part]):.1f} %",
                f"{100 * (off[part] <= CELL_BAR).mean():.0f} %",
            ]
            for name, part in parts.items()
        ],
    )
    kept = sum(one.mape <= CELL_BAR for one in answers)
    print(f"{kept} of {len(answers)} systems have a MAPE of at most {100 * CELL_BAR:g} %.\n")
    return ask("cells", f"MAPE of all at most {100 * CELL_BAR:g} %", kept=bool(off.mean() <= CELL_BAR))


# Stages: two rates of an experiment, of which one calibrates; or two of a model, for its other experiments.

STAGE_TARGETS = ("e2e_p50_s", "e2e_p90_s", "e2e_p95_s", "ttft_p50_s", "ttft_p90_s", "ttft_p95_s")
STAGE_BARS = {"e2e_p99_s": 6.0, "ttft_mean_s": 10.0, "ttft_p99_s": 20.0, "tpot_mean_s": 4.0}
STAGE_BEST = {"e2e_p99_s": 9.1, "ttft_mean_s": 18.4, "ttft_p99_s": 29.4, "tpot_mean_s": 6.5}
HELD = ("e2e_p99_s", "ttft_p99_s")  # statistics whose intervals are counted
TRIES, DIGITS = 8, 1e-12  # trials with starting points that differ by this share
STAGE_RULES = EngineRules(sequences_max=128, tokens_max=2048, blocks=1_000_000)


def stage_load(row: Row, seed: int) -> Load:
    """Requests at sorted uniforms; each prompt begins with a system prompt that others had before."""
    generator = np.random.default_rng([seed, int(row["stage"])])
    count = int(row["n_sent"])
    given = round(float(row["prompt_len_mean"]))
    cached = min(given, int(float(row["system_prompt_tokens"])))
    return Load(
        sent_s=np.sort(generator.random(count)) * float(row["duration_s"]),
        input_tokens=np.full(count, given, dtype=np.int64),
        output_tokens=np.full(count, int(float(row["output_tokens_max"])), dtype=np.int64),
        cached_tokens=np.full(count, cached, dtype=np.int64),
    )


def stage_cost(values: Floats) -> StepLaw:
    base_s, per_read_s, per_prompt_s, request_s = (float(value) for value in values)
    return StepLaw(
        at=(1, 128),
        decode_s=(base_s, base_s),
        per_read_s=per_read_s,
        per_prompt_s=per_prompt_s,
        request_s=request_s,
    )


def stage_served(row: Row, cost: StepLaw, seed: int) -> Seen:
    return served(table_of(cost, 2048, 4096), STAGE_RULES, stage_load(row, seed), cost.request_s)


def stage_fit(calibrates: Sequence[Row], dice: np.random.Generator | None = None) -> Calibrated:
    """The calibration of some stages.

    Args:
        dice: moves each starting point in its last digits, if given.
    """
    wanted = [(at, name) for at in range(len(calibrates)) for name in STAGE_TARGETS]

    def predict(values: Floats, seed: int) -> Floats:
        cost = stage_cost(values)
        seen = [stage_served(row, cost, seed) for row in calibrates]
        return np.array([seen[at].value(name) for at, name in wanted])

    first = calibrates[0]
    tpot_s = measured_of(first, int(float(first["output_tokens_max"])))("tpot_mean_s")
    starts = list(
        product((0.8 * tpot_s,), (2e-8, 7e-8, 2e-7), (3e-6, 1e-5, 3e-5), (0.5 * float(first["ttft_p50_s"]),))
    )
    if dice is not None:
        starts = [tuple(one * (1.0 + DIGITS * dice.standard_normal()) for one in start) for start in starts]
    return calibrated(starts, predict, [float(calibrates[at][name]) for at, name in wanted], wanted)


def judged_stage(row: Row, calibrates: Sequence[Row], found: Calibrated) -> JudgedRow:
    generator, cost = np.random.default_rng(11), stage_cost(found.fit.values)
    others = [stage_cost(found.resampled(generator)) for _ in range(RESAMPLES)]
    output = int(float(row["output_tokens_max"]))
    most_rps = saturated_rps(cost, round(float(row["prompt_len_mean"])), output, STAGE_RULES, 2048)
    ours = [stage_served(row, cost, seed) for seed in range(RUNS)]
    known = max(stage_served(one, cost, SEED).read_max for one in calibrates)
    return JudgedRow(
        name=f"{row['experiment'][16:]}, {float(row['rate_rps']):g} rps",
        load=float(row["rate_rps"]) / most_rps,
        found=judged(
            tuple(STAGE_BARS),
            measured_of(row, output),
            ours,
            [stage_served(row, other, 100 + seed) for seed, other in enumerate(others)],
        ),
        reach=float(np.median([one.read_max for one in ours])) / known,
        has_warm_up=row["stage"] == "0",
    )


def by_experiment(folder: Path) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows(folder / "blis_vllm_h100_stages.csv"):
        found[row["experiment"]].append(row)
    return {name: sorted(group, key=lambda row: int(row["stage"])) for name, group in found.items()}


def within_experiments(
    folder: Path, calibrates: int, dice: np.random.Generator | None = None
) -> list[JudgedRow]:
    """Rows in which one stage of each experiment that has two calibrates, and the other is judged."""
    pairs = [group for group in by_experiment(folder).values() if len(group) == 2]
    return [
        judged_stage(pair[1 - calibrates], [pair[calibrates]], stage_fit([pair[calibrates]], dice))
        for pair in pairs
    ]


def across_experiments(folder: Path, dice: np.random.Generator | None = None) -> list[JudgedRow]:
    """Rows in which both stages of a model's `general` calibrate, and other experiments are judged if few failed."""
    groups = by_experiment(folder)
    fits = {
        group[0]["model"]: (group, stage_fit(group, dice))
        for name, group in groups.items()
        if name.endswith("general") and len(group) == 2
    }
    return [
        judged_stage(row, *fits[row["model"]])
        for name, group in groups.items()
        if not name.endswith("general")
        for row in group
        if int(row["n_failed"]) < 0.01 * int(row["n_sent"])
    ]


def median_errors(answers: Sequence[JudgedRow]) -> tuple[dict[str, float], int]:
    """Median errors of the rows whose passes have calibrated sizes, if any has, else of all, in per cent."""
    answered = [row for row in answers if row.is_answered] or list(answers)
    found = {
        name: float(np.median([100.0 * abs(row.found[name].error) for row in answered]))
        for name in STAGE_BARS
    }
    return found, len(answered)


def medians(answers: Sequence[JudgedRow], text: str) -> bool:
    """Print median errors, and whether they are within their bars."""
    found, count = median_errors(answers)
    table(
        ["median error", *(name.removesuffix("_s").replace("_", " ") for name in STAGE_BARS)],
        [
            [f"ours, calibrated, {count} stages", *(f"{error:.1f} %" for error in found.values())],
            ["asked", *(f"{bar:g} %" for bar in STAGE_BARS.values())],
            ["best published, unseen systems", *(f"{best:g} %" for best in STAGE_BEST.values())],
        ],
    )
    kept = [
        ask("stages", f"{text}: median error of {name} within {bar:g} %", kept=found[name] <= bar)
        for name, bar in STAGE_BARS.items()
    ]
    return all(kept)


def stage_sets(folder: Path, dice: np.random.Generator | None = None) -> dict[str, list[JudgedRow]]:
    return {
        "stage 0 calibrates stage 1": within_experiments(folder, 0, dice),
        "stage 1 calibrates stage 0": within_experiments(folder, 1, dice),
        "general calibrates the model's other workloads": across_experiments(folder, dice),
    }


def stages(folder: Path) -> tuple[bool, list[JudgedRow]]:
    print("\n### Stages of two rates on H100s\n")
    sets = stage_sets(folder)
    kept = True
    for text, answers in sets.items():
        print_judged(f"#### {text[0].upper()}{text[1:]}", answers, tuple(STAGE_BARS))
        kept &= medians(answers, text)
        print()
    return kept, [row for answers in sets.values() for row in answers]


def digits(folder: Path) -> bool:
    """Print what the stages come to if starting points of their calibrations differ in the twelfth digit."""
    print("\n### Stages, with the last digits moved\n")
    body = []
    for seed in range(TRIES):
        sets = stage_sets(folder, np.random.default_rng(seed) if seed else None)
        answered = [row for answers in sets.values() for row in answers if row.is_answered]
        inside = {
            has: [row.found[name].is_inside for row in answered if row.has_warm_up is has for name in HELD]
            for has in (False, True)
        }
        errors = [
            ", ".join(f"{one:.1f}" for one in median_errors(rows)[0].values()) for rows in sets.values()
        ]
        body.append(
            [
                "moved" if seed else "as they are",
                *errors,
                *(f"{sum(one)} of {len(one)}" for one in inside.values()),
            ]
        )
    table(
        ["starting points", *(f"{text} [%]" for text in sets), "P99 inside without warm-up", "with warm-up"],
        body,
    )
    return True


# Coverage of the intervals of the sets above.


def coverage(answers: dict[str, list[JudgedRow]]) -> bool:
    """Print how many intervals hold, for rows whose passes have calibrated sizes."""
    stages = [row for row in answers["stages"] if row.is_answered]
    parts = {
        "one H100 at seven rates": answers["rates"],
        "stages without warm-up": [row for row in stages if not row.has_warm_up],
        "stages with warm-up": [row for row in stages if row.has_warm_up],
    }
    inside = {
        name: [sum(row.found[one].is_inside for row in found) for one in HELD]
        for name, found in parts.items()
    }
    print("\n### Coverage\n")
    table(
        ["set", "rows", "E2E P99 inside 95 %", "TTFT P99 inside 95 %"],
        [[name, str(len(found)), *map(str, inside[name])] for name, found in parts.items()],
    )
    kept = True
    for text, names in (("without the stages with warm-up", list(parts)[:2]), ("all", list(parts))):
        cases, held = 2 * sum(len(parts[name]) for name in names), sum(sum(inside[name]) for name in names)
        share = f"{held} of {cases} P99 inside, {100 * held / max(1, cases):.0f} % where 90 % are asked"
        kept &= ask("coverage", f"{text}: {share}", kept=held >= 0.9 * cases)
    print()
    return kept


# Speed: a million requests on one core.


def machine() -> str:
    """The processor's name, as Linux has it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "an unnamed machine"


def timed(profile: LlmProfile, draws: TokenDraws) -> tuple[float, TokenRecords]:
    """CPU time of a run, and its records."""
    begun_s = time.process_time()
    records = serve_engines(profile.table, EngineRules.of(profile, 128, 2048), 1, Routing.ROUND_ROBIN, draws)
    return time.process_time() - begun_s, records


def speed() -> bool:
    profile = LlmProfile(
        name="linear",
        kv=KvCache(tokens=535_040),
        limits_measured=LimitsMeasured(sequences_max=128, batched_tokens_max=2048, context_tokens_max=8192),
        engine=Engine(scheduler=Scheduler.VLLM_V1_0_19),
        coefficients=Coefficients(
            base_s=7e-3, per_prefill_token_s=2.5e-5, per_decode_request_s=2e-5, per_kv_token_s=5e-9
        ),
    )
    plan = TokenPlan(profile="linear", replicas=1, sequences_max=128, batched_tokens_max=2048)
    body: list[list[str]] = []
    bars: list[tuple[str, bool]] = []
    print(f"\n### Speed\n\nOne core of {machine()}.\n")
    for name, got in (
        ("250 each", np.full(1_000_000, 250, dtype=np.int64)),
        ("geometric, mean 250", np.random.default_rng(3).geometric(1 / 250, 1_000_000)),
    ):
        given = np.full(len(got), 200, dtype=np.int64)
        got = np.minimum(got, 4000)
        lengths = LengthRows((200,) * 10_000, tuple(int(one) for one in got[:10_000]), "lengths")
        rate_rps = 0.8 * saturation(profile, plan, lengths).rate_rps
        draws = TokenDraws(
            arrived_s=np.cumsum(np.random.default_rng(4).standard_exponential(len(got))) / rate_rps,
            input_tokens=given,
            output_tokens=got,
            cached_tokens=np.zeros_like(given),
            routing=np.zeros(2 * len(got)),
        )
        took_s, records = min((timed(profile, draws) for _ in range(3)), key=lambda one: one[0])
        body.append([name, f"{rate_rps:.3g}", f"{records.steps:,}", f"{took_s:.2f}"])
        bars.append((f"{name}: a million requests in 5 s of one core", took_s <= 5.0))
    table(["output tokens", "rps at load 0.8", "passes", "CPU [s], best of 3"], body)
    kept = [ask("speed", text, kept=is_kept) for text, is_kept in bars]
    return all(kept)


def sections(folder: Path, only: Sequence[str]) -> Iterator[bool]:
    answers: dict[str, list[JudgedRow]] = {}
    if "runs" in only:
        yield runs(folder)
    for name, section in (("rates", rates), ("stages", stages)):
        if name in only or "coverage" in only:
            kept, answers[name] = section(folder)
            yield kept
        if name == "rates" and "cells" in only:
            yield cells(folder)
    if "coverage" in only:
        yield coverage(answers)
    if "speed" in only:
        yield speed()
    if "digits" in only:
        yield digits(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=(*SECTIONS, "digits"), default=SECTIONS)
    options = parser.parse_args()
    given = "" if options.only == SECTIONS else f" --only {' '.join(options.only)}"
    day = datetime.now(UTC).date()
    print(f"<!-- below: python benchmarks/language_models.py FOLDER{given}, on {day} -->\n")
    kept = list(sections(options.folder, options.only))
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
