"""Token stress: one run of engines of a language model in trouble."""

from collections.abc import Callable

import numpy as np

from capacity.errors import InputError
from capacity.recovery.stress import TokenStress
from simulations.draws.arrivals import Purpose, Seed
from simulations.draws.attempts import EngineFleet, Outcomes
from simulations.draws.outages import attempt_draws, faults_of, inside
from simulations.draws.records import Floats
from simulations.draws.tokens import TokenDraws
from simulations.kernel.recovery.run_engines import run_engines
from simulations.tokens import rules_of


def engine_outcomes(
    stress: TokenStress,
    seed: Seed,
    arrived_s: Floats,
    is_hopeless: Callable[[float, int], bool] | None,
) -> Outcomes:
    """What becomes of requests that come at these instants; the same users under every setting.

    Raises:
        DomainError: what engines in trouble do not have; see `check_engines`.
        InputError: a cold cache in batches, which engines do not form.
    """
    if stress.cold is not None:
        raise InputError("--cold-batches are of fleets that take batches; leave it out for language models")
    plan = stress.plan
    fleet = EngineFleet(
        table=stress.profile.table,
        rules=rules_of(stress.scenario),
        replicas=plan.replicas,
        routing=plan.routing,
        queue_limit=stress.queue_limit,
    )
    return run_engines(
        fleet,
        _tokens(stress, seed, arrived_s),
        attempt_draws(stress, seed, stress.clients.attempts, arrived_s),
        inside(stress.clients, stress.overhead_s),
        stress.protection,
        faults_of(stress, seed),
        is_hopeless,
    )


def _tokens(stress: TokenStress, seed: Seed, arrived_s: Floats) -> TokenDraws:
    """Lengths by the number of the request."""
    count = len(arrived_s)
    given, got = stress.lengths.draw(seed.generator(Purpose.LENGTHS).random((count, 2)))
    return TokenDraws(
        arrived_s=arrived_s,
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.floor(stress.cached_share * given).astype(np.int64),
        routing=np.zeros(2 * count),
        noise_seed=int(seed.generator(Purpose.STEPS).integers(2**62)),
    )
