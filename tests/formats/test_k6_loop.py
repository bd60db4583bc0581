"""What k6 tells of its executor, by its users and its counts; figures are of runs of k6 1.1.0 where a test says so."""

from dataclasses import replace

import numpy as np
import pytest

from capacity.formats.k6_loop import Iterations, loop_of
from capacity.formats.load_test import Loop

# 100/s for 30 s by constant-arrival-rate, 50 users allocated: as k6 1.1.0 summed it up.
OPEN = Iterations(count=3001, duration_s=30.0107, mean_s=6.02e-3, max_s=51.5e-3, users_max=3, allocated=50)
# 10 users who never pause, 20 ms an iteration.
CLOSED = Iterations(count=14_990, duration_s=30.0, mean_s=20e-3, max_s=60e-3, users_max=10, allocated=10)


@pytest.mark.parametrize(
    ("found", "loop"),
    [
        (OPEN, Loop.OPEN),
        (CLOSED, Loop.CLOSED),
        (replace(OPEN, users_max=40), Loop.OPEN),  # a whole number each second, and ten users never ran
        (replace(OPEN, users_max=40, count=3017), Loop.UNKNOWN),
        (replace(OPEN, users_max=50), Loop.UNKNOWN),  # perhaps a ramp of users
        (replace(OPEN, users_max=50, dropped=0), Loop.OPEN),
        (replace(OPEN, users_max=50, dropped=12), Loop.OPEN),
        (replace(CLOSED, dropped=0), Loop.CLOSED),
        (replace(CLOSED, count=8_000), Loop.UNKNOWN),  # users were added and taken away
        (replace(CLOSED, allocated=20), Loop.UNKNOWN),  # two groups of ten, one after the other
        (Iterations(), Loop.UNKNOWN),
        (Iterations(dropped=0), Loop.OPEN),
        (Iterations(users_max=2, allocated=4), Loop.OPEN),
    ],
)
def test_users_and_counts_tell_the_executor(found: Iterations, loop: Loop) -> None:
    told, because = loop_of(found)
    assert told is loop
    assert bool(because) == (loop is not Loop.UNKNOWN)


def test_a_run_may_end_an_iteration_after_its_last_second() -> None:
    """12,000 in 120 s, the last of which took 2.4 s; 12,017 are a whole number in none of 120, 121 and 122 s."""
    late = replace(OPEN, users_max=40, count=12_001, duration_s=122.4, max_s=2.5)
    assert loop_of(late)[0] is Loop.OPEN
    assert loop_of(replace(late, count=12_018))[0] is Loop.UNKNOWN


@pytest.mark.parametrize("longest_s", [0.5, 2.5, 10.0, 20.0])
@pytest.mark.parametrize("duration_s", [10.4, 30.4, 60.4, 600.4])
def test_few_counts_look_like_a_whole_number_each_second_by_chance(duration_s, longest_s) -> None:
    """Of users who were started one after the other any number of iterations may come; one in 20 is taken at most."""
    ramp = replace(OPEN, users_max=40, duration_s=duration_s, max_s=longest_s)
    counts = range(601, 8601)
    taken = [count for count in counts if loop_of(replace(ramp, count=count))[0] is Loop.OPEN]
    assert len(taken) <= 0.0501 * len(counts)


def _closed(users: int, think_s: float, seed: int) -> np.ndarray:
    """Instants at which users send who start together, wait for an answer of about 10 ms, and think."""
    rng = np.random.default_rng(seed)
    cycles_s = think_s + 0.01 * rng.lognormal(0.0, 0.2, size=(users, 300))
    return np.sort(np.concatenate([np.zeros((users, 1)), np.cumsum(cycles_s, axis=1)], axis=1).ravel())


@pytest.mark.parametrize("users", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("think_s", [0.0, 0.1, 1.0])
def test_users_who_wait_are_never_taken_for_a_schedule(users: int, think_s: float) -> None:
    for seed in range(20):
        assert loop_of(Iterations(sent_s=_closed(users, think_s, seed)))[0] is Loop.UNKNOWN


@pytest.mark.parametrize("jitter_s", [0.0, 1e-4, 1e-3, 3e-3])
def test_a_schedule_that_is_late_now_and_then_is_even(jitter_s: float) -> None:
    for seed in range(20):
        late_s = np.random.default_rng(seed).exponential(jitter_s, size=1000) if jitter_s else 0.0
        assert loop_of(Iterations(sent_s=np.sort(0.01 * np.arange(1000) + late_s)))[0] is Loop.OPEN


def test_requests_at_random_are_no_even_schedule() -> None:
    sent_s = np.cumsum(np.random.default_rng(1).exponential(0.01, size=1000))
    assert loop_of(Iterations(sent_s=sent_s))[0] is Loop.UNKNOWN
