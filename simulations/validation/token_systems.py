"""Token systems: engines that batch continuously and obey a law, with the scenario of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from capacity.profile.distribution import from_samples
from capacity.profile.llm import Coefficients, Engine, KvCache, LimitsMeasured, LlmProfile, Scheduler
from capacity.question.objective import Measure
from capacity.question.scenario import Scenario
from capacity.queues.batch.bulk import Bulk
from capacity.queues.general.mg1 import MG1
from capacity.queues.general.mg1_wait import Empirical
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.lengths import LengthLaw, LengthLaws, LengthRows
from capacity.traffic.workload import Workload
from simulations.draws.arrivals import Seed
from simulations.engine_replication import TokenTask, replicate_tokens
from simulations.replication import Engine as Player
from simulations.statistics.intervals import Estimate, QuantileEstimate
from simulations.statistics.pool import Pool
from simulations.statistics.relaxation import relaxation_requests
from simulations.statistics.sample import Length, Sample
from simulations.statistics.strata import Strata
from simulations.statistics.tokens import TokenSample
from simulations.validation.systems import P99, Quantiles, Quantity
from simulations.validation.token_laws import EqualPasses, GeometricSlots, SharedEngine

ROOM_FOR_ALL = 4_000
_BLOCK_TOKENS, _BLOCKS = 4_096, 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSystem:
    """An engine that theory knows, and how to simulate it; see `systems.System` for the rest."""

    name: str
    scenario: TokenScenario
    relaxation_requests: float
    cool_down_requests: int
    compared: dict[str, Quantity]
    pool: ClassVar[type[Pool]] = Pool

    @property
    def replicate(self) -> Callable[[TokenTask], Sample | Strata]:
        """Runs one replication."""
        return replicate_tokens

    def quantities(self) -> dict[str, Quantity]:
        """Compared quantities, by name."""
        return self.compared

    def task(self, length: Length, seed: Seed, engine: Player) -> TokenTask:
        """The task of one replication."""
        return TokenTask(scenario=self.scenario, length=length, seed=seed, engine=engine)


def _mean(measure: Measure, pool: Pool) -> Estimate:
    return pool.mean(measure)


def _quantile(measure: Measure, quantile: float, pool: Pool) -> QuantileEstimate:
    return pool.of_measure(measure, quantile)


def _busy(pool: Pool) -> Estimate:
    return pool.utilization(1)


def _running(pool: Pool) -> Estimate:
    return pool.ratio(_running_s, lambda sample: sample.window_s)


def _running_s(sample: Sample) -> float:
    assert isinstance(sample, TokenSample)  # noqa: S101
    return sample.running_s


def _mean_of(measure: Measure, theory: float, allowance: float = 0.0) -> Quantity:
    return Quantity(theory, allowance, partial(_mean, measure))


def _quantiles_of(
    measure: Measure, quantiles: Quantiles, theory: Callable[[float], float], off_s: float = 0.0
) -> dict[str, Quantity]:
    """Quantiles by name; theory is off by this many seconds at most."""
    name = measure.value.partition("_")[0]
    found = {q: theory(q) for q in quantiles}
    return {
        f"{name}_p{100 * q:g}_s": Quantity(found_s, off_s / found_s, partial(_quantile, measure, q))
        for q, found_s in found.items()
    }


def law_scenario(
    rate_rps: float,
    lengths: AnyLengths,
    line: Coefficients,
    *,
    slots: int = ROOM_FOR_ALL,
    budget: int = 2 * ROOM_FOR_ALL,
    chunked: bool = True,
    kv: KvCache | None = None,
) -> TokenScenario:
    """One engine with linear passes, with room for everything in its cache by default."""
    profile = LlmProfile(
        name="law",
        kv=kv or KvCache(tokens=_BLOCK_TOKENS * _BLOCKS, block_tokens=_BLOCK_TOKENS),
        limits_measured=LimitsMeasured(
            sequences_max=ROOM_FOR_ALL, batched_tokens_max=10 * ROOM_FOR_ALL, context_tokens_max=1_000_000
        ),
        coefficients=line,
        engine=Engine(scheduler=Scheduler.VLLM_V1_0_19, chunked_prefill=chunked),  # laws know no pass ahead
    )
    plan = TokenPlan(profile="law", replicas=1, sequences_max=slots, batched_tokens_max=budget)
    return Scenario(profile=profile, workload=Workload(arrival_rate_rps=rate_rps), lengths=lengths, plan=plan)


def one_each(base_s: float, per_request_s: float) -> Coefficients:
    """Coefficients of a + gn for n running requests: a prompt of one token takes as long as a decoding request."""
    return Coefficients(base_s=base_s, per_prefill_token_s=per_request_s, per_decode_request_s=per_request_s)


def outputs(kind: str, mean: float, prompt: int = 1) -> LengthLaws:
    """Prompts of one size, and outputs of a named law."""
    return LengthLaws(LengthLaw(kind="constant", mean=prompt), LengthLaw(kind=kind, mean=mean))


def alone(prompts: tuple[int, ...], sizes: tuple[int, ...], load: float, quantiles: Quantiles) -> TokenSystem:
    """K = 1: M/G/1 with a pass for each output token, and the time that the prompt adds."""
    line = Coefficients(base_s=0.01, per_prefill_token_s=1e-4, per_decode_request_s=0.002)
    pairs = list(zip(prompts, sizes, strict=True))
    served_s = [0.01 * m + 1e-4 * p + 0.002 * (m - 1) for p, m in pairs]
    first_s = math.fsum(0.01 + 1e-4 * p for p in prompts) / len(prompts)
    rate_rps = load / (math.fsum(served_s) / len(served_s))
    law = MG1(arrival_rate_rps=rate_rps, service=Empirical(law=from_samples(served_s)))
    return TokenSystem(
        name=f"one slot, lengths of {len(sizes)} kinds, load {load:g}",
        scenario=law_scenario(rate_rps, LengthRows(prompts, sizes), line, slots=1),
        relaxation_requests=relaxation_requests(load, 1, load, 1.0 + law.service.variability),
        cool_down_requests=100,
        compared={
            "ttft_mean_s": _mean_of(Measure.TTFT_MEAN, law.wait_mean_s + first_s),
            "response_mean_s": _mean_of(Measure.RESPONSE_MEAN, law.response_mean_s),
            **_quantiles_of(Measure.RESPONSE, quantiles, law.response_quantile_s),
            "utilization": Quantity(load, 0.0, _busy),
        },
    )


def equal_passes(output: int, running: float) -> TokenSystem:
    """Passes of equal length, and unlimited room."""
    pass_s = 0.01
    rate_rps = running / (output * pass_s)
    law = EqualPasses(arrival_rate_rps=rate_rps, pass_s=pass_s, tail=(1.0,) * output)
    return TokenSystem(
        name=f"equal passes, outputs of {output}, {running:g} at once",
        scenario=law_scenario(rate_rps, outputs("constant", output), one_each(pass_s, 0.0)),
        relaxation_requests=max(1.0, 2.0 * running),
        cool_down_requests=100 + math.ceil(10.0 * running),
        compared={
            "ttft_mean_s": _mean_of(Measure.TTFT_MEAN, law.ttft_mean_s),
            **_quantiles_of(Measure.TTFT, P99, law.ttft_quantile_s),
            "itl_mean_s": _mean_of(Measure.ITL_MEAN, pass_s),
            "response_mean_s": _mean_of(Measure.RESPONSE_MEAN, law.response_mean_s),
            "utilization": Quantity(1.0 - law.idle_share, 0.0, _busy),
        },
    )


def shared_engine(kind: str, output_mean: float, load: float) -> TokenSystem:
    """Unlimited room and a + gn: Cohen's law, whatever the law of the output."""
    base_s, each_s = 0.01, 0.001
    rate_rps = load / (output_mean * each_s)
    law = SharedEngine(
        arrival_rate_rps=rate_rps, output_mean=output_mean, base_s=base_s, per_request_s=each_s
    )
    # Tokens are not infinitely fine: the error is of the order of half a pass over the output.
    allowance = law.until_pass_s / law.shared_s
    return TokenSystem(
        name=f"room for all, {kind} outputs of {output_mean:g}, load {load:g}",
        scenario=law_scenario(rate_rps, outputs(kind, output_mean), one_each(base_s, each_s)),
        relaxation_requests=2.0 * law.running_mean / (1.0 - load),
        cool_down_requests=math.ceil(10.0 * law.running_mean),
        compared={
            "response_mean_s": _mean_of(Measure.RESPONSE_MEAN, law.response_mean_s, allowance),
            "running_mean": Quantity(law.running_mean, allowance, _running),
        },
    )


