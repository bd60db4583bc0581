"""Grid of a sweep: values and ranges as they are typed, the cells they span, and what a journal compares."""

from dataclasses import fields

import pytest

from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.grid import (
    CELLS_MAX,
    Grid,
    parse_counts,
    parse_durations_s,
    parse_rates_rps,
    workloads,
)
from capacity.question.plan import Routing
from capacity.server.batch.batching import Batching
from capacity.server.batch.settings import BatchSettings
from capacity.server.batch.stability import load_of
from capacity.traffic.workload import MmppArrivals, PoissonArrivals, TraceArrivals, Workload


def profile_of(name: str = "made-up", mean_s: float = 0.01, largest: int = 4) -> ServiceProfile:
    timings = (BatchTiming(batch_size=1, mean_s=mean_s), BatchTiming(batch_size=largest, mean_s=2 * mean_s))
    return ServiceProfile(name=name, timings=timings)


def grid_of(**axes: object) -> Grid:
    usual: dict[str, object] = {
        "profiles": (profile_of(),),
        "workloads": workloads(PoissonArrivals(), ["100rps"]),
        "replicas": (1,),
    }
    names = {field.name for field in fields(BatchSettings)}
    settings = BatchSettings(**{name: value for name, value in axes.items() if name in names})
    return Grid(
        **usual | {name: value for name, value in axes.items() if name not in names}, settings=settings
    )


@pytest.mark.parametrize(
    ("texts", "rates_rps"),
    [
        (["5rps"], (5.0,)),
        (["5rps", "7rps", "5rps", "300/min"], (5.0, 7.0)),
        (["100rps:300rps:100rps"], (100.0, 200.0, 300.0)),
        (["100rps:299rps:100rps"], (100.0, 200.0)),
        (["5rps:5rps:1rps"], (5.0,)),
        (["60/min:3rps:1/s"], (1.0, 2.0, 3.0)),
        (["0.1rps:0.7rps:0.1rps"], (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        (["1rps:2rps:5rps"], (1.0,)),
    ],
    ids=str,
)
def test_rates(texts: list[str], rates_rps: tuple[float, ...]) -> None:
    assert parse_rates_rps(texts) == rates_rps


def test_counts_step_by_one_where_no_step_is_given() -> None:
    assert parse_counts(["1:4", "2", " 8 ", "10:20:5"], "--replicas") == (1, 2, 3, 4, 8, 10, 15, 20)
    assert all(type(count) is int for count in parse_counts(["1:4"], "--replicas"))


def test_durations_take_a_zero_and_decimal_steps() -> None:
    assert parse_durations_s(["0ms:1ms:0.25ms", "2ms"], "--batch-wait") == (
        0, 0.00025, 0.0005, 0.00075, 0.001, 0.002,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100", "no unit; write 100rps"),
        ("nan", "must be finite"),
        ("nanrps", "must be finite"),
        ("infrps", "must be finite"),
        ("-5rps", "must not be negative"),
        ("0rps", "must be > 0"),
        ("", "not a number with a unit"),
        (":", "not a range from low to high in steps: 100rps:1000rps:100rps"),
        ("1rps:2rps", "not a range from low to high in steps"),
        ("1rps:2rps:1rps:1rps", "not a range from low to high in steps"),
        ("1rps:2rps:", "not a number with a unit"),
        ("1rps:nan:1rps", "must be finite"),
        ("1rps:infrps:1rps", "must be finite"),
        ("1rps:2rps:0rps", "must be > 0"),
        ("1rps:2rps:-1rps", "must not be negative"),
        ("2rps:1rps:1rps", "runs from high to low; write the low end first"),
        ("1rps:2rps:1", "no unit"),
        ("1rps:1e9rps:1rps", f"more than {CELLS_MAX} values; take a larger step"),
        ("1rps:1e12rps:1e-12rps", "more than"),
        ("\x1b[31mrps:1", "not a range"),
    ],
)  # fmt: skip
def test_rates_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as error:
        parse_rates_rps([text])
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two", "'two' is not a whole number, such as 4"),
        ("1.5", "not a whole number"),
        ("nan", "not a whole number"),
        ("1e3", "not a whole number"),
        ("１", "not a whole number"),
        ("9999999999", "not a whole number"),
        ("1:8:0", "a step that is not above 0; it would never end"),
        ("1:8:-1", "a step that is not above 0; it would never end"),
        ("8:1", "runs from high to low"),
        ("1:8:1:1", "not a range"),
        ("1:999999999", "more than"),
    ],
)
def test_counts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_counts([text], "--replicas")


