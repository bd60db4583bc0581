"""Simulate: the performance of one plan, to the asked precision; a `capacity` Model by simulation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from capacity.performance import Performance
from capacity.plan import Plan
from capacity.profile import ServiceProfile
from capacity.screen import require_answerable as require_answerable
from capacity.workload import Demand
from simulations.arrivals import Seed, Stage
from simulations.case import Case
from simulations.estimate import REQUESTS_MAX, precise_look
from simulations.parallel import Mapper
from simulations.profile_error import profile_half_widths, widened
from simulations.replication import Engine

QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How one plan is simulated.

    Attributes:
        precision: relative half-width wanted of the highest quantile.
        requests_max: budget of simulated requests.
        mapper: how replications are spread over workers.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    quantiles: Sequence[float] = QUANTILES
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, profile: ServiceProfile, workload: Demand, plan: Plan) -> Performance:
        """Performance of a plan.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the profile does not cover the plan's batches.
            InconclusiveError: the budget does not suffice for one run that settles.
        """
        require_answerable(profile, workload, plan)
        case = Case(
            profile=profile,
            workload=workload,
            plan=plan,
            quantile_max=max(self.quantiles),
            engine=self.engine,
        )
        seed = Seed(value=self.seed, stage=Stage.CERTIFY)
        look = precise_look(case, seed, self.requests_max, self.precision, self.confidence, self.mapper)
        performance = case.performance(look.pool, self.quantiles, self.confidence)
        extra = profile_half_widths(case, self.quantiles, self.confidence, seed, self.mapper)
        responses = {q: widened(x, extra[q]) for q, x in performance.response_quantiles_s.items()}
        return replace(performance, response_quantiles_s=responses)
