"""The sections of a report page, cell by cell, from made-up findings."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from planned import saved_plan

from capacity.explanation.explanation import Assumption
from capacity.performance import Interval, Kind, Performance, ServedBatch, Window
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.render.report import page, sections
from capacity.render.report.findings import Findings
from capacity.render.report.sections import Section
from capacity.search.recommendation import Headroom, Recommendation, Survived
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation

P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)
SAVED = saved_plan(batch_wait_max_s=0.0)  # 5 replicas, batches up to 16, 1000 rps, P99 within 50 ms
PLAN = SAVED.plan
CHARTS = ("draw_rates", "draw_distribution", "draw_frontier", "draw_window")


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """The arguments of each chart by its name; nothing is drawn, and an SVG is replaced by its description."""
    seen: dict[str, tuple[Any, ...]] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda *given, **named: seen.__setitem__(name, (*given, *named.values()))

    for name in CHARTS:
        monkeypatch.setattr(sections.figures, name, keep(name))
    monkeypatch.setattr(sections.figures, "inline_svg", lambda panels, key, alt: f"{key}: {alt}")
    return seen


@pytest.fixture
def on_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """All that the page's template is given for some findings, explained by some reasons."""

    def given(found: Findings, *reasons: str) -> dict[str, Any]:
        if reasons:
            monkeypatch.setattr(page, "explain", lambda *_: ["The plan.", *reasons])
        monkeypatch.setattr(page, "template", lambda _: SimpleNamespace(render=keep))
        page.write_page(found)
        return seen

    seen: dict[str, Any] = {}

    def keep(**fields: Any) -> str:
        seen.clear()
        seen.update(fields)
        return ""

    return given


def performance(p99_s: float, **others: Any) -> Performance:
    known = {0.99: Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)}
    usual: dict[str, Any] = {
        "kind": Kind.SIMULATION,
        "batch_size_mean": 2.0,
        "load": 0.5,
        "response_quantiles_s": known,
    }
    return Performance(**usual | others)


def judged(plan: BatchPlan, p99_s: float, verdict: Verdict | None = None, **others: Any) -> Candidate:
    usual = Verdict.MET if p99_s <= 0.05 else Verdict.MISSED
    found = Candidate(plan=plan, verdict=verdict or usual, performance=performance(p99_s))
    if found.verdict is not Verdict.MET:
        found = replace(found, rejection=Rejection.of(P99, p99_s))
    return replace(found, **others)


def unstable(plan: BatchPlan, reason: Reason = Reason.STABILITY) -> Candidate:
    rejection = Rejection(reason=reason, allowed=1.0, needed=1.25)
    return Candidate(plan=plan, verdict=Verdict.MISSED, rejection=rejection)


def of(replicas: int, size: int = 16, **others: Any) -> BatchPlan:
    return replace(PLAN, replicas=replicas, batch_size_max=size, **others)


CERTIFIED = judged(PLAN, 0.04)
ANSWER = Recommendation(
    verdict=Verdict.MET,
    objective=Objective.of(response={0.99: 0.05}),
    plan=PLAN,
    performance=performance(0.04),
    headroom=Headroom(today_rps=1000.0, accepted_rps=1280.0, refused_rps=1300.0),
)
FOUND = Findings(
    saved=SAVED,
    recommendation=ANSWER,
    certified=CERTIFIED,
    assumptions=(),
    rates=(),
    one_lost=None,
    distribution=None,
    window=None,
    around=None,
    digest=None,
    written=date(2026, 12, 1),
)


def findings(saved: Any = SAVED, **others: Any) -> Findings:
    """Fields that `Findings` lacks are those of its recommendation."""
    of_answer = {name: others.pop(name) for name in list(others) if not hasattr(FOUND, name)}
    answer = replace(others.pop("recommendation", ANSWER), **of_answer)
    return replace(FOUND, saved=saved, recommendation=answer, **others)


def rows(section: Section) -> list[list[str]]:
    return [[cell.text for cell in row] for row in section.table.rows]


def looks(section: Section) -> list[list[str]]:
    return [[cell.look for cell in row] for row in section.table.rows]


def asked(objective: Objective, **others: Any) -> Any:
    return saved_plan(objective=objective, batch_wait_max_s=0.0, **others)


