"""Client case: the simulation of fleets whose clients give up, retry or hedge, whatever their servers are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from capacity.errors import DomainError, UnstableError
from capacity.performance import Kind, Performance
from capacity.question.candidate import Candidate, Reason, Rejection, Verdict
from capacity.question.objective import Objective
from capacity.recovery.fluid import amplification, stuck_from
from capacity.traffic.clients import PATIENT
from capacity.units import format_rate, format_share
from simulations.case import Case
from simulations.cases.wrapped import WrappedCase
from simulations.draws.arrivals import Seed, Stage
from simulations.replication import Engine
from simulations.statistics.bursts import BurstRuns
from simulations.statistics.pool import Pool, ProfileError
from simulations.statistics.profile_error import profile_error
from simulations.statistics.sample import Length, Sample
from simulations.workers import Mapper

# The run that tells how often requests are tried, on which the length of all others depends.
_TRIAL_MIN, _TRIAL_MAX, _TRIAL_CYCLES = 20_000, 200_000, 4
_BUSY_MAX = (
    0.95  # load for which runs are made long at most; beyond, they show by their level whether they are
)
_ANSWERED_MIN = 0.01  # share of requests; with fewer there is nothing to measure
# A run is given up if this many times as much waits as would keep its fleet down: it does not come back.
_SURELY, _SLACK = 3.0, 100


# Refusals of patient clients that hold for others too: what bursts make late may not wait so long if clients give up.
_WITH_CLIENTS = (Reason.STABILITY, Reason.LOSS)


class Trial(NamedTuple):
    """What one run shows beforehand."""

    attempts_mean: float
    answered_share: float
    is_fallen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCase(WrappedCase):
    """A fleet whose clients give up, retry or hedge, and its simulation.

    All replicas are simulated: a retry goes to another one than the first try. Runs are as long as those of a fleet
    that all attempts reach as first tries.
    """

    @property
    def trial(self) -> Trial:
        """What one run shows beforehand, which is the same whatever is asked about the fleet."""
        asked = replace(self.whole.scenario, objective=Objective(), quantiles=())
        return _trial(replace(self.whole, scenario=asked, engine=Engine.KERNEL))

    @property
    def busier(self) -> Case:
        """The fleet with patient clients, who send as many requests as there are attempts."""
        if self.is_path:
            return _patient(self.whole)
        return _patient(self.whole, self.trial.attempts_mean)

    @property
    def bursts(self) -> BurstRuns | None:
        """Runs of the fleet with as many requests as there are attempts, in bursts that are simulated whole."""
        return self.busier.bursts

    @property
    def load(self) -> float | None:
        """Arrival rate of requests over the sustainable rate, however often each is tried."""
        return _patient(self.whole).load

    @property
    def length(self) -> Length:
        """Length of a replication, as if all attempts were first tries; nearly all of a path.

        It is twice as long as with patient clients, since a retry storm may take long to come.
        """
        length = self.busier.length
        return length if self.is_path else replace(length, measured=2 * length.measured)

    def counted_min(self, care: float) -> float:
        """Requests of a pool that has seen enough relaxation times."""
        return self.busier.counted_min(care)

    def tasks(self, length: Length, seed: Seed, numbers: range) -> list[Any]:
        """Replications of these numbers, each given up in a retry storm."""
        most = _waiting_max(self.whole)
        return [replace(task, waiting_max=most) for task in self.whole.tasks(length, seed, numbers)]

    def require_day(self) -> None:
        """Refuse what its kind of server refuses, with clients or on a day."""
        self.whole.require_day()
        self.whole.require_clients()

    def sections(self, seed: Seed) -> list[Sample] | None:
        """Consecutive parts of one run of a recorded path; None if a part has no result."""
        found = self.whole.sections(seed)
        return None if found is None or not all(one.counted for one in found) else found

    def performance(self, pool: Pool, quantiles: Sequence[float], confidence: float) -> Any:
        """Performance of the fleet as its clients see it, with how often they try.

        The numbers in queue and in system are left out: they are not those of requests that are answered.
        """
        found = self.whole.performance(pool, quantiles, confidence)
        retried = pool.retried_interval(confidence)
        tried = {"attempts_mean": pool.attempts.interval(confidence), "retried_share": retried}
        return replace(
            found,
            attempts_mean=tried["attempts_mean"].value,
            retried_share=retried.value,
            queue_length_mean=None,
            in_system_mean=None,
            intervals={**found.intervals, **tried} if found.intervals else {},
        )

    def require_answerable(self) -> None:
        """Refuse what is not simulated, a fleet that is unstable, and one that a retry storm takes in a trial run.

        Raises:
            DomainError: what its servers do not have with clients, or next to no answers.
            UnstableError: the queues grow for ever, with retries or without.
        """
        _patient(self.whole).require_answerable()
        self.whole.require_clients()
        if self.trial.is_fallen:
            raise self._unstable("a trial run")
        if self._is_hopeless:
            raise DomainError(
                f"only {format_share(self.trial.answered_share)} of the requests are answered in time; give clients "
                "a longer --timeout or --deadline, or more replicas"
            )

    @property
    def may_fall(self) -> bool:
        """Whether it may fall into a retry storm: it may."""
        return True

    def require_lasting(self, pool: Pool) -> None:
        """Refuse a fleet that fell into a retry storm in some of its runs.

        Raises:
            UnstableError: it did; the message has the rates with and without retries.
        """
        fallen = pool.whole.fallen
        if fallen:
            raise self._unstable(f"{fallen} of {pool.replications} runs")

    def _unstable(self, where: str) -> UnstableError:
        load = _patient(self.whole).load or 1.0
        rate_rps, tries = self.scenario.workload.arrival_rate_rps, self._tries
        return UnstableError(
            f"unstable with retries: {format_rate(rate_rps)} with up to {tries:.3g} attempts at each request are "
            f"{format_rate(tries * rate_rps)}, and {self.scenario.plan.replicas} "
            f"{'replica serves' if self.scenario.plan.replicas == 1 else 'replicas serve'} "
            f"{format_rate(rate_rps / load)}; in {where} more waited than clients wait for, and ever more came; give "
            "--retry-budget 0.1, fewer --attempts, or more replicas"
        )

    @property
    def _is_hopeless(self) -> bool:
        """Whether next to none are answered; of arrivals in bursts the few that one run sees do not tell."""
        return self.trial.answered_share < _ANSWERED_MIN and self.bursts is None

    @property
    def _tries(self) -> float:
        """Attempts at a request if none is answered in time."""
        return amplification(self.scenario.workload.clients, self.scenario.workload.arrival_rate_rps)

    def fallen(self, pool: Pool) -> Rejection | None:
        """The refusal of a fleet that fell into a retry storm in some of its runs; None if it did in none."""
        return self._storm() if pool.whole.fallen else None

    def _storm(self) -> Rejection:
        load = _patient(self.whole).load or 1.0
        return Rejection(reason=Reason.STABILITY, allowed=1.0, needed=self._tries * load, event="retries")

    def require_affordable(self, requests_max: int) -> None:
        """Refuse what its kind of server refuses."""
        self.whole.require_affordable(requests_max)

    def budget(self, stage: Stage, requests_max: int, effort: int = 1) -> int:
        """Most requests of a trial of a fleet with as many requests as there are attempts."""
        return self.busier.budget(stage, requests_max, effort)

    @property
    def replicas(self) -> int:
        """Number of replicas that are simulated: all."""
        return self.whole.replicas

    @property
    def probes(self) -> tuple[Length, ...]:
        """Short runs of a fleet with as many requests as there are attempts."""
        return self.busier.probes

    def refused(self, confidence: float) -> Candidate[Any] | None:
        """The plan, if its queue grows for ever, with retries or without, or if next to none are answered."""
        found = _patient(self.whole).refused(confidence)
        if found is not None and found.rejection is not None and found.rejection.reason in _WITH_CLIENTS:
            return found
        rejection = None
        if self.trial.is_fallen:
            rejection = self._storm()
        elif self._is_hopeless:
            rejection = Rejection.of_losses(
                self.scenario.objective.limits[0], 1.0 - self.trial.answered_share
            )
        if rejection is None:
            return None
        seen = Performance(
            kind=Kind.SIMULATION,
            attempts_mean=self.trial.attempts_mean,
            loss_probability=1.0 - self.trial.answered_share,
        )
        return Candidate(
            plan=self.scenario.plan, verdict=Verdict.MISSED, rejection=rejection, performance=seen
        )

    @property
    def knee(self) -> float:
        """Load above which its kind of server accepts no plan."""
        return self.whole.knee

    def widened(self, performance: Performance, confidence: float, seed: int, mapper: Mapper) -> Any:
        """The performance with the profile's own error, as its kind of server has it."""
        return self.whole.widened(performance, confidence, seed, mapper)

    def resampled_pools(self, seed: Seed, mapper: Mapper) -> Sequence[Pool]:
        """Runs under resampled profiles, of its kind of server."""
        return self.whole.resampled_pools(seed, mapper)

    def widened_by(self, pools: Sequence[Pool], performance: Any, confidence: float) -> Any:
        """The performance with intervals widened by the scatter of such pools."""
        return self.whole.widened_by(pools, performance, confidence)

    @property
    def known_samples(self) -> Callable[[float], Sequence[float]] | None:
        """Numbers of samples behind a quantile, of its kind of server."""
        return self.whole.known_samples

    def profile_error(
        self,
        length: Length,
        confidence: float,
        seed: Seed,
        mapper: Mapper,
        is_enough: Callable[[ProfileError], bool] | None = None,
    ) -> ProfileError | None:
        """Error from the same requests under profiles resampled from the measured times, if batches have them."""
        if self.known_samples is None:
            return None
        return profile_error(self, length, confidence, seed, mapper, is_enough)


