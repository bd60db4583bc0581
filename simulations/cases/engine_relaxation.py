"""Engine relaxation: requests within which a fleet of engines forgets how it began."""

import math
from dataclasses import replace

from capacity.errors import DomainError
from capacity.profile.distribution import constant
from capacity.server.batch.plan import BatchPlan
from capacity.server.engine.plan import TokenScenario
from capacity.traffic.workload import ClosedPopulation
from simulations.saturation import saturated, settling_requests, token_load
from simulations.statistics.relaxation import closed_relaxation_requests, pace_of_users, turns_requests

# Requests of each user within which the order of users changes.
_TURNS_MAX = 1_000
LOAD_MAX = 0.999  # highest load with a relaxation time


def places(scenario: TokenScenario) -> int | None:
    """Places in one engine and in front of it; None if its queue has no limit."""
    limit = scenario.plan.queue_limit
    return None if limit is None else limit + math.ceil(saturated(scenario).running_mean)


def relaxation_of_users(scenario: TokenScenario, users: ClosedPopulation) -> float:
    """Requests within which users in a closed loop forget how they began.

    Those who wait walk among the engines. Where all answers have as many tokens, they also change the turns in which
    they are served, by thinking for longer than a step takes, and by nothing else.
    """
    plan, one = scenario.plan, saturated(scenario)
    alike = BatchPlan(profile=plan.profile, replicas=plan.replicas, batch_size_max=1, routing=plan.routing)
    walk = closed_relaxation_requests(users, alike, plan.replicas * one.rate_rps)
    varies = scenario.lengths.moments.output_scv > 0.0
    turns = 0.0 if varies else turns_requests(users, constant(one.step_mean_s))
    service_s = one.running_mean / one.rate_rps
    pace = pace_of_users(users, plan.queue_limit, plan.replicas * one.rate_rps, service_s)
    return pace * max(walk, turns)


def require_turns(scenario: TokenScenario, users: ClosedPopulation) -> None:
    """Refuse users who are served in the order of their start for longer than can be simulated.

    Raises:
        DomainError: says what changes that.
    """
    patient = replace(scenario, plan=replace(scenario.plan, queue_limit=None))
    if relaxation_of_users(patient, users) > _TURNS_MAX * users.users:
        raise DomainError(
            "all answers have the same number of tokens, and users who hardly think are served in the order of their "
            "start for ever; give lengths of outputs that differ, or a longer --think-time"
        )


def forgotten_with(scenario: TokenScenario, variability: float) -> float:
    """Requests that come to an engine while it forgets those that run in it.

    A request takes the steps of its output tokens in an engine that runs fewer than at saturation, and far fewer if a
    step of few is much shorter.
    """
    running = min(token_load(scenario), LOAD_MAX) * saturated(scenario).running_mean
    return min(running, max(1.0, variability / 2.0) * settling_requests(scenario))
