"""`check` of a plan that was made to recover: the recovery is judged as it was planned, unless it is left out."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import capacity as cap
from capacity.answer.check import notes_on_trouble, recovery_finding
from capacity.answer.plan_like import as_saved
from capacity.api.trouble import saved_trouble
from capacity.errors import InputError
from capacity.question.candidate import Verdict
from capacity.question.resilience import Spike
from capacity.recovery.protection import Shedding
from capacity.search.recovery_plan import with_setting

MINE = str(Path(__file__).parents[2] / "docs" / "examples" / "mine.csv")
LOST = ["--recover-within", "60s", "--trigger", "lose:1,60s", "--timeout", "500ms", "--attempts", "3"]
ASIDE = "whether the fleet recovers from trouble was not judged again; run capacity stress --plan"


@cache
def planned() -> Any:
    """Four replicas, which come back from losing one with --shed late, and do not as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capacity.search.plan_decision.find_headroom", lambda *_: None)
        return as_saved(cap.plan(MINE, batch_size_max=1, rate="316rps", slo_p99="100ms", batch_wait="0ms"))


def made_to_recover(setting: str | None, flags: list[str] = LOST) -> Any:
    recovery = {"within_s": 60.0, "flags": flags, "setting": setting}
    return replace(planned(), answer={**planned().answer, "recovery": recovery})


def found_of(saved: Any, **how: Any) -> tuple[Verdict, int, dict[str, Verdict]]:
    answer = cap.check(saved, **how)
    return answer.answer.verdict, answer.exit_code, {one.name: one.verdict for one in answer.answer.findings}


@pytest.mark.long
def test_a_plan_that_recovers_no_longer_does_not_hold() -> None:
    """It said "holds", exit code 0, whatever became of the recovery."""
    assert planned().plan.replicas == 4
    verdict, code, findings = found_of(made_to_recover(None))
    assert (verdict, code, findings["recovers within 60 s"]) == (Verdict.MISSED, 3, Verdict.MISSED)
    verdict, code, findings = found_of(made_to_recover("--shed late:12.4ms"))
    assert (verdict, code, findings["recovers within 60 s"]) == (Verdict.MET, 0, Verdict.MET)
    verdict, code, findings = found_of(made_to_recover(None), without_recovery=True)
    assert (verdict, code, "recovers within 60 s" in findings) == (Verdict.MET, 0, False)
    assert ASIDE in cap.check(made_to_recover(None), without_recovery=True).answer.notes


def test_a_saved_plan_says_what_it_must_come_back_from() -> None:
    trouble = saved_trouble({"recovery": {"flags": LOST}})
    assert (trouble.within_s, trouble.clients.timeout_s, trouble.clients.attempts) == (60.0, 0.5, 3)
    assert (trouble.flags, trouble.shed, trouble.startup_s) == (tuple(LOST), "none", 0.0)
    rollout = [*LOST[:2], "--trigger", "rollout", *LOST[4:]]
    spike = Spike(factor=2.0, startup_time_s=90.0)
    assert saved_trouble({"recovery": {"flags": rollout}}, spike).startup_s == 90.0
    given = [*rollout, "--startup-time", "30s"]
    assert saved_trouble({"recovery": {"flags": given}}, spike).startup_s == 30.0


@pytest.mark.parametrize(
    "answer", [{}, {"recovery": None}, {"recovery": {"within_s": 60.0}}, {"recovery": {"flags": []}}]
)
def test_a_plan_that_does_not_say_so_is_judged_by_its_objective_alone(answer: dict[str, Any]) -> None:
    assert saved_trouble(answer) is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([*LOST, "--colour", "red"], "'--colour' is no flag of trouble"),
        ([*LOST[:-1], "three"], "--attempts 'three' is no number"),
        ([*LOST[:3], "lose", *LOST[4:]], "lose"),
    ],
)
def test_flags_of_trouble_that_were_edited_are_refused(flags: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        saved_trouble({"recovery": {"flags": flags}})


@pytest.mark.long
def test_a_setting_is_applied_as_it_is_typed() -> None:
    saved = made_to_recover(None)
    trouble = saved_trouble(saved.answer)
    stress = trouble.stress_of(saved.question.scenario(saved.plan), pytest.fail)
    assert with_setting(stress, None) is stress
    assert with_setting(stress, "--retry-budget 0.25").clients.budget.ratio == 0.25
    assert with_setting(stress, "--queue-limit 7").limit == 7
    late = with_setting(stress, "--shed late:50ms").protection
    assert (late.shedding, late.late_margin_s) == (Shedding.LATE, 0.05)
    for setting in ("--queue-limit many", "--colour red", "none"):
        with pytest.raises(InputError, match="is no setting with which a plan recovers"):
            with_setting(stress, setting)


def test_the_finding_counts_the_runs_that_are_back_in_time() -> None:
    def runs(*recovered_s: float | None) -> Any:
        one = type("Run", (), {})
        found = [one() for _ in recovered_s]
        for run, value_s in zip(found, recovered_s, strict=True):
            run.recovered_s = value_s
        return type("Runs", (), {"runs": found})()

    met, missed = recovery_finding(runs(1.0, 60.0), 60.0), recovery_finding(runs(1.0, None), 60.0)
    assert (met.name, met.verdict, met.message) == (
        "recovers within 60 s",
        Verdict.MET,
        "2 of 2 runs recover in time",
    )
    assert (missed.verdict, missed.message) == (Verdict.MISSED, "1 of 2 runs recover in time")
    answer = {"recovery": {"flags": LOST}}
    assert list(notes_on_trouble(answer, met)) == []
    assert list(notes_on_trouble(answer, None)) == [ASIDE]
