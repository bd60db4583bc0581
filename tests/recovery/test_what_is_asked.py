"""What `stress` and `plan` make of their keywords, before anything is simulated."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from questions import batch_question

from capacity.api.stress import _stress, stress
from capacity.api.trouble import flags_of, in_trouble, large_enough, read_trouble
from capacity.doors import in_keywords
from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.arguments import Asked
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Breakdowns, Survival
from capacity.recovery.disturbance import Disturbances
from capacity.recovery.protection import Abandoned, Ejecting, Protection, Shedding
from capacity.recovery.stress import DETECTION_S, Stress
from capacity.recovery.trigger import Trigger, TriggerKind
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.server import BatchServer
from capacity.traffic.clients import Clients
from capacity.traffic.workload import ClosedPopulation, GammaArrivals, PoissonArrivals, Workload

FILES = Path(__file__).parents[1] / "kept" / "files"
PROFILE = ServiceProfile(
    name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=4, mean_s=0.02))
)
FLEET: dict[str, Any] = {"profile": PROFILE, "rate_rps": 50.0, "replicas": 2, "trigger": "spike:2x,30s"}


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, dict[str, Any]]]:
    """What would have been screened: the stress, its judge, and how."""
    seen: list[tuple[Any, Any, dict[str, Any]]] = []

    def screen(asked: Any, judge: Any, report: Any, **how: Any) -> Any:
        seen.append((asked, judge, how))
        return SimpleNamespace()

    monkeypatch.setattr("capacity.search.stress.screen", screen)
    return seen


def refused(said: str, **given: Any) -> None:
    with pytest.raises(InputError) as caught:
        stress(**given)
    assert str(caught.value).startswith(in_keywords(said)), str(caught.value)


Seen = list[tuple[Any, Any, dict[str, Any]]]


def test_by_default_a_fleet_is_asked_with_clients_that_wait(screened: Seen) -> None:
    answer = stress(**FLEET, workers=1)
    ((asked, judge, how),) = screened
    assert asked == Stress(
        server=BatchServer(profile=PROFILE),
        workload=Workload(arrival_rate_rps=50.0, arrivals=PoissonArrivals()),
        plan=BatchPlan(profile="p", replicas=2, batch_size_max=4, routing=Routing.ROUND_ROBIN),
        clients=Clients(),
        trigger=Trigger(kind=TriggerKind.SPIKE, lasting_s=30.0, factor=2.0),
        protection=Protection(late_margin_s=0.02),
        detection_s=DETECTION_S,
        startup_s=0.0,
        horizon_s=600.0,
    )
    assert (judge.seed, judge.runs, judge.confidence) == (0, 20, 0.95)
    assert how == {"replicas_max": 1024, "only_verdict": False, "is_map": False}
    assert (answer.effort.seed, answer.effort.confidence, answer.effort.workers) == (0, 0.95, 1)


def test_each_keyword_goes_to_its_field(screened: Seen) -> None:
    stress(
        PROFILE,
        rate="60rps",
        replicas=3,
        batch_size_max=2,
        batch_wait="1ms",
        routing="least-outstanding",
        queue_limit=9,
        arrivals="gamma:cv=2",
        request_overhead="3ms",
        trigger="crash:1,20s",
        detection="4s",
        startup_time="7s",
        slow_start="1min",
        cold_batches="20:3x",
        mtbf="1h",
        recovery_time="1min",
        horizon="2min",
        timeout="300ms",
        deadline="2s",
        attempts=3,
        backoff="50ms:1s",
        retry_budget=0.2,
        retry_burst=30.0,
        retry_on="crashed",
        shed="late",
        abandoned="dropped",
        ejection_rule="envoy",
        replicas_max=9,
        spike_map=True,
        runs=2,
        seed=5,
        confidence=0.9,
        workers=1,
    )
    ((asked, judge, how),) = screened
    assert (asked.workload, asked.profile) == (
        Workload(arrival_rate_rps=60.0, arrivals=GammaArrivals(cv=2.0)),
        replace(PROFILE, request_overhead_s=0.003),
    )
    assert asked.plan == BatchPlan(
        profile="p",
        replicas=3,
        batch_size_max=2,
        batch_wait_max_s=0.001,
        routing=Routing.LEAST_OUTSTANDING,
        queue_limit=9,
    )
    assert (asked.detection_s, asked.startup_s, asked.horizon_s) == (4.0, 7.0, 120.0)
    assert asked.breakdowns == Breakdowns(mtbf_s=3600.0, recovery_s=60.0)
    assert (asked.cold.batches, asked.cold.factor) == (20, 3.0)
    clients = asked.clients
    assert (clients.timeout_s, clients.deadline_s, clients.attempts) == (0.3, 2.0, 3)
    assert (clients.backoff.initial_s, clients.backoff.max_s, clients.hedge_s) == (0.05, 1.0, None)
    assert (clients.budget.ratio, clients.budget.tokens, list(clients.retried)) == (0.2, 30.0, ["crashed"])
    assert asked.protection == Protection(
        shedding=Shedding.LATE,
        late_margin_s=PROFILE.law(2).quantile_s(0.99),
        abandoned=Abandoned.DROPPED,
        ejection=Ejecting.ENVOY,
        slow_start_s=60,
    )
    assert (judge.seed, judge.runs, judge.confidence) == (5, 2, 0.9)
    assert how == {"replicas_max": 9, "only_verdict": False, "is_map": True}


def test_seconds_go_where_texts_do(screened: Seen) -> None:
    stress(
        **FLEET | {"trigger": "crash:1,20s"},
        batch_wait_s=0.002,
        request_overhead_s=0.001,
        detection_s=0.0,
        startup_time_s=1.0,
        slow_start_s=7.0,
        mtbf_s=100.0,
        recovery_time_s=2.0,
        horizon_s=99.0,
        timeout_s=0.5,
        deadline_s=3.0,
        attempts=2,
        hedge_s=0.1,
        only_verdict=True,
        runs=10_000,
        workers=1,
    )
    ((asked, judge, how),) = screened
    assert (asked.plan.batch_wait_max_s, asked.profile.request_overhead_s) == (0.002, 0.001)
    assert (asked.detection_s, asked.startup_s, asked.horizon_s) == (0.0, 1.0, 99.0)
    assert asked.protection.slow_start_s == 7
    assert asked.breakdowns == Breakdowns(mtbf_s=100.0, recovery_s=2.0)
    assert (asked.clients.timeout_s, asked.clients.deadline_s, asked.clients.hedge_s) == (0.5, 3.0, 0.1)
    assert judge.runs == 10_000
    assert how["only_verdict"]


def test_engines_are_asked_with_what_engines_have(screened: Seen) -> None:
    engines: dict[str, Any] = {
        "profile": FILES / "line.json", "lengths": FILES / "lengths.csv", "rate_rps": 20.0, "replicas": 2, "workers": 1
    }  # fmt: skip
    stress(**engines, trigger="spike:2x,30s", queue_limit=20, cached_share=0.25, sequences_max=8)
    ((asked, _, _),) = screened
    assert (asked.limit, asked.server.cached_share, asked.plan.sequences_max) == (20, 0.25, 8)
    assert asked.protection == Protection(abandoned=Abandoned.STOPPED)
    assert asked.server.saturation.rate_rps > 20.0
    assert asked.plan.routing is Routing.ROUND_ROBIN
    spike = engines | {"trigger": "spike:2x,30s"}
    refused("--queue-limit 0 lets nothing into an engine", **spike, queue_limit=0)
    refused("--queue-limit must be", **spike, queue_limit=-1)
    refused("--shed does not apply to engines", **spike, shed="lifo")
    refused("engines of language models stop attempts that", **spike, abandoned="dropped")
    refused("--cold-batches does not apply to engines", **engines, trigger="crash:1,9s", cold_batches="20:3x")
    refused("leave out --batch-size-max for a language model", **spike, batch_size_max=4)
    refused("leave out --batch-wait for a language model", **spike, batch_wait_s=0.1)
    refused("--profile needs --rate and --replicas too; or give a saved --plan", **spike | {"replicas": None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": 1}, "--runs must be from 2 to 10000, got 1"),
        ({"runs": 10_001}, "--runs must be from 2 to 10000, got 10001"),
        ({"runs": True}, "--runs must be a whole number, got True"),
        ({"runs": 20.0}, "--runs must be a whole number, got 20.0"),
        ({"replicas": 0}, "--replicas must be"),
        ({"trigger": 5}, "--trigger must be text, got 5"),
        ({"only_verdict": True, "spike_map": True}, "--only-verdict leaves out what --map is for; leave"),
        ({"arrivals": "trace:x.csv"}, "a trace ends when its requests do; give --rate"),
        ({"profile": None}, "give either a saved --plan, or --profile with --rate and --replicas"),
        ({"plan": "plan.json"}, "give either a saved --plan, or --profile with --rate and --replicas"),
        ({"rate_rps": None}, "--profile needs --rate and --replicas too; or give a saved --plan"),
        ({"replicas": None}, "--profile needs --rate and --replicas too; or give a saved --plan"),
        ({"lengths": "input=constant:2"}, "--lengths is for language models, and this profile has batch times"),
        ({"detection": "5s"}, "--detection"),
        ({"startup_time": "5s"}, "--startup-time"),
        ({"timeout": "1s", "timeout_s": 1.0}, "timeout and timeout_s are both given"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(changes, said, monkeypatch) -> None:
    if "plan" in changes:
        monkeypatch.setattr("capacity.api.stress.as_saved", lambda plan: plan)
    refused(said, **FLEET | changes)


def test_a_saved_plan_goes_with_what_is_given_beside_it() -> None:
    saved = BatchPlan(
        profile="p",
        replicas=3,
        batch_size_max=2,
        batch_wait_max_s=0.004,
        routing=Routing.RANDOM,
        queue_limit=7,
    )
    bursty = Workload(arrival_rate_rps=40.0, arrivals=GammaArrivals(cv=2.0))

    def fleet(workload: Any, **changes: Any) -> Stress:
        question = batch_question(
            profiles=(PROFILE,), workload=workload, objective=Objective.of(response={0.9: 1.0})
        )
        plans = [SimpleNamespace(question=question, plan=saved, profile=PROFILE, name="plan.json")]
        asked = Asked("stress", {"plan": "plan.json", "trigger": "spike:2x,30s", **changes})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("capacity.answer.saved_plan.read_plans", lambda _: plans)
            return _stress(asked)

    same = fleet(bursty)
    assert (same.profile, same.workload, same.plan) == (PROFILE, bursty, saved)
    changes: dict[str, Any] = {"replicas": 5, "batch_size_max": 4, "batch_wait_s": 0.0, "queue_limit": 0}
    changed = fleet(bursty, rate_rps=9.0, routing="round-robin", **changes)
    assert changed.workload == replace(bursty, arrival_rate_rps=9.0)
    plan = changed.plan
    assert (plan.replicas, plan.batch_size_max, plan.batch_wait_max_s) == (5, 4, 0.0)
    assert (plan.queue_limit, plan.routing) == (0, Routing.ROUND_ROBIN)
    users = ClosedPopulation(users=5)
    assert fleet(users, rate_rps=9.0).workload == Workload(arrival_rate_rps=9.0)
    with pytest.raises(
        InputError, match=r"^plan\.json was planned for users in a closed loop, who never over"
    ):
        fleet(users)
    with pytest.raises(InputError, match="^a saved plan has its own settings; leave out --request-overhead"):
        fleet(bursty, request_overhead_s=0.0)


def given_of(**changes: Any) -> dict[str, Any]:
    asked = {"recover_within": "60s", "trigger": "lose:1,60s", "timeout": "500ms"}
    return defaultdict(lambda: None, asked | changes)


def no_trouble(said: str, **changes: Any) -> None:
    with pytest.raises(InputError) as caught:
        read_trouble(given_of(**changes))
    assert str(caught.value).startswith(said), str(caught.value)


def test_trouble_is_what_it_was_given() -> None:
    found = read_trouble(given_of())
    assert (found.within_s, found.shed, found.detection_s, found.startup_s) == (
        60.0, "none", DETECTION_S, 0.0,
    )  # fmt: skip
    assert found.clients == Clients(timeout_s=0.5)
    assert found.flags == ("--recover-within", "60s", "--trigger", "lose:1,60s", "--timeout", "500ms")
    more = read_trouble(
        given_of(
            recover_within=None, recover_within_s=0.0, trigger="crash:2,60s", detection_s=0.0, startup_time_s=9.0,
            shed="lifo", attempts=3, deadline="3s", backoff="50ms", retry_budget=0.1, retry_on="crashed",
        )
    )  # fmt: skip
    assert (more.within_s, more.shed, more.detection_s, more.startup_s) == (0.0, "lifo", 0.0, 9.0)
    assert (more.clients.attempts, more.clients.deadline_s, more.clients.budget.ratio) == (3, 3.0, 0.1)
    assert more.flags[:2] == ("--recover-within", "0s")
    assert more.flags[4:6] == ("--detection", "0s")
    slow = read_trouble(given_of(slow_start_s=30.0))
    assert (slow.slow_start_s, slow.flags[4:6]) == (30, ("--slow-start", "30s"))
    assert read_trouble(defaultdict(lambda: None)) is None


def test_trouble_that_is_not_said_whole_is_refused() -> None:
    no_trouble(
        "--recover-within must be 0 or more and finite, got -1 s", recover_within=None, recover_within_s=-1
    )
    no_trouble("--recover-within needs a --trigger, such as lose:1,60s", trigger=None)
    no_trouble("--recover-within needs the clients' --timeout, such as 500ms", timeout=None)
    for beside in ({"users": 3}, {"daily": "day.csv"}):
        no_trouble("--recover-within plans for a --rate; leave out --users and --daily", **beside)
    for beside in ({"pause": "1s,1/min"}, {"request_class": ["a"]}):
        no_trouble("--recover-within is not planned together with --pause or --class", **beside)
    for startup in ({}, {"startup_time_s": 0.0}):
        no_trouble("a rollout needs --startup-time: how long", trigger="rollout", **startup)
    no_trouble("--startup-time", startup_time="5s", trigger="spike:2x,30s")
    no_trouble("--slow-start applies to replicas that", slow_start="5s", trigger="spike:2x,30s")
    no_trouble("--slow-start is a balancer's, and replicas that share", slow_start="5s", routing="any")
    both = read_trouble(given_of(startup_time="5s", trigger="spike:2x,30s", spike="2x"))
    assert both is not None  # the start-up time is that of the spike to survive


def test_flags_are_typed_as_they_were_given() -> None:
    given = given_of(timeout=None, timeout_s=0.25, attempts=3, trigger="rollout")
    assert flags_of(given) == (
        "--recover-within", "60s", "--trigger", "rollout", "--timeout", "0.25s", "--attempts", "3"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "least"), [("lose:1,60s", 2), ("crash:3,60s", 4), ("spike:2x,30s", 1), ("straggler:3x,9s", 1)]
)
def test_a_fleet_is_larger_than_what_its_trigger_takes(trigger: str, least: int) -> None:
    trouble = read_trouble(given_of(trigger=trigger))
    assert trouble.replicas_min == least
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=5.0),
        objective=Objective.of(response={0.9: 1.0}),
    )
    assert large_enough(question, trouble).replicas_min == least
    assert large_enough(replace(question, replicas_min=3), trouble).replicas_min == max(3, least)
    assert large_enough(replace(question, replicas_max=least), trouble).replicas_max == least
    assert in_trouble(question, None, None) is question
    if least > 1:
        plural = "s" if least > 2 else ""
        with pytest.raises(
            InputError,
            match=f"^the trigger leaves nothing of {least - 1} replica{plural}; give --replicas-max {least} or more$",
        ):
            large_enough(replace(question, replicas_max=least - 1), trouble)


def test_a_rollout_replaces_one_of_two() -> None:
    trouble = read_trouble(given_of(trigger="rollout", startup_time="5s"))
    assert trouble.replicas_min == 2


def test_the_trouble_of_a_plan_has_its_margin() -> None:
    trouble = read_trouble(
        given_of(shed="late", trigger="crash:1,60s", detection="3s", startup_time="4s", slow_start="5s")
    )
    assert trouble is not None
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=5.0),
        objective=Objective.of(response={0.9: 1.0}),
    )
    plan = BatchPlan(profile="p", replicas=2, batch_size_max=4)
    found = trouble.stress_of(question.scenario(plan), pytest.fail)
    assert found == Stress(
        server=BatchServer(profile=PROFILE),
        workload=question.workload,
        plan=plan,
        clients=trouble.clients,
        trigger=trouble.trigger,
        protection=Protection(
            shedding=Shedding.LATE, late_margin_s=PROFILE.law(4).quantile_s(0.99), slow_start_s=5
        ),
        detection_s=3.0,
        startup_s=4.0,
    )


def test_pauses_are_judged_with_all_replicas_up_and_a_limit() -> None:
    question = batch_question(
        profiles=(PROFILE,),
        workload=Workload(arrival_rate_rps=5.0),
        objective=Objective.of(response={0.9: 1.0}),
    )
    nothing = Disturbances(pauses=None, classes=())
    assert in_trouble(question, None, nothing) is question
    means = replace(question, objective=Objective.of(response_mean=1.0))
    with pytest.raises(
        InputError, match=r"^--pause and --class need a limit on a response quantile, such as"
    ):
        in_trouble(means, None, nothing)
    with pytest.raises(InputError, match=r"^--pause and --class are judged with all replicas up; leave out"):
        in_trouble(replace(question, survival=Survival(spare=1)), None, nothing)
