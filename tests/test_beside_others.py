"""The table of other planners in the README: what needs none of them is computed again."""

import beside_others
from readme import README, examples

SECTION = README.read_text(encoding="utf-8").partition("## Beside others")[2].partition("\n## ")[0]


def test_spreadsheets_are_as_the_readme_says():
    servers, p99_s = beside_others.staffing()
    assert f"| spreadsheet, rate / throughput | {beside_others.spreadsheet()}; no P99 |" in SECTION
    assert f"| spreadsheet, M/M/c | {servers}: P99 {p99_s * 1e3:.3g} ms" in SECTION


def test_the_plan_beside_others_is_the_first_example():
    _, printed = examples()[0]
    replicas = printed.split()[0]
    figure = " ".join(printed.split()).partition("P99 is ")[2].partition(" ms")[0]
    assert f"{replicas}: P99 {figure} ms" in SECTION


def test_a_configurator_is_read_by_its_words(monkeypatch, tmp_path):
    shown = "disagg GPUs needed: 4 (replicas: 2)\nagg GPUs needed: 3 (replicas: 3)\n- Request Rate: 9.5 req/s\n- TTFT: 1.5ms\n- TPOT: 2.5ms\n"
    monkeypatch.setattr(beside_others, "run", lambda *_: shown)
    found = beside_others.configurator(tmp_path)
    assert found.startswith("3 GPUs, 4 if prefill and decode are apart; TTFT 1.5 ms and TPOT 2.5 ms")
    monkeypatch.setattr(beside_others, "run", lambda *_: "no plan")
    assert beside_others.configurator(tmp_path) == "prints no plan here"
