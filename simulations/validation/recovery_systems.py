"""Recovery systems: fleets in trouble that obey a law, with the clients, protection and faults of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from capacity.question.objective import Measure
from capacity.question.plan import Routing
from capacity.queues.durations import Duration, Family
from capacity.queues.recovery.breakdowns import BreakdownMMc
from capacity.queues.recovery.copies import Hedged, Redundancy
from capacity.queues.recovery.lifo import LastInFirstOut
from capacity.queues.recovery.mmcd import MMcD
from capacity.queues.recovery.pauses import PausedMG1
from capacity.queues.recovery.retrial import LongBackoff, Retrial
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import Abandoned, Protection, Shedding
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import ATTEMPTS_MAX, Backoff, Clients, Failure
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Purpose, Seed, Stream
from simulations.draws.attempts import AttemptDraws, BatchFleet, Outcomes
from simulations.draws.records import Floats
from simulations.draws.service import ServiceTimes, unit_exponential
from simulations.kernel.recovery.run import run as run_kernel
from simulations.reference.recovery.fleet import run as run_reference
from simulations.replication import Engine
from simulations.statistics.intervals import Estimate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import relaxation_requests
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import Tally
from simulations.validation.systems import EXPONENTIAL, DurationTimes, Quantiles, Quantity, one_queue
from simulations.workers import leave_if_abandoned

_PATIENT_S = 1e6  # a timeout that no response reaches
_NO_MARKS = np.zeros(0)
_EXPONENTIAL_TIMES = DurationTimes(EXPONENTIAL)
_UNPROTECTED = Protection()
# Faults of a run of this length. [s]
Incidents = Callable[[np.random.Generator, float], list[Fault]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTask:
    """Everything that a worker needs for one replication."""

    system: "RecoverySystem"
    length: Length
    seed: Seed
    engine: Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySystem:
    """A fleet in trouble that theory knows, and how to simulate it; see `systems.System` for the rest.

    Attributes:
        incidents: faults of a run; None for none.
        has_exponential_backoff: whether clients wait exponential times, whose mean is the longest of `backoff`,
            instead of uniform times up to it.
    """

    name: str
    plan: BatchPlan
    rate_rps: float
    clients: Clients
    relaxation_requests: float
    cool_down_requests: int
    compared: dict[str, Quantity]
    service_times: ServiceTimes = _EXPONENTIAL_TIMES
    protection: Protection = _UNPROTECTED
    incidents: Incidents | None = None
    has_exponential_backoff: bool = False
    pool: ClassVar[type[Pool]] = Pool

    @property
    def replicate(self) -> Callable[[AttemptTask], Sample]:
        """Runs one replication."""
        return replicate_attempts

    def quantities(self) -> dict[str, Quantity]:
        """Compared quantities, by name."""
        return self.compared

    def task(self, length: Length, seed: Seed, engine: Engine) -> AttemptTask:
        """The task of one replication."""
        return AttemptTask(system=self, length=length, seed=seed, engine=engine)

    def draws(self, requests: int, seed: Seed) -> AttemptDraws:
        """The random numbers of one run, except its faults."""
        attempts = self.clients.attempts
        backoff = np.zeros((0, 0))
        if self.clients.backoff is not None:
            backoff = seed.generator(Purpose.BACKOFF).random((attempts, requests))
            if self.has_exponential_backoff:
                backoff = unit_exponential(backoff)
        return AttemptDraws(
            arrived_s=Stream(Workload(arrival_rate_rps=self.rate_rps), requests, seed).arrived_s(requests),
            service=seed.generator(Purpose.SERVICE).random((attempts, requests)),
            routing=seed.generator(Purpose.ROUTING).random((attempts, requests, 2))
            if self.plan.routing is Routing.RANDOM
            else np.zeros((0, 0, 2)),
            backoff=backoff,
        )


def replicate_attempts(task: AttemptTask) -> Sample:
    """Run one replication."""
    leave_if_abandoned()
    system = task.system
    draws = system.draws(task.length.requests, task.seed)
    faults: list[Fault] = []
    if system.incidents is not None:
        faults = system.incidents(task.seed.generator(Purpose.FAULTS), float(draws.arrived_s[-1]))
    run = run_kernel if task.engine is Engine.KERNEL else run_reference
    fleet = BatchFleet(plan=system.plan, service_times=system.service_times)
    outcomes = run(fleet, draws, system.clients, system.protection, faults)
    return _sample(outcomes, slice(task.length.warm_up, task.length.warm_up + task.length.measured))


def _sample(outcomes: Outcomes, part: slice) -> Sample:
    responses_s = (outcomes.answered_s - outcomes.arrived_s)[part]
    answered_s = responses_s[~np.isnan(responses_s)]
    middle = len(answered_s) // 2
    attempts = outcomes.attempts[part]
    arrived_s = outcomes.arrived_s[part]
    return Sample(
        waits=Tally.of(np.zeros(0), _NO_MARKS),
        responses=Tally.of(answered_s, _NO_MARKS),
        window_s=float(arrived_s[-1] - arrived_s[0]),
        busy_s=0.0,
        batches=float(len(answered_s)),
        batch_size_largest=1,
        lost=len(responses_s) - len(answered_s),
        rises_s=(float(answered_s[middle:].mean() - answered_s[:middle].mean()),),
        attempts=int(attempts.sum()),
        retried=int((attempts > 1).sum()),
    )


# ---- What is compared -----------------------------------------------------------------------


def _attempts_mean(pool: Pool) -> Estimate:
    return pool.attempts


def _retried_share(pool: Pool) -> Estimate:
    return pool.retried


def _response_mean(pool: Pool) -> Estimate:
    return pool.mean(Measure.RESPONSE_MEAN)


def _loss(pool: Pool) -> Estimate:
    return pool.loss


def _quantiles(quantiles: Quantiles, theory: Callable[[float], float]) -> dict[str, Quantity]:
    return {
        f"response_p{100 * q:g}_s": Quantity(theory(q), 0.0, partial(Pool.response_quantile, quantile=q))
        for q in quantiles
    }


# ---- Retries --------------------------------------------------------------------------------


def retrial(servers: int, load: float, retry_rate_per_s: float) -> RecoverySystem:
    """No queue, and everything retries after exponential times, practically for ever at these loads."""
    law = Retrial(
        arrival_rate_rps=load * servers,
        service_rate_rps=1.0,
        servers=servers,
        retry_rate_per_s=retry_rate_per_s,
    )
    relaxation = relaxation_requests(load, 1, load * servers / min(1.0, retry_rate_per_s), 2.0)
    return RecoverySystem(
        name=f"M/M/{servers} retrial rate {retry_rate_per_s:g}, load {load:g}",
        plan=one_queue(servers, queue_limit=0),
        rate_rps=law.arrival_rate_rps,
        clients=Clients(
            attempts=ATTEMPTS_MAX,
            backoff=Backoff(initial_s=1.0 / retry_rate_per_s, max_s=1.0 / retry_rate_per_s),
        ),
        has_exponential_backoff=True,
        relaxation_requests=relaxation,
        cool_down_requests=math.ceil(10.0 * relaxation),
        compared={
            "retried_share": Quantity(law.blocked_probability, 0.0, _retried_share),
            "attempts_mean": Quantity(law.attempts_mean, 0.0, _attempts_mean),
            "response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean),
        },
    )


def long_backoff(servers: int, load: float, attempts: int, longest_s: float) -> RecoverySystem:
    """No queue, and rejected requests retry so much later that the fleet has forgotten the first attempt."""
    law = LongBackoff(
        arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers, attempts=attempts
    )
    waits_s = (attempts - 1) * longest_s  # after which nothing is left of the start
    requests = law.arrival_rate_rps * waits_s
    allowance = 1.0 / longest_s  # share of backoffs that are no longer than a service
    return RecoverySystem(
        name=f"M/M/{servers}/{servers} load {load:g}, {attempts} attempts up to {longest_s:g} s later",
        plan=one_queue(servers, queue_limit=0),
        rate_rps=law.arrival_rate_rps,
        clients=Clients(attempts=attempts, backoff=Backoff(initial_s=longest_s, max_s=longest_s)),
        relaxation_requests=0.15 * requests,
        cool_down_requests=math.ceil(requests),
        compared={
            "attempts_mean": Quantity(law.attempts_mean, allowance, _attempts_mean),
            "loss_probability": Quantity(law.loss_probability, attempts * allowance, _loss),
        },
    )


# ---- Shedding -------------------------------------------------------------------------------


def fixed_patience(servers: int, load: float, patience_s: float, quantiles: Quantiles) -> RecoverySystem:
    """Shedding with a margin at dispatch: of attempts that have waited longer than the timeout less the margin."""
    law = MMcD(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers, patience_s=patience_s)
    return RecoverySystem(
        name=f"M/M/{servers}+D patience {patience_s:g} s, load {load:g}",
        plan=one_queue(servers),
        rate_rps=law.arrival_rate_rps,
        clients=Clients(timeout_s=_PATIENT_S + patience_s),
        protection=Protection(shedding=Shedding.LATE, late_margin_s=_PATIENT_S),
        relaxation_requests=law.arrival_rate_rps * (5.0 + patience_s),
        cool_down_requests=0,
        compared={
            "loss_probability": Quantity(law.abandon_probability, 0.0, _loss),
            "response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean),
            **_quantiles(quantiles, law.response_quantile_s),
        },
    )


def newest_first(servers: int, load: float, timeout_s: float) -> RecoverySystem:
    """Newest first in overload: the requests that are not answered in time."""
    law = LastInFirstOut(arrival_rate_rps=load * servers, service_rate_rps=1.0, servers=servers)
    return RecoverySystem(
        name=f"M/M/{servers} newest first, load {load:g}, timeout {timeout_s:g} s",
        plan=one_queue(servers),
        rate_rps=law.arrival_rate_rps,
        clients=Clients(timeout_s=timeout_s),
        protection=Protection(shedding=Shedding.LIFO),
        relaxation_requests=relaxation_requests(min(load, 1.0 / load), 1, law.arrival_rate_rps, 2.0),
        cool_down_requests=math.ceil(10.0 * law.arrival_rate_rps * timeout_s),
        compared={"loss_probability": Quantity(1.0 - law.share_within(timeout_s), 0.0, _loss)},
    )


# ---- Faults ---------------------------------------------------------------------------------


def paused(pause: Duration, pauses_per_s: float, load: float, quantiles: Quantiles) -> RecoverySystem:
    """One server that pauses at random, busy or not; with exponential pauses it is one that breaks down."""
    rate_rps = load / (1.0 + pauses_per_s * pause.mean_s)
    law = PausedMG1(arrival_rate_rps=rate_rps, service=EXPONENTIAL, pause=pause, pauses_per_s=pauses_per_s)
    cycle_s = 1.0 / pauses_per_s + pause.mean_s
    return RecoverySystem(
        name=f"M/M/1 {pause.family} pauses of {pause.mean_s:g} s every {cycle_s:g} s, load {load:g}",
        plan=one_queue(1),
        rate_rps=rate_rps,
        clients=Clients(),
        incidents=partial(_pauses, pause, pauses_per_s),
        relaxation_requests=relaxation_requests(load, 1, rate_rps * (1.0 + pause.mean_s), 2.0)
        + rate_rps * cycle_s,
        cool_down_requests=0,
        compared={
            "response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean),
            **_quantiles(quantiles, law.response_quantile_s),
        },
    )


def _pauses(
    pause: Duration, pauses_per_s: float, generator: np.random.Generator, until_s: float
) -> list[Fault]:
    """Pauses of one server, up to some time after the last arrival."""
    count = math.ceil(1.2 * until_s * pauses_per_s) + 100
    lengths_s = np.full(count, pause.mean_s)
    if pause.family is Family.EXPONENTIAL:
        lengths_s = lengths_s * generator.standard_exponential(count)
    ends_s = np.cumsum(generator.standard_exponential(count) / pauses_per_s + lengths_s)
    faults = []
    for end_s, length_s in zip(ends_s.tolist(), lengths_s.tolist(), strict=True):
        faults.append(Fault(instant_s=end_s - length_s, replica=0, action=Action.PAUSE, value=length_s))
        faults.append(Fault(instant_s=end_s, replica=0, action=Action.RESUME))
    return faults


def breakdowns(
    servers: int, load: float, failure_rate_per_s: float, repair_rate_per_s: float
) -> RecoverySystem:
    """Servers that crash; interrupted requests are sent again at once, which memoryless service does not notice."""
    up_share = repair_rate_per_s / (failure_rate_per_s + repair_rate_per_s)
    law = BreakdownMMc(
        arrival_rate_rps=load * servers * up_share,
        service_rate_rps=1.0,
        servers=servers,
        failure_rate_per_s=failure_rate_per_s,
        repair_rate_per_s=repair_rate_per_s,
    )
    rate_rps, down_s = law.arrival_rate_rps, 1.0 / repair_rate_per_s
    return RecoverySystem(
        name=f"M/M/{servers} breakdowns of {down_s:g} s, up {up_share:.3g} of the time, load {load:g}",
        plan=one_queue(servers),
        rate_rps=rate_rps,
        clients=Clients(attempts=ATTEMPTS_MAX, retried=frozenset({Failure.CRASHED})),
        incidents=partial(_crashes, servers, failure_rate_per_s, repair_rate_per_s),
        relaxation_requests=relaxation_requests(load, 1, rate_rps, 2.0) + rate_rps * down_s / (1.0 - load),
        cool_down_requests=math.ceil(rate_rps * down_s),
        compared={"response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean)},
    )


def _crashes(
    servers: int, fails_per_s: float, repairs_per_s: float, generator: np.random.Generator, until_s: float
) -> list[Fault]:
    """Crashes and returns of all servers, up to some time after the last arrival."""
    count = math.ceil(1.2 * until_s / (1.0 / fails_per_s + 1.0 / repairs_per_s)) + 100
    faults = []
    for replica in range(servers):
        down_s: Floats = generator.standard_exponential(count) / repairs_per_s
        back_s = np.cumsum(generator.standard_exponential(count) / fails_per_s + down_s)
        for at_s, again_s in zip((back_s - down_s).tolist(), back_s.tolist(), strict=True):
            faults.append(Fault(instant_s=at_s, replica=replica, action=Action.CRASH))
            faults.append(Fault(instant_s=again_s, replica=replica, action=Action.JOIN))
    return sorted(faults, key=lambda fault: fault.instant_s)


# ---- Copies ---------------------------------------------------------------------------------


def redundancy(replicas: int, copies: int, load: float) -> RecoverySystem:
    """Copies to different random replicas, all at once; the others stop at the first reply."""
    law = Redundancy(arrival_rate_rps=load * replicas, service_rate_rps=1.0, replicas=replicas, copies=copies)
    return RecoverySystem(
        name=f"{copies} copies to {replicas} replicas, load {load:g}",
        plan=BatchPlan(profile="law", replicas=replicas, batch_size_max=1, routing=Routing.RANDOM),
        rate_rps=law.arrival_rate_rps,
        clients=Clients(attempts=copies, hedge_s=0.0),
        protection=Protection(abandoned=Abandoned.STOPPED),
        relaxation_requests=relaxation_requests(load, 1, law.arrival_rate_rps, 2.0),
        cool_down_requests=0,
        compared={"response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean)},
    )


def hedged(service: Duration, delay_s: float, quantiles: Quantiles) -> RecoverySystem:
    """A second attempt after a delay, with enough servers that one is always free."""
    law, rate_rps, servers = Hedged(response=service, delay_s=delay_s), 1.0, 20
    return RecoverySystem(
        name=f"hedge after {delay_s:g} s, {service.family} scv {service.variability:g}",
        plan=one_queue(servers),
        rate_rps=rate_rps,
        clients=Clients(attempts=2, hedge_s=delay_s),
        service_times=DurationTimes(service),
        relaxation_requests=rate_rps * 5.0,
        cool_down_requests=0,
        compared={
            "attempts_mean": Quantity(1.0 + law.extra_load, 0.0, _attempts_mean),
            "response_mean_s": Quantity(law.response_mean_s, 0.0, _response_mean),
            **_quantiles(quantiles, law.response_quantile_s),
        },
    )
