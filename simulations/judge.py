"""Judgement by simulation: sequential looks, each with its share of the error that is allowed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from capacity.judge import Judgement
from capacity.performance import Performance
from capacity.plan import Limit, Plan, Rejection, Verdict
from capacity.profile import ServiceProfile
from capacity.workload import LatencyObjective, Workload
from simulations.arrivals import Seed, Stage
from simulations.case import Case
from simulations.estimate import REQUESTS_MAX, Look, looks, requests_to_settle
from simulations.parallel import Mapper
from simulations.pool import Pool
from simulations.profile_error import profile_half_widths, widened
from simulations.replication import Engine

QUANTILES = (0.5, 0.9, 0.95, 0.99)  # reported whatever the objective asks
_HEADROOM_BUDGET_SHARE = 0.05


def share_of_error(number: int) -> float:
    """Share of the allowed error that the `number`-th of endlessly many tests may spend.

    6/(π²k²) sums to 1 over k = 1, 2, ..., so that all tests together err as rarely as one was
    allowed to (union bound).
    """
    return 6.0 / (math.pi * number) ** 2


def decide(look: Look, objective: LatencyObjective, errors: "Errors") -> tuple[Verdict, Rejection | None]:
    """Whether a look settles the matter: each limit by its quantile and by its share of late responses.

    Met only when the upper ends of both stay within what the objective allows; missed when the
    lower end of the late share is above it. Runs that have not settled understate a busy fleet and
    may only refuse.
    """
    met = look.settled
    missed: list[Rejection] = []
    for quantile, limit_s in objective.limits.items():
        allowed = 1.0 - quantile
        late = look.pool.exceedance(limit_s)
        response = look.pool.response_quantile(quantile)
        if late.interval(1.0 - errors.refuse).low > allowed:
            missed.append(
                Rejection(limit=Limit.LATENCY, allowed=limit_s, needed=response.value, quantile=quantile)
            )
        accept = 1.0 - errors.accept
        met = met and late.interval(accept).high <= allowed and response.interval(accept).high <= limit_s
    if missed:
        return Verdict.MISSED, max(missed, key=lambda rejection: rejection.needed / rejection.allowed)
    return (Verdict.MET if met else Verdict.INCONCLUSIVE), None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Probabilities with which one look may accept or refuse wrongly."""

    accept: float
    refuse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationJudge:
    """Judges plans for one profile by simulation; a `capacity.judge.Judge`.

    Attributes:
        confidence: of the intervals and, over all candidates and looks together, of the verdicts.
        precision: relative half-width wanted of the binding quantile when certifying.
        requests_max: budget of simulated requests for one plan; not a time, so that results do not
            depend on the machine's speed.
        mapper: how replications are spread over workers.
    """

    profile: ServiceProfile
    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    mapper: Mapper = field(default=map, repr=False)

    def search(self, workload: Workload, plan: Plan, objective: LatencyObjective, attempt: int) -> Judgement:
        """Look until the verdict is clear.

        A candidate refused by mistake is lost, one accepted by mistake still meets the certificate: only
        refusals are corrected for the number of candidates and looks.
        """
        return self._judge(self._trial(workload, plan, objective, Stage.SEARCH, attempt))

    def certify(
        self,
        workload: Workload,
        plan: Plan,
        objective: LatencyObjective,
        attempt: int,
        requests_first: int,
    ) -> Judgement:
        """Look, with seeds of its own, until the verdict is clear and the interval narrow."""
        trial = self._trial(workload, plan, objective, Stage.CERTIFY, attempt)
        trial = replace(trial, requests_first=requests_first, precision=self.precision)
        return self._with_profile_error(trial, self._judge(trial))

    def accepts(self, workload: Workload, plan: Plan, objective: LatencyObjective) -> Judgement:
        """Look for a while; the same users at every rate."""
        budget = int(self.requests_max * _HEADROOM_BUDGET_SHARE)
        trial = self._trial(workload, plan, objective, Stage.HEADROOM, 1)
        trial = replace(trial, requests_max=budget)
        return self._with_profile_error(trial, self._judge(trial))

    def _trial(
        self, workload: Workload, plan: Plan, objective: LatencyObjective, stage: Stage, attempt: int
    ) -> "_Trial":
        case = Case(
            profile=self.profile,
            workload=workload,
            plan=plan,
            quantile_max=max(objective.limits),
            limits_s=tuple(objective.limits.values()),
            engine=self.engine,
        )
        return _Trial(
            case=case,
            objective=objective,
            seed=Seed(value=self.seed, stage=stage),
            error=1.0 - self.confidence,
            attempt=attempt,
            requests_max=self.requests_max,
        )

    def _judge(self, trial: "_Trial") -> Judgement:
        look, verdict, rejection, precise = None, Verdict.INCONCLUSIVE, None, False
        for number, look in enumerate(trial.looks(self.mapper), start=1):
            verdict, rejection = decide(look, trial.objective, trial.errors(number))
            if verdict is Verdict.MISSED:
                break
            precise = self._width(look.pool, trial.objective) <= trial.precision
            if verdict is Verdict.MET and precise:
                break
        if verdict is Verdict.INCONCLUSIVE:
            spent = look.requests if look is not None and look.settled else 0
            needed = max(2 * spent, requests_to_settle(trial.case))
            rejection = Rejection(limit=Limit.BUDGET, allowed=trial.requests_max, needed=needed)
        if look is None:
            return Judgement(verdict=verdict, rejection=rejection, performance=None, settled=False)
        return Judgement(
            verdict=verdict,
            rejection=rejection,
            performance=self._performance(trial, look.pool),
            settled=look.settled,
            batch_size_largest=look.pool.batch_size_largest,
            requests=look.requests,
            is_precise=precise,
        )

    def _width(self, pool: Pool, objective: LatencyObjective) -> float:
        """Relative half-width of the quantile nearest to its limit."""
        responses = {q: pool.response_quantile(q).interval(self.confidence) for q in objective.limits}
        binding = max(responses, key=lambda q: responses[q].value / objective.limits[q])
        return responses[binding].relative_half_width

    def _performance(self, trial: "_Trial", pool: Pool) -> Performance:
        quantiles = sorted({*QUANTILES, *trial.objective.limits})
        return trial.case.performance(pool, quantiles, self.confidence)

    def _with_profile_error(self, trial: "_Trial", judgement: Judgement) -> Judgement:
        """The judgement with the profile's own sampling error in its intervals."""
        if judgement.performance is None:
            return judgement
        quantiles = list(judgement.performance.response_quantiles_s)
        extra = profile_half_widths(trial.case, quantiles, self.confidence, trial.seed, self.mapper)
        responses = {
            q: widened(interval, extra[q])
            for q, interval in judgement.performance.response_quantiles_s.items()
        }
        performance = replace(judgement.performance, response_quantiles_s=responses)
        in_doubt = [
            Rejection(limit=Limit.LATENCY, allowed=limit_s, needed=responses[q].high, quantile=q)
            for q, limit_s in trial.objective.limits.items()
            if responses[q].high > limit_s
        ]
        if judgement.verdict is Verdict.MET and in_doubt:
            return replace(
                judgement, verdict=Verdict.INCONCLUSIVE, rejection=in_doubt[0], performance=performance
            )
        return replace(judgement, performance=performance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One case before the judge."""

    case: Case
    objective: LatencyObjective
    seed: Seed
    error: float
    attempt: int
    requests_max: int
    requests_first: int = 0
    precision: float = math.inf

    def looks(self, mapper: Mapper) -> Iterator[Look]:
        return looks(self.case, self.seed, self.requests_max, mapper, self.requests_first)

    def errors(self, look: int) -> Errors:
        """What the `look`-th look may err by; in a search nothing is accepted for good.

        Any one limit refuses, so that they share what a refusal may err by.
        """
        corrected = self.error * share_of_error(self.attempt) * share_of_error(look)
        accept = self.error if self.seed.stage is Stage.SEARCH else corrected
        return Errors(accept=accept, refuse=corrected / len(self.objective.limits))
