"""How busy servers were, from what their metrics gained between looks."""

import pytest
from measurements.histogram_delta import Gain

from capacity.errors import DependencyError
from capacity.measurement.scrape import read_page
from capacity.verification.watch import Look, ServerUse, uses

PAGE = """# TYPE serve_batch_seconds histogram
serve_batch_seconds_bucket{{batch_size="{size}",le="+Inf"}} {count}
serve_batch_seconds_count{{batch_size="{size}"}} {count}
serve_batch_seconds_sum{{batch_size="{size}"}} {busy_s}
"""
EMPTY = b"# TYPE other gauge\nother 1\n"


def gain(count, busy_s):
    return Gain(cumulative={float("inf"): count}, count=count, sum_s=busy_s)


def page(size, count, busy_s):
    return PAGE.format(size=size, count=count, busy_s=busy_s).encode()


def look(instant_s, *pages):
    return Look(instant_s=instant_s, pages=pages)


def test_batches_and_time_add_up_over_sizes_and_replicas():
    use = ServerUse.of([{1: gain(10, 0.5), 4: gain(5, 1.0)}, {2: gain(5, 0.5)}], 4.0)
    assert use == ServerUse(batches=20, requests=40, busy_s=2.0, lasting_s=4.0)


def test_only_what_was_gained_counts():
    before, after = (read_page(page(2, *seen).decode()) for seen in ((100, 7.0), (130, 8.5)))
    assert ServerUse.between([before], [after], 3.0) == ServerUse(
        batches=30, requests=60, busy_s=1.5, lasting_s=3.0
    )


def test_each_section_is_from_look_to_look():
    """A request that hangs on after the last look makes no section longer."""
    found = uses([look(5.0, page(2, 10, 1.0)), look(8.0, page(2, 20, 2.5)), look(12.0, page(2, 21, 2.6))])
    assert [(use.batches, use.requests, use.lasting_s) for use in found] == [(10, 20, 3.0), (1, 2, 4.0)]
    assert [use.busy_s for use in found] == pytest.approx([1.5, 0.1])


def test_a_server_that_has_served_nothing_yet_was_idle():
    found = uses([look(0.0, EMPTY), look(1.0, EMPTY), look(2.0, page(1, 3, 0.3))])
    assert [use.batches for use in found] == [0, 3]


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([look(0.0, page(1, 1, 0.1))], "seen once at most"),
        ([look(0.0, EMPTY), look(1.0, EMPTY)], "no histogram"),
        ([look(0.0, page(1, 9, 0.9)), look(1.0, page(1, 2, 0.2)), look(2.0, page(1, 19, 1.9))], "restart"),
        ([look(0.0, b"\xff"), look(1.0, EMPTY)], "not UTF-8"),
    ],
    ids=["one look", "no histogram", "restarted", "binary"],
)
def test_looks_that_tell_nothing(looks, said):
    with pytest.raises(DependencyError, match=said):
        uses(looks)
