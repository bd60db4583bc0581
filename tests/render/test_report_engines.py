"""The report page of a language model: the same page as that of batches, in the words of engines."""

import json
import re
from pathlib import Path

import pytest
from saved_reports import Page, save

import capacity as cap
from capacity.performance import format_interval

FILES = Path(__file__).parent.parent / "kept" / "files"
ASKED = {"lengths": "input=uniform:low=20,high=60;output=geometric:mean=20", "slo_ttft_p99": "300ms"}
QUICK = {"requests_max": 400_000, "precision": 0.2}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict]:
    folder = tmp_path_factory.mktemp("engines")
    answer = cap.plan(FILES / "line.json", rate="60rps", sequences_max=8, **ASKED, **QUICK)
    saved = save(answer, folder / "plan.json")
    report = cap.report(saved, folder / "report.html")
    assert report.exit_code == 0
    return Page(report.page), json.loads(saved.read_text(encoding="utf-8"))["answer"]


@pytest.fixture(scope="module")
def told(page: tuple[Page, dict]) -> dict[str, str]:
    return {one.all("h2")[0].text: re.sub(r"\s+", " ", one.text) for one in page[0].all("section")}


def test_its_numbers_are_those_of_the_plan_confirmed_again(
    page: tuple[Page, dict], told: dict[str, str]
) -> None:
    answer = page[1]
    p99 = format_interval(cap.Interval(**answer["performance"]["ttft_quantiles_s"]["0.99"]))
    assert p99 in told["Times of TTFT"]
    assert p99 in told["TTFT P99 over the arrival rate"]
    assert "have a TTFT within" in told["Times of TTFT"]


def test_it_speaks_of_sequences_and_not_of_batches(told: dict[str, str]) -> None:
    fleets = told["Replicas and how each is set"]
    assert "8 sequences" in fleets
    assert "batch" not in fleets
    assert "8 sequences, 512 tokens a step" in told["Cost and TTFT P99"]
    assert "an engine puts a new batch together for each step" in told["The fleet at work"]
    assert "sequences, most" in told["Inputs, and how to make this again"]


def test_its_command_repeats_the_plan(told: dict[str, str]) -> None:
    command = told["Commands to repeat"]
    assert f"--lengths '{ASKED['lengths']}'" in command
    for flag in ("--rate 60rps", "--slo-ttft-p99 300ms", "--sequences-max 8", "--requests-max 400000"):
        assert flag in command