def test_each_limit_shows_the_share_that_is_used(on_page) -> None:
    """An unknown or infinite value fills the bar."""
    objective = Objective.of(response={0.5: 0.02, 0.99: 0.05}, response_mean=0.01, loss=0.02)
    known = {0.99: Interval.exact(0.04), 0.5: Interval.exact(math.inf)}
    seen = performance(0.04, response_quantiles_s=known, response_mean_s=0.0125)
    found = on_page(findings(asked(objective), performance=seen), "why")["limits"]
    told = {str(one): row for one, (_, *row) in zip(objective.limits, found, strict=True)}
    assert [row[0] for row in found] == [str(one) for one in objective.limits]
    assert told["P99 <= 50 ms"] == ["40 ms", "80 %", pytest.approx(0.8)]
    assert told["mean <= 10 ms"] == ["12.5 ms", "125 %", 1.0]
    assert told["P50 <= 20 ms"][1:] == ["", 1.0]
    assert told["loss <= 2 %"] == ["not known", "", 1.0]
    assert on_page(findings(performance=None), "why")["limits"] == [("P99 <= 50 ms", "not known", "", 1.0)]


def test_what_the_numbers_in_brackets_are(on_page) -> None:
    exact = performance(0.04, kind=Kind.EXACT)
    for seen, told in (
        (ANSWER.performance, "In brackets: 95 % intervals."),
        (exact, "By an exact law; no simulation is behind it."),
        (None, "In brackets: 95 % intervals."),
    ):
        assert on_page(findings(performance=seen), "why")["confidence"] == told


def test_a_price_is_shown_by_the_hour_and_the_month(on_page) -> None:
    priced, unpriced = (on_page(one)["price"] for one in (findings(hourly_usd=2.0), findings()))
    assert priced == "2.000 USD/h, about 1460 USD in a month of 730 hours"
    assert unpriced.startswith("Not known: the profile has no price.")


def test_reasons_have_headings_and_none_is_repeated(on_page) -> None:
    def others(found: Findings, *reasons: str) -> list[tuple[str, str]]:
        first, dies, *rest = on_page(found, "fewer", *reasons)["what_ifs"]
        assert (first, dies[0]) == (("With one fewer", "fewer"), "If a replica dies")
        return rest

    gone = Survived(event="1 replica gone", plan=of(4), performance=performance(0.045))
    found = findings(survived=(gone,), one_lost=judged(of(4), 0.045))
    told = "With 1 replica gone: 4 are left."
    assert others(found, told) == []
    assert others(findings(survived=(gone,), one_lost=judged(of(3), 0.045)), told) == [
        ("With 1 replica gone", "4 are left.")
    ]
    assert others(findings(survived=(gone,)), told) == [("With 1 replica gone", "4 are left.")]
    assert others(
        found,
        "Headroom: up to 9 rps",
        "Headroom after the worst failure: up to 8 rps",
        "Random routing (Kubernetes Service) takes 3: with 2, P99 50 ms.",
        "Random routing (Kubernetes Service): no fleet is known to be enough; with 2, P99 50 ms.",
        "Under Poisson arrivals: more",
        "Without failures, less",
        "With a spike: p99 is",
        "Cost: 5 USD per million requests.",
        "Instead: resnet takes 4; a shared queue takes 2.",
        "one thing more",
    ) == [
        ("If traffic grows", "Up to 9 rps"),
        ("If traffic grows", "After the worst failure: up to 8 rps"),
        ("If routing is random", "Random routing (Kubernetes Service) takes 3: with 2, P99 50 ms."),
        (
            "If routing is random",
            "Random routing (Kubernetes Service): no fleet is known to be enough; with 2, P99 50 ms.",
        ),
        ("With Poisson arrivals", "Under Poisson arrivals: more"),
        ("Without failures", "Without failures, less"),
        ("With a spike", "P99 is"),
        ("Cost", "5 USD per million requests."),
        ("Instead", "resnet takes 4; a shared queue takes 2."),  # a name stays as it is
        ("Also", "One thing more"),
    ]