def test_a_batch_wait_may_step_from_nothing_but_not_by_nothing() -> None:
    with pytest.raises(InputError, match="it would never end"):
        parse_durations_s(["0ms:1ms:0ms"], "--batch-wait")
    with pytest.raises(InputError, match="has no unit"):
        parse_durations_s(["0:1:1"], "--batch-wait")


def test_many_ranges_together_are_bounded_too() -> None:
    with pytest.raises(InputError, match=f"more than {CELLS_MAX} values"):
        parse_counts(["1:60000", "60001:120000"], "--replicas")


def test_an_axis_has_at_most_as_many_values_as_a_sweep_has_cells() -> None:
    assert len(parse_counts([f"1:{CELLS_MAX}"], "--replicas")) == 100_000
    for texts in ([f"1:{CELLS_MAX + 1}"], [f"1:{CELLS_MAX}", "100001"]):
        with pytest.raises(InputError, match="more than 100000 values; take a larger step"):
            parse_counts(texts, "--replicas")
    assert parse_counts(["999999999"], "--replicas") == (999_999_999,)


def test_cells_are_all_combinations_and_routing_changes_fastest() -> None:
    grid = grid_of(
        profiles=(profile_of("a"), profile_of("b", largest=8)),
        workloads=workloads(PoissonArrivals(), ["5rps", "6rps"]),
        replicas=(1, 2),
        batch_sizes_max=(None, 2),
        batch_waits_max_s=(0.0, 0.1),
        routings=(Routing.RANDOM, Routing.SHARED_QUEUE),
        batching=Batching.TORCHSERVE,
        queue_limit=7,
    )
    cells = list(grid.cells())
    assert len(cells) == len(grid) == 64
    assert len({repr(cell) for cell in cells}) == 64
    assert [cell.plan.routing for cell in cells[:3]] == [Routing.RANDOM, Routing.SHARED_QUEUE, Routing.RANDOM]
    assert [cell.plan.batch_wait_max_s for cell in cells[:4]] == [0.0, 0.0, 0.1, 0.1]
    assert [cell.plan.batch_size_max for cell in (cells[0], cells[4], cells[32], cells[36])] == [4, 2, 8, 2]
    assert [cell.workload.arrival_rate_rps for cell in (cells[0], cells[16])] == [5.0, 6.0]
    assert {(cell.plan.batching, cell.plan.queue_limit) for cell in cells} == {(Batching.TORCHSERVE, 7)}
    assert all(cell.plan.profile == cell.profile.name for cell in cells)


def test_load_of_a_cell_is_the_questions_and_none_beyond_the_profile() -> None:
    cells = grid_of(batch_sizes_max=(1, 5)).cells()
    assert [load_of(cell) for cell in cells] == [pytest.approx(1.0), None]


@pytest.mark.parametrize("axis", ["profiles", "workloads", "replicas", "batch_sizes_max", "routings"])
def test_an_empty_grid_is_refused(axis: str) -> None:
    with pytest.raises(InputError, match="the grid is empty; give --profile, --rate and --replicas"):
        grid_of(**{axis: ()})


def test_a_grid_that_is_too_large_is_refused_before_it_is_spanned() -> None:
    with pytest.raises(InputError, match=r"has 100010000 cells, above the 100000 of one sweep; take larger"):
        grid_of(replicas=range(1, 10_002), batch_sizes_max=range(1, 10_001))
    assert len(grid_of(replicas=range(1, CELLS_MAX + 1))) == CELLS_MAX


