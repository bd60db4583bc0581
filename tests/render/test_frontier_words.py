"""Frontiers in words and as a picture, from points that are made up."""

from dataclasses import replace
from typing import Any

import pytest
from planned import FOUND
from questions import batch_question

from capacity.errors import InputError
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Doubt, Reason, Rejection, Verdict
from capacity.question.caveat import Caveat, CaveatCode
from capacity.question.grid import Varied
from capacity.question.objective import Limit, Measure, Objective, format_value
from capacity.render.console import as_text
from capacity.render.figures import draw_costs
from capacity.render.frontier import (
    Frontier,
    Spot,
    asked_text,
    axis_title,
    column_head,
    frontier_tables,
    notes,
    sentence,
)
from capacity.search.recommendation import Headroom, Recommendation
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenPlan
from capacity.traffic.workload import PoissonArrivals, Workload

PROFILE = ServiceProfile(name="p", timings=(BatchTiming(batch_size=1, mean_s=0.01),), hourly_usd=1.0)
P99 = Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.05)
QUESTION = batch_question(
    profiles=(PROFILE,),
    workload=Workload(arrival_rate_rps=100.0, arrivals=PoissonArrivals()),
    objective=Objective(limits=(P99,)),
)
LIMITS = Varied(name="slo_p99", unit="s", values=(0.01, 0.02, 0.04))
REFUSED = Candidate(
    plan=BatchPlan(profile="p", replicas=9, batch_size_max=1),
    verdict=Verdict.MISSED,
    rejection=Rejection(reason=Reason.REPLICAS_MAX, allowed=8, needed=9),
)


def spot(
    value: float, replicas: int | None, *, usd: float | None = 1.0, profile: str = "p", **more: Any
) -> Spot:
    """A point with this many replicas, or without a plan."""
    verdict = Verdict.MISSED if replicas is None else Verdict.MET
    found = Recommendation(verdict=verdict, objective=QUESTION.objective, considered=(REFUSED,))
    if replicas is not None:
        plan = BatchPlan(profile=profile, replicas=replicas, batch_size_max=4)
        price = None if usd is None else usd * replicas
        found = replace(found, plan=plan, performance=FOUND, hourly_usd=price)
    return Spot(
        values=(value,), verdict=verdict, found=found, question=QUESTION, usd_per_million=None, **more
    )


def frontier(*replicas: int | None, varied: Varied = LIMITS, **more: Any) -> Frontier:
    spots = [spot(value, count, **more) for value, count in zip(varied.values, replicas, strict=True)]
    return Frontier(varied=(varied,), spots=tuple(spots), confidence=0.95)


@pytest.mark.parametrize(
    ("replicas", "said"),
    [
        (
            (6, 4, 3),
            "From P99 <= 40 ms to 10 ms the fleet grows from 3 to 6 replicas and costs 3.000 to 6.000 USD/h (+100 %).",
        ),
        ((1, 1, 1), "From P99 <= 10 ms to 40 ms the fleet stays at 1 replica and costs 1.000 USD/h."),
        (
            (3, 5, 4),
            "Over P99 <= 10 ms to 40 ms the fleet takes 3 to 5 replicas and costs 3.000 to 5.000 USD/h (+67 %).",
        ),
        (
            (None, 4, 3),
            "From P99 <= 40 ms to 20 ms the fleet grows from 3 to 4 replicas and costs 3.000 to 4.000 USD/h (+33 %). There "
            "is no plan at P99 <= 10 ms: stability needs at least 9 replicas, and 8 are allowed (--replicas-max).",
        ),
        (
            (None, None, 3),
            "At P99 <= 40 ms the fleet takes 3 replicas and costs 3.000 USD/h. There is no plan at P99 <= 10 ms and 20 ms.",
        ),
        ((None, None, None), "There is no plan at any of the 3 points."),
    ],
)  # fmt: skip
def test_a_sentence_says_what_the_values_cost(replicas: tuple[int | None, ...], said: str) -> None:
    assert sentence(frontier(*replicas)) == said


def test_a_sentence_says_what_the_profile_does_not_cover() -> None:
    some = replace(
        frontier(3, 3, 3), uncovered={(0.05,): "profile p was measured up to 4 and does not cover 5"}
    )
    assert sentence(some).endswith(
        "There is no answer at P99 <= 50 ms: profile p was measured up to 4 and does not cover 5."
    )
    two = replace(some, uncovered={(0.05,): "so", (0.06,): "thus"})
    assert sentence(two).endswith("There is no answer at P99 <= 50 ms and 60 ms: so; thus.")
    of_two = replace(some, varied=(LIMITS, LIMITS), uncovered={(0.05, 0.01): "so", (0.06, 0.01): "so"})
    assert sentence(of_two).endswith(
        "There is no answer at P99 <= 50 ms, P99 <= 10 ms; P99 <= 60 ms, P99 <= 10 ms: so."
    )
    alone = replace(of_two, spots=some.spots[:1])
    assert sentence(alone).startswith("At ")
    many = replace(some, uncovered={(0.05 + n,): "so it is" for n in range(4)})
    assert sentence(many).endswith("There is no answer at 4 of 7 points: so it is.")