def test_where_nothing_is_explained_the_loss_of_one_comes_first(on_page, monkeypatch) -> None:
    monkeypatch.setattr(page, "explain", lambda *_: ["The plan."])
    assert [head for head, _ in on_page(findings())["what_ifs"]] == ["If a replica dies"]


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (None, "Nothing is left: no request is answered until the replica is back."),
        (
            unstable(of(1)),
            "1 is left, at load 1.250 with the same batches: more requests arrive than they can serve, and the "
            "queues grow until it is back.",
        ),
        (unstable(of(4), Reason.REPLICAS_MAX), "4 are left: "),
        (judged(of(4), 0.045), "4 are left, and P99 is 45 (40.5 to 49.5) ms: the objective is met."),
        (
            judged(of(4), 0.06, settled=False),
            "4 are left, and P99 is at least 60 (54 to 66) ms: the objective is missed.",
        ),
        (
            judged(of(4), 0.051, Verdict.INCONCLUSIVE),
            "4 are left, and P99 is 51 (45.9 to 56.1) ms: the objective is in doubt.",
        ),
    ],
)
def test_what_happens_when_one_replica_is_gone(one: Candidate | None, told: str, on_page) -> None:
    found = dict(on_page(findings(one_lost=one))["what_ifs"])
    assert found["If a replica dies"].startswith(told)


def test_caveats_come_first_and_checked_assumptions_last() -> None:
    codes = list(CaveatCode)
    caveats = tuple(Caveat(code=code, message=f"of {code}") for code in (codes[3], codes[1]))
    found = findings(
        caveats=caveats,
        assumptions=(
            Assumption(what="one", checked=True, how="it was"),
            Assumption(what="two", checked=False, how="it was not"),
            Assumption(what="three", checked=False, how=f"of {codes[1]}"),
        ),
    )
    assert list(page.assumptions(found)) == [
        ("Note", f"Of {codes[1]}."),
        ("Note", f"Of {codes[3]}."),
        ("Assumed", "Two: it was not."),
        ("Checked", "One: it was."),
    ]


def test_a_plan_that_is_no_longer_known_to_meet(on_page) -> None:
    doubt = judged(PLAN, 0.051, Verdict.INCONCLUSIVE)
    fleet = "5 replicas of resnet50 with batches up to 16"
    told = on_page(findings(verdict=Verdict.INCONCLUSIVE, certified=doubt))
    assert told["sentence"].startswith(f"{fleet} is not known to meet P99 <= 50 ms at 1000 rps any more: ")
    assert [head for head, _ in told["what_ifs"]] == ["If a replica dies"]
    told = on_page(findings(verdict=Verdict.MISSED, certified=judged(PLAN, 0.06)))
    assert told["sentence"].startswith(f"{fleet} does not meet P99 <= 50 ms at 1000 rps any more: P99 of 60 ")
    assert len(on_page(findings())["what_ifs"]) > 1


def test_inputs_are_listed_with_their_source(on_page) -> None:
    def inputs(found: Findings) -> dict[str, str]:
        return dict(on_page(found, "why")["inputs"])

    told = inputs(findings(digest="abc"))
    names = ("traffic", "arrivals", "objective", "seed", "precision asked", "requests at most", "its SHA-256")
    assert [told[name] for name in names] == [
        "1000 rps", "poisson", "P99 <= 50 ms", "5", "2 %", "100 000 000", "abc"
    ]  # fmt: skip
    assert not {"measured", "source"} & set(told)
    assert "its SHA-256" not in inputs(findings())
    known = saved_plan(model="resnet", precision="fp16", source={"means": "a test"})
    told = inputs(findings(known))
    assert (told["measured"], told["source"]) == ("resnet, fp16", "means: a test")
    users = inputs(findings(saved_plan(workload=ClosedPopulation(users=8, think_time_s=0.1))))
    assert users["traffic"] == "8 users who think for 100 ms"
    assert "arrivals" not in users


def test_a_profile_that_is_not_bundled_is_named_beside_the_commands(on_page) -> None:
    note, plan, page = on_page(FOUND)["commands"]
    assert note == "# resnet50: give its file instead of the name; plan.json has its measurements"
    assert plan.startswith("capacity plan ")
    assert page == "capacity report plan.json -o report.html"


