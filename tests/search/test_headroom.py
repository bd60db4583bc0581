"""The two ends of a headroom, by trials that say what a test wants: how close they come, and at what expense."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.answer.sentences import format_headroom, format_missed_at
from capacity.question.candidate import Doubt, Reason, Rejection, Verdict
from capacity.search.headroom import Ends, Seen, crossing
from capacity.search.headroom import ends_of as ends_of_seen
from capacity.search.recommendation import Headroom

laws_hold = settings(derandomize=True, deadline=None, max_examples=100)


@dataclass(frozen=True)
class Said:
    verdict: Verdict
    doubt: Doubt | None = None
    requests: int = 0
    rejection: Rejection | None = None


@dataclass
class Trials:
    """The truth is at a rate; a trial cannot tell within a share of it, which falls with the root of its effort."""

    end_rps: float
    blur: float = 0.0
    doubt: Doubt = Doubt.REQUESTS
    is_narrowed: bool = True
    requests: int = 0
    calls: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, rate_rps: float, effort: int) -> Said:
        self.calls.append((rate_rps, effort))
        blur = self.blur / (effort**0.5 if self.is_narrowed else 1.0)
        if rate_rps <= self.end_rps * (1.0 - blur):
            return Said(Verdict.MET, requests=self.requests)
        if rate_rps > self.end_rps * (1.0 + blur):
            return Said(Verdict.MISSED, requests=self.requests)
        return Said(Verdict.INCONCLUSIVE, self.doubt, self.requests)


def ends_of(trials: Trials, most_rps: float = 1000.0, **fields: int) -> Ends:
    ends = Ends(
        **{"accepted_rps": 100.0, "refused_rps": most_rps, "judged": trials, "requests_max": 200_000_000}
        | fields
    )
    ends.rise(100.0, 0.02)
    ends.close_in()
    return ends


@laws_hold
@given(st.floats(101.0, 990.0), st.floats(0.0, 0.03))
def test_doubts_that_longer_trials_settle_leave_the_ends_2_percent_apart(end_rps: float, blur: float) -> None:
    """A blur of 3 % either way left them 7 % apart."""
    ends = ends_of(Trials(end_rps=end_rps, blur=blur))
    assert ends.accepted_rps <= end_rps <= ends.refused_rps
    assert ends.refused_rps <= 1.021 * ends.accepted_rps or ends.accepted_rps == 100.0


@laws_hold
@given(st.floats(101.0, 9_900.0), st.floats(0.0, 0.01))
def test_the_ends_are_an_eighth_of_the_growth_apart_at_most(end_rps: float, blur: float) -> None:
    """Or two per cent of the rate, whichever is more: twenty times as much traffic and twenty-one are one answer."""
    trials = Trials(end_rps=end_rps, blur=blur, requests=1)
    ends = ends_of(trials, most_rps=10_000.0, today_rps=100.0)
    assert ends.accepted_rps <= end_rps <= ends.refused_rps
    allowed = max(0.02, 0.125 * (1.0 - 100.0 / ends.refused_rps))
    assert ends.refused_rps <= (1.0 + allowed) * ends.accepted_rps or ends.accepted_rps == 100.0
    assert ends.headroom(100.0).is_decided or ends.accepted_rps == 100.0


def test_a_large_growth_takes_fewer_trials_and_laws_are_asked_as_often() -> None:
    calls = []
    for requests, today_rps in ((1, math.inf), (1, 100.0), (0, math.inf), (0, 100.0)):
        trials = Trials(end_rps=6_000.0, requests=requests)
        ends_of(trials, most_rps=10_000.0, today_rps=today_rps)
        calls.append(len(trials.calls))
    assert calls[1] < calls[0]
    assert calls[2] == calls[3]


def test_each_end_is_that_of_the_trial_whose_own_is_nearest_to_the_limit() -> None:
    """Above 900 rps the ends are a third apart and below an eighth; today's count only until others have some."""
    today = Seen(100.0, 0.2, 0.02, (0.5, 2.0))
    assert [one[0].pressure for one in ends_of_seen([today])] == pytest.approx([0.1, 0.4])
    below, above = Seen(900.0, 0.9, 0.02, (0.94, 1.06)), Seen(950.0, 1.3, 0.02, (0.8, 1.4))
    bare = Seen(930.0, 1.1, 0.02)
    lower, upper = ends_of_seen([today, below, above, bare])
    assert [one.pressure for one in lower] == pytest.approx([0.2 * 0.8, 0.9 * 0.8, 1.3 * 0.8, 1.1 * 0.8])
    assert [one.pressure for one in upper] == pytest.approx([0.2 * 1.06, 0.9 * 1.06, 1.3 * 1.06, 1.1 * 1.06])
    assert ends_of_seen([bare]) == ([bare], [bare])