def test_two_profiles_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="--profile a is given twice; rename one"):
        grid_of(profiles=(profile_of("a"), profile_of("a", mean_s=0.02)))


def test_a_trace_has_its_own_rate_and_poisson_arrivals_none() -> None:
    trace = TraceArrivals(instants_s=(0.0, 0.5, 1.0))
    assert workloads(trace, []) == (Workload(arrival_rate_rps=2.0, arrivals=trace),)
    with pytest.raises(InputError, match="no arrival rate given"):
        workloads(PoissonArrivals(), [])


def test_settings_tell_apart_whatever_changes_an_answer() -> None:
    trace = TraceArrivals(instants_s=(0.0, 0.5, 1.0))
    other = TraceArrivals(instants_s=(0.0, 0.4, 1.0))
    grids = [
        grid_of(),
        grid_of(profiles=(profile_of(mean_s=0.011),)),
        grid_of(profiles=(profile_of("other"),)),
        grid_of(workloads=workloads(PoissonArrivals(), ["101rps"])),
        grid_of(workloads=workloads(trace, [])),
        grid_of(workloads=workloads(MmppArrivals(ratio=2.0, burst_mean_s=1.0, calm_mean_s=1.0), ["100rps"])),
        grid_of(workloads=workloads(MmppArrivals(ratio=2.0, burst_mean_s=1.0, calm_mean_s=2.0), ["100rps"])),
        grid_of(workloads=workloads(other, [])),
        grid_of(replicas=(2,)),
        grid_of(replicas=range(1, 30)),
        grid_of(replicas=(*range(1, 29), 30)),
        grid_of(batch_sizes_max=(2,)),
        grid_of(batch_waits_max_s=(0.1,)),
        grid_of(routings=(Routing.RANDOM,)),
        grid_of(batching=Batching.TORCHSERVE),
        grid_of(queue_limit=3),
    ]
    settings = [repr(grid.document(seed=0)) for grid in grids]
    assert len(set(settings)) == len(settings)
    assert repr(grids[0].document(seed=1)) not in settings
    assert repr(grid_of().document(seed=0)) == settings[0]
    assert all(len(text) < 2000 for text in settings)


def test_settings_are_read_by_people_where_they_are_short() -> None:
    found = grid_of(
        replicas=range(1, 21), queue_limit=3, batch_sizes_max=(2, None), batch_waits_max_s=(0.0, 0.1),
        routings=(Routing.RANDOM, Routing.ROUND_ROBIN),
    ).document(seed=7)  # fmt: skip
    assert found["replicas"] == list(range(1, 21))
    assert (found["arrival_rates_rps"], found["batch_sizes_max"]) == ([100.0], [2, None])
    assert (found["batch_waits_max_s"], found["queue_limit"], found["seed"]) == ([0.0, 0.1], 3, 7)
    assert (found["routings"], found["batching"]) == (["random", "round-robin"], "triton")
    assert (list(found["profiles"]), found["preferred_sizes"]) == (["made-up"], [])
    assert len(found["profiles"]["made-up"]) == 32
    assert "python" not in found["versions"]
    assert "numpy" in found["versions"]
    long = grid_of(replicas=range(1, 22)).document()["replicas"]
    assert long.startswith("21 values, ")
    assert len(long) == len("21 values, ") + 32


def test_long_axes_are_cut_in_what_is_said() -> None:
    with pytest.raises(InputError, match=f"^--replicas {'x' * 60!r} is not a whole number, such as 4$"):
        parse_counts(["x" * 61], "--replicas")
    ranges = ":".join("1" * 30 for _ in range(4))
    with pytest.raises(InputError, match=f"^--replicas {ranges[:60]!r} is not a range from low to high"):
        parse_counts([ranges], "--replicas")
    falling = "2:" + " " * 90 + "1"
    with pytest.raises(
        InputError, match=f"^--replicas {falling[:80]!r} runs from high to low; write the low"
    ):
        parse_counts([falling], "--replicas")