def test_the_section_on_other_rates(drawn: dict[str, tuple[Any, ...]]) -> None:
    rates = ((500.0, judged(PLAN, 0.02)), (2000.0, unstable(PLAN)), (1500.0, judged(PLAN, 0.06)))
    section = sections.rate_section(findings(rates=rates))
    lead = (
        "The objective is P99 <= 50 ms, and the plan is made for 1000 rps. It still meets the objective at "
        "1280 rps (+28 %), in shorter runs. The verdicts at other rates come from shorter simulations too."
    )
    title = "P99 over the arrival rate"
    assert (section.key, section.title, section.lead) == ("rate", title, lead)
    assert section.svg == f"rate: {title}. {lead}".replace("<", "&lt;")
    assert rows(section) == [
        ["500 rps", "20 (18 to 22) ms", "met"],
        ["2000 rps", "", "missed"],
        ["1500 rps", "60 (54 to 66) ms", "missed"],
    ]
    assert [row[2] for row in looks(section)] == ["met", "missed", "missed"]
    spots, promise, rate_rps, accepted_rps = drawn["draw_rates"]
    assert [(rate, seen.value, verdict) for rate, seen, verdict in spots] == [
        (500.0, 0.02, Verdict.MET),
        (1500.0, 0.06, Verdict.MISSED),
    ]
    assert (promise, rate_rps, accepted_rps) == (P99, 1000.0, 1280.0)
    plain = sections.rate_section(findings(rates=rates, headroom=None))
    assert "It still meets" not in plain.lead
    assert drawn["draw_rates"][3] is None


def test_the_section_on_other_rates_without_results(drawn: dict[str, tuple[Any, ...]]) -> None:
    lost = replace(CERTIFIED, performance=performance(math.inf))
    for rates in ((), ((500.0, unstable(PLAN)),), ((500.0, lost),)):
        section = sections.rate_section(findings(rates=rates))
        assert section.lead == "Not shown: nothing is known of P99 at other rates."
        assert (section.svg, section.table) == (None, None)
    assert drawn == {}


def test_the_map_has_six_rows_and_a_sign_for_each_verdict() -> None:
    considered = (
        *(judged(of(n), 0.04 - 0.001 * n) for n in (2, 3, 4, 6, 7, 8, 9)),
        judged(of(4, 8), 0.06, settled=False),
        judged(of(4, 4), 0.051, Verdict.INCONCLUSIVE),
        unstable(of(3, 8)),
        unstable(of(3, 4), Reason.SURVIVAL),
        unstable(of(6, 8), Reason.REPLICAS_MAX),
        replace(judged(of(6, 4), 0.06), performance=performance(math.inf)),
        judged(of(4, routing=Routing.RANDOM), 0.001),
        judged(replace(of(4), profile="other"), 0.001),
        judged(PLAN, 0.001),
    )
    section = sections.map_section(findings(considered=considered))
    assert section.table.heads == ("replicas", "batch 4", "batch 8", "batch 16")
    assert rows(section) == [
        ["7", "", "", "✓ 33 ms"],
        ["6", "✕ lost", "✕ refused", "✓ 34 ms"],
        ["5", "", "", "✓ 40 ms"],
        ["4", "? 51 ms", "✕ ≥ 60 ms", "✓ 36 ms"],
        ["3", "unstable", "unstable", "✓ 37 ms"],
        ["2", "", "", "✓ 38 ms"],
    ]
    assert looks(section)[1][1:] == ["missed", "missed theory", "met"]
    assert looks(section)[2][1:] == ["untried", "untried", "met chosen"]
    assert looks(section)[3][1:3] == ["inconclusive", "missed"]


def test_the_section_on_percentiles(drawn: dict[str, tuple[Any, ...]]) -> None:
    """Values of the certified run come first, and a limited percentile is always listed."""
    known = {q: Interval.exact(0.01 * n) for n, q in enumerate((0.1, 0.5, 0.6, 0.97, 0.99, 0.999), 1)}
    seen = performance(0.0, response_quantiles_s=known, loss_probability=0.01)
    saved = asked(Objective.of(response={0.97: 0.05}))
    section = sections.distribution_section(findings(saved, distribution=seen))
    lead = (
        "Half of the requests are answered within 20 ms, and 97 % within 40 ms. These are the served ones: 1 % of "
        "the requests are lost."
    )
    assert (section.title, section.lead) == ("Response times", lead)
    assert section.svg == f"times: Share of requests that take longer than a given time. {lead}"
    assert rows(section) == [
        ["P10", "10 ms", ""],
        ["P50", "20 ms", ""],
        ["P97", "40 ms", "50 ms"],
        ["P99", "40 (36 to 44) ms", ""],
        ["P99.9", "60 ms", ""],
    ]
    quantiles_s, limits_s, what = drawn["draw_distribution"]
    assert what == "response time"
    assert (list(quantiles_s), limits_s) == ([0.1, 0.5, 0.6, 0.97, 0.99, 0.999], {0.97: 0.05})
    mean = asked(Objective.of(response_mean=0.05))
    plain = sections.distribution_section(
        findings(mean, distribution=replace(seen, loss_probability=0.0), performance=None)
    )
    assert plain.lead == (
        "Half of the requests are answered within 20 ms, and 99 % within 50 ms. The objective has no limit on a "
        "percentile of the response time."
    )
    every = {q: Interval.exact(0.01) for q in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999)}
    whole = sections.distribution_section(
        findings(distribution=replace(seen, response_quantiles_s=every), performance=None)
    )
    assert [row[0] for row in rows(whole)] == ["P10", "P25", "P50", "P75", "P90", "P95", "P99", "P99.9"]
    none = sections.distribution_section(findings())
    assert none.lead == "Not shown: the budget of requests does not suffice for the whole distribution."


