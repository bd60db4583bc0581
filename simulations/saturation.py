"""Saturation: the rate of a language model's engine while requests always wait, and the load that follows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise

import numpy as np

from capacity.errors import InputError
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.server.engine.lengths import require_lengths
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.traffic.lengths import AnyLengths, LengthRows, Pairs
from capacity.units import format_rate
from simulations.draws.records import Integers
from simulations.draws.tokens import EngineRules, TokenDraws, require_measured
from simulations.kernel.saturated import Progress, SaturatedEngine

# Sections of a measurement and its requests, which double until the rate is known to this relative error or the most
# are reached.
_SECTIONS, _COUNTED, _COUNTED_MAX, _ERROR = 20, 6_000, 192_000, 0.001
# Requests served first, as a multiple of those that run, and the most of them if the engine begins as it stays.
_BEFORE, _BEFORE_MAX = 2.0, 2_000
# Requests added at once. Any 256 of them in a row have lengths spread evenly over their law.
_WAVE, _IN_A_ROW = 8_192, 256
_MEANS_OF = 65_536
# Above what any engine runs at once; more would fill the memory.
RUNNING_MAX = 1_000_000
# Iterations for the number that runs at a rate, and the relative distance at which the slope of its steps is taken.
_ROUNDS, _NEARBY = 200, 0.05
# Share of the slots in use, and of the cache in use, above which they bind.
_NEARLY, _FULL = 0.97, 0.8


def _spread(lengths: AnyLengths, count: int, seed: int) -> Pairs:
    """Lengths spread evenly over their law, as are those of any few hundred in a row. Shape `(count,)` each.

    Source:
        McKay, Beckman & Conover (1979), A comparison of three methods for selecting values of input variables,
        Technometrics 21(2): a Latin hypercube, here with its strata dealt out to rows of requests.
    """
    generator = np.random.default_rng(seed)
    strata = np.arange(count).reshape(_IN_A_ROW, count // _IN_A_ROW)
    dealt = [generator.permuted(generator.permuted(strata, axis=1), axis=0).T.ravel() for _ in range(2)]
    return lengths.draw((np.column_stack(dealt) + generator.random((count, 2))) / count)


def _requests(given: Integers, got: Integers, cached_share: float) -> TokenDraws:
    """Requests that all arrive at once."""
    return TokenDraws(
        arrived_s=np.zeros(len(given)),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=np.floor(cached_share * given).astype(np.int64),
        routing=np.zeros(2 * len(given)),
    )


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One engine of a plan, and the endless requests that it serves.

    Attributes:
        is_from_rest: whether it begins empty, as in a measured run. Requests of equal lengths that arrive together
            then stay together.
    """

    profile: LlmProfile
    plan: TokenPlan
    lengths: AnyLengths
    cached_share: float
    is_from_rest: bool

    @cached_property
    def rules(self) -> EngineRules:
        """The rules by which the engine composes its steps."""
        return EngineRules.of(self.profile, self.plan.sequences_max, self.plan.batched_tokens_max)

    @cached_property
    def means(self) -> tuple[float, float]:
        """Mean tokens of a prompt, and of an answer."""
        if isinstance(self.lengths, LengthRows):
            return self.lengths.moments.input, self.lengths.moments.output
        given, got = _spread(self.lengths, _MEANS_OF, 0)
        return float(given.mean()), float(got.mean())

    @cached_property
    def room(self) -> int:
        """Requests that the slots and the tokens of a step let run at once.

        If the tokens limit, x requests of p prompt tokens begin in each step, and x·m run, each of which gets m
        output tokens: a step has x(p + m - 1) tokens.

        Raises:
            InputError: more requests would run than can be simulated.
        """
        given, got = self.means
        computed = max(1.0, (1.0 - self.cached_share) * given + got - 1.0)
        room = math.ceil(min(self.rules.sequences_max, self.rules.tokens_max * got / computed))
        if room > RUNNING_MAX:
            raise InputError(
                f"an engine of {self.plan.sequences_max} sequences would run {room} requests at once, and "
                f"{RUNNING_MAX} are simulated at most; lower --sequences-max"
            )
        return room

    @cached_property
    def met(self) -> tuple[TokenDraws, Integers]:
        """Requests in the midst of their service and the output tokens of each, as many as the cache holds.

        The chance that a request is in service is proportional to its steps, and it is equally likely in each of
        them: this is the stationary state of slots that are always taken.

        Source:
            Cox (1962), Renewal theory, sec. 5.3: age and length of what is in service at a random instant.
        """
        generator = np.random.default_rng(1)
        given, got = _spread(self.lengths, _WAVE, 1)
        ends = np.cumsum(got)
        steps = (np.arange(self.room) + generator.random(self.room)) * (float(ends[-1]) / self.room)
        who = np.searchsorted(ends[:-1], steps, side="right")
        generated = (steps - (ends[who] - got[who])).astype(np.int64)
        order = generator.permutation(self.room)
        order = order[generated[order] > 0]  # the others begin with the first step
        held = -(-(given[who] + generated - 1) // self.rules.block_tokens)
        order = order[np.cumsum(held[order]) <= self.rules.blocks]
        order = order[np.argsort(-generated[order], kind="stable")]  # in the order of admission
        return _requests(given[who[order]], got[who[order]], self.cached_share), generated[order]

    @property
    def seated(self) -> tuple[TokenDraws, Integers]:
        """Requests that run at the beginning."""
        nobody = np.zeros(0, dtype=np.int64)
        return (_requests(nobody, nobody, 0.0), nobody) if self.is_from_rest else self.met

    @property
    def fits(self) -> float:
        """Share of the requests within the slots and tokens of a step that the cache holds."""
        got = self.means[1]
        seated = len(self.met[1]) * got / max(1.0, got - 1.0)  # one step of each is for its prompt
        return min(1.0, max(1.0, seated) / self.room)

    @cached_property
    def request_s(self) -> float:
        """Approximate time of an engine per request. [s]"""
        (given, got), running = self.means, self.room * self.fits
        prompts = min((1.0 - self.cached_share) * given * running / got, float(self.rules.tokens_max))
        step_s = self.profile.table.mean_s(prompts, 0.0, running, running * self.lengths.moments.context)
        return step_s * got / running

    @property
    def before(self) -> float:
        """Requests served before counting begins."""
        wanted = _BEFORE * self.room * self.fits
        is_settled = self.fits >= _NEARLY and not self.is_from_rest
        return min(wanted, _BEFORE_MAX) if is_settled else wanted

    def share_of_prompts(self, done: Progress) -> float:
        """Share of the time spent on prompts, which is not spent on steps that decode alone."""
        running = done.running_s / done.now_s
        read = running * self.lengths.moments.context
        alone_s = self.profile.table.mean_s(decode_requests=running, kv_tokens=read)
        return max(0.0, 1.0 - alone_s * done.steps / done.now_s)

    def requests(self, done: Progress, prompts: float) -> float:
        """Requests served, counted in parts by their tokens.

        Prompts and answers count by their shares of the time, so that a part of the law of lengths that happens to
        come more often takes as much more time as it counts more.
        """
        given, got = self.means
        return (1.0 - prompts) * done.generated / got + prompts * done.prompted / given


class _Watched:
    """A simulated engine with a queue that is never empty."""

    def __init__(self, case: _Case) -> None:
        self._case, self._waves = case, 2
        rules = case.rules._replace(sequences_max=min(case.rules.sequences_max, 2 * RUNNING_MAX))
        self.engine = SaturatedEngine(case.profile.table, rules, *case.seated)

    def sections(self, requests: float) -> Iterator[Progress]:
        """Progress at the end of each section; together the sections serve about this many requests."""
        span_s = requests * self._case.request_s / _SECTIONS
        for _ in range(_SECTIONS):
            self._fill(_WAVE // 2 + self._case.room // 8 + 4 * math.ceil(requests / _SECTIONS))
            self.engine.advance(span_s)
            if not self.engine.waiting:
                raise RuntimeError("a saturated engine ran out of requests")
            yield self.engine.progress

    def _fill(self, waiting: int) -> None:
        """Add requests to the queue until this many wait."""
        while self.engine.waiting < waiting:
            lengths = _spread(self._case.lengths, _WAVE, self._waves)
            self.engine.line_up(_requests(*lengths, self._case.cached_share))
            self._waves += 1


@cache
def saturation(
    profile: LlmProfile,
    plan: TokenPlan,
    lengths: AnyLengths,
    cached_share: float = 0.0,
    *,
    is_from_rest: bool = False,
) -> Saturation:
    """Rate of one engine while requests always wait, simulated until it is known to 0.1 % or for the most requests.

    Lower rates are sustained, and at higher ones the queue grows for ever. The engine begins near its stationary
    state, and requests count by their tokens, so that those that run need not be replaced many times.

    Args:
        is_from_rest: whether it begins empty, as in a measured run. Requests of equal lengths that arrive together
            then stay together.

    Raises:
        DomainError: lengths or steps are outside of what was measured.
        InputError: more requests would run at once than can be simulated.

    Source:
        Baccelli & Foss (1995), On the saturation rule for the stability of queues, J. Appl. Prob. 32(2).
    """
    case = _Case(
        profile=profile,
        plan=plan,
        lengths=lengths,
        cached_share=cached_share,
        is_from_rest=is_from_rest,
    )
    watched = _Watched(case)
    *_, begun = watched.sections(case.before)
    marks, counted = [begun, *watched.sections(_COUNTED)], _COUNTED
    while _error(case, marks) > _ERROR and counted < _COUNTED_MAX:
        marks = [*marks, *watched.sections(counted)][::2]
        counted *= 2
    require_measured(watched.engine.largest, profile.table, profile.name)
    return _found(case, marks[-1].since(begun))


def _error(case: _Case, marks: Sequence[Progress]) -> float:
    """Relative standard error of the rate, from the sections.

    Source:
        Schmeiser (1982), Batch size effects in the analysis of simulation output, Operations Research 30(3).
    """
    prompts = case.share_of_prompts(marks[-1].since(marks[0]))
    done = [after.since(before) for before, after in pairwise(marks)]
    rates = np.array([case.requests(one, prompts) / one.now_s for one in done])
    return float(rates.std(ddof=1) / math.sqrt(len(rates)) / rates.mean())


def _found(case: _Case, done: Progress) -> Saturation:
    """Rates and shares of an engine during a measurement."""
    span_s, prompts = done.now_s, case.share_of_prompts(done)
    requests = case.requests(done, prompts)
    running, full = done.running_s / span_s, done.block_s / span_s / case.rules.blocks
    preempted = done.preemptions / requests
    is_slots = running > _NEARLY * case.plan.sequences_max
    return Saturation(
        rate_rps=requests / span_s,
        running_mean=running,
        kv_utilization=full,
        preemption_rate=preempted,
        step_mean_s=span_s / done.steps,
        prefill_time_share=prompts,
        binding="slots" if is_slots else "kv_cache" if preempted > 0.0 or full > _FULL else "tokens",
    )


def saturated(scenario: TokenScenario) -> Saturation:
    """Saturation of one engine of a scenario."""
    plan = replace(scenario.plan, replicas=1, routing=Routing.ROUND_ROBIN, queue_limit=None)
    return saturation(scenario.profile, plan, scenario.lengths, scenario.cached_share)


def token_load(scenario: TokenScenario) -> float:
    """Arrival rate over the rate at which the fleet saturates."""
    rate_rps: float = scenario.workload.arrival_rate_rps
    return rate_rps / (scenario.plan.replicas * saturated(scenario).rate_rps)


def settling_requests(scenario: TokenScenario) -> float:
    """Approximate number of requests at one engine in which a deviation of the number that runs decays to 1/e.

    With n running, each of m output tokens in steps of t(n), requests leave at the rate of n/(m·t(n)). It equals the
    arrival rate at some n, near which deviations decay to 1/e in m·t/(1 - n·t'/t), while n/(1 - n·t'/t) requests
    arrive.
    """
    rate_rps = min(scenario.workload.arrival_rate_rps / scenario.plan.replicas, saturated(scenario).rate_rps)
    return _settling_requests(
        scenario.profile, scenario.lengths, scenario.plan.batched_tokens_max, saturated(scenario), rate_rps
    )


@cache
def _settling_requests(
    profile: LlmProfile, lengths: AnyLengths, batched_tokens_max: int, one: Saturation, rate_rps: float
) -> float:
    moments = lengths.moments

    def step_s(running: float) -> float:
        prompts = min(moments.input * max(1.0, running) / moments.output, batched_tokens_max)
        return profile.table.mean_s(prompts, 0.0, running, running * moments.context)

    running, before = 0.0, -1.0
    for _ in range(_ROUNDS):  # from below, as there may be several solutions
        if running == before:
            break
        before, running = running, min(one.running_mean, rate_rps * moments.output * step_s(running))
    growth = (step_s((1.0 + _NEARBY) * running) / step_s(running) - 1.0) / _NEARBY
    return running / max(1.0 - growth, 1e-3)


def checked_rate_rps(profile: LlmProfile) -> float | None:
    """Rate that the steps of a profile give in its own saturated run; None if it has none. [requests/s]

    Raises:
        DomainError: that run is outside of what was measured.
    """
    if profile.check is None:
        return None
    check, limits = profile.check, profile.limits_measured
    plan = TokenPlan(
        profile=profile.name,
        replicas=1,
        sequences_max=limits.sequences_max,
        batched_tokens_max=limits.batched_tokens_max,
    )
    lengths = LengthRows((check.input_tokens,), (check.output_tokens,), "the saturated run")
    require_lengths(profile, lengths, plan.sequences_max)
    return saturation(profile, plan, lengths, is_from_rest=True).rate_rps


def require_check(profile: LlmProfile) -> None:
    """Refuse a profile that misses the throughput of its own saturated run.

    Raises:
        InputError: the rates differ; the message says both.
    """
    found_rps = checked_rate_rps(profile)
    if profile.check is None or found_rps is None:
        return
    off = found_rps / profile.check.saturated_throughput_rps - 1.0
    if abs(off) > CHECK_SHARE:
        raise InputError(
            f"profile {profile.name} fails its check: its steps give {format_rate(found_rps)} where a "
            f"saturated run measured {format_rate(profile.check.saturated_throughput_rps)} ({100.0 * off:+.1f} %, and "
            f"{100.0 * CHECK_SHARE:g} % are allowed); measure the steps again, with all that a request costs"
        )
