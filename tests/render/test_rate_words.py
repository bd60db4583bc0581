"""Sentences and tables about the rates a plan can handle and about the error of assuming Poisson arrivals."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from shown import cells

from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Verdict
from capacity.question.comparison import PoissonError
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.scenario import Scenario
from capacity.render.rates import _telling, sentences
from capacity.render.trace import _chance, _error_tables
from capacity.search.max_rate import Point, Stretch
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.scale import RATES, USERS
from capacity.traffic.workload import Workload

PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=1)
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)


def rates(*, replicas: int = 2, **others: Any) -> Any:
    scenario = Scenario(
        profile=PROFILE,
        workload=Workload(arrival_rate_rps=50.0),
        plan=BatchPlan(profile="p", replicas=replicas, batch_size_max=1),
        objective=Objective.of(response={0.99: 0.05}),
    )
    usual: dict[str, Any] = {
        "scenario": scenario, "limit": P99, "stretches": (), "verdict": Verdict.MISSED, "closest": None, "lone": None,
        "only_rises": False, "points": (), "scale": RATES, "saturation": None, "load": lambda rate_rps: rate_rps / 200.0,
    }  # fmt: skip
    return SimpleNamespace(**usual | others)


def test_a_p_value_is_never_zero() -> None:
    assert [_chance(p) for p in (0.0123, 1e-6, 9.9e-7, 0.0)] == ["0.012", "1e-06", "< 1e-06", "< 1e-06"]


@pytest.mark.parametrize(
    ("ends_s", "off", "said"),
    [
        ((0.045, 0.055), "-50 % (-59.1 % to -38.9 %)", "is too optimistic: their P99 is below the trace's."),
        ((0.28, 0.32), "+200 % (+155 % to +256 %)", "is too pessimistic: their P99 is above the trace's."),
        ((0.08, 0.12), "+0 % (-27.3 % to +33.3 %)", "are too wide to tell the P99 of Poisson arrivals"),
        # These two touch the interval of the trace.
        ((0.07, 0.09), "-20 % (-36.4 % to +0 %)", "are too wide to tell"),
        ((0.11, 0.13), "+20 % (+0 % to +44.4 %)", "are too wide to tell"),
    ],
)
def test_what_poisson_would_get_wrong(ends_s: tuple[float, float], off: str, said: str) -> None:
    """The trace has 100 (90 to 110) ms; each end of the error compares with the far end of that."""
    error = PoissonError(
        plan=PLAN,
        arrival_rate_rps=50.0,
        quantile=0.99,
        by_trace=Interval(value=0.1, low=0.09, high=0.11),
        by_poisson=Interval(value=sum(ends_s) / 2.0, low=ends_s[0], high=ends_s[1]),
        confidence=0.9,
    )
    head, made, words, foot = _error_tables(error)
    assert isinstance(head, Text)
    assert isinstance(words, Text)
    assert isinstance(foot, Text)
    assert isinstance(made, Table)
    assert head.plain == "P99 of 2 x p, batches up to 1, at 50 rps:"
    assert said in words.plain
    assert foot.plain == "In brackets: intervals that all hold together with 90 % confidence."
    trace, poisson, found = cells(made)
    assert trace == ("by the trace", "100 ms (90 ms to 110 ms)")
    assert poisson[0] == "by Poisson arrivals"
    assert found == ("error of Poisson", off)


VERDICTS = {"m": Verdict.MET, "x": Verdict.MISSED, "?": Verdict.INCONCLUSIVE}


def told_of(verdicts: str) -> list[int]:
    """Places of the sizes that are shown; m is met, x missed, ? in doubt."""
    points = [
        Point(size=float(place), candidate=Candidate(plan=PLAN, verdict=VERDICTS[one]))
        for place, one in enumerate(verdicts)
    ]
    return [int(point.size) for point in _telling(rates(points=points))]


@pytest.mark.parametrize(
    ("verdicts", "places"),
    [
        ("mmmmmmxxxx", [0, 2, 5, 6]),
        ("mmmm?xxxxx", [0, 2, 3, 4]),
        ("mmmmmmmmmm", [0, 4, 8, 9]),  # none is refused
        ("xxxxxxxxxx", [0, 1, 2, 3]),  # none is accepted
        ("??xx", [0, 1, 2, 3]),
        ("xxxmmmxxxx", [0, 2, 5, 6]),  # the first is refused
        ("xxmmxxmmxx", [0, 4, 7, 8]),  # two stretches: the end of the higher one
        ("mxxxxxxxxx", [0, 1]),
        ("mmxxxxxxxx", [0, 1, 2]),
        ("m", [0]),
        ("x", [0]),
        ("mx", [0, 1]),
        ("xx", [0, 1]),
        ("mmx", [0, 1, 2]),
    ],
)
def test_a_few_sizes_tell_where_the_end_is(verdicts: str, places: list[int]) -> None:
    assert told_of(verdicts) == places


@given(st.text("mx?", min_size=1, max_size=40))
def test_the_end_is_always_among_the_few(verdicts: str) -> None:
    """Four at most, rising: the highest that is accepted, and the next, if there are any."""
    places = told_of(verdicts)
    assert places == sorted(set(places))
    assert 1 <= len(places) <= 4
    last = verdicts.rfind("m")
    if last >= 0:
        assert {last, min(last + 1, len(verdicts) - 1)} <= set(places)


def stretch(low: float, high: float, refused: float) -> Stretch:
    return Stretch(low=Interval.exact(low), high=Interval(value=high, low=high, high=refused))


LIMIT = "P99 <= 50 ms"
TWO, ONE = "2 replicas of p with batches up to 1", "1 replica of p with batches up to 1"


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"stretches": (stretch(0.0, 150.0, 160.0),)}, f"{TWO} carry 150 rps within {LIMIT}; 160 rps is too much."),
        (
            {"stretches": (stretch(0.0, 75.0, 80.0),), "replicas": 1},
            f"{ONE} carries 75 rps within {LIMIT}; 80 rps is too much.",
        ),
        (
            {"stretches": (stretch(1.0, 52.0, 53.0),), "scale": USERS},
            f"{TWO} carry 52 users within {LIMIT}; 53 users are too many.",
        ),
        (
            {"stretches": (stretch(1.0, 1.0, 2.0),), "scale": USERS, "replicas": 1},
            f"{ONE} carries 1 user within {LIMIT}; 2 users are too many.",
        ),
        # No size was refused, low ones are, or there are two stretches: every end is in the sentence.
        ({"stretches": (stretch(0.0, 150.0, float("inf")),)}, f"{TWO} meet {LIMIT} up to at least 150 rps."),
        ({"stretches": (stretch(20.0, 150.0, 160.0),)}, f"{TWO} meet {LIMIT} from 20 rps to 150 (150 to 160) rps."),
        (
            {"stretches": (stretch(0.0, 20.0, 30.0), stretch(100.0, 150.0, 160.0))},
            f"{TWO} meet {LIMIT} up to 20 (20 to 30) rps, and from 100 rps to 150 (150 to 160) rps.",
        ),
    ],
)  # fmt: skip
def test_what_a_fleet_carries(others: dict[str, Any], told: str) -> None:
    assert next(sentences(rates(verdict=Verdict.MET, **others))) == told
