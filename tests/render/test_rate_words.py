"""Sentences and tables about the rates a plan can handle and about the error of assuming Poisson arrivals."""

from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from shown import cells

from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Verdict
from capacity.question.comparison import PoissonError
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.scenario import Scenario
from capacity.render.trace import _chance, _error_tables
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.scale import RATES
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
