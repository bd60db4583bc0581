"""Schedules of engines in trouble: small runs of a language model in which many things happen at one instant."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from recovery_schedules import Case, clients_on, draws_on, faults_on, possible
from versions import perhaps_with_drafts, version_rules

from capacity.profile.llm import Scheduler
from capacity.profile.steps import linear_table
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.recovery.protection import Abandoned, Ejecting, Protection
from simulations.draws.attempts import EngineFleet
from simulations.draws.tokens import EngineRules, TokenDraws

REACH = (64, 4096, 4096)
ROUTINGS = [one for one in PLAIN_ROUTINGS if one is not Routing.SHARED_QUEUE]


@st.composite
def engine_cases(draw: st.DrawFn) -> Case:
    """Passes on the grid of all other instants, or off it; each feature in a good part of the cases."""
    step_s = draw(st.sampled_from([0.25, 0.25, 0.1, 2.5]))
    clients = draw(clients_on(step_s))
    draws = replace(draw(draws_on(step_s, clients.attempts)), service=np.zeros((0, 0)), scale=None)
    replicas = draw(st.integers(1, 4))
    steps = draw(st.sampled_from([1, 1, 1, 2, 6]))  # passes to a step of the grid
    faults = draw(faults_on(step_s, round(float(draws.arrived_s[-1]) / step_s) + 8, replicas))
    fleet = draw(fleets_on(step_s / steps, replicas))
    protection = Protection(
        abandoned=draw(st.sampled_from([Abandoned.SERVED, Abandoned.STOPPED])),
        ejection=draw(st.sampled_from(list(Ejecting))),
        slow_start_s=draw(st.sampled_from([0, 0, 1, 2, 7, 30])),
    )
    return Case(
        fleet,
        replace(draws, lengths=draw(tokens_for(draws.arrived_s))),
        clients,
        possible(protection, fleet.routing),
        faults,
    )


@st.composite
def fleets_on(draw: st.DrawFn, pass_s: float, replicas: int) -> EngineFleet:
    table = draw(
        st.sampled_from(
            [
                linear_table(pass_s, 0.0, 0.0, 0.0, REACH),
                linear_table(pass_s, 0.0, 0.0, 0.0, REACH),
                linear_table(pass_s, 0.01 * pass_s, 0.05 * pass_s, 1e-4 * pass_s, REACH),
            ]
        )
    )
    if draw(st.booleans()) and draw(st.booleans()):
        table = replace(table, noise=np.linspace(0.5, 1.5, 257))
    block = draw(st.sampled_from([1, 4, 16]))
    chunked = draw(st.booleans())
    queue_limit = draw(st.sampled_from([None, None, 1, 2, 5]))
    rules = (
        draw(st.one_of(slots(), prompts_first()))
        if draw(st.integers(0, 2)) == 0
        else draw(
            perhaps_with_drafts(
                EngineRules(
                    sequences_max=draw(st.integers(1, 8)),
                    tokens_max=draw(st.integers(1, 30)) if chunked else draw(st.integers(90, 200)),
                    blocks=-(-40 // block) + draw(st.sampled_from([0, 2, 10, 40])) // block,
                    block_tokens=block,
                    chunked=chunked,
                    ahead=draw(st.booleans()),
                    caching=draw(st.booleans()),
                    reserve=draw(st.booleans()),
                    **draw(version_rules()),
                )
            )
        )
    )
    return EngineFleet(
        table=table,
        rules=rules,
        replicas=replicas,
        routing=draw(st.sampled_from(ROUTINGS)),
        queue_limit=queue_limit,
    )


@st.composite
def slots(draw: st.DrawFn) -> EngineRules:
    """Slots of llama.cpp, each with room for the longest request."""
    count = draw(st.integers(1, 5))
    return EngineRules(
        sequences_max=count,
        tokens_max=count + draw(st.sampled_from([0, 1, 7, 30])),
        blocks=count * draw(st.sampled_from([40, 50])),
        block_tokens=1,
        caching=False,
        scheduler=Scheduler.LLAMA_CPP,
    )


@st.composite
def prompts_first(draw: st.DrawFn) -> EngineRules:
    """SGLang's rules, with room for the longest request and what is kept besides."""
    block, chunked = draw(st.sampled_from([1, 4, 16])), draw(st.booleans())
    return EngineRules(
        sequences_max=draw(st.integers(1, 8)),
        tokens_max=block * draw(st.integers(1, 8)) if chunked else draw(st.integers(90, 200)),
        blocks=-(-(42 + block) // block) + draw(st.sampled_from([0, 2, 10, 40])) // block,
        block_tokens=block,
        chunked=chunked,
        ahead=draw(st.booleans()),
        caching=draw(st.booleans()),
        unfilled_first=draw(st.booleans()),
        mixed=draw(st.booleans()),
        scheduler=Scheduler.SGLANG,
    )


@st.composite
def tokens_for(draw: st.DrawFn, arrived_s: np.ndarray) -> TokenDraws:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = len(arrived_s)
    inputs = generator.integers(1, draw(st.sampled_from([2, 10, 21])), count)
    return TokenDraws(
        arrived_s=arrived_s,
        input_tokens=inputs,
        output_tokens=generator.integers(1, draw(st.sampled_from([2, 5, 20])), count),
        cached_tokens=np.minimum(inputs, generator.choice([0, 0, 5, 20], count)),
        routing=np.zeros(2 * count),
        noise_seed=2**61 + 1,
    )