def test_the_section_on_cost(drawn: dict[str, tuple[Any, ...]]) -> None:
    considered = (
        *(judged(of(n), 0.001 * (50 + n), Verdict.MISSED) for n in (1, 2, 3)),
        judged(of(4, 8), 0.055, settled=False),
        judged(of(4), 0.054, Verdict.INCONCLUSIVE),
        judged(of(6), 0.03),
        judged(of(6, 8), 0.02),
        unstable(of(7)),
        replace(judged(of(7), 0.06), performance=performance(math.inf)),
        *(judged(of(n), 0.01) for n in (8, 9, 10)),
        judged(PLAN, 0.01),
    )
    section = sections.frontier_section(findings(considered=considered))
    assert section.title == "Cost and P99"
    assert section.table.heads == ("replicas", "fleet", "P99", "verdict")
    assert rows(section)[:6] == [
        ["1", "1 replica, batch 16", "51 (45.9 to 56.1) ms", "missed"],
        ["2", "2 replicas, batch 16", "52 (46.8 to 57.2) ms", "missed"],
        ["3", "3 replicas, batch 16", "53 (47.7 to 58.3) ms", "missed"],
        ["4", "4 replicas, batch 16", "54 (48.6 to 59.4) ms", "in doubt"],
        ["5", "5 replicas, batch 16", "40 (36 to 44) ms", "met"],
        ["6", "6 replicas, batch 8", "20 (18 to 22) ms", "met"],
    ]
    assert [row[0] for row in rows(section)[6:]] == ["8", "9"]  # eight rows in all
    spots, here, promise, is_priced = drawn["draw_frontier"]
    assert (here, promise, is_priced) == ((5.0, 0.04), P99, False)
    assert sorted(cost for cost, _, _ in spots) == [1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 6.0, 8.0, 9.0, 10.0]


def test_a_price_has_three_digits_and_its_unit(drawn: dict[str, tuple[Any, ...]]) -> None:
    priced = saved_plan(batch_wait_max_s=0.0, hourly_usd=0.5)
    late = judged(of(4, batch_wait_max_s=0.002), 0.06, settled=False)
    section = sections.frontier_section(findings(priced, hourly_usd=2.5, considered=(late,)))
    assert rows(section) == [
        ["2.000", "4 replicas, batch 16, wait 2 ms", "≥ 60 (54 to 66) ms", "missed"],
        ["2.500", "5 replicas, batch 16", "40 (36 to 44) ms", "met"],
    ]
    assert section.table.heads[0] == "USD/h"
    assert drawn["draw_frontier"][3] is True  # it has prices


def test_the_section_on_cost_without_results() -> None:
    """A fleet whose profile is gone has no price, and one far above the limit does not fit the chart."""
    for certified in (unstable(PLAN), judged(PLAN, 0.1001), judged(replace(PLAN, profile="gone"), 0.04)):
        section = sections.frontier_section(findings(certified=certified))
        assert section.lead == "Not shown: no fleet was simulated to its end."
        assert (section.svg, section.table) == (None, None)
    assert sections.frontier_section(findings(certified=judged(PLAN, 0.1))).table is not None


def test_a_fleet_is_named_by_what_differs() -> None:
    question = SAVED.question
    two = tuple(
        ServiceProfile(name=name, timings=(BatchTiming(batch_size=64, mean_s=0.01),), hourly_usd=1.0)
        for name in ("resnet50", "b")
    )
    several = replace(SAVED, question=replace(question, profiles=two, routings=PLAIN_ROUTINGS))
    missed = tuple(judged(plan, 0.06) for plan in (of(1), of(2, batch_wait_max_s=0.002)))
    for saved, (one, two) in (
        (SAVED, ("1 replica, batch 16", "2 replicas, batch 16, wait 2 ms")),
        (several, ("1 × resnet50, batch 16, round-robin", "2 × resnet50, batch 16, wait 2 ms, round-robin")),
    ):
        told = rows(sections.refused_section(findings(saved, considered=missed)))
        assert [row[0] for row in told] == [one, two]


