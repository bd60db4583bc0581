"""What `capacity verify` reads before it sends anything: traces, plans in flags, and where metrics are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import in_process
import pytest

from capacity.api.saved import _read_metrics
from capacity.errors import DependencyError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.arguments import Asked
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.verification.subject import described_subject

MIXED = Path(__file__).parents[1] / "kept" / "files" / "mixed.json"
URL = "http://127.0.0.1:1/predict"
PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=4, mean_s=0.01),))
SUBJECT: Any = SimpleNamespace(profile=PROFILE, plan=BatchPlan(profile="p", replicas=1, batch_size_max=4))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The last of these is what a look at the metrics finds, or raises."""
    found: list[Any] = [["a page"]]

    def look(addresses: Any) -> Any:
        if isinstance(found[-1], Exception):
            raise found[-1]
        return found[-1]

    monkeypatch.setattr("capacity.verification.batches.look", look)
    monkeypatch.setattr("capacity.verification.batches.batching_notes", lambda *_: ("another batching",))
    return found


def test_metrics_are_looked_at_before_the_load(looks: list[Any]) -> None:
    said: list[str] = []
    addresses, notes = _read_metrics([], [URL], SUBJECT, said.append)
    assert [one.target for one in addresses] == ["/metrics"]
    assert notes == ("another batching",)
    assert said == ["note: another batching"]
    none = _read_metrics(["none"], [URL], SUBJECT, said.append)
    assert none == ((), ("mean batch and utilization were not requested (--metrics none)",))
    assert len(said) == 1


def test_missing_metrics_are_an_error_only_if_asked_for(looks: list[Any]) -> None:
    looks.append(DependencyError("nothing answers"))
    assert _read_metrics([], [URL], SUBJECT, print) == (
        (), ("mean batch and utilization are not known: nothing answers",)
    )  # fmt: skip
    with pytest.raises(DependencyError, match="^nothing answers; give other --metrics, or none$"):
        _read_metrics([URL], [URL], SUBJECT, print)


def flagged(**said: Any) -> Any:
    url = [f"{URL}{number}" for number in range(3)]
    return described_subject(
        Asked("verify", {"url": url, "profile": str(MIXED), "rate": "50rps", **said})
    ).plan


def test_a_plan_in_flags() -> None:
    """By default a replica for each URL, the largest batch of the profile, and no wait."""
    plan = flagged()
    assert (plan.replicas, plan.batch_wait_max_s, plan.queue_limit) == (3, 0.0, None)
    assert (plan.profile, plan.routing, plan.batch_size_max) == ("mixed", Routing.ROUND_ROBIN, 8)
    typed = flagged(replicas=2, batch_size_max=1, batch_wait="2ms", routing="random", queue_limit=0)
    assert (typed.replicas, typed.batch_size_max, typed.queue_limit) == (2, 1, 0)
    assert (typed.batch_wait_max_s, typed.routing) == (0.002, Routing.RANDOM)


def test_notes_of_a_trace_come_before_errors(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    (tmp_path / "t.csv").write_text("t_s\n" + "".join(f"{n}\n" for n in (0, 1, 3, 2, 4)))
    done = in_process.capacity(
        tmp_path,
        "verify",
        "--url",
        URL,
        "--body",
        "gone.json",
        "--profile",
        MIXED,
        "--arrivals",
        "trace:t.csv",
    )
    note, error = done.stderr.splitlines()
    assert note == "note: t.csv: 1 timestamp goes back in time, by at most 1 s; they were sorted"
    assert (error.startswith("error: "), "gone.json" in error, done.returncode) == (True, True, 2)
