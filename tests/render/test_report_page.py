"""The report page: whole, small, still, named for every reader, and with the numbers of the plan."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from saved_reports import QUICK, Page, resnet_plan, save

import capacity as cap
from capacity.answer.saved_plan import SavedPlan, read_plan_file
from capacity.api.report import today
from capacity.performance import Kind, Performance, format_interval
from capacity.question.candidate import Candidate, Verdict
from capacity.render.report.figures import frontier
from capacity.render.report.findings import Findings
from capacity.render.report.sections import map_section
from capacity.search.recommendation import Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.units import format_duration

KILOBYTES_MAX = 300
SMALL = {"requests_max": 2_000_000}
TIMES = pd.DataFrame({"batch_size": [1, 2, 4], "mean_ms": [5.0, 7.0, 10.0]})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resnet_plan(tmp_path_factory.mktemp("report") / "plan.json")


@pytest.fixture(scope="module")
def text(saved: Path) -> str:
    path = saved.with_name("report.html")
    assert cap.report(saved, path).exit_code == 0
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def document(saved: Path) -> dict:
    return json.loads(saved.read_text(encoding="utf-8"))["answer"]


@pytest.fixture(scope="module", autouse=True)
def _always_the_same_day() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1796083200")
        yield


def interval(found: dict) -> str:
    return format_interval(cap.Interval(**found))


def written(frame: object, folder: Path, **asked: object) -> Page:
    saved = save(cap.plan(frame, **QUICK | SMALL | asked), folder / "plan.json")
    return Page(cap.report(saved, folder / "report.html").page)


def sections(page: Page) -> dict[str, str]:
    return {one.all("h2")[0].text: one.text for one in page.all("section")}


def test_it_is_small_and_asks_for_nothing(text: str, page: Page) -> None:
    assert len(text.encode()) < KILOBYTES_MAX * 1000
    assert page.all("link", "iframe", "object", "embed") == []
    assert [one.attributes for one in page.all("script")] == [
        {"type": "application/json", "id": "what-if-grid"},
        {},
    ]
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for element in page.all("a", "use", "image", "img"):
        target = element.attributes.get("href") or element.attributes.get("src") or ""
        assert target.startswith(("#", "data:image/png")), element.tag
    assert not [
        name for one in page.all("svg", "td", "a") for name in one.attributes if name.startswith("on")
    ]


@pytest.mark.long
def test_the_same_plan_gives_the_same_bytes(saved: Path, text: str, tmp_path: Path) -> None:
    cap.report(saved, tmp_path / "report.html", workers=1)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_every_reference_is_to_one_element_of_the_page(text: str) -> None:
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    pointed = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"|aria-labelledby="([^"]+)"', text)
    assert {next(filter(None, one)) for one in pointed} <= set(names)
    assert len(pointed) > 20


def test_charts_have_names_and_tables_have_heads(page: Page) -> None:
    charts = page.all("svg")
    assert len(charts) == 4
    for chart in charts:
        assert chart.attributes["role"] == "img"
        assert len((chart.attributes["aria-label"] or "").split()) > 8
    for table in page.all("table"):
        assert table.all("caption")[0].text
        heads = table.all("thead")[0].all("th")
        assert {one.attributes.get("scope") for one in heads} == {"col"}
        for row in table.all("tbody")[0].all("tr"):
            cells = row.all("th", "td")
            assert cells[0].attributes["scope"] == "row"
            assert len(cells) == len(heads)
    assert len(page.all("table")) == 7


def test_headings_and_landmarks_are_in_order(page: Page) -> None:
    assert [one.tag for one in page.all("h1", "h2", "h3")] == ["h1", *["h2"] * (len(page.all("h2")))]
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("main")) == len(page.all("header")) == 1
    scrolled = [one for one in page.all("div") if one.attributes.get("class") == "scroll"]
    assert {one.attributes.get("tabindex") for one in scrolled} == {"0"}
    assert all(one.attributes["aria-label"] for one in scrolled)


def test_the_first_chart_stands_above_the_notes_and_the_day_in_the_foot(page: Page, text: str) -> None:
    assert page.all("section")[0].attributes["class"] == "rate"
    assert text.index("<svg") < text.index('class="notes"')
    (foot,) = page.all("footer")
    assert foot.text == f"Written on 2026-12-01 by capacity {cap.__version__}."
    assert foot.all("time")[0].attributes["datetime"] == "2026-12-01"


def test_the_day_is_today_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    before = datetime.now(UTC).date()
    assert before <= today() <= datetime.now(UTC).date()
    for wrong in ("soon", "1.5", str(10**30), ""):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(cap.InputError, match="not whole seconds since 1970; mend or unset it"):
            today()


def test_it_is_for_light_dark_and_paper(text: str) -> None:
    assert text.count("@media (prefers-color-scheme:dark)") == 2
    assert "@media print" in text
    assert 'svg [style*="fill: #ffffff"]{fill:#0d1117!important}' in text


def test_the_first_screen_is_the_answer_of_the_plan(page: Page, saved: Path, document: dict) -> None:
    first = page.all("h1")[0].text
    p99 = interval(document["performance"]["response_quantiles_s"]["0.99"])
    plan = document["recommendation"]
    assert first.startswith(f"{plan['replicas']} replicas of {plan['profile']}")
    assert first.endswith(f"P99 is {p99}.")
    (limit,) = [one.text for one in page.all("span") if one.attributes.get("class") == "limit"]
    assert limit == p99
    told = dict(zip((one.text for one in page.all("dt")), (one.text for one in page.all("dd")), strict=True))
    fewer = [
        one["performance"]
        for one in document["considered"]
        if one["plan"]["replicas"] == plan["replicas"] - 1
    ]
    seen = [interval(one["response_quantiles_s"]["0.99"]) for one in fewer if one is not None]
    assert told["With one fewer"].startswith("One fewer is not enough: ")
    assert any(f"P99 {one}" in told["With one fewer"].replace("≥ ", "") for one in seen)
    assert told["If a replica dies"].startswith("3 are left, at load 1.008 with the same batches")
    assert f"{document['headroom']['arrival_rate_max_rps']:.0f} rps" in told["If traffic grows"]
    assert interval(document["random_routing"]["response_p99"]) in told["If routing is random"]
    assert f"{document['cost']['hourly_usd']:.3f} USD/h" in page.root.text
    assert told["seed"] == str(document["seed"])
    assert told["its SHA-256"] == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_percentiles_are_those_of_the_certificate(page: Page, document: dict) -> None:
    shown = {row[0]: row[1] for row in page.rows("Percentiles")}
    known = document["performance"]["response_quantiles_s"]
    for quantile, found in known.items():
        assert shown[f"P{100 * float(quantile):g}"] == interval(found)


def test_the_map_has_the_verdict_of_each_fleet(page: Page, document: dict) -> None:
    (table,) = [one for one in page.all("table") if "each fleet that was tried" in one.text]
    sizes = [int(one.text.removeprefix("batch ")) for one in table.all("thead")[0].all("th")[1:]]
    cells = {
        (int(row.all("th")[0].text), size): cell
        for row in table.all("tbody")[0].all("tr")
        for size, cell in zip(sizes, row.all("td"), strict=True)
    }
    for one in document["considered"]:
        plan = one["plan"]
        cell = cells[plan["replicas"], plan["batch_size_max"]]
        assert one["verdict"] in (cell.attributes["class"] or ""), plan
        if one["performance"] is None:
            assert cell.text == "unstable"
        else:
            value_s = one["performance"]["response_quantiles_s"]["0.99"]["value"]
            assert cell.text.endswith(format_duration(value_s))
    (chosen,) = [place for place, cell in cells.items() if "chosen" in (cell.attributes.get("class") or "")]
    plan = document["recommendation"]
    assert chosen == (plan["replicas"], plan["batch_size_max"])


def test_the_map_shows_a_fleet_that_will_do_before_a_quicker_one_in_doubt(saved: Path) -> None:
    old = read_plan_file(saved)
    other = replace(old.plan, replicas=old.plan.replicas + 1)

    def fleet(plan: BatchPlan, p99_s: float, verdict: Verdict) -> Candidate:
        seen = Performance(kind=Kind.SIMULATION, response_quantiles_s={0.99: cap.Interval.exact(p99_s)})
        return Candidate(plan=plan, verdict=verdict, performance=seen)

    certified = fleet(old.plan, 0.030, Verdict.MET)
    considered = (
        fleet(other, 0.035, Verdict.INCONCLUSIVE),
        fleet(replace(other, batch_wait_max_s=0.002), 0.038, Verdict.MET),
        fleet(replace(other, batch_wait_max_s=0.004), 0.039, Verdict.MET),
    )
    answer = Recommendation(
        verdict=Verdict.MET, objective=old.question.objective, plan=old.plan, considered=considered
    )
    found = Findings(
        saved=old,
        recommendation=answer,
        certified=certified,
        assumptions=(),
        rates=(),
        one_lost=None,
        distribution=None,
        window=None,
        around=None,
        digest=None,
        written=date(2026, 12, 1),
    )
    table = map_section(found).table
    assert [[cell.text for cell in row] for row in table.rows] == [["5", "✓ 38 ms"], ["4", "✓ 30 ms"]]


def test_refused_and_accepted_fleets_are_those_considered(page: Page, document: dict) -> None:
    simulated = [one for one in document["considered"] if one["performance"] is not None]
    found = {
        (f"{one['plan']['replicas']} replicas, batch {one['plan']['batch_size_max']}"): interval(
            one["performance"]["response_quantiles_s"]["0.99"]
        )
        for one in simulated
    }
    refused = page.rows("Refused after a simulation")
    missed = [one for one in simulated if not one["accepted"]]
    assert 0 < len(refused) == min(8, len(missed))
    for fleet, load, p99, verdict in refused:
        assert p99.removeprefix("≥ ") == found[fleet]
        assert verdict == "missed: P99 above 40 ms"
        assert 0.0 < float(load) < 1.0
    prices = {f"{one['plan']['replicas'] * 0.526:.3f}": one for one in simulated}
    for price, fleet, p99, _ in page.rows("The chosen fleet"):
        assert price in prices
        assert p99.removeprefix("≥ ") == found[fleet]


def test_the_curve_has_the_certified_number_at_the_planned_rate(page: Page, document: dict) -> None:
    rows = page.rows("P99 by arrival rate")
    rates = [float(row[0].removesuffix(" rps")) for row in rows]
    assert rates == sorted(rates)
    assert len(rates) > 8
    p99 = interval(document["performance"]["response_quantiles_s"]["0.99"])
    assert ["3200 rps", p99, "met"] in rows


def test_assumptions_begin_with_what_weighs_most(page: Page, document: dict) -> None:
    (notes,) = [one for one in page.all("ul") if one.attributes.get("class") == "notes"]
    kinds = [one.all("b")[0].text for one in notes.all("li")]
    assert kinds == sorted(kinds, key=["Note.", "Assumed.", "Checked."].index)
    assert set(kinds) == {"Note.", "Assumed.", "Checked."}
    for caveat in document["caveats"]:
        assert notes.text.count(caveat["message"][1:]) == 1


def test_text_from_outside_is_text(tmp_path: Path) -> None:
    hostile = "<script>alert('\"&1')</script>"
    profile = replace(cap.load_profile(TIMES), model=hostile, source={hostile: hostile}, hourly_usd=1.0)
    saved = save(
        cap.plan(profile, rate="500rps", slo_p99="80ms", **QUICK, **SMALL), tmp_path / "<img src=x>.json"
    )
    text = cap.report(saved, tmp_path / "report.html").page
    assert "<script>alert" not in text
    assert text.count("<script") == 2  # its own
    assert "<img" not in text
    assert hostile in Page(text).root.text
    assert "&lt;img src=x&gt;.json" in text


def test_one_replica_and_an_exact_law(tmp_path: Path) -> None:
    page = written(TIMES, tmp_path, rate="120rps", slo_p99="80ms", batch_size_max=4)
    assert "Nothing is left" in page.root.text
    assert "By an exact law" in page.root.text
    assert "the profile has no price" in page.root.text
    assert page.rows("The chosen fleet")[0][0] == "1"


def test_users_have_no_curve_over_the_rate(tmp_path: Path) -> None:
    page = written(TIMES, tmp_path, users=20, think_time="100ms", slo_mean="20ms")
    assert "Not shown: users who wait" in sections(page)["Mean over the arrival rate"]
    assert "no limit on a percentile" in sections(page)["Response times"]
    assert len(page.all("svg")) == 3


@pytest.mark.long
def test_a_wait_and_a_loss_that_are_limited(tmp_path: Path) -> None:
    limits = {
        "slo_wait_p95": "10ms",
        "loss_max": "1%",
        "queue_limit": 20,
        "survive": "n-1",
        "requests_max": 3_000_000,
    }
    page = written(TIMES, tmp_path, rate="700rps", **limits)
    told = [one.text for one in page.all("dt")]
    assert told.count("If a replica dies") == 1
    assert "With 1 replica gone" not in told
    assert "Wait P95 over the arrival rate" in sections(page)
    assert [row[0] for row in page.rows("Percentiles")][-1] == "P99"


def test_a_plan_that_is_no_longer_certified_says_so(saved: Path, tmp_path: Path) -> None:
    """As another version of the simulator may find; here the profile has become slower."""
    old = read_plan_file(saved)
    slow = [replace(one, request_overhead_s=0.1) for one in old.question.profiles]
    changed = replace(old, question=replace(old.question, profiles=tuple(slow)))
    report = cap.report(changed, tmp_path / "report.html")
    assert (report.verdict, report.exit_code) == (Verdict.MISSED, 3)
    page = Page(report.page)
    assert re.search("does not meet .* any more", page.all("h1")[0].text)
    assert "✕ Objective missed" in page.root.text
    assert "SHA-256" not in page.root.text  # it comes from no file


def test_what_is_no_report_is_refused(saved: Path, tmp_path: Path) -> None:
    old: SavedPlan = read_plan_file(saved)
    with pytest.raises(cap.InputError, match="has no confirmation; make it again"):
        cap.report(replace(old, certificate=None), tmp_path / "report.html")
    with pytest.raises(cap.InputError, match="a report is a .html file; change its name"):
        cap.report(saved, tmp_path / "report.pdf")
    none = save(cap.plan(TIMES, rate="120rps", slo_p99="1ms"), tmp_path / "none.json")
    with pytest.raises(cap.InputError, match="none.json holds no plan: its verdict is missed"):
        cap.report(none, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_frontier_falls_as_the_price_rises() -> None:
    def spot(price: float, value: float) -> tuple:
        return price, cap.Interval.exact(value), Verdict.MET

    best = frontier([spot(2, 5.0), spot(1, 7.0), spot(3, 6.0), spot(2, 4.0), spot(4, 1.0), spot(1, 9.0)])
    assert [(price, found.value) for price, found, _ in best] == [(1, 7.0), (2, 4.0), (4, 1.0)]