@pytest.mark.parametrize(
    ("varied", "replicas", "said"),
    [
        (
            Varied(name="users", unit="", values=(1, 100, 400)),
            (1, 1, 2),
            "From 1 to 400 users the fleet grows from 1 to 2 replicas and costs 1.000 to 2.000 USD/h (+100 %).",
        ),
        (
            Varied(name="users", unit="", values=(1, 100, 400)),
            (2, None, None),
            "At 1 user the fleet takes 2 replicas and costs 2.000 USD/h. There is no plan at 100 and 400 users.",
        ),
        (
            Varied(name="context_tokens_max", unit="", values=(2000, 4000, 8000)),
            (2, 3, 3),
            "From --context-tokens-max 2000 to 8000 the fleet grows from 2 to 3 replicas and costs 2.000 to 3.000 USD/h "
            "(+50 %).",
        ),
        (
            Varied(name="rate", unit="rps", values=(100.0, 200.0, 300.0)),
            (2, 2, None),
            "From 100 rps to 200 rps the fleet stays at 2 replicas and costs 2.000 USD/h. There is no plan at 300 rps: "
            "stability needs at least 9 replicas, and 8 are allowed (--replicas-max).",
        ),
    ],
)  # fmt: skip
def test_a_sentence_names_what_the_values_are_of(
    varied: Varied, replicas: tuple[int | None, ...], said: str
) -> None:
    assert sentence(frontier(*replicas, varied=varied)) == said


# A table of 8 + 10 + 7 + 12 + 18 + 7 + 13 + 10 = 85 columns.
WIDE = ["P99 <=", "replicas", "batch", "batch wait", "P99", "USD/h", "USD/million", "headroom"]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, ()),
        (85, ()),
        (84, ("USD/million",)),
        (71, ("USD/million", "batch wait")),
        (59, ("USD/million", "batch wait", "headroom")),
        (30, ("USD/million", "batch wait", "headroom")),
    ],
)
def test_a_narrow_table_leaves_out_what_matters_least_and_says_so(
    width: int, left_out: tuple[str, ...]
) -> None:
    headroom = Headroom(today_rps=100.0, accepted_rps=127.0, refused_rps=130.0)
    found = frontier(3, 3, 3)
    spots = []
    for one in found.spots:
        waiting = replace(one.found, plan=replace(one.plan, batch_wait_max_s=0.002), headroom=headroom)
        spots.append(replace(one, found=waiting, usd_per_million=0.5))
    found = replace(found, spots=tuple(spots))
    _, table, *others = frontier_tables(found, width)
    assert [str(one.header) for one in table.columns] == [one for one in WIDE if one not in left_out]
    told = [str(one) for one in others if str(one).startswith("More")]
    named = [one for one in WIDE if one in left_out]
    assert told == ([f"More: -v ({', '.join(named)})."] if left_out else [])
    _, table, *_ = frontier_tables(found, width, verbose=True)
    assert [str(one.header) for one in table.columns] == WIDE


@pytest.mark.parametrize("width", range(63, 100, 3))
def test_no_number_breaks_and_a_reason_is_whole_where_it_has_room(width: int) -> None:
    """Without what matters least 50 columns of numbers, and 13 of a verdict on several lines or 19 on one."""
    found = frontier(None, 4, 3)
    lines = as_text(frontier_tables(found, width), width).splitlines()
    row = next(line for line in lines if " 20 ms  " in line)
    cell = format_value(
        Limit(measure=Measure.RESPONSE, quantile=0.99, allowed=0.02), FOUND.response_quantiles_s[0.99]
    )
    assert f"  {cell}  " in row
    assert max(map(len, lines)) <= width
    refused = next(line for line in lines if line.startswith("  10 ms"))
    assert width < 69 or refused.rstrip().endswith("too many replicas")


