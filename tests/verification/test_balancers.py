"""Fleets behind real balancers: the selection of cells, the page made from them, and one row measured on the spot."""

import copy
import itertools
import math
import re
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from balancers import (
    ARRIVALS,
    ATTEMPTS_MAX,
    BATCHES,
    BODY,
    CAPACITY_MIN_RPS,
    CAPACITY_RPS,
    ENVOY_ROUTINGS,
    LOAD_REPORTED,
    LOADS,
    REPLICAS,
    REPORTED,
    ROUTINGS,
    WAITS,
    Cell,
    cells,
    design,
    fleet,
    given,
    is_settled,
    keep,
    load_test,
    minimal_replicas,
    read_runs,
    sending,
)
from balancers_table import (
    ALLOWED,
    KINDS,
    NAMES,
    QUANTILES,
    Row,
    in_short,
    late,
    page,
    predictor,
    read_lines,
    rows_of,
    run_of,
    summary,
)
from predicted_beside_measured import quantities

from capacity.measurement.http import parse_server_timing
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.verification.measured import measured_performance
from capacity.verification.run import OK, LoadRun
from serve_api.balancer import program

FOLDER = Path(__file__).parents[2] / "docs" / "measurements"
LINES, PAGE = FOLDER / "real-balancers.jsonl", FOLDER / "real-balancers.md"
MADE = "<!-- below: python benchmarks/balancers_table.py docs/measurements/real-balancers.jsonl -->\n"


@pytest.fixture(scope="module")
def rows():
    return rows_of(read_lines(LINES))


def test_each_routing_replicas_and_load_is_there_and_each_pair_of_levels_four_times():
    found = [cell for cell in cells() if cell.balancer != "envoy"]
    gated = [cell for cell in found if cell.load != LOAD_REPORTED]
    assert len(set(found)) == len(found) >= 120
    assert len(found) - len(gated) == REPORTED
    assert {(one.routing, one.replicas, one.load) for one in gated} == set(
        itertools.product(ROUTINGS, REPLICAS, LOADS)
    )
    counts = Counter(pair for cell in gated for pair in itertools.combinations(enumerate(astuple(cell)), 2))
    levels = (ROUTINGS, REPLICAS, BATCHES, WAITS, LOADS, ARRIVALS)
    for (one, ones), (other, others) in itertools.combinations(enumerate(levels), 2):
        for pair in itertools.product(ones, others):
            assert counts[(one, pair[0]), (other, pair[1])] >= 4


def test_each_of_envoys_rules_has_each_pair_of_levels_three_times():
    found = [cell for cell in cells() if cell.balancer == "envoy"]
    assert len(set(found)) == len(found) == len(ENVOY_ROUTINGS) * len(REPLICAS) * len(LOADS)
    counts = Counter(pair for cell in found for pair in itertools.combinations(enumerate(astuple(cell)), 2))
    levels = (ENVOY_ROUTINGS, REPLICAS, BATCHES, WAITS, LOADS, ARRIVALS)
    for (one, ones), (other, others) in itertools.combinations(enumerate(levels), 2):
        for pair in itertools.product(ones, others):
            assert counts[(one, pair[0]), (other, pair[1])] >= 3


@pytest.mark.long
def test_the_selection_follows_from_its_seed():
    assert design() == cells()


def test_the_first_cells_have_all_levels():
    first = cells()[:12]
    columns = list(zip(*map(astuple, first), strict=True))
    for column, levels in zip(columns, (ROUTINGS, REPLICAS, BATCHES, WAITS, LOADS, ARRIVALS), strict=True):
        assert set(levels) <= set(column)


def test_each_fleet_can_serve_about_as_much():
    for replicas, batch in itertools.product(REPLICAS, BATCHES):
        rate_rps = replicas * given(replicas, batch).throughput_rps(batch)
        assert CAPACITY_MIN_RPS - 1e-6 <= rate_rps <= CAPACITY_RPS + 1e-6


def test_the_page_is_made_from_the_lines(rows):
    written = PAGE.read_text(encoding="utf-8").partition(MADE)[2]
    assert written.strip() == "\n".join(page(rows)).strip()


def test_the_readme_says_what_the_page_shows(rows):
    readme = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    assert in_short(rows) in " ".join(readme.split())


def test_each_row_is_there_once(rows):
    assert len({row.cell for row in rows}) == len(rows)


def test_a_row_that_was_sent_late_or_at_the_highest_load_is_held_to_nothing(rows):
    row = next(row for row in rows if row.counts)
    assert not Row(row.cell, {**row.line, "in_time": 0}, row.errors).counts
    assert not Row(replace(row.cell, load=LOAD_REPORTED), row.line, row.errors).counts


def test_errors_beyond_the_aim_count_as_such(rows):
    counted = [row for row in copy.deepcopy(rows) if row.counts]
    for kind, name in itertools.product(KINDS, NAMES):
        for row in counted:
            row.errors[kind][name] = ALLOWED[name]
    lines = list(summary(counted))
    assert sum(line.count(f"{len(counted)} of {len(counted)} (100%)") for line in lines[2:7]) == 5 * len(
        KINDS
    )
    counted[0].errors["given"]["p95"] = -1.01 * ALLOWED["p95"]
    lines = list(summary(counted))
    assert sum(line.count(f"{len(counted) - 1} of {len(counted)} ") for line in lines[2:7]) == 2


