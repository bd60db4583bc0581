"""What `capacity plan` says about disturbances and recovery, word by word, from made-up runs."""

from dataclasses import dataclass, field, replace

import pytest
from shown import lines
from stresses import back_after, fleet_in_trouble

from capacity.performance import Interval
from capacity.recovery.disturbance import Disturbances, Pauses, RequestClass
from capacity.recovery.findings import Remedy, Runs
from capacity.render.recovery.plan import disturbed_plan_lines, recovery_plan_lines
from capacity.search.disturbed_plan import DisturbedPlan
from capacity.search.recovery_plan import RecoveryPlan


@dataclass
class Seen:
    """Response times of a fleet with disturbances."""

    response_quantiles_s: dict[float, Interval]
    by_class: dict[str, dict[float, Interval]] = field(default_factory=dict)


LATE = Interval(value=0.2, low=0.1, high=0.3)
PLANNED = fleet_in_trouble().plan
PAUSES = Disturbances(pauses=Pauses(length_s=0.2, per_s=0.1))
CLASSES = tuple(RequestClass(name=name, share=0.02, scale=8.0) for name in ("long", "huge"))
LONG = replace(PAUSES, classes=CLASSES)


def disturbed(
    calm: int, chosen: Seen | None, calm_disturbed: Seen | None = None, hourly_usd: float | None = None
) -> DisturbedPlan:
    return DisturbedPlan(
        disturbances=PAUSES if chosen is None or not chosen.by_class else LONG,
        calm=replace(PLANNED, replicas=calm),
        calm_disturbed=calm_disturbed,
        chosen=chosen,
        hourly_usd=hourly_usd,
    )


def test_a_plan_with_disturbances() -> None:
    by_class = {"ordinary": {0.99: Interval.exact(0.1)}, "long": {0.99: Interval.exact(0.25)}}
    found = disturbed(3, Seen({0.99: LATE}, by_class), hourly_usd=1.5)
    named = (
        "pauses of 200 ms, 6 a minute and 0.02 of the requests long (8x) and 0.02 of the requests huge (8x)"
    )
    assert lines(disturbed_plan_lines(found, PLANNED, 4.0)) == [
        "",
        f"With {named}, P99 is 200 ms (100 ms to 300 ms): ordinary 100 ms; long 250 ms.",
        "Without, 3 replicas would be enough, 2.5 USD/h less.",
    ]
    plain = disturbed(1, Seen({0.99: LATE, 0.5: Interval.exact(0.01)}))
    for price in (2.0, None):
        assert lines(disturbed_plan_lines(plain, PLANNED, price)) == [
            "", "With pauses of 200 ms, 6 a minute, P50 is 10 ms (10 ms to 10 ms).",
            "With pauses of 200 ms, 6 a minute, P99 is 200 ms (100 ms to 300 ms).",
            "Without, 1 replica would be enough.",
        ]  # fmt: skip
    same = disturbed(4, Seen({0.99: LATE}), hourly_usd=2.0)
    assert lines(disturbed_plan_lines(same, PLANNED, 2.0))[2:] == ["It costs no replica more than without."]


def test_no_plan_with_disturbances() -> None:
    refused = ["", "With pauses of 200 ms, 6 a minute no fleet within --replicas-max is enough."]
    assert lines(disturbed_plan_lines(disturbed(3, None), None, None)) == refused
    assert lines(disturbed_plan_lines(disturbed(3, Seen({0.99: LATE})), None, None)) == refused
    known = disturbed(3, None, Seen({0.99: LATE}))
    assert lines(disturbed_plan_lines(known, PLANNED, None)) == [
        *refused,
        " 3 replicas: P99 200 ms (100 ms to 300 ms)",
    ]


def recovery(as_planned: Runs, chosen: Runs | None, **others: object) -> list[str]:
    given = {"setting": None, "tried": (), "as_is": None} | others
    found = RecoveryPlan(within_s=60.0, as_planned=as_planned, chosen=chosen, **given)  # type: ignore[arg-type]
    blank, *told = lines(recovery_plan_lines(found))
    assert blank == ""
    return told


AFTER = "after losing 1 of 4 for 60 s"


def test_a_plan_that_recovers_as_it_is() -> None:
    found = back_after(20.0, 20.0)
    assert recovery(found, found, as_is=found) == [f"It recovers {AFTER} within 60 s, in 20 s: all 2 runs."]


def test_a_plan_that_recovers_with_a_setting() -> None:
    """A setting that makes requests fail even before the trigger is marked."""
    planned, chosen = back_after(None, None), back_after(1.0, 1.0, goodput=1.0)
    harm = back_after(1.0, 1.0, goodput=1.0, baseline=0.99)
    tried = (Remedy(setting="--shed late", found=chosen), Remedy(setting="--queue-limit 9", found=harm))
    assert recovery(planned, chosen, setting="--shed late", tried=tried) == [
        f"It recovers {AFTER} within 60 s with --shed late, at once: all 2 runs.",
        " 4 replicas as they are: do not recover in time: 0 of 2 runs",
        " 4 replicas with --shed late: recover at once; 100 % succeed meanwhile",
        " 4 replicas with --queue-limit 9: recover at once; 100 % succeed meanwhile, but requests fail before it too",
    ]


def test_a_plan_that_recovers_with_more_replicas() -> None:
    one = fleet_in_trouble("spike:2x,60s", replicas=1, rate_rps=80.0)
    planned = back_after(None, stress=one)
    more = back_after(1.0, 1.0, stress=replace(one, plan=replace(one.plan, replicas=2)))
    assert recovery(planned, more, as_is=more) == [
        "It recovers after a spike of 2x for 60 s within 60 s as it is, at once: all 2 runs.",
        " 1 replica as it is: does not recover in time: 0 of 1 runs",
        " without any setting: 2 replicas",
    ]


def test_no_plan_that_recovers() -> None:
    planned, larger = back_after(None, None), back_after(1.0, stress=fleet_in_trouble(replicas=6))
    assert recovery(planned, None) == [f"No plan within the limits recovers {AFTER} within 60 s."]
    assert recovery(planned, None, as_is=larger) == [
        f"No plan within the limits is known to meet the objective and recovers {AFTER} within 60 s.",
        " without any setting: 6 replicas",
    ]


@pytest.mark.parametrize(
    ("replicas", "least", "is_mentioned"),
    [(4, 1, False), (4, 3, False), (4, 4, True), (4, 5, False), (2, 2, True), (1, 1, False)],
)
def test_fleets_that_a_trigger_takes_down_are_mentioned(replicas, least, *, is_mentioned) -> None:
    found = back_after(1.0, 1.0, stress=fleet_in_trouble(replicas=replicas, rate_rps=80.0))
    told = f"Fleets of fewer than {replicas} replicas were left out, as the trigger takes them down entirely."
    assert (told in recovery(found, found, as_is=found, replicas_min=least)) is is_mentioned