@pytest.mark.parametrize(
    ("rejection", "verdict", "told"),
    [
        (Rejection.of(P99, 0.06), Verdict.MISSED, "missed: P99 too high"),
        (Rejection.of(P99, 0.06), Verdict.INCONCLUSIVE, "in doubt: too close to the limit"),
        (Rejection(reason=Reason.BUDGET, allowed=1.0, needed=2.0), Verdict.INCONCLUSIVE, "in doubt: too few requests simulated"),
        (Rejection.of_losses(P99, 0.02), Verdict.MISSED, "missed: too many rejected"),
        (replace(Rejection.of(P99, 0.06, Reason.SURVIVAL), event="1 replica gone"), Verdict.MISSED, "missed: not with 1 replica gone"),
        (Rejection(reason=Reason.STABILITY, allowed=1.0, needed=2.0), Verdict.MISSED, "missed: unstable"),
    ],
)  # fmt: skip
def test_a_row_says_why_it_has_no_plan(rejection: Rejection, verdict: Verdict, told: str) -> None:
    bare = spot(0.01, None)
    doubt = (
        Doubt.MARGIN if verdict is Verdict.INCONCLUSIVE and rejection.reason is not Reason.BUDGET else None
    )
    nearest = replace(REFUSED, rejection=rejection, verdict=verdict, doubt=doubt)
    open_ = replace(bare, verdict=verdict, found=replace(bare.found, verdict=verdict, considered=(nearest,)))
    found = Frontier(varied=(replace(LIMITS, values=(0.01,)),), spots=(open_,), confidence=0.95)
    _, table, *_ = frontier_tables(found, 80)
    assert [one.plain for one in table.columns[1].cells] == [told]


def test_many_points_without_a_plan_are_counted() -> None:
    varied = Varied(name="rate", unit="rps", values=(1.0, 2.0, 3.0, 4.0, 5.0))
    told = sentence(frontier(1, None, None, None, None, varied=varied))
    assert told.endswith(" There is no plan at 4 of 5 points.")


def test_fleets_without_a_price_are_counted_in_replicas() -> None:
    found = frontier(4, 3, 3, usd=None)
    assert sentence(found) == "From P99 <= 40 ms to 10 ms the fleet grows from 3 to 4 replicas."
    plot = draw_costs(found)
    assert plot.axes.get_ylabel() == "replicas"
    assert all(tick == int(tick) for tick in plot.axes.get_yticks())
    users = Varied(name="users", unit="", values=(1, 2, 3))
    assert all(tick == int(tick) for tick in draw_costs(frontier(1, 2, 2, varied=users)).axes.get_xticks())


def test_fleets_of_several_profiles_are_named() -> None:
    one, other = spot(0.01, 2, profile="large", usd=3.0), spot(0.02, 4)
    found = Frontier(varied=(replace(LIMITS, values=(0.01, 0.02)),), spots=(one, other), confidence=0.95)
    assert sentence(found) == (
        "From P99 <= 20 ms to 10 ms the fleet grows from 4 of p to 2 of large and costs 4.000 to 6.000 USD/h (+50 %)."
    )


@pytest.mark.parametrize(
    ("varied", "text", "head", "title"),
    [
        (Varied(name="slo_p999", unit="s", values=(0.01,)), "P99.9 <= 10 ms", "P99.9 <=", "limit of P99.9 (ms)"),
        (Varied(name="slo_ttft_mean", unit="s", values=(0.01,)), "TTFT mean <= 10 ms", "TTFT mean <=", "limit of TTFT mean (ms)"),
        (Varied(name="slo_wait_p95", unit="s", values=(0.01,)), "wait P95 <= 10 ms", "wait P95 <=", "limit of wait P95 (ms)"),
        (Varied(name="rate", unit="rps", values=(500.0,)), "500 rps", "rate", "arrival rate (requests/s)"),
        (Varied(name="loss_max", unit="", values=(0.001,)), "loss max 0.1 %", "loss max", "loss max (%)"),
        (Varied(name="context_tokens_max", unit="", values=(8000,)), "context tokens max 8000", "context tokens max", "context tokens max"),
        (Varied(name="think_time", unit="s", values=(0.3,)), "think time 300 ms", "think time", "think time (ms)"),
    ],
)  # fmt: skip
def test_what_was_asked_is_named_with_its_unit(varied: Varied, text: str, head: str, title: str) -> None:
    assert (asked_text(varied, varied.values[0]), column_head(varied), axis_title(varied)) == (
        text,
        head,
        title,
    )


def test_a_column_that_says_nothing_is_left_out() -> None:
    waits = Varied(name="batch_wait", unit="s", values=(0.0, 0.002, 0.004))
    _, table, _ = frontier_tables(frontier(3, 3, 3, varied=waits))
    assert [str(one.header) for one in table.columns] == ["batch wait", "replicas", "batch", "P99", "USD/h"]
    assert next(iter(table.columns[0].cells)).plain == "0 s"