def _patient(whole: Case, times: float = 1.0) -> Case:
    """The case with clients who wait, at a multiple of its rate as far as runs can be made for it."""
    scenario = whole.scenario
    workload = replace(scenario.workload, clients=PATIENT)
    patient = replace(whole, scenario=replace(scenario, workload=workload))
    if times == 1.0:
        return patient
    load = patient.load or 0.0
    if scenario.plan.queue_limit is None and load > 0.0:
        times = max(1.0, min(times, _BUSY_MAX / load))
    return replace(patient, scenario=patient.scenario.at_rate(times * workload.arrival_rate_rps))


def _waiting_max(whole: Case) -> float:
    """Attempts that wait only in a retry storm, which has no end; infinite if no storm can last.

    Queues with a limit cannot hold more than that. Of arrivals in bursts the mean rate decides: calm may empty the
    queues, but if all attempts exceed the capacity on average, they grow by more in the long run.
    """
    scenario = whole.scenario
    plan, workload, load = scenario.plan, scenario.workload, _patient(whole).load
    if not load or not whole.serves_all:
        return math.inf
    rate_rps = workload.arrival_rate_rps
    stuck: float = stuck_from(workload.clients, rate_rps=rate_rps, capacity_rps=rate_rps / load)
    surely: float = _SURELY * (stuck + _SLACK * plan.replicas)
    if plan.queue_limit is None:
        return surely
    held = plan.queue_limit * plan.replicas
    return min(surely, max(1.2 * stuck, 0.95 * held)) if stuck < held else math.inf


@lru_cache(maxsize=128)
def _trial(whole: Case) -> Trial:
    """One run, from an empty fleet on."""
    patient = _patient(whole)
    usual, bursts = patient.length, patient.bursts
    most = _TRIAL_MAX if bursts is None else max(_TRIAL_MAX, math.ceil(_TRIAL_CYCLES * bursts.cycle_requests))
    length = replace(
        usual,
        warm_up=min(usual.warm_up, _TRIAL_MAX),
        measured=min(max(usual.measured, _TRIAL_MIN), most),
    )
    (task,) = whole.tasks(length, Seed(value=0, stage=Stage.SEARCH), range(1))
    sample = whole.replicate(replace(task, waiting_max=_waiting_max(whole))).as_one
    offered = sample.counted + sample.lost
    return Trial(max(1.0, sample.attempts / offered), sample.counted / offered, sample.fallen > 0)
