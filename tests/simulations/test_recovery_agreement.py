"""Fleets in trouble beside the laws that they obey, small; `capacity agreement` does it in full."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import simulations.validation.recovery_systems as trouble
from capacity.queues.durations import Duration, Family
from capacity.traffic.clients import Clients
from simulations.draws.arrivals import Seed
from simulations.replication import Engine
from simulations.statistics.sample import Length, Sample
from simulations.validation.agreement import Agreement, compare
from simulations.validation.recovery_systems import RecoverySystem, replicate_attempts

UNIT = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
BRIEF = Duration(family=Family.DETERMINISTIC, mean_s=2.0)
SYSTEMS: dict[str, Callable[[], RecoverySystem]] = {
    "retrial": lambda: trouble.retrial(4, 0.6, 0.5),
    "long backoff": lambda: trouble.long_backoff(4, 0.9, 3, 300.0),
    "fixed patience": lambda: trouble.fixed_patience(4, 1.1, 1.0, (0.5, 0.9)),
    "newest first": lambda: trouble.newest_first(1, 2.0, 5.0),
    "pauses": lambda: trouble.paused(BRIEF, 0.05, 0.3, (0.5,)),
    "breakdowns": lambda: trouble.breakdowns(4, 0.5, 0.05, 0.5),
    "redundancy": lambda: trouble.redundancy(4, 2, 0.6),
    "hedges": lambda: trouble.hedged(UNIT, 1.0, (0.5, 0.9)),
}
# What the same fleet does not obey: a law of something a little else.
OTHERS: dict[str, Callable[[], RecoverySystem]] = {
    "retrial": lambda: trouble.retrial(4, 0.6, 0.4),
    "long backoff": lambda: trouble.long_backoff(4, 0.9, 4, 300.0),
    "fixed patience": lambda: trouble.fixed_patience(4, 1.1, 1.2, (0.5, 0.9)),
    "newest first": lambda: trouble.newest_first(1, 2.2, 5.0),
    "pauses": lambda: trouble.paused(BRIEF, 0.1, 0.3, (0.5,)),
    "breakdowns": lambda: trouble.breakdowns(4, 0.6, 0.05, 0.5),
    "redundancy": lambda: trouble.redundancy(4, 3, 0.6),
    "hedges": lambda: trouble.hedged(UNIT, 1.2, (0.5, 0.9)),
}
REQUESTS_MAX = 250_000


@pytest.mark.long
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_fleet_obeys_its_law_and_no_other(name: str) -> None:
    system = SYSTEMS[name]()
    rows = compare(system, seed=5, requests_max=REQUESTS_MAX)
    assert rows
    assert max(abs(row.deviation_se) for row in rows) <= 4.0
    other = replace(system, compared=OTHERS[name]().compared)
    mixed = compare(other, seed=5, requests_max=REQUESTS_MAX)
    assert max(abs(row.deviation_se) for row in mixed) > 4.0
    assert {row.verdict for row in rows} <= {Agreement.AGREES, Agreement.INCONCLUSIVE}


@pytest.mark.parametrize("name", SYSTEMS)
def test_either_engine_plays_it(name: str) -> None:
    system = SYSTEMS[name]()
    length = Length(warm_up=10, measured=300, cool_down=10)
    kernel, simpy = (
        replicate_attempts(system.task(length, Seed(value=1), engine))
        for engine in (Engine.KERNEL, Engine.SIMPY)
    )
    np.testing.assert_array_equal(kernel.responses.values_s, simpy.responses.values_s)
    assert (kernel.attempts, kernel.retried, kernel.lost) == (simpy.attempts, simpy.retried, simpy.lost)


def test_each_engine_runs_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    system, asked = SYSTEMS["redundancy"](), []
    for name in ("run_kernel", "run_reference"):
        engine = getattr(trouble, name)
        monkeypatch.setattr(
            trouble, name, lambda *case, name=name, run=engine: asked.append(name) or run(*case)
        )
    length = Length(warm_up=1, measured=20, cool_down=1)
    for engine in (Engine.KERNEL, Engine.SIMPY):
        replicate_attempts(system.task(length, Seed(value=1), engine))
    assert asked == ["run_kernel", "run_reference"]


def test_as_many_attempts_as_there_may_be_are_as_good_as_any_number() -> None:
    """Of requests that try again for ever hardly one in a hundred thousand would need more."""
    system = trouble.retrial(4, 0.6, 0.5)
    length = Length(warm_up=200, measured=100_000, cool_down=200)
    sample = replicate_attempts(system.task(length, Seed(value=2), Engine.KERNEL))
    assert sample.lost / (sample.lost + sample.counted) < 5e-5


def test_an_exponential_backoff_is_that_of_its_law() -> None:
    """Those whose first retry is answered at once have waited for it; half of the waits are above the median."""
    system = replace(
        trouble.retrial(1, 0.2, 0.5), clients=replace(trouble.retrial(1, 0.2, 0.5).clients, attempts=2)
    )
    draws = system.draws(20_000, Seed(value=3))
    assert draws.backoff.shape == (2, 20_000)
    assert draws.backoff.mean() == pytest.approx(1.0, abs=0.02)
    assert np.median(draws.backoff) == pytest.approx(np.log(2.0), abs=0.02)
    uniform = replace(system, has_exponential_backoff=False).draws(20_000, Seed(value=3))
    assert uniform.backoff.max() < 1.0


def test_samples_are_added_up() -> None:
    system = replace(trouble.retrial(4, 0.6, 0.5), clients=Clients(attempts=1))
    length = Length(warm_up=0, measured=100, cool_down=0)
    parts = [
        replicate_attempts(system.task(length, Seed(value=4, replication=i), Engine.KERNEL)) for i in (0, 1)
    ]
    whole = Sample.merged(parts)
    assert Sample.merged(parts[:1]) is parts[0]
    assert (whole.attempts, whole.retried) == (200, 0)
    assert whole.counted + whole.lost == 200
    assert 0.05 < whole.lost / 200 < 0.4