def heads(found: Frontier) -> list[str]:
    _, table, *_ = frontier_tables(found)
    return [str(one.header) for one in table.columns]


def test_where_no_point_has_a_plan_each_says_why() -> None:
    _, table, *_ = frontier_tables(frontier(None, None, None))
    assert [str(one.header) for one in table.columns] == ["P99 <=", "verdict"]
    assert [one.plain for one in table.columns[1].cells] == ["missed: too many replicas"] * 3


def test_a_wait_that_all_fleets_have_is_shown_and_a_profile_is_not() -> None:
    found = frontier(3, 3, 3)
    waiting = [
        replace(one, found=replace(one.found, plan=replace(one.plan, batch_wait_max_s=0.002)))
        for one in found.spots
    ]
    assert heads(replace(found, spots=tuple(waiting))) == [
        "P99 <=",
        "replicas",
        "batch",
        "batch wait",
        "P99",
        "USD/h",
    ]
    other = spot(0.04, 3, profile="q")
    assert heads(replace(found, spots=(*found.spots[:2], other)))[:3] == ["P99 <=", "profile", "replicas"]


def test_the_size_that_all_engines_share_makes_room_for_their_limits() -> None:
    found = frontier(3, 3, 3)
    both = Objective.of(ttft={0.99: 0.5}, tpot={0.99: 0.05})
    engines = TokenPlan(profile="p", replicas=2, sequences_max=64, batched_tokens_max=512)

    def of_engines(one: Spot, sequences: int) -> Spot:
        plan = replace(engines, sequences_max=sequences)
        return replace(one, found=replace(one.found, objective=both, plan=plan))

    alike = [of_engines(one, 64) for one in found.spots]
    assert heads(replace(found, spots=tuple(alike))) == ["P99 <=", "replicas", "USD/h"]
    differ = [of_engines(one, 64 + number) for number, one in enumerate(found.spots)]
    assert heads(replace(found, spots=tuple(differ))) == ["P99 <=", "replicas", "sequences", "USD/h"]
    asked = Varied(name="sequences_max", unit="", values=(64, 65, 66))
    by_size = [replace(one, values=(value,)) for one, value in zip(differ, asked.values, strict=True)]
    told = replace(found, varied=(asked,), spots=tuple(by_size))
    assert heads(told) == ["sequences max", "replicas", "USD/h"]
    fewer = replace(told, spots=(of_engines(by_size[0], 60), *by_size[1:]))
    assert heads(fewer) == ["sequences max", "replicas", "sequences", "USD/h"]


def test_headroom_and_notes_are_told() -> None:
    found = frontier(3, 3, 3)
    headroom = Headroom(today_rps=100.0, accepted_rps=127.0, refused_rps=130.0)
    spots = tuple(replace(one, found=replace(one.found, headroom=headroom)) for one in found.spots)
    _, table, _ = frontier_tables(replace(found, spots=spots))
    assert [str(one.header) for one in table.columns][-1] == "headroom"
    assert [one.plain for one in table.columns[-1].cells] == ["+27 %"] * 3


def steps(plot: Any) -> list[tuple[list[float], list[float]]]:
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in plot.axes.lines
        if len(line.get_xdata()) == 4 and line.get_linestyle() == "-"
    ]


def test_between_two_points_the_picture_has_the_higher_cost() -> None:
    """What is enough for a tighter limit, or a higher rate, is enough between the two."""
    plot = draw_costs(frontier(6, 4, 3))
    assert steps(plot) == [
        ([10.0, 10.0, 20.0, 20.0], [6.0, 6.0, 6.0, 4.0]),
        ([20.0, 20.0, 40.0, 40.0], [4.0, 4.0, 4.0, 3.0]),
    ]
    rates = Varied(name="rate", unit="rps", values=(1.0, 2.0, 3.0))
    rising = draw_costs(frontier(1, 2, 2, varied=rates))
    assert steps(rising)[0] == ([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 2.0, 2.0])
    assert [text.get_text() for text in rising.axes.texts] == ["1", "2", "2"]


def test_a_point_without_a_plan_is_marked_and_no_line_crosses_it() -> None:
    plot = draw_costs(frontier(6, None, 3))
    assert steps(plot) == []
    (bare,) = [line for line in plot.axes.lines if line.get_label() == "no plan"]
    assert (list(bare.get_xdata()), bare.get_marker()) == ([20.0], "x")
    assert bare.get_ydata()[0] > 6.0
    with pytest.raises(InputError, match="no point has a plan"):
        draw_costs(frontier(None, None, None))


