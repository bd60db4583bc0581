"""A plan that runs already: its flags, and which are none."""

from typing import Any

import pytest

from capacity.errors import InputError
from capacity.formats.running_plan import BATCH_SIZE_LIMIT, REPLICAS_LIMIT, RunningPlan


def test_settings_are_told_as_flags() -> None:
    assert RunningPlan(name="m").flags == "--replicas 1 --batch-size-max 1"
    full = RunningPlan(
        name="m",
        batch_size_max=8,
        batch_wait_max_s=0.0025,
        replicas=2,
        queue_limit=1,
        preferred_batch_sizes=(1, 8),
    )
    assert full.flags == (
        "--replicas 2 --batch-size-max 8 --batch-wait 2.5ms --routing shared-queue --queue-limit 1 "
        "--preferred-sizes 1,8"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size_max": BATCH_SIZE_LIMIT},
        {"replicas": REPLICAS_LIMIT},
        {"batch_wait_max_s": 3600.0},
        {"batch_size_max": 4, "preferred_batch_sizes": (4,)},
    ],
)
def test_the_limits_themselves_are_allowed(given: dict[str, Any]) -> None:
    for name, value in given.items():
        assert getattr(RunningPlan(name="m", **given), name) == value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size_max": 0}, f"m: batch_size_max must be from 1 to {BATCH_SIZE_LIMIT}, got 0"),
        ({"batch_size_max": BATCH_SIZE_LIMIT + 1}, "m: batch_size_max must be from 1"),
        ({"batch_wait_max_s": -0.5}, "m: batch_wait_max_s must be from 0 to 3600, got -0.5"),
        ({"batch_wait_max_s": 3600.5}, "m: batch_wait_max_s must be from 0 to 3600, got 3600.5"),
        ({"replicas": 0}, f"m: replicas must be from 1 to {REPLICAS_LIMIT}, got 0"),
        ({"replicas": REPLICAS_LIMIT + 1}, "m: replicas must be from 1"),
        ({"queue_limit": 0}, "m: queue_limit must be at least 1, got 0"),
        ({"batch_size_max": 4, "preferred_batch_sizes": (0,)}, "from 1 to 4, the largest batch, got"),
        ({"batch_size_max": 4, "preferred_batch_sizes": (2, 5)}, "from 1 to 4, the largest batch, got"),
    ],
)
def test_what_cannot_run_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RunningPlan(name="m", **given)
