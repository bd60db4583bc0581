"""Charts for the terminal: plain text of the width asked, every name in it, nothing left behind."""

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import plotext
import pytest

from capacity.errors import InputError
from capacity.performance import Interval, Kind, Performance
from capacity.profile.load import bundled_names, load_profile
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Limit, Measure
from capacity.queues.curves import Axis, Curve, Quantity, curves
from capacity.render.charts import line_chart, load_chart, objective_chart, profile_chart
from capacity.render.figures import ObjectiveCurve, Point, replicas_curve
from capacity.server.batch.plan import BatchPlan

RHO, LAMBDA = Axis.UTILIZATION, Axis.ARRIVAL_RATE
CHARTS: dict[str, Callable[[], tuple[Curve, ...]]] = {
    "merged": lambda: curves(Quantity.QUEUE_LENGTH, RHO, [10.0, 5.0, 2.0]),
    "rates": lambda: curves(Quantity.RESPONSE, LAMBDA, [10.0, 5.0, 2.0]),
    "servers": lambda: curves(Quantity.P99, RHO, [1.0], [1, 2, 4, 8, 16]),
    "log": lambda: curves(Quantity.QUEUE_LENGTH, RHO, [1.0], [1, 4, 16]),
    "two dozen": lambda: curves(Quantity.P99, LAMBDA, [10.0, 5.0], [n + 1 for n in range(12)], points=20),
    "two dozen merged": lambda: curves(Quantity.QUEUE_LENGTH, RHO, [1.0 + n / 7.0 for n in range(24)]),
    "far apart": lambda: curves(Quantity.WAIT, RHO, [1.0, 1e6, 1e15]),
    "some zero": lambda: curves(Quantity.QUEUE_LENGTH, LAMBDA, [1.0], [1, 10_000], utilization_max=0.1, points=20),
    "all zero": lambda: curves(Quantity.QUEUE_LENGTH, RHO, [1.0], [10_000], utilization_max=0.1, points=20),
    "tiny": lambda: curves(Quantity.WAIT, LAMBDA, [1e-300]),
}  # fmt: skip
every_chart = pytest.mark.parametrize("lines", CHARTS, indirect=True)
widths = pytest.mark.parametrize("width", [60, 80, 200])


@cache
def chart(name: str) -> tuple[Curve, ...]:
    return CHARTS[name]()


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> tuple[Curve, ...]:
    return chart(request.param)


def plain(text: str) -> str:
    return " ".join(text.split())


def frame(text: str) -> list[str]:
    """What is inside the frame, row by row."""
    return [row.split("│")[1] for row in re.sub("┤", "│", text).splitlines() if row.count("│") == 2]


def assert_plain_text(text: str, width: int) -> None:
    assert max(len(row) for row in text.splitlines()) <= width
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert all(row == row.rstrip() for row in text.splitlines())


@every_chart
@widths
def test_lines_are_plain_text_of_that_width(lines: tuple[Curve, ...], width: int) -> None:
    text = line_chart(lines, width=width)
    assert_plain_text(text, width)
    assert {len(row) for row in text.splitlines() if row.endswith("│")} == {width}


@every_chart
def test_every_name_and_both_axes_are_told(lines: tuple[Curve, ...]) -> None:
    text = line_chart(lines)
    for letter, line in zip("abcdefghijklmnopqrstuvwxyz", lines, strict=False):
        assert f"{letter} {line.label}" in plain(text)
    assert lines[0].axis.axis_title in text
    assert lines[0].quantity.axis_title in text


@pytest.mark.parametrize("height", [8, 20, 50])
def test_the_frame_has_the_height_asked(height: int) -> None:
    assert len(frame(line_chart(chart("rates"), height=height))) == height - 3


def test_each_letter_ends_at_its_own_wall() -> None:
    """W of μ = 10, 5, 2 against λ: ends at 9.5, 4.75, 1.9, and at 2, 4, 10 seconds."""
    rows = frame(line_chart(chart("rates")))
    columns = len(rows[0])
    for letter, wall, top in (("a", 1.0, 0.2), ("b", 0.5, 0.4), ("c", 0.2, 1.0)):
        right = max(row.rfind(letter) for row in rows)
        highest = next(n for n, row in enumerate(rows) if letter in row)
        assert right / (columns - 1) == pytest.approx(wall, abs=0.02)
        assert 1.0 - highest / (len(rows) - 1) == pytest.approx(top, abs=0.05)


