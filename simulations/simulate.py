"""Simulate: the performance of one plan, to the asked precision; a `capacity` Model by simulation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from capacity.performance import Performance
from capacity.plan import Plan
from capacity.profile import ServiceProfile
from capacity.scenario import Scenario
from capacity.screen import require_answerable as require_answerable
from capacity.workload import Demand
from simulations.arrivals import Seed, Stage
from simulations.case import Case, run_length
from simulations.estimate import REQUESTS_MAX, precise_look
from simulations.profile_error import with_profile_error
from simulations.replication import Engine
from simulations.workers import Mapper

QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A performance, and how wide its interval would be if the profile were known without error.

    Attributes:
        simulated_width: relative half-width of the highest quantile of the response, of the simulation alone.
    """

    performance: Performance
    simulated_width: float


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
        """Performance of a plan; raises what `look` does."""
        return self.look(profile, workload, plan).performance

    def look(self, profile: ServiceProfile, workload: Demand, plan: Plan) -> Simulated:
        """Performance of a plan, with the profile's own sampling error in its intervals.

        Raises:
            UnstableError: the plan cannot sustain the arrival rate.
            DomainError: the profile does not cover the plan's batches.
            InconclusiveError: the budget does not suffice for one run that settles.
        """
        require_answerable(profile, workload, plan)
        scenario = Scenario(profile=profile, workload=workload, plan=plan, quantiles=tuple(self.quantiles))
        case = Case(scenario=scenario, engine=self.engine)
        seed = Seed(value=self.seed, stage=Stage.CERTIFY)
        look = precise_look(case, seed, self.requests_max, self.precision, self.confidence, self.mapper)
        performance = case.performance(look.pool, self.quantiles, self.confidence)
        width = performance.response_quantiles_s[max(self.quantiles)].relative_half_width
        return Simulated(
            performance=with_profile_error(
                performance, case, run_length(case), self.confidence, seed, self.mapper
            ),
            simulated_width=width,
        )
