"""Tables and sentences about fleets for language models, cell by cell, from made-up findings."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planned import ENGINES, TOKEN_LIMITS
from questions import engine_question
from rich.console import Console, RenderableType
from shown import around

from capacity.answer.sentences import explain, saturates, why_not_fewer
from capacity.answer.sweep import SweepTable
from capacity.performance import Kind, Performance
from capacity.profile.llm import SaturationCheck
from capacity.profile.load import load_llm
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.render import profiles
from capacity.render.rates import rates_details, rates_tables
from capacity.render.tables import performance_rows, short_rows, sweep_table
from capacity.search.max_rate import Point, Rates, stretches_of
from capacity.search.recommendation import Recommendation
from capacity.server.engine.plan import TokenPlan
from capacity.server.engine.rows import EngineRows
from capacity.traffic.lengths import LengthRows
from capacity.traffic.workload import Workload

LINE = load_llm(Path(__file__).parents[1] / "kept" / "files" / "line.json")
QUESTION = engine_question(
    profiles=(LINE,),
    workload=Workload(arrival_rate_rps=40.0),
    lengths=LengthRows((28,), (37,), "lengths", 0),
    objective=TOKEN_LIMITS,
)
SATURATION = Saturation(
    rate_rps=20.0,
    running_mean=12.4,
    kv_utilization=0.83,
    preemption_rate=0.0,
    step_mean_s=0.01,
    prefill_time_share=0.35,
    binding="slots",
)


SEEN = Performance(
    kind=Kind.SIMULATION,
    load=0.6666,
    output_tokens_per_s=1480.4,
    goodput=0.98765,
    running_mean=11.26,
    kv_utilization=0.456,
    preemption_rate=0.0125,
    ttft_mean_s=0.2,
    tpot_mean_s=0.008,
    ttft_quantiles_s={0.5: around(0.1), 0.9: around(0.3), 0.95: around(0.35), 0.99: around(0.4)},
    itl_quantiles_s={0.99: around(0.02)},
    response_quantiles_s={0.99: around(4.0)},
    intervals={"ttft_mean_s": around(0.2)},
)
TTFT = Limit(measure=Measure.TTFT, quantile=0.99, allowed=0.5)


def judged(
    replicas: int, verdict: Verdict = Verdict.MISSED, needed: float = 0.6, **plan: Any
) -> Candidate[TokenPlan]:
    rejection = None if verdict is Verdict.MET else Rejection.of(TTFT, needed)
    return Candidate(
        plan=replace(ENGINES, replicas=replicas, **plan),
        verdict=verdict,
        rejection=rejection,
        performance=SEEN,
    )


def unstable(replicas: int) -> Candidate[TokenPlan]:
    rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.25)
    return Candidate(plan=replace(ENGINES, replicas=replicas), verdict=Verdict.MISSED, rejection=rejection)


def found(**others: Any) -> Recommendation:
    usual: dict[str, Any] = {
        "verdict": Verdict.MET,
        "objective": TOKEN_LIMITS,
        "plan": ENGINES,
        "performance": SEEN,
        "saturation": SATURATION,
    }
    return Recommendation(**usual | others)


def text(pieces: Any) -> list[str]:
    """The printed lines without rules; columns are two spaces apart."""
    console = Console(file=io.StringIO(), width=250)
    with console.capture() as shown:
        for one in pieces:
            console.print(one)
    lines = (re.sub(r" {2,}", "  ", line.strip()) for line in shown.get().splitlines())
    return [line for line in lines if re.search(r"\w", line)]


def rows(piece: RenderableType) -> list[list[str]]:
    """The cells of a table, with its title and heads first."""
    return [re.split(r" {2,}", line) for line in text([piece])]


FLEET = "3 replicas of line with up to 16 sequences"
LIMITS = "TTFT P99 <= 500 ms, TPOT mean <= 10 ms"


def test_the_answer_in_one_sentence() -> None:
    first, *_ = explain(found(hourly_usd=6.0), QUESTION)
    assert first == (
        f"{FLEET} meet {LIMITS} at 40 rps for 6.000 USD/h: TTFT P99 is 400 (360 to 440) ms, closest to its limit "
        "(80 %)."
    )


FEWER = "TTFT P99 400 (360 to 440) ms at load 0.667."


@pytest.mark.parametrize(
    ("replicas", "least", "considered", "told"),
    [
        (1, 1, (), "One replica is the minimum."),
        (3, 3, (), "Fewer than 3 replicas were not tried; the reason is below."),
        (3, 2, (), "One replica fewer was not tried."),
        (3, 2, (judged(1), judged(3), judged(2, profile="other")), "One replica fewer was not tried."),
        (3, 1, (judged(2, sequences_max=8),), "One replica fewer was not tried."),
        (3, 1, (judged(2, batched_tokens_max=8),), "One replica fewer was not tried."),
        (3, 1, (judged(2, routing=Routing.RANDOM),), "One replica fewer was not tried."),
        (3, 3, (judged(2),), f"One fewer is not enough: {FEWER}"),
        (3, 1, (judged(2, Verdict.INCONCLUSIVE),), f"One fewer is in doubt: {FEWER}"),
        (2, 1, (judged(1, Verdict.MET),), "One fewer meets the limits as well: the plan has more for what else was asked"),
    ],
)  # fmt: skip
def test_why_one_fewer_is_not_enough(replicas, least, considered, told) -> None:
    plan = replace(ENGINES, replicas=replicas)
    question = replace(QUESTION, replicas_min=least)
    assert why_not_fewer(found(plan=plan, considered=considered), question, plan).startswith(told)


@pytest.mark.parametrize(
    ("binding", "what"),
    [
        ("slots", "its 16 sequences: a larger --sequences-max may carry more"),
        (
            "tokens",
            "its 512 tokens a step with 12 requests running: a larger --batched-tokens-max may carry more",
        ),
        (
            "kv_cache",
            "its KV cache with 12 requests running, so that a larger --sequences-max would not help",
        ),
    ],
)
def test_what_limits_an_engine_first(binding: str, what: str) -> None:
    brief = {
        "slots": "--sequences-max 16",
        "tokens": "--batched-tokens-max 512",
        "kv_cache": "its KV cache, not by --sequences-max",
    }[binding]
    assert saturates(ENGINES, replace(SATURATION, binding=binding), briefly=True) == (
        f"An engine saturates at 20 rps, bound by {brief}."
    )
    assert saturates(ENGINES, replace(SATURATION, binding=binding)) == (
        f"An engine saturates at 20 rps, bound by {what}."
    )


def test_a_larger_setting_that_no_profile_covers_must_be_measured_first() -> None:
    slots = replace(SATURATION, binding="slots", measured_max=16)
    assert saturates(ENGINES, slots).endswith(
        "a larger --sequences-max may carry more, once it is measured: the profile covers up to 16."
    )
    assert saturates(ENGINES, replace(slots, measured_max=32)).endswith("may carry more.")
    tokens = replace(SATURATION, binding="tokens", measured_max=512)
    assert saturates(ENGINES, tokens).endswith("once it is measured: the profile covers up to 512.")


@pytest.mark.parametrize(
    ("sequences", "told"), [(1, "up to 1 sequence takes 2"), (8, "up to 8 sequences take 2")]
)
def test_the_verb_agrees_with_the_sequences_of_an_alternative(sequences: int, told: str) -> None:
    other = replace(judged(2, Verdict.MET), plan=replace(ENGINES, replicas=2, sequences_max=sequences))
    *_, last = explain(found(plan=ENGINES, alternatives=(other,)), QUESTION)
    assert last == f"Instead: {told}, 4.000 USD/h."


def test_the_performance_of_a_fleet() -> None:
    """Preemptions are shown in full, and where there are some; a queue of batches has no tokens."""
    shown = short_rows(SEEN, {0.5, 0.95, 0.99})
    assert shown == [
        ("load", "0.667"),
        ("TTFT, P50", "100 (90 to 110) ms"),
        ("TTFT, P95", "350 (315 to 385) ms"),
        ("TTFT, P99", "400 (360 to 440) ms"),
        ("ITL, P99", "20 (18 to 22) ms"),
        ("response, P99", "4 (3.6 to 4.4) s"),
        ("goodput", "98.77 %"),
        ("output tokens", "1480 a second"),
        ("running, KV cache", "11.3, 46 % full"),
        ("preemptions", "0.0125 a request"),
    ]
    whole = performance_rows(SEEN)
    assert {("TTFT, mean", "200 ms"), ("TTFT, P90", "300 (270 to 330) ms"), ("TPOT, mean", "8 ms")} <= {
        *whole
    }
    calm = replace(SEEN, preemption_rate=0.0)
    assert "preemptions" not in dict(short_rows(calm))
    assert dict(performance_rows(calm))["preemptions"] == "0 a request"
    assert short_rows(Performance(kind=Kind.SIMULATION)) == []


def test_the_rates_that_a_fleet_can_handle() -> None:
    """3 engines of 20 rps saturate at 60."""

    def rates(accepted_rps: float | None, plan: TokenPlan = ENGINES, *, verbose: bool = True) -> list[str]:
        scenario: Any = QUESTION.scenario(plan)
        points = (Point(size=45.0, candidate=judged(3, Verdict.MET)), Point(size=60.0, candidate=unstable(3)))
        held = [0.0, accepted_rps] if accepted_rps else []
        kept = [Point(size=rate_rps, candidate=points[0].candidate) for rate_rps in held]
        found = Rates(
            scenario=scenario,
            saturation=SATURATION,
            only_rises=True,
            points=points,
            stretches=tuple(stretches_of([*kept, points[1]])),
        )
        details = rates_details(found, "", 0.9) if verbose else ()
        return text([*rates_tables(found, verbose=verbose), *details])

    wall = (
        "An engine saturates at 20 rps, bound by its 16 sequences: a larger --sequences-max may carry more."
    )
    carried = f"{FLEET} carry 45 rps within {LIMITS}; 60 rps is too much."
    table = [
        "rate  load  TTFT P99  TPOT mean  verdict",
        "45 rps  0.750  400 (360 to 440) ms  8 ms  met",
        "60 rps  1.000  missed",
    ]
    assert rates(45.0)[:7] == [
        carried,
        wall,
        "Assumed: TPOT mean rises with the rate, as in all runs so far.",
        *table,
        "In brackets: 90 % intervals.",
    ]
    brief = rates(45.0, verbose=False)
    assert brief[:5] == [carried, wall, *table]
    assert brief[-1].startswith("More: -v (2 rates tried, as a chart")
    assert rates(None)[0] == f"At no rate would {FLEET} meet {LIMITS}."
    one = rates(15.0, replace(ENGINES, replicas=1))
    assert (
        one[0]
        == f"1 replica of line with up to 16 sequences carries 15 rps within {LIMITS}; 60 rps is too much."
    )


def swept(rate_rps: float, replicas: int = 2, ttft_s: float | None = 0.1, **others: Any) -> tuple[Any, ...]:
    usual: dict[str, Any] = {
        "profile": "line", "routing": "random", "sequences_max": 16, "batched_tokens_max": 512, "replicas": replicas,
        "arrival_rate_rps": rate_rps, "load": 0.5, "outcome": "answered",
    }  # fmt: skip
    kinds = ("ttft_p99_with_losses", "tpot_p99")
    usual |= {f"{kind}{end}_s": ttft_s for kind in kinds for end in ("", "_low", "_high")}
    return tuple((usual | others).get(column.name) for column in SWEPT.columns)


SWEPT = SweepTable(form=EngineRows(), quantiles=(0.5, 0.99), seed=0, confidence=0.95)


def test_a_sweep_has_a_line_for_each_row() -> None:
    shown = rows(sweep_table(SWEPT, [swept(10.0), swept(20.0, ttft_p99_with_losses_high_s=None)]))
    assert shown == [
        ["line, random"],
        ["rate", "replicas", "load", "TTFT P99", "TPOT P99", "outcome"],
        ["10 rps", "2", "0.500", "100 ms", "100 ms", "answered"],
        ["20 rps", "2", "0.500", "100 ms (100 ms or more)", "100 ms", "answered"],
    ]
    unstable = swept(20.0, 1, None, load=None, outcome="unstable", reason="load 1.25 >= 1")
    shown = rows(sweep_table(SWEPT, [swept(10.0), unstable]))
    assert shown[1][-2:] == ["outcome", "why"]
    assert shown[3] == ["20 rps", "1", "unstable", "too few requests"]
    settings = rows(sweep_table(SWEPT, [swept(10.0), swept(10.0, sequences_max=8)]))
    assert settings[1][:4] == ["rate", "replicas", "sequences", "load"]


def test_the_sources_and_the_check_of_a_profile() -> None:
    check = SaturationCheck(saturated_throughput_rps=20.0, input_tokens=128, output_tokens=64)
    profile = replace(LINE, check=check, source={"steps": "a test"})
    assert rows(profiles.check_table(profile, 21.0)) == [
        ["steps", "a test"],
        ["request overhead", "0 s"],
        ["check", "21 rps by these steps, 20 rps measured (+5.0 %), of 128 input and 64 output tokens"],
    ]
    assert len(rows(profiles.check_table(profile, None))) == 2
    assert len(rows(profiles.check_table(LINE, 21.0))) == len(LINE.source) + 1


def test_the_screen_of_a_profile() -> None:
    """A step takes 5 ms + 0.2 ms per decoding request + 20 µs per prompt token + 10 ns per cached token read."""
    shown = text(profiles.llm_profile_pieces(LINE))
    assert shown[:5] == [
        "model  a model", "device  1 x a device", "engine  unknown, vllm-v1@0.19",
        "KV cache  16384 tokens in blocks of 16",
        "measured up to  16 sequences, 512 tokens a step, 1024 tokens of context",
    ]  # fmt: skip
    assert shown[5].startswith("decoding requests  reading ")
    assert "512  15.2 ms" in shown
    bare = replace(LINE, model=None, device=None, engine=replace(LINE.engine, name="vLLM", version="0.9"))
    assert text(profiles.llm_profile_pieces(bare))[:3] == [
        "model  unknown",
        "device  1 x unknown",
        "engine  vLLM 0.9, vllm-v1@0.19",
    ]
