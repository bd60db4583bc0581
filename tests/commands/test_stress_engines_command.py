"""`capacity stress` of a language model, as somebody types it: answers, keys, exit codes and mistakes."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import in_process
import pytest

import capacity as cap
from capacity.errors import InputError

pytestmark = pytest.mark.usefixtures("no_headroom")

Command = Callable[..., "subprocess.CompletedProcess[str]"]

# One request at a time, 10 ms each in the mean: an engine serves 100 rps.
PROFILE = {
    "kind": "llm",
    "name": "one-slot",
    "kv": {"tokens": 100_000},
    "limits_measured": {"sequences_max": 1, "batched_tokens_max": 64, "context_tokens_max": 20_000},
    "coefficients": {"base_s": 1e-4, "per_prefill_token_s": 0.0, "per_decode_request_s": 0.0},
}
LENGTHS = "input=constant:1;output=geometric:mean=100"
ENGINES = ["--profile", "one-slot.json", "--lengths", LENGTHS, "--replicas", "2", "--rate", "140rps"]
SPIKE = [
    "--trigger", "spike:2x,10s", "--timeout", "500ms", "--attempts", "3", "--horizon", "60s", "--runs", "4",
]  # fmt: skip
ALONE = [*ENGINES, *SPIKE, "--only-verdict"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines")
    (path / "one-slot.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    (path / "mine.csv").write_text("batch_size,mean_ms\n1,10\n", encoding="utf-8")
    return path


@pytest.fixture
def stress(folder: Path) -> Command:
    return partial(in_process.capacity, folder, "stress")


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def test_engines_that_stop_attempts_recover_and_those_that_serve_them_do_not(stress: Command) -> None:
    stopped, served = stress(*ALONE, "--json"), stress(*ALONE, "--abandoned", "served", "--json")
    assert (stopped.returncode, served.returncode) == (0, 3), stopped.stderr + served.stderr
    assert document(stopped)["fluid"]["stuck"] is None
    answer = document(served)
    assert answer["fluid"]["stuck"] is True
    assert answer["recovered"]["value"] == 0.0
    assert answer["recovery_s"] is None
    assert answer["capacity_rps"] == pytest.approx(200.0, rel=0.01)
    assert answer["plan"] == {
        "profile": "one-slot",
        "replicas": 2,
        "sequences_max": 1,
        "batched_tokens_max": 64,
        "routing": "round-robin",
    }


@pytest.mark.long
def test_the_screen_names_settings_that_engines_have(stress: Command) -> None:
    done = stress(*ENGINES, *SPIKE, "--abandoned", "served", "-v")
    assert done.returncode == 3, done.stderr
    assert "A spike of 2x for 10 s at 140 rps becomes an outage of more than 70 s" in done.stdout
    for setting in ("--retry-budget 0.1", "--queue-limit", "--abandoned stopped"):
        assert setting in done.stdout
    assert "--shed" not in done.stdout
    assert "with steps that take 1 % longer" in " ".join(done.stdout.split())


def test_lengths_are_needed_and_are_of_language_models_only(stress: Command) -> None:
    without = [one for one in ALONE if one not in ("--lengths", LENGTHS)]
    done = stress(*without)
    assert done.returncode == 2
    assert "give --lengths" in done.stderr
    batches = ["mine.csv" if one == "one-slot.json" else one for one in ALONE]
    done = stress(*batches)
    assert done.returncode == 2
    assert "--lengths is for language models" in done.stderr


def test_python_asks_the_same_with_the_same_words(folder: Path) -> None:
    asked = {
        "lengths": LENGTHS,
        "replicas": 2,
        "rate": "140rps",
        "trigger": "spike:2x,10s",
        "timeout": "500ms",
    }
    answer = cap.stress(
        str(folder / "one-slot.json"), **asked, attempts=3, horizon="60s", runs=4, only_verdict=True
    )
    assert answer.exit_code == 0
    assert answer.stress.capacity_rps == pytest.approx(200.0, rel=0.01)
    with pytest.raises(InputError, match="shed does not apply"):
        cap.stress(str(folder / "one-slot.json"), **asked, shed="lifo")


PLAN = [
    "--profile", "one-slot.json", "--lengths", LENGTHS, "--rate", "150rps", "--slo-p99", "400ms",
    "--requests-max", "1000000", "--precision", "0.3",
]  # fmt: skip
TROUBLE = ["--recover-within", "20s", "--trigger", "lose:1,20s", "--timeout", "300ms", "--attempts", "4"]


@pytest.fixture
def plan(folder: Path) -> Command:
    return partial(in_process.capacity, folder, "plan")


@pytest.mark.long
def test_a_plan_that_comes_back_with_one_setting_more(plan: Command, stress: Command, folder: Path) -> None:
    """Two engines serve 200 rps; of three, two are left, which are enough for 150 rps."""
    done = plan(*PLAN, *TROUBLE, "-o", "two.json")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "2 replicas of one-slot with up to 1 sequence meet P99 <= 400 ms at 150 rps" in told
    assert "One fewer" not in told  # of one, the trigger leaves nothing to compare with
    assert "Fewer than 2 replicas were not tried; the reason is below." in told
    recovery = json.loads((folder / "two.json").read_text(encoding="utf-8"))["answer"]["recovery"]
    cap.report(folder / "two.json", folder / "two.html")
    assert "one-slot" in (folder / "two.html").read_text(encoding="utf-8")
    assert recovery["as_planned"]["recovered"]["value"] < 1.0
    assert recovery["setting"] == "--queue-limit 14"  # of 200 rps, half of what 0.29 s serve, at each of two
    assert recovery["chosen"]["recovered"]["value"] == 1.0
    assert recovery["chosen"]["recovery_s"]["high"] <= 20.0
    assert recovery["smallest_fleet"] == 3
    assert recovery["replicas_min"] == 2
    assert recovery["flags"] == TROUBLE
    assert "# The fleet recovers only with --queue-limit 14" in cap.render_plan(folder / "two.json", "vllm")
    explained = cap.explain(folder / "two.json").explain()
    assert (
        "Why one fewer is not enough:\n- With up to 1 sequence it would reject more than is allowed"
        in explained
    )
    rendered = cap.render_plan(folder / "two.json", "envoy")
    assert "# Evaluated:  2 engines of one-slot, 1 sequence, 64 tokens a step" in rendered
    assert "num_retries: 3\n" in rendered
    assert "per_try_timeout: 0.3s\n" in rendered
    limit = int(recovery["setting"].removeprefix("--queue-limit "))
    assert f"max_requests: {2 * (limit + 1)} #" in rendered  # what waits, and one that each engine serves
    assert "  name: one-slot\n" in cap.render_plan(folder / "two.json", "istio")
    # The saved plan in the same trouble, by `stress`, with that setting.
    asked = [word for word in TROUBLE if word not in ("--recover-within", "20s")]
    again = stress(
        "--plan", "two.json", *asked, *recovery["setting"].split(), "--only-verdict", "--horizon", "60s"
    )
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.long
def test_a_plan_with_an_engine_more_where_no_setting_helps(folder, monkeypatch) -> None:
    monkeypatch.undo()  # with headroom
    monkeypatch.setattr("capacity.search.recovery_plan.remedies", lambda stress: iter(()))
    answer = cap.plan(
        str(folder / "one-slot.json"), lengths=LENGTHS, rate="150rps", slo_p99="400ms", requests_max=1_000_000,
        precision=0.3, recover_within="5s", trigger="lose:1,20s", timeout="300ms", attempts=4,
    )  # fmt: skip
    assert answer.exit_code == 0
    assert answer.recovery.setting is None
    assert answer.recovery.as_planned.stress.plan.replicas == 2
    assert answer.recovery.as_planned.exit_code != 0
    assert answer.plan.replicas == answer.recovery.as_is.stress.plan.replicas == 3
    assert answer.headroom.today_rps == 150.0
    assert answer.to_saved().plan == answer.plan
    again = cap.stress(
        plan=answer, trigger="lose:1,20s", timeout="300ms", attempts=4, runs=4, only_verdict=True
    )
    assert again.stress.plan == answer.plan
    assert again.exit_code == 0
    assert "Fewer than 3 replicas were not tried; the reason is below." in answer.explain()


QUICK = {"lengths": LENGTHS, "slo_p99": "400ms", "requests_max": 1_000_000, "precision": 0.3}


def test_plans_of_two_kinds_are_not_compared(folder: Path) -> None:
    engines = cap.plan(str(folder / "one-slot.json"), rate="50rps", **QUICK)
    batches = cap.plan(str(folder / "mine.csv"), rate="50rps", slo_p99="400ms", precision=0.3)
    batches.save(folder / "batches.json")
    for other, name in ((batches, "plan 2"), (folder / "batches.json", "batches.json")):
        with pytest.raises(
            InputError, match=f"{name} is a plan of a fleet that batches; give one for a language"
        ):
            cap.compare([engines, other])


def test_a_plan_with_a_long_trace_is_asked_further_and_not_saved(folder, monkeypatch) -> None:
    """More arrivals than a file holds, if that were a thousand."""
    monkeypatch.setattr("capacity.answer.saved_parts.INSTANTS_MAX", 1_000)
    lines = ["t_s", *(f"{0.02 * number:.3f}" for number in range(6_000))]
    (folder / "long.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    answer = cap.plan(str(folder / "one-slot.json"), arrivals=f"trace:{folder / 'long.csv'}", **QUICK)
    assert answer.plan is not None
    assert cap.check(answer).exit_code == 0
    with pytest.raises(InputError, match="arrivals, too many for a saved plan of a language model"):
        answer.save(folder / "long.json")


def test_one_engine_fewer_may_meet_the_limits_and_not_recover(folder: Path) -> None:
    answer = cap.plan(
        str(folder / "one-slot.json"), rate="50rps", recover_within="20s", trigger="lose:1,10s", timeout="300ms",
        attempts=2, **QUICK,
    )  # fmt: skip
    assert answer.plan.replicas == 2
    assert "Fewer than 2 replicas were not tried" in answer.explain()
    said = cap.explain(answer).explain()
    assert "1 replica of one-slot with up to 1 sequence meets the limits as well, at load 0.500" in said
    assert (
        "confirmation"
        not in said.partition("Why one more than the limits need")[2].partition("Other settings")[0]
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"recover_within_s": -1.0, "trigger": "lose:1,9s"}, "must be 0 or more"),
        ({"recover_within": "9s", "trigger": 5}, "trigger must be text, got 5"),
        ({"recover_within": "9s", "trigger": "lose:1,9s", "shed": 3}, "shed must be text, got 3"),
    ],
)
def test_trouble_that_is_no_text_is_refused(folder: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cap.plan(str(folder / "one-slot.json"), rate="50rps", timeout="300ms", **asked, **QUICK)