def test_of_two_flags_the_one_with_more_values_is_the_axis() -> None:
    rates = Varied(name="rate", unit="rps", values=(5.0, 6.0))
    spots = [replace(spot(0.0, 2), values=(rate, limit)) for rate in rates.values for limit in LIMITS.values]
    found = Frontier(varied=(rates, LIMITS), spots=tuple(spots), confidence=0.95)
    assert found.axis is LIMITS
    assert list(found.lines) == ["5 rps", "6 rps"]
    assert [x for x, _ in found.lines["5 rps"]] == [10.0, 20.0, 40.0]
    plot = draw_costs(found)
    labels = [line.get_label() for line in plot.axes.lines]
    assert [one for one in labels if not str(one).startswith("_")] == ["5 rps", "6 rps"]
    assert sentence(found) == "Over 6 points the fleet takes 2 replicas and costs 2.000 USD/h."


def test_values_far_apart_are_on_a_logarithmic_axis() -> None:
    far = replace(LIMITS, values=(0.001, 0.01, 1.0))
    assert draw_costs(frontier(3, 2, 1, varied=far)).axes.get_xscale() == "log"
    assert draw_costs(frontier(3, 2, 1)).axes.get_xscale() == "linear"


def test_a_note_names_its_points_unless_all_plans_have_it() -> None:
    found = frontier(None, 4, 3)
    shared = Caveat(code=CaveatCode.PRICE_UNKNOWN, message="all have it")
    own = Caveat(code=CaveatCode.PRICE_UNKNOWN, message="one has it")
    bare, one, other = found.spots
    spots = (
        bare,
        replace(one, found=replace(one.found, caveats=(shared, own))),
        replace(other, found=replace(other.found, caveats=(shared,))),
    )
    assert notes(replace(found, spots=spots)) == ["Note: all have it.", "Note (P99 <= 20 ms): one has it."]
    *_, said = frontier_tables(replace(found, spots=spots))
    assert str(said) == "More: -v (1 more note)."
    *_, last = frontier_tables(replace(found, spots=spots), verbose=True)
    assert str(last) == "Note (P99 <= 20 ms): one has it."


def test_the_note_that_matters_most_is_part_of_the_short_answer() -> None:
    """What was left out of one point comes before what all points lack; a single note leaves no more to see."""
    found = frontier(4, 3, 3)
    lesser = Caveat(code=CaveatCode.PROFILE_ERROR_UNKNOWN, message="all have it")
    greater = Caveat(code=CaveatCode.LENGTHS_CUT, message="one has it")

    def told(*first: Caveat) -> list[str]:
        spots = (
            replace(found.spots[0], found=replace(found.spots[0].found, caveats=(lesser, *first))),
            *(replace(one, found=replace(one.found, caveats=(lesser,))) for one in found.spots[1:]),
        )
        return [str(one) for one in frontier_tables(replace(found, spots=spots))][3:]

    assert told(greater) == ["Note (P99 <= 10 ms): one has it.", "More: -v (1 more note)."]
    assert told() == ["Note: all have it."]


def test_fleets_of_one_price_are_counted_where_their_replicas_differ() -> None:
    """As where two instances share a device."""
    found = frontier(2, 2, 4)
    spots = tuple(replace(one, found=replace(one.found, hourly_usd=6.0)) for one in found.spots)
    assert sentence(replace(found, spots=spots)) == (
        "From P99 <= 10 ms to 40 ms the fleet goes from 2 to 4 replicas and costs 6.000 USD/h."
    )


def test_of_too_many_lines_a_map_is_drawn() -> None:
    rates = Varied(name="rate", unit="rps", values=tuple(map(float, range(1, 9))))
    limits = replace(LIMITS, values=tuple(number / 100 for number in range(1, 10)))
    spots = [
        replace(spot(0.0, None if limit < 0.02 else 2 + (limit < 0.04)), values=(rate, limit))
        for rate in rates.values
        for limit in limits.values
    ]
    plot = draw_costs(Frontier(varied=(rates, limits), spots=tuple(spots), confidence=0.95))
    assert (plot.axes.get_xlabel(), plot.axes.get_ylabel()) == ("limit of P99", "arrival rate")
    assert [text.get_text() for text in plot.axes.texts][:5] == ["–", "3", "3", "2", "2"]
    assert [tick.get_text() for tick in plot.axes.get_xticklabels()][:2] == ["10 ms", "20 ms"]
    assert [tick.get_text() for tick in plot.axes.get_yticklabels()][-1] == "8 rps"
    assert plot.axes.get_legend_handles_labels()[1] == ["cells: USD/h", "– no plan"]