def geometric_slots(
    slots: int, output_mean: float, load: float, base_s: float = 0.01, quantiles: Quantiles = ()
) -> TokenSystem:
    """K slots, geometric outputs, a + gn: pass by pass."""
    each_s = 0.001
    rate_rps = load * slots / (output_mean * (base_s + each_s * slots))
    law = GeometricSlots(rate_rps, output_mean, base_s, each_s, slots)
    return TokenSystem(
        name=f"{slots} slots, geometric outputs of {output_mean:g}, a = {base_s:g} s, load {load:g}",
        scenario=law_scenario(
            rate_rps, outputs("geometric", output_mean), one_each(base_s, each_s), slots=slots
        ),
        relaxation_requests=relaxation_requests(load, 1, load * slots, 2.0),
        cool_down_requests=100 + 10 * slots,
        compared={
            "ttft_mean_s": _mean_of(Measure.TTFT_MEAN, law.ttft_mean_s),
            **_quantiles_of(Measure.TTFT, quantiles, law.ttft_quantile_s, each_s * (slots - 1)),
            "response_mean_s": _mean_of(Measure.RESPONSE_MEAN, law.response_mean_s),
            "running_mean": Quantity(law.running_mean, 0.0, _running),
            "utilization": Quantity(law.busy_share, 0.0, _busy),
        },
    )


def prompts_alone(prompt: int, slots: int, budget: int, load: float) -> TokenSystem:
    """One output token and equal prompts that are never cut: batches."""
    line = Coefficients(base_s=0.01, per_prefill_token_s=1e-4, per_decode_request_s=0.001)
    size = min(slots, budget // prompt)
    times_s = tuple(0.01 + 1e-4 * prompt * (i + 1) for i in range(size))
    law = Bulk(arrival_rate_rps=load * size / times_s[-1], batch_times_s=times_s)
    scenario = law_scenario(
        law.arrival_rate_rps, outputs("constant", 1, prompt), line, slots=slots, budget=budget, chunked=False
    )
    return TokenSystem(
        name=f"prompts of {prompt}, {slots} slots, {budget} tokens a pass, load {load:g}",
        scenario=scenario,
        relaxation_requests=relaxation_requests(load, 1, law.arrival_rate_rps * times_s[-1], 1.0),
        cool_down_requests=20 * size,
        compared={
            "ttft_mean_s": _mean_of(Measure.TTFT_MEAN, law.response_mean_s),
            **_quantiles_of(Measure.RESPONSE, P99, law.response_quantile_s),
            "utilization": Quantity(law.utilization, 0.0, _busy),
        },
    )