def window(replicas: int = 1, shown: int = 1, length_s: float = 10.0, batches: int = 3) -> Window:
    sizes = (1, 1, 4, 3, 4)[:batches]
    served = tuple(
        ServedBatch(replica=0, size=size, started_s=float(n), finished_s=n + 1.0)
        for n, size in enumerate(sizes)
    )
    return Window(
        length_s=length_s,
        replicas=replicas,
        replicas_shown=shown,
        batches=served,
        instants_s=(0.0, 1.0, 2.0),
        waiting=(1, 0, 4),
    )


def test_the_section_on_the_simulated_fleet() -> None:
    section = sections.window_section(findings(window=window(batches=5)))
    lead = "Each bar is one batch, the darker the larger; below, how many requests wait in the queue."
    assert (section.title, section.lead) == ("10 s of the simulated fleet", lead)
    assert section.svg == f"fleet: 10 s of the simulated fleet. {lead}"
    assert section.table.caption == "Batches shown, by size; 1.67 requests wait on average, and 4 at most"
    assert [row[1:] for row in rows(section)] == [["2", "2"], ["1", "3"], ["2", "8"]]
    assert [row[0] for row in rows(section)] == ["1", "3", "4"]
    shades = [row[0] for row in looks(section)]
    assert (shades[0], shades[-1]) == ("shade0", "shade4")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (window(replicas=3, shown=3), " in the queues of all 3 replicas."),
        (window(replicas=3, shown=2), " in the queues of all 3 replicas. The first 2 of 3 replicas are shown."),
        (window(length_s=9.9), " in the queue. Ten seconds would have too many batches to see."),
        (window(batches=0), "Not shown: too few requests were served."),
        (None, "Not shown: too few requests were served."),
    ],
)  # fmt: skip
def test_the_lead_on_the_simulated_fleet(found: Window | None, told: str) -> None:
    assert sections.window_section(findings(window=found)).lead.endswith(told)


def test_refused_neighbours_are_the_eight_nearest() -> None:
    """Fleets refused by theory are only counted; infinite responses come last."""
    refused = tuple(judged(of(n), 0.001 * (90 - n)) for n in range(1, 9))
    lost = replace(judged(of(9), 0.06), performance=performance(math.inf, load=None))
    section = sections.refused_section(
        findings(considered=(judged(of(6), 0.04), lost, *refused, unstable(of(1, 8))))
    )
    assert section.lead == (
        "Fleets considered: 11. Refused: 10, 1 of them by theory alone. The 8 that came nearest:"
    )
    assert section.title == "Refused neighbours"
    assert rows(section)[0] == [
        "8 replicas, batch 16", "0.500", "82 (73.8 to 90.2) ms", "missed: P99 above 50 ms",
    ]  # fmt: skip
    assert [row[0] for row in rows(section)][-1] == "1 replica, batch 16"
    assert len(rows(section)) == 8
    few = sections.refused_section(findings(considered=(lost, judged(of(4), 0.06, settled=False))))
    assert few.lead == "Fleets considered: 2. Refused: 2."
    assert rows(few)[0][:3] == ["4 replicas, batch 16", "0.500", "≥ 60 (54 to 66) ms"]
    assert rows(few)[1][1] == ""
    none = sections.refused_section(findings(considered=(unstable(of(1)),)))
    assert (none.lead, none.table) == ("Fleets considered: 1. Refused: 1, 1 of them by theory alone.", None)


def test_the_exit_code_is_that_of_the_verdict() -> None:
    for verdict, code in ((Verdict.MET, 0), (Verdict.MISSED, 3), (Verdict.INCONCLUSIVE, 4)):
        assert page.PlanReport(page="", sentence="", verdict=verdict).exit_code == code


def test_comparison_signs_are_typeset() -> None:
    """In text, and not in markup: the description of a chart stands in an SVG."""
    text = page.write_page(findings(rates=((500.0, judged(PLAN, 0.02)),))).page
    assert "P99 ≤ 50 ms" in text
    assert "The objective is P99 &lt;= 50 ms, and the plan" in text
