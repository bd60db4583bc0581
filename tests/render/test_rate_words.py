"""Sentences and tables about the rates a plan can handle and about the error of assuming Poisson arrivals."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from shown import cells

from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Rejection, Verdict
from capacity.question.comparison import PoissonError
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.scenario import Scenario
from capacity.render.rates import _points_table, sentences
from capacity.render.trace import _chance, _error_tables, _test_row, lengths_table
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.description import PoissonTest
from capacity.traffic.lengths import LengthRows
from capacity.traffic.scale import RATES
from capacity.traffic.workload import Workload

PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),))
PLAN = BatchPlan(profile="p", replicas=2, batch_size_max=1)
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)


def judged(
    p99_s: float, verdict: Verdict = Verdict.MET, *, settled: bool = True, loss: float = 0.0
) -> Candidate:
    performance = Performance(
        kind=Kind.SIMULATION, response_quantiles_s={0.99: Interval.exact(p99_s)}, loss_probability=loss
    )
    rejection = None if verdict is Verdict.MET else Rejection.of(P99, p99_s)
    return Candidate(
        plan=PLAN, verdict=verdict, rejection=rejection, performance=performance, settled=settled
    )


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


def stretch(low: float, high: Interval) -> Any:
    return SimpleNamespace(low=Interval.exact(low), high=high)


FLEET = "2 replicas of p with batches up to 1"
UP_TO = Interval(value=100.0, low=98.0, high=102.0)


def test_stretches_of_rates() -> None:
    one = stretch(0.0, UP_TO)
    assert list(sentences(rates(stretches=(one,)))) == [
        f"{FLEET} meet P99 <= 50 ms up to 100 (98 to 102) rps."
    ]
    two = stretch(150.0, Interval(value=180.0, low=180.0, high=math.inf))
    assert list(sentences(rates(stretches=(one, two)))) == [
        f"{FLEET} meet P99 <= 50 ms up to 100 (98 to 102) rps, and from 150 rps to at least 180 rps."
    ]
    single = next(sentences(rates(replicas=1, stretches=(one,))))
    assert single.startswith("1 replica of p with batches up to 1 meets P99")
    assert RATES.span(UP_TO) == "100 (98 to 102) rps"


def test_no_rate_meets_the_objective() -> None:
    assert list(sentences(rates(verdict=Verdict.INCONCLUSIVE))) == [
        f"No rate is known at which {FLEET} would meet P99 <= 50 ms."
    ]
    assert list(sentences(rates())) == [f"At no rate would {FLEET} meet P99 <= 50 ms."]
    (told,) = sentences(rates(closest=judged(0.06, Verdict.MISSED)))
    assert told.startswith(
        f"At no rate would {FLEET} meet P99 <= 50 ms: at best, P99 of 60 ms is above 50 ms"
    )


def test_the_lowest_rates_and_what_was_assumed() -> None:
    for verdict, kept in ((Verdict.MET, "met"), (Verdict.MISSED, "missed")):
        found = list(sentences(rates(lone=judged(0.01, verdict), only_rises=True, points=("a point",))))
        assert found[1:] == [
            f"At the lowest rates, where each request is alone, P99 is 10 ms: the objective is {kept}.",
            "Assumed: P99 rises with the rate, since batches start at once.",
        ]
    assert len(list(sentences(rates(only_rises=True)))) == 1
    assert len(list(sentences(rates(points=("a point",))))) == 1
    unknown = Candidate(plan=PLAN, verdict=Verdict.MISSED)
    assert len(list(sentences(rates(lone=unknown)))) == 1


def rows(*candidates: Candidate) -> list[tuple[str, ...]]:
    """The column heads, then the rows."""
    points = tuple(SimpleNamespace(size=50.0 * n, candidate=one) for n, one in enumerate(candidates, 1))
    made = _points_table(rates(points=points))
    assert isinstance(made, Table)
    heads = tuple(str(column.header) for column in made.columns)
    return [heads, *cells(made)]


def test_a_line_for_each_rate() -> None:
    refused = Candidate(plan=PLAN, verdict=Verdict.MISSED)
    assert rows(judged(0.01), judged(0.06, Verdict.MISSED, settled=False), refused) == [
        ("rate", "load", "P99", "verdict"),
        ("50 rps", "0.250", "10 ms", "met"),
        ("100 rps", "0.500", ">= 60 ms", "missed"),
        ("150 rps", "0.750", "", "missed"),
    ]
    lossy = judged(0.05, Verdict.INCONCLUSIVE, loss=0.0125)
    infinite = judged(math.inf, Verdict.MISSED, settled=False)
    found = rows(lossy, infinite)
    assert found[0] == ("rate", "load", "P99", "rejected", "verdict")
    assert found[1] == ("50 rps", "0.250", "50 ms", "1.25 %", "in doubt")
    assert found[2][2:] == ("infinite", "", "missed")


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


def test_a_test_of_poisson_says_whether_it_rejects() -> None:
    def row(adjusted: float) -> tuple[str, ...]:
        return _test_row(
            PoissonTest(name="gaps", statistic=1.2345, p_value=0.00123, p_value_adjusted=adjusted)
        )

    assert row(0.5) == ("gaps", "1.23", "0.0012", "0.5", "")
    assert row(1e-9) == ("gaps", "1.23", "0.0012", "< 1e-06", "rejects")


def test_the_correlation_of_lengths_is_shown() -> None:
    def shown(outputs: tuple[int, ...]) -> Table:
        made = lengths_table(LengthRows((10, 20, 30, 40), outputs, "lengths", 0))
        assert isinstance(made, Table)
        return made

    assert str(shown((1, 2, 3, 4)).title) == "Lengths, correlated by 1"
    assert str(shown((7, 7, 7, 7)).title) == "Lengths"
    given, got = cells(shown((7, 7, 7, 7)))
    assert (*given[:2], given[-1]) == ("input", "25", "40")
    assert (*got[:3], got[-1]) == ("output", "7", "0", "7")
