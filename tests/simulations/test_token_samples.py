"""Samples of language models' runs and their pools: each figure by hand, from a few requests."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capacity.confidence import share_high
from capacity.performance import Interval, Kind, Performance
from capacity.question.objective import Measure, Objective
from simulations.draws.cells import CELLS
from simulations.statistics.performances import engine_performance
from simulations.statistics.pool import Pool
from simulations.statistics.tally import tally_of_cells
from simulations.statistics.tokens import TokenSample, token_sample

OBJECTIVE = Objective.of(response={0.5: 8.0}, ttft={0.9: 2.0}, tpot={0.9: 1.5}, goodput=0.5)


def sample_of(
    objective: Objective = OBJECTIVE,
    part: slice = slice(1, 4),
    middle: int | None = None,
    events: list[int] | None = None,
) -> TokenSample:
    """Five requests, of which three count, from 1 s on; they stand for 12 s.

    Arrived at 1, 2 and 4 s, first tokens at 2, 5 and 5 s, last ones at 6, 5 and 11 s, of 5, 1 and 4 tokens; half a
    second outside each time. TTFT 1.5, 3.5 and 1.5 s, responses 5.5, 3.5 and 7.5 s, TPOT 1 and 2 s.
    """
    gaps = np.zeros(CELLS, dtype=np.int64)
    gaps[10] = 4
    gaps[20] = 3
    draws: Any = SimpleNamespace(output_tokens=np.array([9, 5, 1, 4, 9]), sessions=None)
    records: Any = SimpleNamespace(
        arrived_s=np.array([0.0, 1.0, 2.0, 4.0, 9.0]),
        first_s=np.array([1.0, 2.0, 5.0, 5.0, 10.0]),
        finished_s=np.array([3.0, 6.0, 5.0, 11.0, 12.0]),
        preemptions=np.array([7, 1, 0, 2, 7]),
        events=np.array([9, 5, 1, 4, 9]) if events is None else np.array(events),
        gap_counts=gaps,
        steps=40,
        busy_s=9.0,
        running_s=18.0,
        block_s=45.0,
        largest=np.array([3, 4, 5, 6]),
        come=lambda part: part,
    )
    return token_sample(
        draws,
        records,
        objective,
        overhead_s=np.full(5, 0.5),
        gaps=tally_of_cells(records.gap_counts),
        part=part,
        window_s=12.0,
        blocks=10,
        middle=middle,
    )


def test_a_sample_is_of_the_requests_that_count() -> None:
    found = sample_of()
    assert (found.counted, found.output_tokens, found.preemptions) == (3, 10, 3)
    assert (found.waits.count, found.waits.total_s) == (3, pytest.approx(6.5))
    assert (found.responses.count, found.responses.total_s) == (3, pytest.approx(16.5))
    assert (found.tpot.count, found.tpot.total_s) == (2, pytest.approx(3.0))
    assert (found.itl.count, found.itl.total_s) == (7, pytest.approx(10.0))
    assert (found.engine_s, found.running_s, found.block_s) == (15.0, 18.0, 4.5)
    assert (found.window_s, found.busy_s, found.batches, found.batch_size_largest) == (12.0, 9.0, 40.0, 3)
    assert found.rises_s == (0.0,)  # 5.5 s, and then 3.5 and 7.5 s
    assert sample_of(part=slice(1, 5)).rises_s == (1.0,)  # and 3.5 s
    assert sample_of(part=slice(1, 2)).rises_s == (0.0,)
    assert sample_of(middle=2).rises_s == (3.0,)  # 5.5 and 3.5 s, and then 7.5 s
    assert (
        sample_of(middle=0).rises_s == sample_of(middle=3).rises_s == (0.0,)
    )  # one burst, in one half of its run
    assert found.missed == 2


def test_the_repr_of_a_sample_leaves_out_its_durations() -> None:
    assert "Tally" not in repr(sample_of())


@pytest.mark.parametrize(
    ("objective", "missed"),
    [
        (Objective.of(response={0.5: 1.0, 0.9: 5.6}), 1),  # of the highest quantile
        (Objective.of(ttft={0.9: 3.5}), 0),  # at the limit is in time
        (Objective.of(response={0.9: 7.5}), 0),
        (Objective.of(response={0.9: 5.5}), 1),
        (Objective.of(tpot={0.9: 2.0}), 0),
        (Objective.of(ttft={0.9: 3.4}), 1),
        (Objective.of(tpot={0.9: 1.9}), 1),
        (Objective.of(tpot={0.9: 0.9}), 2),  # not the one of a single token
        (Objective.of(itl={0.9: 1.9}, tpot={0.9: 3.0}), 1),
        (Objective.of(ttft={0.9: 3.4}, tpot={0.9: 1.9}), 2),
        (Objective(), 0),
    ],
)
def test_a_request_misses_any_of_its_limits_once(objective: Objective, missed: int) -> None:
    assert sample_of(objective).missed == missed


def test_tokens_that_come_together_have_one_gap() -> None:
    """5 and 4 tokens in 3 and 2 events: TPOT 1 and 2 s as before, and gaps of 2 and 6 s."""
    together = [9, 3, 1, 2, 9]
    found = sample_of(events=together)
    assert found.total(Measure.ITL_MEAN) == (pytest.approx(10.0), 3)
    assert found.total(Measure.TPOT_MEAN) == (pytest.approx(3.0), 2)
    performance = performance_of(Pool.of([found]))
    assert performance.itl_mean_s == pytest.approx(10.0 / 3.0)
    assert performance.tpot_mean_s == pytest.approx(1.5)
    for limit_s, missed in ((1.9, 2), (2.1, 1), (6.1, 0)):
        assert sample_of(Objective.of(itl={0.9: limit_s}, goodput=0.5), events=together).missed == missed


def test_runs_add_up() -> None:
    one = sample_of()
    assert TokenSample.merged([one]) is one
    two = TokenSample.merged([one, replace(one, missed=1, output_tokens=4, preemptions=5)])
    assert (two.missed, two.output_tokens, two.preemptions) == (3, 14, 8)
    assert (two.engine_s, two.running_s, two.block_s) == (30.0, 36.0, 9.0)
    assert (two.tpot.count, two.itl.count, two.counted) == (4, 14, 6)
    assert one.in_cells().counted == 3


def performance_of(pool: Pool, **changes: Any) -> Performance:
    given = {
        "load": 0.5, "replicas": 6, "simulated": 2, "quantiles": (0.5,), "confidence": 0.95, "has_limits": True,
    }  # fmt: skip
    return engine_performance(pool, **(given | changes))


def test_the_performance_of_one_run_by_hand() -> None:
    """Two engines were simulated for six."""
    found = performance_of(Pool.of([sample_of()]))
    assert (found.kind, found.load, found.intervals) == (Kind.SIMULATION, 0.5, {})
    assert found.utilization == pytest.approx(9.0 / 24.0)
    assert found.throughput_rps == pytest.approx(3.0 * 3.0 / 12.0)
    assert found.output_tokens_per_s == pytest.approx(3.0 * 10.0 / 12.0)
    assert found.ttft_mean_s == pytest.approx(6.5 / 3.0)
    assert found.tpot_mean_s == pytest.approx(1.5)
    assert found.itl_mean_s == pytest.approx(10.0 / 7.0)  # ten tokens have seven gaps
    assert found.response_mean_s == pytest.approx(5.5)
    assert found.goodput == pytest.approx(1.0 / 3.0)
    assert found.preemption_rate == pytest.approx(1.0)
    assert found.kv_utilization == pytest.approx(0.5)
    assert found.running_mean == pytest.approx(3.0 * 18.0 / 12.0)
    assert found.queue_length_mean == 0.0  # who is at the engine no longer than who runs does not wait
    assert found.in_system_mean == pytest.approx(3.0 * 16.5 / 12.0)
    assert found.response_quantiles_s == {0.5: Interval.exact(5.5)}
    assert found.ttft_quantiles_s == {0.5: Interval.exact(1.5)}
    assert performance_of(Pool.of([sample_of()]), has_limits=False).goodput is None


def test_single_tokens_have_no_gaps_and_an_idle_engine_no_cache_in_use() -> None:
    one = sample_of()
    none = replace(one.tpot, values_s=np.zeros(0), counts=np.zeros(0, dtype=np.int64), total_s=0.0)
    bare = replace(one, tpot=none, itl=none, output_tokens=3, events=3, busy_s=0.0, running_s=3.0)
    found = performance_of(Pool.of([bare]))
    assert (found.tpot_mean_s, found.itl_mean_s, found.kv_utilization) == (None, None, 0.0)
    assert (found.tpot_quantiles_s, found.itl_quantiles_s) == ({}, {})
    assert found.queue_length_mean == pytest.approx(3.0 * 12.0 / 12.0)
    full = performance_of(Pool.of([replace(one, busy_s=25.0)]))
    assert full.utilization == 1.0


def test_means_and_shares_of_several_runs_have_intervals() -> None:
    pool = Pool.of([sample_of(), sample_of(), replace(sample_of(), missed=1)])
    found = performance_of(pool)
    assert set(found.intervals) == {
        "ttft_mean_s", "tpot_mean_s", "itl_mean_s", "response_mean_s", "missed_share",
    }  # fmt: skip
    assert found.intervals["itl_mean_s"].value == pytest.approx(10.0 / 7.0)
    assert found.intervals["response_mean_s"].value == pytest.approx(5.5)
    assert "missed_share" not in performance_of(pool, has_limits=False).intervals
    alike = Pool.of([sample_of()] * 3).missed_interval(0.95)
    assert (alike.value, alike.low) == (pytest.approx(2.0 / 3.0), pytest.approx(2.0 / 3.0))
    assert alike.high == pytest.approx(share_high(6, 9, 0.95))  # sections that are alike tell too little
    none = Pool.of([replace(sample_of(), missed=0)] * 3).missed_interval(0.95)
    assert (none.value, none.low, none.high) == (0.0, 0.0, share_high(0, 9, 0.95))
    every = Pool.of([replace(sample_of(), missed=3), replace(sample_of(), missed=2)]).missed_interval(0.95)
    assert every.high == 1.0
    assert pool.counts(Measure.TPOT) == 6
    assert pool.mean_s(Measure.ITL_MEAN) == pytest.approx(10.0 / 7.0)
    assert pool.mean_deviations_s(Measure.RESPONSE_MEAN) == pytest.approx([0.0] * 3)
    assert pool.beyond(Measure.RESPONSE, 5.5).value == pytest.approx(1.0 / 3.0)