def test_a_tick_stands_where_its_value_is() -> None:
    """Lq of M/M/1 up to ρ = 0.95: 18.05 at the top, 10 at ρ = 0.916."""
    text = line_chart(chart("merged"), height=40)
    (row,) = [row for row in text.splitlines() if row.startswith("10┤")]
    drawn = frame(text)[0]
    rho = (5.0 + math.sqrt(25.0 + 10.0)) - 10.0  # ρ² = 10 (1 - ρ)
    assert (row.rindex("a") - 3) / (len(drawn) - 1) == pytest.approx(rho / 0.95, abs=0.02)


def test_a_logarithmic_axis_says_so_and_ticks_powers_of_ten() -> None:
    text = line_chart(chart("log"))
    assert "logarithmic" in text
    assert re.findall(r"^ *([\d.]+)┤", text, re.MULTILINE) == ["10", "1", "0.1", "0.01"]
    assert "logarithmic" not in line_chart(chart("merged"))


@pytest.mark.parametrize("name", bundled_names())
@widths
def test_profiles_are_plain_text_of_that_width(name: str, width: int) -> None:
    profile = load_profile(name)
    text = profile_chart(profile, width=width)
    assert_plain_text(text, width)
    assert name in text
    rows = [row.split() for row in text.splitlines() if row.endswith("█")]
    assert [int(row[0].lstrip("*")) for row in rows] == list(profile.batch_sizes)
    (knee,) = [row[0] for row in rows if row[0].startswith("*")]
    assert knee == f"*{profile.knee_batch_size}"


def test_bars_are_as_long_as_the_throughput_beside_them() -> None:
    profile = load_profile("resnet50-t4-fp16")
    text = profile_chart(profile, width=200)
    bars = [row.count("█") for row in text.splitlines() if row.endswith("█")]
    rates = [profile.throughput_rps(size) for size in profile.batch_sizes]
    assert bars == pytest.approx([rate / max(rates) * max(bars) for rate in rates], abs=1.0)
    assert max(bars) > 150
    assert "*16      1059" in text


@pytest.mark.parametrize("count", [1, 2, 100])
def test_any_number_of_batch_sizes(count: int) -> None:
    timings = tuple(BatchTiming(batch_size=n + 1, mean_s=0.001 * (n + 2)) for n in range(count))
    text = profile_chart(ServiceProfile(name="x", timings=timings))
    assert sum("█" in row for row in text.splitlines()) == count


@every_chart
def test_nothing_is_printed(lines: tuple[Curve, ...], capfd: pytest.CaptureFixture[str]) -> None:
    line_chart(lines)
    assert capfd.readouterr() == ("", "")


def blank() -> str:
    plotext.figure.plot_size(40, 10)
    return str(plotext.figure.build().string())


def test_plotext_is_left_as_blank_as_it_was() -> None:
    plotext.figure.clear()
    before, size = blank(), plotext.terminal.size(update=True)
    first = line_chart(chart("rates"), width=120)
    assert blank() == before
    plotext.figure.title("somebody else's")
    objective_chart(rates_of("p"), width=500)
    assert blank() == before
    assert line_chart(chart("rates"), width=120) == first
    plotext.figure.plot_size(5000, 5000)  # cut to the terminal, as before
    assert plotext.figure.size() == size
    plotext.figure.clear()


def test_plotext_is_cleared_after_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plotext.figure.clear()
    before = blank()

    def fail(*_: Any) -> str:
        raise RuntimeError

    monkeypatch.setattr(plotext.figure, "build", fail)
    with pytest.raises(RuntimeError):
        line_chart(chart("rates"))
    monkeypatch.undo()
    assert blank() == before


def test_one_chart_has_one_pair_of_axes() -> None:
    with pytest.raises(InputError, match="the same axes"):
        line_chart([*chart("rates"), *chart("servers")])


PROMISE = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)


def fleet(replicas: int, size: int = 8) -> BatchPlan:
    return BatchPlan(profile="p", replicas=replicas, batch_size_max=size)


def seen(p99_s: float, kind: Kind = Kind.SIMULATION) -> Performance:
    found = Interval(value=p99_s, low=0.9 * p99_s, high=1.1 * p99_s)
    return Performance(kind=kind, response_quantiles_s={0.99: found})


def judged(replicas: int, p99_s: float, verdict: Verdict = Verdict.MISSED, size: int = 8) -> Candidate:
    return Candidate(plan=fleet(replicas, size), verdict=verdict, performance=seen(p99_s))


def kept(replicas: int, p99_s: float) -> Candidate:
    return judged(replicas, p99_s, Verdict.MET)


