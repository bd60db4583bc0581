"""What one verdict says of other fleets, and which of those that were put off a search goes on with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from questions import batch_question

from capacity.performance import Interval, Kind, Performance
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.candidate import Candidate, Rejection, Verdict
from capacity.question.objective import Objective
from capacity.question.question import Question
from capacity.question.scenario import Scenario
from capacity.search.candidates import Search
from capacity.search.plan_decision import silent
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import GammaArrivals, Workload

P99 = Objective.of(response={0.99: 1.0})
Value = Callable[[BatchPlan], float]


def profile_of(means_s: dict[int, float]) -> ServiceProfile:
    timings = tuple(BatchTiming(batch_size=size, mean_s=mean_s) for size, mean_s in means_s.items())
    return ServiceProfile(name="made-up", timings=timings)


RISING = profile_of({1: 0.010, 2: 0.011, 4: 0.013})
CROOKED = profile_of({1: 0.010, 2: 0.005})  # a larger batch is the faster


def question_of(rate_rps: float = 1.0, profile: ServiceProfile = RISING) -> Question:
    """Gamma gaps of cv 1 are Poisson's by another name, for which no law is asked before the judge."""
    workload = Workload(arrival_rate_rps=rate_rps, arrivals=GammaArrivals(cv=1.0))
    return batch_question(profiles=(profile,), workload=workload, objective=P99)