def test_trials_are_no_longer_than_usual_where_the_ends_meet() -> None:
    trials = Trials(end_rps=300.0)
    ends = ends_of(trials)
    assert ends.is_decided
    assert ends.doubt is None
    assert {effort for _, effort in trials.calls} == {1}


def test_what_no_trial_settles_is_narrowed_down_on_both_sides() -> None:
    """A profile's error of 4 % either way is 8 % whatever is simulated; its ends are found to one percent."""
    trials = Trials(end_rps=300.0, blur=0.04, doubt=Doubt.PROFILE, is_narrowed=False)
    ends = ends_of(trials)
    assert 288.0 / 1.01 <= ends.accepted_rps <= 288.0
    assert 312.0 <= ends.refused_rps <= 312.0 * 1.01
    assert ends.doubt is Doubt.PROFILE
    assert {effort for _, effort in trials.calls} == {1}


def test_ends_that_a_profile_leaves_close_are_narrowed_down_further() -> None:
    """An error of 0.6 % either way: ends found to one percent would be 3 % apart, and finer ones are one answer."""
    ends = ends_of(Trials(end_rps=300.0, blur=0.006, doubt=Doubt.PROFILE, is_narrowed=False))
    assert ends.is_decided


def test_no_more_is_tried_once_the_budget_is_spent() -> None:
    trials = Trials(end_rps=300.0, blur=0.3, is_narrowed=False, requests=10)
    ends = ends_of(trials, requests_max=120)
    assert ends.requests == 10 * len(trials.calls) == 120
    assert ends.accepted_rps < 300.0 < ends.refused_rps


@pytest.mark.parametrize("requests_max", range(100, 400, 20))
def test_what_was_in_doubt_is_said_wherever_the_budget_ends(requests_max: int) -> None:
    """Before, nothing was in doubt where it ended as longer trials were about to begin, and no note was given."""
    ends = ends_of(Trials(end_rps=300.0, blur=0.3, is_narrowed=False, requests=10), requests_max=requests_max)
    assert ends.doubt is Doubt.REQUESTS


def test_a_rate_accepted_above_one_that_is_not_is_no_headroom() -> None:
    """Doubt from 105 to 140 rps, whatever the effort: what lies beyond is not promised, also by longer trials."""

    def judged(rate_rps: float, effort: int) -> Said:
        is_open = 105.0 < rate_rps < 140.0
        return Said(Verdict.INCONCLUSIVE if is_open else Verdict.MET, Doubt.REQUESTS if is_open else None)

    ends = Ends(accepted_rps=100.0, refused_rps=400.0, judged=judged, requests_max=1_000_000)
    ends.rise(100.0, 0.02)
    ends.close_in()
    assert 105.0 / 1.01 <= ends.accepted_rps <= 105.0
    assert ends.refused_rps == 400.0


@pytest.mark.parametrize(
    ("refused_rps", "told"),
    [(112.2, ""), (116.0, ", missed at 116 rps (+16 %)"), (140.0, ", missed at 140 rps (+40 %)")],
)
def test_a_bracket_is_part_of_the_answer_where_it_is_wider_than_2_percent(refused_rps, told) -> None:
    found = Headroom(today_rps=100.0, accepted_rps=110.0, refused_rps=refused_rps, doubt=Doubt.REQUESTS)
    assert format_headroom(found) == "110 rps (+10 %)"
    assert format_missed_at(found, "missed") == told
    assert found.is_in_doubt is (refused_rps == 140.0)  # only then is there a note


def test_no_rate_is_tried_once_what_is_left_of_the_budget_is_too_little_for_a_run() -> None:
    """Before, each rate was still announced, and found in doubt without a simulated request, some 25 in all."""
    tried: list[float] = []

    def judged(rate_rps: float, effort: int) -> Said:
        tried.append(rate_rps)
        left = ends.requests_left
        if left < 400:
            rejection = Rejection(reason=Reason.BUDGET, allowed=left, needed=400)
            return Said(Verdict.INCONCLUSIVE, Doubt.REQUESTS, rejection=rejection)
        return Said(Verdict.MET if rate_rps <= 150.0 else Verdict.MISSED, requests=400)

    ends = Ends(accepted_rps=100.0, refused_rps=1000.0, judged=judged, requests_max=1500)
    ends.rise(100.0, 0.02)
    ends.close_in()
    assert len(tried) == 4
    assert ends.is_spent
    assert ends.headroom(100.0).doubt is Doubt.REQUESTS


