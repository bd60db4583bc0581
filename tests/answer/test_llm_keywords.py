"""What the verbs for language models make of their keywords, before anything is simulated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from questions import engine_question

import capacity as cap
from capacity.api.compare import _profiles_to_compare
from capacity.api.profile import asked_engine, measure, sweep_settings
from capacity.api.stress import _saved_fleet
from capacity.errors import DomainError, InputError
from capacity.profile.llm import TOKENS_LIMIT, LlmProfile, Scheduler
from capacity.profile.load import load_llm
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.arguments import Asked, read_switch, refuse_for_batches, refuse_for_engines
from capacity.question.asked import FLAGS
from capacity.question.candidate import Verdict
from capacity.question.objective import Objective
from capacity.question.parse import priced
from capacity.question.plan import ANY_ROUTINGS, Routing
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario
from capacity.search.recommendation import Recommendation
from capacity.server.asked import AskedFleet, Requests
from capacity.server.batch.asked import AskedBatches
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.asked import AskedEngines, _cached_share, _chosen, _single, with_engine_flags
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.lengths import LengthRows, parse_lengths
from capacity.traffic.workload import GammaArrivals, PoissonArrivals, TraceArrivals, Workload

FILES = Path(__file__).parents[1] / "kept" / "files"
LINE = load_llm(str(FILES / "line.json"))
LENGTHS = "input=constant:20;output=constant:10"


ENGINES = AskedEngines()


def requests_of(**given: Any) -> Requests:
    return ENGINES.requests(LINE, Asked("simulate", given))


def refused(said: str, call: Callable[..., object], *given: Any) -> None:
    with pytest.raises((InputError, DomainError)) as caught:
        call(*given)
    assert str(caught.value).startswith(said), str(caught.value)


def test_what_is_for_language_models_is_refused_beside_batches() -> None:
    refuse_for_batches({"lengths": None, "sequences_max": [], "replay": False, "rate": "5rps"})
    for name in ("lengths", "cached_share", "slo_ttft_p99", "slo_itl_mean_s", "goodput_min"):
        flag = "--" + name.removesuffix("_s").replace("_", "-")
        refused(f"{flag} is for language models, and this profile has batch", refuse_for_batches, {name: 0.5})
    refused("--replay is for language models", refuse_for_batches, {"replay": True})
    refused("--cached-share is for language models", refuse_for_batches, {"cached_share": 0})
    refused("--prefix-caching is for language models", refuse_for_batches, {"prefix_caching": False})


def test_what_is_for_batches_is_refused_beside_language_models() -> None:
    usual = {
        "batching": "triton",
        "spike": None,
        "batch_wait": "0ms",
        "survive": [],
        "request_class": (),
    }
    refuse_for_engines(usual)
    for name, value, flag, why in (
        ("batching", "torchserve", "--batching", "an engine's rules are --engine-policy"),
        ("spike", "2x", "--spike", "what goes wrong with engines is simulated by capacity stress"),
        ("batch_wait_s", 0.1, "--batch-wait", "an engine starts a step as soon as the one before has ended"),
        ("request_class", ["a"], "--class", "requests of a language model differ by their lengths"),
        (
            "slo_wait_p99", "1s", "--slo-wait-p99",
            "a request waits until its first token, which --slo-ttft-p99 limits",
        ),
    ):  # fmt: skip
        refused(f"leave out {flag} for a language model: ", refuse_for_engines, usual | {name: value})
        assert why in FLAGS[name.removesuffix("_s")].engines_lack


def test_every_flag_that_engines_do_not_have_says_why_of_itself() -> None:
    """They batch continuously, which was said of users, losses and prices of a day too."""
    for name, flag in FLAGS.items():
        assert "batch" not in flag.engines_lack or name in (
            "batch_size_max", "batch_wait", "timer", "batching", "preferred_sizes", "objective",
        ), name  # fmt: skip


def test_switches_are_on_or_off() -> None:
    assert [read_switch(value, "--f") for value in ("on", "off", True, False, None)] == [
        True, False, True, False, None,
    ]  # fmt: skip
    refused(f"--f {'x' * 60!r} is neither on nor off", read_switch, "x" * 61, "--f")


def test_flags_replace_what_a_profile_says_of_its_engine() -> None:
    assert with_engine_flags(LINE, {}) == LINE
    found = with_engine_flags(
        LINE,
        {
            "kv_tokens": 4096, "block_tokens": 32, "prefix_caching": "on", "async_scheduling": "off",
            "chunked_prefill": False, "request_overhead": "7ms",
        },
    )  # fmt: skip
    assert (found.kv.tokens, found.kv.block_tokens) == (4096, 32)
    assert (found.engine.prefix_caching, found.engine.async_scheduling) == (True, False)
    assert found.engine.chunked_prefill is False
    slots = with_engine_flags(LINE, {"engine_policy": "llama-cpp", "async_scheduling": "off"})
    assert slots.engine.scheduler is Scheduler.LLAMA_CPP
    assert (found.overhead.request_s, found.overhead.per_input_token_s) == (
        0.007,
        LINE.overhead.per_input_token_s,
    )
    assert with_engine_flags(LINE, {"request_overhead_s": 0.0}).overhead.request_s == 0.0
    refused("--engine-policy 'x' is unknown", with_engine_flags, LINE, {"engine_policy": "x"})


NEEDED = {"kv_tokens": 1000, "sequences_max": 2, "batched_tokens_max": 8}


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("kv_tokens", "the engine's log says"),
        ("sequences_max", "it is what the engine was started with, such as vLLM's --max-num-seqs"),
        ("batched_tokens_max", "it is what the engine was started with, such as vLLM's --max-num-batched-tokens"),
    ],
)  # fmt: skip
def test_what_clients_do_not_see_is_asked_for(name: str, where: str) -> None:
    flag = "--" + name.replace("_", "-")
    refused(
        f"{flag} is needed, since clients do not see it; {where}",
        asked_engine, {key: value for key, value in NEEDED.items() if key != name},
    )  # fmt: skip
    if name != "kv_tokens":
        for value in (0, TOKENS_LIMIT + 1):
            refused(f"{flag} must be", asked_engine, NEEDED | {name: value})


def test_an_engine_is_what_flags_say() -> None:
    found = asked_engine(
        NEEDED | {
            "name": "mine", "runtime": "vLLM 0.9", "devices": 2, "model": "m", "device": "H100", "precision": "fp8",
            "hourly_usd": 3.5,
        }
    )  # fmt: skip
    assert (found.name, found.model, found.device, found.precision) == ("mine", "m", "H100", "fp8")
    assert (found.devices, found.tensor_parallel, found.all_reduce, found.hourly_usd) == (2, 2, True, 3.5)
    assert (found.engine.name, found.engine.version) == ("vLLM", "0.9")
    assert (found.kv.tokens, found.limits_measured.context_tokens_max) == (1000, TOKENS_LIMIT)
    assert (found.limits_measured.sequences_max, found.limits_measured.batched_tokens_max) == (2, 8)
    unversioned = asked_engine(NEEDED | {"runtime": "vLLM"}).engine
    assert (unversioned.name, unversioned.version) == ("vLLM", None)
    without = asked_engine(NEEDED).engine
    assert (without.name, without.version) == (None, None)
    refused("--devices must be", asked_engine, NEEDED | {"devices": 0})
    settings = sweep_settings(found, {"request_overhead": "2ms"})
    assert (settings.kv, settings.sequences_max, settings.batched_tokens_max) == (found.kv, 2, 8)
    assert settings.request_overhead_s == 0.002
    assert sweep_settings(found, {}).request_overhead_s is None


def test_settings_are_whole_numbers_from_1_on() -> None:
    assert _chosen([], "--f") is None
    assert _chosen([8, 4, 8], "--f") == (4, 8)
    refused("--f takes whole numbers from 1 on, got [2, 2.5]", _chosen, [2, 2.5], "--f")
    assert (_single(None, 7, "--f"), _single(3, 7, "--f"), _single(1, 7, "--f")) == (7, 3, 1)
    refused("--f takes whole numbers from 1 on, got [0]", _single, 0, 7, "--f")


def fleet_of(replicas: int, **given: Any) -> TokenPlan:
    return ENGINES.plan(LINE, Asked("simulate", {"replicas": replicas, "routing": "random", **given}))


def test_a_fleet_is_as_it_was_measured_unless_flags_say_otherwise() -> None:
    limits = LINE.limits_measured
    assert fleet_of(3) == TokenPlan(
        profile="line",
        replicas=3,
        sequences_max=limits.sequences_max,
        batched_tokens_max=limits.batched_tokens_max,
        routing=Routing.RANDOM,
    )
    changed = fleet_of(1, sequences_max=2, batched_tokens_max=16)
    assert (changed.sequences_max, changed.batched_tokens_max) == (2, 16)
    for name in ("sequences_max", "batched_tokens_max"):
        with pytest.raises(DomainError):
            fleet_of(1, **{name: getattr(limits, name) + 1})


def test_a_cached_share_is_from_0_to_below_1() -> None:
    assert [_cached_share({"cached_share": share}) for share in (None, 0.0, 0, "25%", 0.5)] == [
        0.0, 0.0, 0.0, 0.25, 0.5,
    ]  # fmt: skip
    for share in (1.0, "100%", -0.1):
        refused("--cached-share", _cached_share, {"cached_share": share})


def test_prices_go_to_the_profile_that_they_name() -> None:
    other = replace(LINE, name="other", hourly_usd=None)
    first = replace(LINE, hourly_usd=None)

    def prices(*texts: str | float, profiles: Any = (first, other)) -> list[float | None]:
        return [one.hourly_usd for one in priced(profiles, texts)]

    assert prices("other=2", "line=1") == [1.0, 2.0]
    assert prices(0.7, profiles=[first]) == prices("=0.7", profiles=[first]) == [0.7]
    refused("two of the profiles have the same name; rename or drop one", priced, [first, first], [])
    refused("--hourly-usd '0.7' names no profile; line=0.50 does", prices, "0.7")
    refused("--hourly-usd 'x=0.7' names no profile; line=0.50 does", prices, "x=0.7")
    refused("--hourly-usd 'line=2' sets a second price for line", prices, "line=1", "line=2")
    long = "x" * 90 + "=1"
    refused(f"--hourly-usd {long[:60]!r} names no profile", prices, long)


def test_any_routing_leaves_out_the_queue_that_engines_do_not_share() -> None:
    def routings(*names: str) -> tuple[Routing, ...]:
        return ENGINES.routings(Asked("plan", {"routing": list(names)}))

    assert routings("any") == tuple(one for one in ANY_ROUTINGS if one is not Routing.SHARED_QUEUE)
    assert routings() == (Routing.ROUND_ROBIN,)
    assert routings("shared-queue") == (Routing.SHARED_QUEUE,)
    assert routings("random") == (Routing.RANDOM,)


def test_requests_have_lengths(tmp_path: Path) -> None:
    found = requests_of(lengths=LENGTHS)
    assert found == Requests(arrivals=PoissonArrivals(), lengths=parse_lengths(LENGTHS))
    rows = LengthRows((3,), (4,), "mine")
    process = GammaArrivals(cv=2.0)
    found = requests_of(lengths=rows, arrivals=process, cached_share="25%")
    assert (found.lengths, found.arrivals, found.cached_share) == (rows, process, 0.25)
    refused("a language model needs the lengths of requests; give --lengths", requests_of)
    with pytest.raises(InputError, match="^lengths are text such as "):
        requests_of(lengths=5)
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,input_tokens,output_tokens\n0,3,4\n1,5,6\n2,7,8\n", encoding="utf-8")
    recorded = requests_of(arrivals=f"trace:{trace}")
    assert recorded.in_order
    assert isinstance(recorded.arrivals, TraceArrivals)
    assert isinstance(recorded.lengths, LengthRows)
    assert (recorded.lengths.input_tokens, recorded.lengths.output_tokens) == ((3, 5, 7), (4, 6, 8))
    drawn = requests_of(arrivals=f"trace:{trace}", lengths=rows)
    assert (drawn.lengths, drawn.in_order) == (rows, False)
    bare = tmp_path / "bare.csv"
    bare.write_text("t_s\n0\n1\n2\n", encoding="utf-8")
    with pytest.raises(
        InputError, match="^bare.csv has no columns input_tokens and output_tokens; a language"
    ):
        requests_of(arrivals=f"trace:{bare}")


def test_a_flag_of_batches_is_refused_for_engines_even_as_its_default() -> None:
    for given in ({"batching": "triton"}, {"batch_wait": "0ms"}):
        with pytest.raises(InputError, match="^leave out --batch[a-z-]+ for a language model: "):
            ENGINES.refuse(Asked("simulate", given))
        ENGINES.refuse(Asked("simulate", given, told=()))


def test_engines_in_trouble_have_no_trace() -> None:
    asked = {"recover_within": "60s", "trigger": "lose:1,60s", "timeout": "5s"}

    def refuse(**given: Any) -> None:
        ENGINES.refuse(Asked("plan", given), ("startup_time",) if "trigger" in given else ())

    refuse()
    refuse(**asked, startup_time="5s")
    for said, given in (
        ("leave out --startup-time for a language model", {"startup_time": "5s"}),
        ("leave out --spike for a language model", asked | {"spike": "2x"}),
        ("--shed does not apply to engines", asked | {"shed": "lifo"}),
        ("a trace ends when its requests do, and", asked | {"arrivals": "trace:x.csv"}),
        ("a trace ends when its requests do, and", asked | {"arrivals": TraceArrivals(instants_s=(0.0, 1.0))}),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"^{said}"):
            refuse(**given)


QUESTION = engine_question(
    profiles=(LINE,),
    workload=Workload(arrival_rate_rps=20.0, arrivals=PoissonArrivals()),
    lengths=parse_lengths(LENGTHS),
    objective=Objective.of(response={0.9: 1.0}),
)
FIVE = ServiceProfile(
    name="five",
    timings=(BatchTiming(batch_size=1, mean_s=0.005), BatchTiming(batch_size=8, mean_s=0.01)),
)
PLAN = TokenPlan(profile="line", replicas=2, sequences_max=4, batched_tokens_max=64)
SAVED: Any = SimpleNamespace(question=QUESTION, plan=PLAN, profile=LINE)


def test_a_saved_plan_goes_with_another_rate_routing_or_number() -> None:
    def fleet(**given: Any) -> AnyScenario:
        return _saved_fleet(SAVED, Asked("stress", {"plan": "plan.json", "trigger": "x", **given}))

    assert fleet() == QUESTION.scenario(PLAN)
    found = fleet(replicas=5, rate="9rps", routing="random")
    assert (found.plan.replicas, found.plan.routing) == (5, Routing.RANDOM)
    assert found.workload.arrival_rate_rps == 9.0
    for name in ("lengths", "request_overhead", "request_overhead_s", "kv_tokens"):
        flag = "--" + name.removesuffix("_s").replace("_", "-")
        with pytest.raises(InputError, match=f"^a saved plan has its own settings; leave out {flag}"):
            fleet(**{name: 1})


def test_a_replay_has_a_trace_with_lengths_and_all_its_requests(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,input_tokens,output_tokens\n0,3,4\n1,5,6\n2,7,8\n", encoding="utf-8")
    recorded = {"arrivals": f"trace:{trace}", "context_tokens_max": 100}
    for said, verb, given in (
        ("replay serves the requests of a trace; give arrivals trace:", cap.simulate,
         {"rate_rps": 5.0, "lengths": LENGTHS, "replay": True}),
        ("lengths that go with a trace are served as they are", cap.simulate, recorded),
        ("replay serves every request of the trace; leave out", cap.simulate, recorded | {"replay": True}),
        ("lengths that go with a trace are served as they are", cap.max_rate, recorded | {"slo_p99_s": 1.0}),
        ("replay serves each request of the trace once; leave out", cap.simulate,
         {"arrivals": f"trace:{trace}", "replay": True, "timeout": "1s", "attempts": 2}),
        ("replay serves each request of the trace once; leave out", cap.simulate,
         {"arrivals": f"trace:{trace}", "replay": True, "hedge": "1s"}),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"^{said}"):
            verb(LINE, 1, **given)


def test_what_fleets_beside_saved_plans_take_is_read_of_their_profiles() -> None:
    for given in ({"queue_limit": 5}, {"spare": 1, "seed": 3}, {"kv_tokens": 50}):
        asked = Asked("compare", {"plans": ["a"], "fleet": ["replicas=1"], "profile": [LINE], **given})
        assert len(_profiles_to_compare([SAVED], asked)) == 1


def test_a_server_is_measured_by_its_name_and_up_to_some_length() -> None:
    model = "--model is needed: the server knows its model by a name"
    refused(model, measure, "http://127.0.0.1:1", 1.0, NEEDED, print)
    context = "--context-tokens-max is needed: requests are measured up to some length"
    refused(context, measure, "http://127.0.0.1:1", 1.0, NEEDED | {"model": "m"}, print)


def test_a_curve_is_a_sweep_over_shares_of_the_saturation_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that saturates at 50 rps, and three of them."""
    seen: list[Any] = []

    def swept(grid: Any, asked: Any) -> Any:
        seen.append((grid, asked))
        return SimpleNamespace(table="table", cells=("cell",))

    monkeypatch.setattr("simulations.saturation.saturated", lambda _: SimpleNamespace(rate_rps=50.0))
    monkeypatch.setattr("capacity.api.rates.swept", swept)
    asked = {"lengths": LENGTHS, "routing": "random"}
    found = cap.curve(LINE, 3, **asked, seed=5)
    ((grid, given),) = seen
    shares = (0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
    cells = list(grid.cells())
    assert [one.workload.arrival_rate_rps for one in cells] == pytest.approx([150.0 * one for one in shares])
    assert {one.plan for one in cells} == {found.plan}
    assert (given["seed"], found.plan.replicas, found.plan.routing.value) == (5, 3, "random")
    cap.curve(LINE, 3, **asked, arrivals="gamma:cv=2")
    assert seen[-1][0].workloads[0].arrivals == GammaArrivals(cv=2.0)
    cap.curve(LINE, 3, **asked, arrivals=TraceArrivals(instants_s=(0.0, 1.0), name="t"))
    rates_rps = [one.workload.arrival_rate_rps for one in seen[-1][0].cells()]
    assert rates_rps == pytest.approx(sorted([1.0, *(150.0 * share for share in shares)]))


EFFORT = {
    "seed": 1,
    "confidence": 0.9,
    "precision": 0.1,
    "requests_max": 1000,
    "engine": "kernel",
    "workers": 1,
}


@pytest.mark.parametrize("with_trouble", [False, True])
@pytest.mark.parametrize("is_found", [False, True])
@pytest.mark.parametrize("explains", [False, True])
def test_a_plan_is_found_and_then_brought_back_and_then_explained(
    monkeypatch: pytest.MonkeyPatch, with_trouble: bool, is_found: bool, explains: bool
) -> None:
    steps: list[str] = []
    nothing = Recommendation(verdict=Verdict.MISSED, objective=QUESTION.objective)
    first = replace(nothing, verdict=Verdict.MET, plan=PLAN)
    larger = replace(first, plan=replace(PLAN, replicas=5))

    def recommend(
        question: Question, judge: Any, report: Any, *, has_headroom: bool, confidence: float
    ) -> Any:
        assert confidence == 0.9
        steps.append(f"recommend {question.replicas_min} {has_headroom}")
        return first if is_found else nothing

    def recover(question: Question, found: Any, trouble: Any, work: Any) -> Any:
        steps.append("recover")
        return larger, "recovery"

    def headroom(question: Question, found: Any, judge: Any, report: Any) -> Any:
        steps.append(f"headroom {found.plan.replicas}")
        return found

    def explained(question: Question, plan: TokenPlan, judge: Any, report: Any, **_: Any) -> Any:
        steps.append(f"explained {plan.replicas}")
        return SimpleNamespace(neighbours=("changes",), saturation="known")

    monkeypatch.setattr("capacity.search.plan_decision.recommend", recommend)
    monkeypatch.setattr("capacity.search.plan_decision.with_headroom", headroom)
    monkeypatch.setattr("capacity.explanation.explanation.explain_plan", explained)
    monkeypatch.setattr("simulations.saturation.require_check", lambda one: steps.append(f"check {one.name}"))
    monkeypatch.setattr("capacity.api.trouble.plan_to_recover", recover)
    trouble = {"recover_within": "60s", "trigger": "lose:2,60s", "timeout": "5s"} if with_trouble else {}
    asked: list[Question] = []
    answer = cap.plan(
        LINE, **EFFORT, **trouble, rate_rps=20.0, lengths=LENGTHS, slo_p90_s=1.0, replicas_max=9, explain=explains,
        before=asked.append,
    )  # fmt: skip
    least = 3 if with_trouble else 1
    assert steps == [
        "check line",
        f"recommend {least} {not with_trouble}",
        *(["recover", "headroom 5"] if with_trouble and is_found else []),
        *([f"explained {5 if with_trouble else 2}"] if explains and is_found else []),
    ]
    assert answer.recommendation.changes == (("changes",) if explains and is_found else ())
    assert answer.recovery == ("recovery" if with_trouble and is_found else None)
    assert answer.question.replicas_min == (5 if with_trouble and is_found else least)
    assert [one.replicas_min for one in asked] == [least]
    assert (answer.effort.seed, answer.effort.confidence, answer.effort.precision) == (1, 0.9, 0.1)


def test_fleets_whose_profile_fails_its_check_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> None:
        raise InputError("it fails its check")

    monkeypatch.setattr("simulations.cases.engine.require_check", fails)
    with pytest.raises(InputError, match="^replicas=1: it fails its check$"):
        cap.compare(profile=LINE, fleet=["replicas=1", "replicas=2"], lengths=LENGTHS, rate_rps=20.0)


@pytest.mark.parametrize("output", [None, "rows.csv"])
def test_a_file_that_cannot_be_written_is_told_before_a_sweep(monkeypatch, output) -> None:
    steps: list[str] = []

    def looked_at(path: Path) -> None:
        raise InputError(f"no {path}")

    def kept(path: Path | None, *_: object, **__: object) -> Any:
        steps.append(f"keep {path}")
        raise InputError("kept")

    monkeypatch.setattr("capacity.answer.sweep.check_file", looked_at)
    monkeypatch.setattr("capacity.answer.sweep.kept_rows", kept)
    with pytest.raises(InputError, match="kept" if output is None else "no rows.csv"):
        cap.sweep(LINE, 1, lengths=LENGTHS, rate_rps=20.0, output=output)
    assert steps == (["keep None"] if output is None else [])


@pytest.mark.parametrize(
    ("kind", "profile", "plan"),
    [
        (ENGINES, LINE, replace(PLAN, sequences_max=3, batched_tokens_max=48, queue_limit=5)),
        (
            AskedBatches(),
            FIVE,
            BatchPlan(
                profile="five",
                replicas=3,
                batch_size_max=4,
                batch_wait_max_s=0.002,
                routing=Routing.RANDOM,
                batching=Batching.TRITON,
                preferred_sizes=(2,),
                queue_limit=5,
            ),
        ),
    ],
)
def test_a_plan_is_simulated_with_all_of_its_settings(
    kind: AskedFleet, profile: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit` once left out the queue limit of engines."""
    seen: list[Any] = []

    def stop(scenario: Any, asked: Any) -> Any:
        seen.append(scenario.plan)
        raise InputError("seen")

    monkeypatch.setattr("capacity.api.simulate.with_autoscaler", stop)
    lengths = {"lengths": LENGTHS} if isinstance(profile, LlmProfile) else {}
    with pytest.raises(InputError, match="^seen"):
        cap.simulate(profile, plan.replicas, rate_rps=1.0, **lengths, **kind.keywords(plan))
    assert seen == [plan]