@dataclass
class DoubtfulJudge:
    """In doubt about what is within a tenth of its limit, for twice as many requests at each look."""

    value: Value
    looks: int = 4
    judged: list[tuple[int, int, float]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    def search(self, scenario: Scenario, attempt: int, *, is_aside: bool = False) -> Candidate:
        self.attempts.append(attempt)
        return self._look(scenario.plan, 1)

    def _look(self, plan: BatchPlan, number: int) -> Candidate:
        self.judged.append((plan.replicas, plan.batch_size_max, plan.batch_wait_max_s))
        value = self.value(plan)
        is_open = abs(value - 1.0) < 0.1 and number < self.looks
        clear = Verdict.MET if value <= 1.0 else Verdict.MISSED
        return Candidate(
            plan=plan,
            verdict=Verdict.INCONCLUSIVE if is_open else clear,
            rejection=None if value <= 1.0 and not is_open else Rejection.of(P99.limits[0], max(value, 1.01)),
            performance=Performance(kind=Kind.EXACT, response_quantiles_s={0.99: Interval.exact(value)}),
            batch_size_largest=plan.batch_size_max,
            requests=2**number,
            further=(lambda: self._look(plan, number + 1)) if is_open else None,
        )


def search_of(value: Value, profile: ServiceProfile = RISING, **fields: int) -> tuple[Search, DoubtfulJudge]:
    judge = DoubtfulJudge(value, **fields)
    search = Search(question_of(profile=profile), judge, silent)
    search.is_patient = False
    return search, judge


def only(search: Search, replicas: int, size: int) -> BatchPlan:
    (family,) = search.question.families
    return search.question.space.plan(family, replicas, size, 0.0)


def test_numbers_of_replicas_are_one_test_and_each_setting_another() -> None:
    search, judge = search_of(lambda plan: 2.0)
    (family,) = search.question.families
    for replicas in (3, 5, 4):
        search.at(family, replicas)
    assert judge.attempts == 3 * [1, 2, 3]


def test_where_fewer_replicas_may_be_enough_each_fleet_is_a_test_of_its_own() -> None:
    search, judge = search_of(lambda plan: 2.0, CROOKED)
    (family,) = search.question.families
    for replicas in (3, 5):
        search.at(family, replicas)
    assert judge.attempts == [1, 2, 3, 4]


def test_what_was_put_off_is_refused_with_a_larger_fleet() -> None:
    """The smaller fleet is looked at once; the larger one to the end, and the smaller one never again."""
    search, judge = search_of(lambda plan: 1.05)
    smaller, larger = only(search, 3, 4), only(search, 5, 4)
    search.candidate(smaller)
    search.candidate(larger)
    for _ in range(3):
        search._look_again(larger)
    known = search.candidate(smaller)
    assert (known.verdict, known.performance) == (Verdict.MISSED, None)
    assert [replicas for replicas, _, _ in judge.judged] == [3, 5, 5, 5, 5]
    assert not search.go_on()


def test_a_smaller_batch_or_a_faster_larger_one_is_not_refused_with_a_larger_fleet() -> None:
    for profile, size in ((RISING, 2), (CROOKED, 1)):
        search, _ = search_of(lambda plan: 1.05, profile)
        smaller, larger = only(search, 3, size), only(search, 5, profile.batch_size_max)
        search.candidate(smaller)
        search.candidate(larger)
        for _ in range(3):
            search._look_again(larger)
        assert search.candidate(smaller).verdict is Verdict.INCONCLUSIVE


def test_no_wait_needs_a_fleet_judged_at_once_below_one_that_is_refused() -> None:
    """A wait helps batches of four by a tenth at most, and the larger fleet misses by half."""
    search, judge = search_of(lambda plan: 1.5)
    (family,) = search.question.families
    search.at(family, 5)
    judge.judged.clear()
    assert search.at(family, 4, waits=True) == []
    assert judge.judged == []


def test_it_goes_on_with_the_best_setting_of_a_fleet_and_with_the_next_once_that_is_refused() -> None:
    """Batches of four are the best and end above the limit, then those of two."""
    values = {1: 1.09, 2: 1.07, 4: 1.03}
    search, judge = search_of(lambda plan: values[plan.batch_size_max])
    (family,) = search.question.families
    search.at(family, 3)
    judge.judged.clear()
    while search.go_on():
        pass
    assert [size for _, size, _ in judge.judged] == [4, 4, 4, 2, 2, 2, 1, 1, 1]


def with_best_in_doubt_for_good(half_width: float) -> tuple[Search, DoubtfulJudge]:
    """A search in which the best of three settings is in doubt after all its looks, and the others are put off."""
    values = {1: 1.09, 2: 1.07, 4: 1.03}
    search, judge = search_of(lambda plan: values[plan.batch_size_max], looks=2)
    (family,) = search.question.families
    search.at(family, 3)
    best = search.candidate(only(search, 3, 4))
    wide = Interval(value=1.03, low=1.03 - half_width, high=1.03 + half_width)
    seen = replace(best.performance, response_quantiles_s={0.99: wide})
    del search._put_off[best.plan]
    search.update(replace(best, performance=seen))
    judge.judged.clear()
    return search, judge


def test_others_of_a_fleet_wait_behind_a_clearly_better_one_that_stays_in_doubt() -> None:
    search, judge = with_best_in_doubt_for_good(half_width=0.03)
    assert not search.go_on()
    assert judge.judged == []
    behind = only(search, 3, 2)
    assert search.is_outdone(behind)
    assert not search.is_put_off(behind)
    assert not search.is_outdone(only(search, 3, 4))


def test_one_that_may_be_better_than_what_stays_in_doubt_is_gone_on_with() -> None:
    search, judge = with_best_in_doubt_for_good(half_width=0.05)
    assert not search.is_outdone(only(search, 3, 2))
    while search.go_on():
        pass
    assert [size for _, size, _ in judge.judged] == [2]


def test_settings_that_are_barely_stable_come_last_and_only_if_no_other_is_accepted() -> None:
    """At 192 rps two replicas have a load of 0.96 with single requests, and 0.53 or less with others."""
    judge = DoubtfulJudge(lambda plan: 0.5 if plan.batch_size_max == 4 else 2.0)
    search = Search(question_of(rate_rps=192.0), judge, silent)
    (family,) = search.question.families
    search.at(family, 2)
    assert [size for _, size, _ in judge.judged] == [2, 4]
    judge.value = lambda plan: 2.0
    judge.judged.clear()
    other = Search(question_of(rate_rps=192.0), judge, silent)
    other.at(family, 2)
    assert [size for _, size, _ in judge.judged] == [2, 4, 1]


def test_what_is_refused_with_a_larger_fleet_meanwhile_is_not_gone_on_with() -> None:
    """The smaller fleet is put off after the larger one was refused, and refused with it at the next look at any."""
    search, _ = search_of(lambda plan: 1.05 if plan.batch_size_max == 4 else 1.02, looks=9)
    larger, other, smaller = only(search, 5, 4), only(search, 4, 2), only(search, 3, 4)
    search.candidate(larger)
    search.candidate(other)
    search.candidate(smaller)
    search._look_again(smaller)
    search._look_again(smaller)  # so that the other one, which took less, comes first
    refused = replace(search.candidate(larger), verdict=Verdict.MISSED)
    del search._put_off[larger]
    search.update(refused)
    search._put_off = {plan: search._put_off[plan] for plan in (other, smaller)}
    while search.go_on():
        pass
    assert search.candidate(smaller).verdict is Verdict.MISSED


def test_settings_without_a_value_do_not_wait_behind_each_other() -> None:
    """What an event leaves of a fleet has none, and the first of them is not the best."""
    search, judge = search_of(lambda plan: 1.05)
    (family,) = search.question.families
    search.at(family, 3)
    for plan in list(search._put_off):
        search.update(replace(search.candidate(plan), performance=None))
    judge.judged.clear()
    while search.go_on():
        pass
    assert sorted({size for _, size, _ in judge.judged}) == [1, 2, 4]