def test_a_rate_whose_runs_are_too_long_by_themselves_ends_no_headroom() -> None:
    """A single rate near saturation may take more than any rate may; lower ones do not."""
    limit = Rejection(reason=Reason.BUDGET, allowed=1000, needed=9000)

    def judged(rate_rps: float, effort: int) -> Said:
        if rate_rps > 200.0:
            return Said(Verdict.INCONCLUSIVE, Doubt.REQUESTS, rejection=limit)
        return Said(Verdict.MET, requests=10)

    ends = Ends(accepted_rps=100.0, refused_rps=1000.0, judged=judged, requests_max=100_000)
    ends.rise(100.0, 0.02)
    ends.close_in()
    assert ends.accepted_rps > 198.0


@pytest.mark.parametrize(
    ("end_rps", "looked_at", "refused_rps"),
    [
        (107.0, [121.0, 111.5, 106.75], 111.5),  # the last one tells nothing
        (130.0, [121.0], 140.0),
        (90.0, [121.0, 111.5, 106.75], 106.75),  # and is within a tenth
    ],
)
def test_brief_looks_lower_the_refused_end_where_no_trial_fits(end_rps, looked_at, refused_rps) -> None:
    """Under bursts that overload a plan a trial may take more than the whole budget, and a refusal a hundredth."""
    looks = Trials(end_rps=end_rps, blur=0.001, requests=1)
    ends = Ends(
        accepted_rps=100.0,
        refused_rps=140.0,
        judged=Trials(end_rps=end_rps),
        requests_max=10,
        requests=10,
        today_rps=100.0,
        in_doubt={102.0: Doubt.REQUESTS},
    )
    ends.lower(lambda rate_rps: looks(rate_rps, 1))
    assert [rate_rps for rate_rps, _ in looks.calls] == looked_at
    assert ends.refused_rps == refused_rps
    assert (ends.accepted_rps, list(ends.in_doubt)) == (100.0, [102.0])


def test_brief_looks_do_not_go_below_what_shorter_trials_left_in_doubt() -> None:
    """A trial at 120 fits in no budget, and halving forgets it but for how high it was: what is open stays so."""

    def judged(rate_rps: float, effort: int) -> Said:
        limit = Rejection(reason=Reason.BUDGET, allowed=1000, needed=9000)
        return Said(Verdict.INCONCLUSIVE, Doubt.REQUESTS, requests=5, rejection=limit)

    ends = Ends(accepted_rps=100.0, refused_rps=140.0, judged=judged, requests_max=10, today_rps=100.0)
    ends.accepts(120.0)
    ends.close_in()
    assert not ends.in_doubt
    looks = Trials(end_rps=90.0)
    ends.lower(lambda rate_rps: looks(rate_rps, 1))
    assert min(rate_rps for rate_rps, _ in looks.calls) > 120.0
    assert 120.0 < ends.refused_rps < 125.0
    assert ends.headroom(100.0).is_in_doubt


def test_nothing_is_looked_at_below_a_refused_end_that_is_no_doubt() -> None:
    looks = Trials(end_rps=107.0)
    ends = Ends(
        accepted_rps=100.0, refused_rps=140.0, judged=looks, requests_max=10, requests=10, today_rps=100.0
    )
    ends.lower(lambda rate_rps: looks(rate_rps, 1))
    ends.in_doubt = {102.0: Doubt.PROFILE}  # which no look settles
    ends.lower(lambda rate_rps: looks(rate_rps, 1))
    assert looks.calls == []


@laws_hold
@given(st.floats(0.55, 0.97), st.floats(0.3, 0.9), st.floats(0.0, 0.008))
def test_few_trials_find_the_ends_where_a_response_grows_as_towards_saturation(
    load: float, today: float, blur: float
) -> None:
    """Two trials where the guess is right at once; each that is wrong makes the next one better."""
    end_rps, trials = 1000.0 * load, Trials(end_rps=1000.0 * load, blur=blur)
    growth = 1.0 / math.sqrt(1.0 - load)

    def see(rate_rps: float, trial: Said) -> Seen:
        over = (1.0 / math.sqrt(1.0 - rate_rps / 1000.0) - growth) / growth
        return Seen(rate_rps, 1.0 + over * (1.0 + 0.1 * over), 0.01)

    ends = Ends(
        accepted_rps=today * end_rps,
        refused_rps=1000.0,
        judged=trials,
        requests_max=200_000_000,
        see=see,
        seen=[see(today * end_rps, Said(Verdict.MET))],
        wall_rps=1000.0,
        only_rises=True,
    )
    ends.glance(lambda rate_rps: Said(Verdict.INCONCLUSIVE, requests=1))
    assert not trials.calls  # a glance has no verdict
    ends.aim(1)
    assert ends.is_decided
    assert ends.accepted_rps <= end_rps <= ends.refused_rps
    assert len(trials.calls) <= 4


