"""Paired token fleets: language models under the same requests, and by how much each fleet differs from the first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from capacity.errors import InconclusiveError
from capacity.performance import Interval
from capacity.profile.llm_sampling import has_spread
from capacity.question.comparison import Comparison, Difference
from capacity.question.objective import Measure
from capacity.question.tokens import TokenScenario
from capacity.units import QUANTILES
from simulations.compare import apart, correlation, longest, quantile_difference, scatter, together
from simulations.draws.arrivals import Seed, Stage
from simulations.looks import REQUESTS_MAX, run_counts
from simulations.replication import Engine
from simulations.statistics.path import require_enough
from simulations.statistics.tokens import TALLIES, TokenPool
from simulations.tokens import (
    TokenCase,
    TokenLook,
    look_at_runs,
    replicate_tokens,
    require_below_knee,
    resampled_pools,
    token_tasks,
    widened_by,
)
from simulations.workers import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTokens:
    """How fleets that serve language models are compared; as `simulations.compare.PairedSimulation`.

    Attributes:
        precision: relative half-width asked of the response's highest quantile, of each fleet.
    """

    seed: int = 0
    confidence: float = 0.95
    precision: float = 0.02
    requests_max: int = REQUESTS_MAX
    engine: Engine = Engine.KERNEL
    quantiles: Sequence[float] = QUANTILES
    mapper: Mapper = field(default=map, repr=False)

    def __call__(self, scenarios: Sequence[TokenScenario]) -> Comparison:
        """Performances and differences of scenarios that differ in their plans and profiles alone.

        Raises:
            UnstableError: a fleet cannot sustain the arrival rate.
            InconclusiveError: a fleet is too near saturation, or the budget is too small for runs that settle.
        """
        for one in scenarios:
            require_below_knee(one)
        cases = [
            TokenCase(
                scenario=replace(one, quantiles=tuple(self.quantiles)), engine=self.engine, is_whole=True
            )
            for one in scenarios
        ]
        pools = self._pools(cases)
        errors = [self._errors(case, cases) for case in cases]
        performances = [
            widened_by(error, case.performance(pool, self.quantiles, self.confidence), self.confidence)
            for case, pool, error in zip(cases, pools, errors, strict=True)
        ]
        return Comparison(
            performances=tuple(performances),
            differences=tuple(
                self._difference(pools[number], pools[0], errors[number], errors[0])
                for number in range(1, len(pools))
            ),
        )

    @property
    def _seed(self) -> Seed:
        return Seed(value=self.seed, stage=Stage.COMPARE)

    def _pools(self, cases: Sequence[TokenCase]) -> list[TokenPool]:
        """The first pools that have all settled and are all precise enough, else the last settled ones."""
        settled: list[TokenLook] | None = None
        for looks in self._looks(cases):
            if all(look.settled for look in looks):
                settled = looks
                if all(self._is_precise(look.pool) for look in looks):
                    break
        if settled is None:
            raise InconclusiveError(
                f"no runs of these fleets within {self.requests_max} requests each settle; raise "
                "--requests-max, or ask for a lower quantile or a lower rate"
            )
        return [look.pool for look in settled]

    def _looks(self, cases: Sequence[TokenCase]) -> Iterator[list[TokenLook]]:
        """Looks at all fleets after the same replications, twice as many each time."""
        for case in cases:
            require_enough(case.scenario.workload, case.scenario.quantile_max)
        length, pools = longest([case.length for case in cases]), [TokenPool.of(()) for _ in cases]
        for wanted in run_counts(self.requests_max // length.requests, is_path=cases[0].is_path):
            numbers = range(pools[0].replications, wanted)
            tasks = [one for case in cases for one in token_tasks(case, length, self._seed, numbers)]
            samples = iter(self.mapper(replicate_tokens, tasks))
            pools = [pool.extended([next(samples) for _ in numbers]) for pool in pools]
            yield [
                look_at_runs(case, pool, wanted * length.requests)
                for case, pool in zip(cases, pools, strict=True)
            ]

    def _is_precise(self, pool: TokenPool) -> bool:
        interval = pool.response_quantile(max(self.quantiles)).interval(self.confidence)
        return interval.relative_half_width <= self.precision

    def _errors(self, case: TokenCase, cases: Sequence[TokenCase]) -> list[TokenPool]:
        """Pools under resampled profiles; fleets of one profile see the same resamples, others their own."""
        if not has_spread(case.scenario.profile):
            return []
        profiles = [other.scenario.profile for other in cases]
        seed = replace(self._seed, replication=profiles.index(case.scenario.profile))
        return resampled_pools(case, seed, self.mapper)

    def _difference(
        self,
        pool: TokenPool,
        first: TokenPool,
        errors: Sequence[TokenPool],
        first_errors: Sequence[TokenPool],
    ) -> Difference:
        """Of all means and quantiles; the error of a profile that both share cancels."""

        def moved(value: Callable[[TokenPool], float]) -> float:
            """Half-width of what the profiles' errors make of a difference. [s]"""
            known = [np.array([value(one) for one in found]) for found in (errors, first_errors) if found]
            if not known:
                return 0.0
            return scatter(known[0] - known[1] if len(known) == 2 else known[0], self.confidence)

        def mean(measure: Measure) -> Interval:
            one, other = (each.mean(measure).interval(self.confidence) for each in (pool, first))
            alike = correlation(pool.mean_deviations_s(measure), first.mean_deviations_s(measure))
            return apart(together(one, other, alike), moved(lambda found: found.mean_s(measure)))

        def quantile(measure: Measure, q: float) -> Interval:
            found = quantile_difference(pool, first, q, self.confidence, TALLIES[measure])
            return apart(found, moved(lambda found: found.quantile_s(measure, q)))

        def quantiles(measure: Measure) -> dict[float, Interval]:
            return {q: quantile(measure, q) for q in self.quantiles}

        has_gaps = pool.counts(Measure.TPOT) > 0
        return Difference(
            ttft_mean_s=mean(Measure.TTFT_MEAN),
            response_mean_s=mean(Measure.RESPONSE_MEAN),
            tpot_mean_s=mean(Measure.TPOT_MEAN) if has_gaps else None,
            itl_mean_s=mean(Measure.ITL_MEAN) if has_gaps else None,
            ttft_quantiles_s=quantiles(Measure.TTFT),
            response_quantiles_s=quantiles(Measure.RESPONSE),
            tpot_quantiles_s=quantiles(Measure.TPOT) if has_gaps else {},
            itl_quantiles_s=quantiles(Measure.ITL) if has_gaps else {},
        )
