"""`--batching` and `--preferred-sizes` as they are typed: in answers, saved plans, sweeps, comparisons and files."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app

pytestmark = pytest.mark.usefixtures("no_headroom")

ONE = ["--profile", "resnet50-t4-fp16", "--replicas", "2", "--rate", "300rps", "--batch-size-max", "8"]
TWO_MS = [*ONE, "--batch-wait", "2ms"]
RULES = {
    "triton": [],
    "torchserve": ["--batching", "torchserve"],
    "ray-serve": ["--batching", "ray-serve", "--routing", "power-of-two"],
    "preferred": ["--preferred-sizes", "4,2"],
}


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


def answer(*words: str) -> dict:
    return json.loads(run(*words, "--json").stdout)


@pytest.mark.parametrize("rule", RULES)
def test_both_engines_answer_with_the_same_bytes_and_say_the_rule(rule: str) -> None:
    asked = ["simulate", *TWO_MS, *RULES[rule], "--precision", "0.2", "--quantile", "0.9"]
    text = run(*asked, "--json").stdout
    assert run(*asked, "--json", "--engine", "simpy").stdout == text
    plan = json.loads(text)["plan"]
    assert plan.get("batching") == {"triton": None, "preferred": "triton"}.get(rule, rule)
    assert plan.get("preferred_sizes") == ([2, 4] if rule == "preferred" else None)
    assert plan.get("timer") == ("open" if rule == "torchserve" else None)


def test_each_rule_has_figures_of_its_own() -> None:
    means_s = {
        rule: answer("simulate", *TWO_MS, *flags, "--routing", "random")["performance"]["response_mean_s"]
        for rule, flags in {**RULES, "ray-serve": ["--batching", "ray-serve"]}.items()
    }
    assert len({f"{mean_s:.4g}" for mean_s in means_s.values()}) == 4
    assert means_s["torchserve"] > means_s["triton"] > means_s["preferred"]


def test_the_timer_is_the_old_name_of_two_rules() -> None:
    old = run("simulate", *TWO_MS, "--timer", "open", "--json").stdout
    assert old == run("simulate", *TWO_MS, "--batching", "torchserve", "--json").stdout
    assert "--timer" not in run("simulate", "--help").stdout


def test_batches_that_close_too_early_are_refused() -> None:
    words = ["simulate", *ONE[:5], "900rps", *ONE[6:], "--batching", "ray-serve", "--routing", "random"]
    assert "use a longer --batch-wait, or more replicas" in run(*words, code=2).stderr


def test_a_saved_plan_keeps_its_rule_for_check_explain_and_render(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    asked = [
        "--profile", "resnet50-t4-fp16", "--rate", "300rps", "--slo-p99", "30ms", "--batch-size-max", "8",
    ]  # fmt: skip
    rule = ["--batch-wait", "2ms", "--preferred-sizes", "4,8"]
    found = answer("plan", *asked, *rule, "-o", str(plan))["recommendation"]
    assert (found["batching"], found["preferred_sizes"], found["batch_size_max"]) == ("triton", [4, 8], 8)
    checked = answer("check", "--plan", str(plan))
    assert checked["reproduced"] is True
    text = run("render", str(plan), "--target", "triton").stdout
    assert "preferred_batch_size: [ 4, 8 ]" in text
    assert "--preferred-sizes 4,8" in text.splitlines()[1]


def test_a_sweep_and_a_comparison_have_the_rule(tmp_path: Path) -> None:
    (row,) = answer("sweep", *TWO_MS, "--batching", "ray-serve")["rows"]
    assert (row["batching"], row["timer"], row["preferred_sizes"]) == ("ray-serve", None, None)
    (row,) = answer("sweep", *TWO_MS, "--preferred-sizes", "2,4")["rows"]
    assert (row["batching"], row["timer"], row["preferred_sizes"]) == ("triton", None, "2+4")
    fleet = "replicas=2,batch=8,wait=2ms"
    fleets = [fleet, f"{fleet},batching=ray-serve", f"{fleet},preferred-sizes=2+4"]
    flags = [word for one in fleets for word in ("--fleet", one)]
    found = answer("compare", "--profile", "resnet50-t4-fp16", "--rate", "300rps", *flags)
    assert [one["plan"].get("batching") for one in found["fleets"]] == [None, "ray-serve", "triton"]
    wrong = run(
        "compare",
        "--profile",
        "resnet50-t4-fp16",
        "--rate",
        "300rps",
        "--fleet",
        f"{fleet},batching=x",
        code=2,
    )
    assert "--batching 'x' is unknown" in str(wrong.stderr)


def test_the_rates_of_a_rule_are_its_own() -> None:
    asked = ["max-rate", "--profile", "resnet50-t4-fp16", "--replicas", "1", "--slo-p99", "20ms"]
    asked += ["--precision", "0.2", "--requests-max", "1000000"]
    rates = [
        answer(*asked, "--batch-size-max", "8", *flags)["rates"]["arrival_rate_max_rps"]
        for flags in ([], ["--batching", "ray-serve"])
    ]
    assert rates[1] < 0.9 * rates[0]  # batches of one, which a busy replica does not make larger


def test_a_language_model_has_no_batching_rule() -> None:
    words = ["simulate", "--profile", "llama-3.1-8b-rtx-pro-6000-bf16", "--replicas", "1", "--rate", "1rps"]
    lengths = ["--lengths", "azure-conversation-2023"]
    assert "--batching" in str(run(*words, *lengths, "--batching", "torchserve", code=2).stderr)