def unstable(replicas: int) -> Candidate:
    rejection = Rejection(reason=Reason.STABILITY, allowed=1.0, needed=1.2)
    return Candidate(plan=fleet(replicas), verdict=Verdict.MISSED, rejection=rejection)


def fleets() -> ObjectiveCurve:
    candidates = [
        unstable(2),
        judged(3, 0.070),
        judged(3, 0.060, size=4),
        judged(4, 0.048, Verdict.INCONCLUSIVE),
        judged(5, 0.039, Verdict.MET),
        judged(6, 0.030, Verdict.MET),
        Candidate(plan=BatchPlan(profile="q", replicas=1, batch_size_max=1), verdict=Verdict.MISSED),
    ]
    return replicas_curve(kept(5, 0.040), PROMISE, candidates)


def test_the_best_of_each_number_of_replicas_is_shown_and_the_plan_by_its_certificate() -> None:
    curve = fleets()
    assert [(point.x, point.found.value) for point in curve.points] == [
        (3, pytest.approx(60.0)),
        (4, pytest.approx(48.0)),
        (5, pytest.approx(40.0)),
        (6, pytest.approx(30.0)),
    ]
    assert (curve.beyond, curve.chosen, curve.allowed, curve.sizes[3]) == ((2,), 5, 50.0, 4)


def test_what_lies_far_above_the_limit_is_beyond_and_no_interval_leaves_the_chart() -> None:
    curve = replicas_curve(kept(3, 0.04), PROMISE, [judged(1, 0.2), judged(2, 0.095)])
    assert curve.beyond == (1,)
    assert curve.points[0].found.high == curve.top == 100.0


@pytest.mark.parametrize("width", [80, 200])
def test_replicas_are_plain_text_of_that_width(width: int) -> None:
    text = objective_chart(fleets(), width=width)
    assert_plain_text(text, width)
    assert {len(row) for row in text.splitlines() if row.endswith("│")} == {width}
    rows = "".join(frame(text))
    assert {mark: rows.count(mark) for mark in "#ox?^"} == {"#": 1, "o": 1, "x": 1, "?": 1, "^": 1}
    assert rows.count(":") > 3
    assert "limit 50 ms" in text
    assert "P99 [ms]" in text
    assert "replicas" in text


def test_a_lone_fleet_and_hundreds_of_them_are_drawn() -> None:
    lone = objective_chart(replicas_curve(kept(1, 0.04), PROMISE, []))
    assert "#" in lone
    many = [judged(n, 0.04 + 0.0001 * n, Verdict.MET) for n in range(1, 400)]
    assert_plain_text(objective_chart(replicas_curve(kept(400, 0.04), PROMISE, many)), 80)


def rates_of(name: str) -> ObjectiveCurve:
    found = ((100.0, 20.0, Verdict.MET), (200.0, 45.0, Verdict.INCONCLUSIVE), (300.0, 70.0, Verdict.MISSED))
    points = [
        Point(
            x=rate_rps,
            found=Interval(value=value, low=value - 15.0, high=value + 15.0),
            verdict=verdict,
            size=64,
        )
        for rate_rps, value, verdict in found
    ]
    return ObjectiveCurve(title=f"P99 of 12 x {name}, batches up to 64", limit=PROMISE, points=tuple(points))


@pytest.mark.parametrize("name", ["short", "a-name-of-many-words-" * 6])
@widths
def test_rates_are_plain_text_of_that_width(name: str, width: int) -> None:
    curve = rates_of(name)
    text = objective_chart(curve, width=width)
    assert_plain_text(text, width)
    assert {len(row) for row in text.splitlines() if row.endswith("│")} == {width}
    rows = "".join(frame(text))
    assert {mark: rows.count(mark) for mark in "ox?"} == {"o": 1, "x": 1, "?": 1}
    assert "".join(curve.title.split()) in "".join(text.split())
    assert "o met, x missed, ? in doubt, - limit 50 ms" in plain(text)


def test_the_axes_of_a_chart_over_the_load_go_in_even_steps_from_nothing() -> None:
    points = [(rate_rps, Interval.exact(rate_rps * 1e-3)) for rate_rps in (10.0, 30.0, 50.0)]
    rows = load_chart(points, "any").splitlines()
    assert [label for row in rows if (label := row.split("┤")[0].strip()) and "┤" in row] == [
        "50", "40", "30", "20", "10", "0",
    ]  # fmt: skip
    assert "0 10 20 30 40 50" in map(plain, rows)
