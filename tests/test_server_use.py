"""How busy servers were, from what their metrics gained."""

import pytest

from capacity.errors import DependencyError
from measurements.histogram_delta import Gain
from measurements.metrics_text import parse_metrics
from measurements.server_use import ServerUse

PAGE = """# TYPE serve_batch_seconds histogram
serve_batch_seconds_bucket{{batch_size="{size}",le="+Inf"}} {count}
serve_batch_seconds_count{{batch_size="{size}"}} {count}
serve_batch_seconds_sum{{batch_size="{size}"}} {busy_s}
"""


def gain(count, busy_s):
    return Gain(cumulative={float("inf"): count}, count=count, sum_s=busy_s)


def test_batches_and_time_add_up_over_sizes_and_replicas():
    use = ServerUse.of([{1: gain(10, 0.5), 4: gain(5, 1.0)}, {2: gain(5, 0.5)}])
    assert (use.batches, use.requests, use.busy_s) == (20, 40, 2.0)
    assert use.batch_size_mean == 2.0
    assert use.utilization(4.0, 2) == 0.25


def test_a_server_that_did_nothing_has_no_mean_batch():
    assert ServerUse.of([{}]).batch_size_mean is None


def test_only_what_was_gained_counts():
    before = parse_metrics(PAGE.format(size=2, count=100, busy_s=7.0))
    after = parse_metrics(PAGE.format(size=2, count=130, busy_s=8.5))
    use = ServerUse.between([before], [after])
    assert (use.batches, use.requests, use.busy_s) == (30, 60, 1.5)


def test_a_server_that_started_anew_is_an_error():
    before, after = (parse_metrics(PAGE.format(size=1, count=count, busy_s=1.0)) for count in (100, 5))
    with pytest.raises(DependencyError, match="restart"):
        ServerUse.between([before], [after])
