"""Tables of audits and imports, cell by cell."""

from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from shown import cells

from capacity.evidence.finding import Belief, CheckFinding
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.formats.running_plan import RunningPlan
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.render.evidence import audit_tables, import_tables
from capacity.traffic.workload import TraceArrivals


def shown(pieces: Any) -> list[Any]:
    """Texts, and tables as their title and rows."""
    found: list[Any] = []
    for one in pieces:
        if isinstance(one, Text):
            found.append(one.plain)
        elif isinstance(one, Table):
            found.append([str(one.title or ""), *cells(one)])
    return found


def finding(check: str, run: str, belief: Belief, fix: str = "") -> CheckFinding:
    return CheckFinding(check=check, run=run, belief=belief, message=f"{check} was found", fix=fix)


HOLDS = [finding("loop", "1", Belief.HOLDS), finding("averages", "1", Belief.HOLDS)]
RUNS = (LoadRun(name="1"), LoadRun(name="2"))
TEST = LoadTest(tool="k6", name="a.json", runs=RUNS, notes=("one thing", "another."))


def test_what_was_not_checked_is_told_with_the_verdict() -> None:
    """So that nobody takes a warm-up that the file cannot show for one that was looked for and not found."""
    found = [*HOLDS, finding("warm-up", "1", Belief.UNKNOWN), finding("warm-up", "2", Belief.UNKNOWN)]
    first = shown(audit_tables(TEST, found, Belief.HOLDS, []))[0]
    assert first == (
        "k6, a.json. The figures may be used as they are. Not checked, since the file does not say enough: warm-up."
    )


def closed(users: float | None) -> LoadRun:
    return LoadRun(name=f"{users}", loop=Loop.CLOSED, users=users)


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ((closed(8.0),), "Sound for 8 waiting users; it says nothing about an arrival rate."),
        ((closed(1.0),), "Sound for 1 waiting user; it says nothing about an arrival rate."),
        ((closed(8.0), closed(8.0)), "Sound for 8 waiting users; it says nothing about an arrival rate."),
        (
            (closed(16.0), closed(8.0)),
            "Sound for 8 or 16 waiting users; it says nothing about an arrival rate.",
        ),
        # Elsewhere nothing is said of users: their number is not known, or requests came by themselves.
        ((closed(None),), "The figures may be used as they are."),
        ((closed(8.0), LoadRun(name="2", loop=Loop.OPEN, users=8.0)), "The figures may be used as they are."),
        ((LoadRun(name="1", users=8.0),), "The figures may be used as they are."),
    ],
)
def test_what_may_be_done_with_figures_that_hold(runs: tuple[LoadRun, ...], told: str) -> None:
    test = LoadTest(tool="wrk", name="a.txt", runs=runs)
    assert shown(audit_tables(test, HOLDS, Belief.HOLDS, []))[0] == f"wrk, a.txt. {told}"
    doubt = shown(audit_tables(test, [finding("samples", "1", Belief.DOUBTFUL)], Belief.DOUBTFUL, []))[0]
    assert "Sound" not in doubt


def test_up_to_two_checks_are_put_in_plain_words() -> None:
    samples, stalls, ramp = (finding(one, "1", Belief.BROKEN) for one in ("samples", "stalls", "ramp"))
    told = shown(audit_tables(TEST, [samples, stalls], Belief.BROKEN, []))[0]
    assert told.endswith(
        ": samples (too few requests for its percentiles), stalls (the server stops at times, or answers are of two "
        "kinds)."
    )
    assert shown(audit_tables(TEST, [samples, stalls, ramp], Belief.BROKEN, []))[0].endswith(
        ": samples, stalls, ramp."
    )
    own = finding("tool-verdict", "1", Belief.BROKEN)
    assert shown(audit_tables(TEST, [own], Belief.BROKEN, []))[0].endswith(": tool-verdict.")


def test_checks_that_hold_are_only_named_where_there_are_several_runs() -> None:
    doubt = finding("samples", "2", Belief.DOUBTFUL)
    found = [*HOLDS, doubt, finding("loop", "2", Belief.HOLDS)]
    assert shown(audit_tables(TEST, found, Belief.DOUBTFUL, []))[1:] == [
        ["1", ("holds", "", "loop, averages")],
        ["2", ("doubtful", "samples", "samples was found"), ("holds", "", "loop")],
        "Note: one thing.",
        "Note: another.",
    ]
    in_full = [("holds", "loop", "loop was found"), ("holds", "averages", "averages was found")]
    assert shown(audit_tables(TEST, HOLDS, Belief.HOLDS, []))[1] == ["1", *in_full]
    assert shown(audit_tables(TEST, found, Belief.DOUBTFUL, [], verbose=True))[1] == ["1", *in_full]


def test_imported_profiles_and_traces() -> None:
    timings = (BatchTiming(batch_size=1, mean_s=0.01), BatchTiming(batch_size=4, mean_s=0.02))
    profile = ServiceProfile(name="p", timings=timings, source={"note": "from a test"})
    assert shown(import_tables(profile)) == [
        ["p", ("1", "10 ms", "100 rps"), ("4", "20 ms", "200 rps")],
        "Note: from a test.",
    ]
    assert len(shown(import_tables(ServiceProfile(name="p", timings=timings)))) == 1
    trace = TraceArrivals(instants_s=(0.0, 1.0, 2.0), name="t", remarks=("sorted",))
    told, note = shown(import_tables(trace))
    assert told.startswith("3 arrivals in 2 s, ")
    assert told.endswith(" rps; capacity workload describes them.")
    assert note == "Note: sorted."


def test_imported_settings() -> None:
    plan = RunningPlan(
        name="m", batch_size_max=8, batch_wait_max_s=0.002, replicas=2, queue_limit=1, notes=("n",)
    )
    settings, told, note = shown(import_tables(plan))
    assert settings == [
        "m", ("replicas", "2"), ("largest batch", "8"), ("batch wait", "2 ms"), ("queue limit", "1")
    ]  # fmt: skip
    assert told == (
        "capacity simulate --profile PROFILE --rate RATE --replicas 2 --batch-size-max 8 --batch-wait 2ms "
        "--routing shared-queue --queue-limit 1 evaluates it."
    )
    assert note == "Note: n."
    free, _ = shown(import_tables(RunningPlan(name="m")))
    assert free[-1] == ("queue limit", "none")