def test_a_run_is_kept_with_all_that_a_prediction_needs(tmp_path):
    cell = cells()[0]
    test = load_test(cell, "http://127.0.0.1:1", cell.seed(1))
    run = LoadRun.blank(test.schedules[0], test.warm_up_s, test.target.timeout_s)
    run.sent_s[:] = run.schedule.instants_s + 1e-4
    run.ended_s[:], run.inside_s[:] = run.sent_s + 0.02, 0.0195
    run.outcomes[:], run.is_complete = OK, True
    run.outcomes[3], run.ended_s[4] = 503, math.nan
    keep(run, {"cell": cell.name, "run": 1, "seed": cell.seed(1), "cpu_share": 0.2}, tmp_path)
    (told,) = read_runs(tmp_path)
    found = run_of(cell, told, tmp_path)
    assert (found.schedule.instants_s == run.schedule.instants_s).all()
    assert (found.outcomes == run.outcomes).all()
    assert found.cpu_share == 0.2
    for name in ("sent_s", "ended_s", "inside_s"):
        assert getattr(found, name) == pytest.approx(getattr(run, name), abs=1e-6, nan_ok=True)
    assert not late(found)
    found.sent_s[-100:] += 1.1e-3
    assert "P99 of its lag" in late(found)[0]


def test_a_late_run_is_sent_again_a_few_times_and_no_other_is():
    in_time, too_late = {"lag_p99_s": 0.99e-3}, {"lag_p99_s": 1e-3}
    assert not is_settled([])
    assert is_settled([in_time])
    assert not is_settled([too_late])
    assert is_settled([too_late, in_time])
    assert is_settled([too_late] * ATTEMPTS_MAX)


def test_a_quantile_that_is_not_told_is_missed_and_said(rows):
    some = [row for row in copy.deepcopy(rows) if row.counts and "p99" in row.errors["given"]]
    before = sum(row.is_within("given", "p99") for row in some)
    change = next(row for row in some if row.is_within("given", "p99"))
    del change.errors["given"]["p99"]
    lines = list(page(some))
    assert any(line.startswith("P99 of 1 rows is not told") for line in lines)
    assert any(line.startswith("| P99 |") and f"| {before - 1} of {len(some)} " in line for line in lines)


def test_a_minimal_replica_batches_as_the_simulator_does(tmp_path):
    """The first request waits for others; of five that come while it is served, four go together, and then one."""
    times_s = {1: 0.5, 4: 0.6}
    timings = tuple(
        BatchTiming(batch_size=size, mean_s=time_s, p50_s=time_s, p99_s=time_s)
        for size, time_s in times_s.items()
    )
    profile = ServiceProfile(name="constant", timings=timings)
    with minimal_replicas(profile, 1, 4, 0.2, tmp_path, seed=1) as (url,):
        told = answers(url, gaps_s=[0.0, 0.45, 0.0, 0.0, 0.0, 0.0])
    sizes, queues_s, batches_s = zip(*sorted(told, key=lambda one: (one[0] == 4, one[1])), strict=True)
    assert sizes == (1, 1, 4, 4, 4, 4)
    assert batches_s == pytest.approx([0.5, 0.5, 0.6, 0.6, 0.6, 0.6], abs=1e-6)
    assert queues_s[0] == pytest.approx(0.2, abs=1e-6)
    assert queues_s[1] == pytest.approx(max(queues_s[2:]) + 0.6, abs=0.1)


def answers(url, gaps_s):
    """Size, queue and batch time that the server tells each of several requests, each sent this long after the last. [s]"""
    host, _, port = url.removeprefix("http://").partition(":")
    request = b"POST /predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    found = []
    with ExitStack() as opened:
        clients = [
            opened.enter_context(socket.create_connection((host, int(port)), timeout=10.0)) for _ in gaps_s
        ]
        for client, gap_s in zip(clients, gaps_s, strict=True):
            time.sleep(gap_s)
            client.sendall(request)
        for client in clients:
            head = client.recv(4096).decode()
            told_s = parse_server_timing(re.search("Server-Timing: (.*)", head)[1])
            found.append((int(re.search("X-Batch-Size: (.*)", head)[1]), told_s["queue"], told_s["batch"]))
    return found


@pytest.mark.long
@pytest.mark.skipif(
    program("haproxy") is None, reason="HAProxy is not installed; `bash .ci/balancers` does it on Debian"
)
@pytest.mark.parametrize("limits", [{}, {"outstanding_max": 5}], ids=["plain", "maxconn"])
def test_a_small_row_is_measured_as_predicted(tmp_path, limits):
    """Twenty seconds: the replay lies within the intervals of what is measured, and that of a slower profile does not.

    With five places at each server the same requests take longer, as batches and queues divide these: what is predicted
    without that is farther away.
    """
    cell = Cell(routing="haproxy leastconn", replicas=2, batch=4, wait=0.25, load=0.7, arrivals="poisson")
    with fleet(cell, tmp_path, seed=1, **limits) as (url, _), sending():
        beside_s = load_test(cell, url, seed=1).lone_requests(0.95).beside_s
        for seed in (2, 3, 4):
            (run,), _ = load_test(cell, url, seed, duration_s=20.0).measure()
            if not (reasons := late(run)):
                break
    if reasons:
        pytest.skip(f"this machine is too busy to send in time: {reasons[0]}")
    intervals = quantities(measured_performance([run], QUANTILES, 0.999))

    def replayed(profile, **limits):
        asked = replace(profile, request_overhead_s=beside_s)
        return quantities(predictor(cell, asked, **limits).of([run]).performance)

    right, mean_s = replayed(cell.profile, **limits), intervals["mean"][1]
    for name in ("mean", "p50", "p95"):
        low, _, high = intervals[name]
        assert low <= right[name][1] <= high
    if limits:
        without = replayed(cell.profile)
        assert abs(right["mean"][1] - mean_s) < abs(without["mean"][1] - mean_s)
    else:
        assert replayed(cell.profile.scaled(1.15))["mean"][1] > intervals["mean"][2]