def test_a_rate_accepted_above_one_in_doubt_counts_where_the_limited_quantity_only_rises() -> None:
    """The lower one would be accepted too."""
    said = iter([Said(Verdict.INCONCLUSIVE, Doubt.REQUESTS), Said(Verdict.MET)] * 2)
    fields = {"accepted_rps": 100.0, "refused_rps": 200.0, "requests_max": 1000}
    for only_rises, accepted_rps in ((True, 120.0), (False, 100.0)):
        ends = Ends(judged=lambda *_: next(said), only_rises=only_rises, **fields)
        assert not ends.accepts(110.0)
        ends.accepts(120.0)
        assert ends.accepted_rps == accepted_rps
        assert bool(ends.in_doubt) is not only_rises


@pytest.mark.parametrize("limit", [1.0, 4.0])
def test_the_limit_is_guessed_where_a_line_through_what_was_seen_reaches_it(limit: float) -> None:
    """Exact where the response is a straight line in the root of 1/(1 - load), however much each weighs."""
    tried = [
        Seen(100.0 * load, (0.5 + 0.25 / math.sqrt(1.0 - load)) / limit, error)
        for load, error in ((0.3, 0.1), (0.75, 0.01), (0.9, 0.02))
    ]
    found = crossing(tried, 100.0)
    assert found == pytest.approx(100.0 * (1.0 - (0.25 / (limit - 0.5)) ** 2), rel=1e-12)


def test_nothing_is_guessed_where_responses_fall_or_nothing_was_seen() -> None:
    assert crossing([], 100.0) is None
    assert crossing([Seen(100.0, 0.5, 0.01)], 100.0) is None
    assert crossing([Seen(50.0, 0.9, 0.01), Seen(60.0, 0.8, 0.01)], 100.0) is None


def test_where_samples_leave_more_in_doubt_the_ends_are_aimed_at_where_their_interval_leaves_the_limit() -> (
    None
):
    """An error of 12 % either way: both ends are found by a few long trials, and one between tells the cause."""

    def pressure(rate_rps: float) -> float:
        return 0.5 + 0.25 / math.sqrt(1.0 - rate_rps / 1000.0)

    calls: list[float] = []

    def judged(rate_rps: float, effort: int) -> Said:
        calls.append(rate_rps)
        value = pressure(rate_rps)
        if 1.12 * value <= 1.0:
            return Said(Verdict.MET, requests=1)
        if 0.88 * value > 1.0:
            return Said(Verdict.MISSED, requests=1)
        return Said(Verdict.INCONCLUSIVE, Doubt.PROFILE, requests=1)

    ends = Ends(
        accepted_rps=300.0,
        refused_rps=1000.0,
        judged=judged,
        requests_max=1000,
        see=lambda rate_rps, trial: Seen(rate_rps, pressure(rate_rps), 0.02, (0.88, 1.12)),
        seen=[Seen(300.0, pressure(300.0), 0.01)],
        wall_rps=1000.0,
        only_rises=True,
    )
    ends.leap(lambda rate_rps: Said(Verdict.INCONCLUSIVE, requests=1))
    met_rps, missed_rps = (1000.0 * (1.0 - (0.25 / (1.0 / end - 0.5)) ** 2) for end in (1.12, 0.88))
    assert met_rps / 1.02 <= ends.accepted_rps <= met_rps
    assert missed_rps <= ends.refused_rps <= missed_rps * 1.02
    assert ends.doubt is Doubt.PROFILE
    assert len(calls) <= 5


@pytest.mark.parametrize("end_rps", [600.0, 800.0, 900.0])
def test_no_rate_next_to_one_left_in_doubt_is_aimed_at_again(end_rps: float) -> None:
    """The rate that would make one answer of both ends was tried eight times over, in doubt each time."""

    def pressure(rate_rps: float) -> float:
        return math.sqrt((1.0 - end_rps / 1000.0) / (1.0 - rate_rps / 1000.0))

    calls: list[float] = []

    def judged(rate_rps: float, effort: int) -> Said:
        calls.append(rate_rps)
        is_met = rate_rps < 0.995 * end_rps
        return Said(Verdict.MET if is_met else Verdict.INCONCLUSIVE, None if is_met else Doubt.REQUESTS, 1)

    ends = Ends(
        accepted_rps=0.5 * end_rps,
        refused_rps=1000.0,
        judged=judged,
        requests_max=1000,
        see=lambda rate_rps, trial: Seen(rate_rps, pressure(rate_rps), 0.01),
        seen=[Seen(0.5 * end_rps, pressure(0.5 * end_rps), 0.01)],
        wall_rps=1000.0,
        only_rises=True,
    )
    ends.aim(1)
    rates = sorted(calls)
    assert len(rates) >= 3
    assert all(larger > 1.004 * smaller for smaller, larger in pairwise(rates))
