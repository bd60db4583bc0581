"""Saturation: the rate of a language model's engine while requests always wait, and the load that follows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from typing import Self

import numpy as np

from capacity.errors import InputError
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.question.overload import Saturation
from capacity.question.plan import Routing
from capacity.server.engine.lengths import require_lengths
from capacity.server.engine.plan import TokenPlan, TokenScenario
from capacity.server.engine.ring import even_replicas
from capacity.traffic.any_lengths import AnyLengths, are_sessions
from capacity.traffic.lengths import LengthRows
from capacity.traffic.sessions.parse import AnySessions
from capacity.traffic.sessions.reuse import Requests
from capacity.units import format_rate
from simulations.draws.records import Floats, Integers
from simulations.draws.tokens import EngineRules, TokenDraws, require_measured
from simulations.kernel.saturated import Progress, SaturatedEngine

# Sections of a measurement and its requests, which double until the rate is known to this relative error or the most
# are reached.
_SECTIONS, _COUNTED, _COUNTED_MAX, _ERROR = 20, 6_000, 192_000, 0.001
# Requests served first, as a multiple of those that run, and the most of them if the engine begins as it stays.
_BEFORE, _BEFORE_MAX = 2.0, 2_000
# How many times as quick as it was thought an engine is taken to be if its line ends.
_HASTENED = 4.0
# Requests added at once. Any 256 of them in a row have lengths spread evenly over their law.
_WAVE, _IN_A_ROW = 8_192, 256
_MEANS_OF = 65_536
_TURNS = 16_384  # turns of sessions that stand for all
# Above what any engine runs at once; more would fill the memory.
RUNNING_MAX = 1_000_000
# Iterations for the number that runs at a rate, and the relative distance at which the slope of its steps is taken.
_ROUNDS, _NEARBY = 200, 0.05
# Share of the slots in use, and of the cache in use, above which they bind.
_NEARLY, _FULL = 0.97, 0.8


Kinds = tuple[
    Integers, Integers, Integers
]  # tokens of prompts, of answers, and of prompts that are in the cache


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Lengths of requests, and what each finds in the cache of an engine that has it all, or nothing.

    Attributes:
        rows: turns of sessions, of which each is equally likely; None of requests that come by themselves.
    """

    lengths: AnyLengths
    cached_share: float
    rows: Kinds | None

    @classmethod
    def of(cls, lengths: AnyLengths, cached_share: float, block_tokens: int, *, finds_all: bool) -> Self:
        """Requests to engines with blocks of this size."""
        rows = _turns_with_hits(lengths, block_tokens) if are_sessions(lengths) else None
        if rows is not None and not finds_all:
            rows = (rows[0], rows[1], np.zeros_like(rows[2]))
        return cls(lengths=lengths, cached_share=cached_share, rows=rows)

    def draw(self, uniforms: Floats) -> Kinds:
        """Requests, one for each row of two uniform numbers, shape `(requests,)` each."""
        if self.rows is not None:
            rows = (uniforms[:, 0] * len(self.rows[0])).astype(np.int64)
            return self.rows[0][rows], self.rows[1][rows], self.rows[2][rows]
        assert not are_sessions(self.lengths)  # noqa: S101  (which have rows)
        given, got = self.lengths.draw(uniforms)
        return given, got, np.floor(self.cached_share * given).astype(np.int64)


@lru_cache(maxsize=16)
def _turns_with_hits(sessions: AnySessions, block_tokens: int) -> Kinds:
    """Some thousand turns, sorted by their prompts, with what a cache finds that forgets nothing."""
    count = math.ceil(_TURNS / sessions.turns_mean)
    turns = sessions.draw(count, lambda part: np.random.default_rng([count, part]), block_tokens)
    order = np.arange(len(turns.input_tokens))
    hits = Requests.of(turns, order, block_tokens).hits(1) * block_tokens
    kept = np.argsort(turns.input_tokens, kind="stable")
    return turns.input_tokens[kept], turns.output_tokens[kept], hits[kept]


def _spread(found: _Found, count: int, seed: int) -> Kinds:
    """Lengths spread evenly over their law, as are those of any few hundred in a row. Shape `(count,)` each.

    Source:
        McKay, Beckman & Conover (1979), A comparison of three methods for selecting values of input variables,
        Technometrics 21(2): a Latin hypercube, here with its strata dealt out to rows of requests.
    """
    generator = np.random.default_rng(seed)
    strata = np.arange(count).reshape(_IN_A_ROW, count // _IN_A_ROW)
    dealt = [generator.permuted(generator.permuted(strata, axis=1), axis=0).T.ravel() for _ in range(2)]
    return found.draw((np.column_stack(dealt) + generator.random((count, 2))) / count)


def _requests(given: Integers, got: Integers, cached: Integers) -> TokenDraws:
    """Requests that all arrive at once."""
    return TokenDraws(
        arrived_s=np.zeros(len(given)),
        input_tokens=given,
        output_tokens=got,
        cached_tokens=cached,
        routing=np.zeros(2 * len(given)),
    )


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One engine of a plan, and the endless requests that it serves.

    Attributes:
        is_from_rest: whether it begins empty, as in a measured run. Requests of equal lengths that arrive together
            then stay together.
        pace: how many times as quick as its estimate the engine is taken to be.
    """

    profile: LlmProfile
    plan: TokenPlan
    requests_of: _Found
    is_from_rest: bool
    pace: float = 1.0

    @cached_property
    def rules(self) -> EngineRules:
        """The rules by which the engine composes its steps."""
        rules = EngineRules.of(self.profile, self.plan.sequences_max, self.plan.batched_tokens_max)
        if self.requests_of.rows is None:
            return rules
        longest = -(
            -self.lengths.context_max // rules.block_tokens
        )  # whatever is shared has a block for each
        return rules._replace(blocks=rules.blocks + rules.sequences_max * longest)

    @property
    def lengths(self) -> AnyLengths:
        """Lengths of the requests."""
        return self.requests_of.lengths

    @cached_property
    def means(self) -> tuple[float, float, float]:
        """Mean tokens of a prompt, of an answer, and of a prompt in the cache."""
        rows = self.requests_of.rows
        if isinstance(self.lengths, LengthRows):
            given, got = self.lengths.moments.input, self.lengths.moments.output
            return given, got, self.requests_of.cached_share * given
        drawn = _spread(self.requests_of, _MEANS_OF, 0) if rows is None else rows
        means = [float(column.mean()) for column in drawn]
        if rows is None:
            means[2] = self.requests_of.cached_share * means[0]
        return means[0], means[1], means[2]

    @cached_property
    def passes(self) -> float:
        """Steps in which an answer of mean length gets its tokens."""
        return float(self.profile.passes(self.means[1]))

    @cached_property
    def room(self) -> int:
        """Requests that the slots and the tokens of a step let run at once.

        If the tokens limit, x requests of p prompt tokens begin in each step, and x·m run, each of which gets its
        answer in m steps, of d tokens each but for the first: a step has x(p + (m - 1)d) tokens.

        Raises:
            InputError: more requests would run than can be simulated.
        """
        given, _, cached = self.means
        each = 1 + len(self.rules.acceptance) + self.rules.draft_slots
        computed = max(1.0, given - cached + each * self.passes - each)
        room = math.ceil(min(self.rules.sequences_max, self.rules.tokens_max * self.passes / computed))
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
        given, got, cached = _spread(self.requests_of, _WAVE, 1)
        ends = np.cumsum(got)
        steps = (np.arange(self.room) + generator.random(self.room)) * (float(ends[-1]) / self.room)
        who = np.searchsorted(ends[:-1], steps, side="right")
        generated = (steps - (ends[who] - got[who])).astype(np.int64)
        order = generator.permutation(self.room)
        order = order[generated[order] > 0]  # the others begin with the first step
        held = -(-(given[who] + generated - 1) // self.rules.block_tokens)
        order = order[np.cumsum(held[order]) <= self.rules.blocks]
        order = order[np.argsort(-generated[order], kind="stable")]  # in the order of admission
        who = who[order]
        return _requests(given[who], got[who], cached[who]), generated[order]

    @property
    def seated(self) -> tuple[TokenDraws, Integers]:
        """Requests that run at the beginning."""
        nothing = np.zeros(0, dtype=np.int64)
        return (_requests(nothing, nothing, nothing), nothing) if self.is_from_rest else self.met

    @property
    def fits(self) -> float:
        """Share of the requests within the slots and tokens of a step that the cache holds."""
        given, passes = self.means[0], self.passes
        seated = len(self.met[1]) * passes / max(1.0, passes - 1.0)  # one step of each is for its prompt
        if not seated:  # none has a step but that
            seated = self.rules.blocks / max(1.0, given / self.rules.block_tokens)
        return min(1.0, max(1.0, seated) / self.room)

    @cached_property
    def request_s(self) -> float:
        """Approximate time of an engine per request. [s]"""
        (given, _, cached), running = self.means, self.room * self.fits
        prompts = min((given - cached) * running / self.passes, float(self.rules.tokens_max))
        step_s = self.profile.pass_s(prompts, running, self.lengths.moments.context)
        return step_s * self.passes / running / self.pace

    @property
    def begun(self) -> float:
        """Requests that one step begins, if slots are always taken."""
        return self.room / self.passes

    @property
    def before(self) -> float:
        """Requests served before counting begins."""
        wanted = _BEFORE * self.room * self.fits
        is_settled = self.fits >= _NEARLY and not self.is_from_rest
        return min(wanted, _BEFORE_MAX) if is_settled else wanted

    def share_of_prompts(self, done: Progress) -> float:
        """Share of the time spent on prompts, which is not spent on steps that decode alone."""
        running = done.running_s / done.now_s
        alone_s = self.profile.pass_s(0.0, running, self.lengths.moments.context)
        return max(0.0, 1.0 - alone_s * done.steps / done.now_s)

    def requests(self, done: Progress, prompts: float) -> float:
        """Requests served, counted in parts by their tokens.

        Prompts and answers count by their shares of the time, so that a part of the law of lengths that happens to
        come more often takes as much more time as it counts more.
        """
        given, got, _ = self.means
        return (1.0 - prompts) * done.generated / got + prompts * done.prompted / given


class _LineEndedError(Exception):
    """No request waits for an engine that is to be watched while some always do."""


class _Watched:
    """A simulated engine with a queue that is never empty."""

    def __init__(self, case: _Case) -> None:
        self._case, self._waves = case, 2
        rules = case.rules._replace(sequences_max=min(case.rules.sequences_max, 2 * RUNNING_MAX))
        self.engine = SaturatedEngine(case.profile.table, rules, *case.seated)

    def sections(self, requests: float, *, steps_min: int = 1) -> Iterator[Progress]:
        """Progress at the end of each section; together the sections serve about this many requests.

        Args:
            steps_min: steps that a section has at least. One may begin more requests than a section is to serve.

        Raises:
            _LineEndedError: the engine is quicker than it was thought, and served all that waited.
        """
        case, engine = self._case, self.engine
        span_s = requests * case.request_s / _SECTIONS
        ahead = _WAVE // 2 + max(case.room // 8, math.ceil(4.0 * case.begun))
        seen = engine.progress
        for _ in range(_SECTIONS):
            steps, more_s = seen.steps + steps_min, span_s
            while True:
                self._fill(ahead + 4 * math.ceil(requests / _SECTIONS))
                engine.advance(more_s)
                if not engine.waiting:
                    raise _LineEndedError
                seen = engine.progress
                if seen.steps >= steps:
                    break
                more_s *= 2.0
            yield seen

    def _fill(self, waiting: int) -> None:
        """Add requests to the queue until this many wait."""
        waves = range(self._waves, self._waves + max(0, math.ceil((waiting - self.engine.waiting) / _WAVE)))
        if not waves:
            return
        more = [_spread(self._case.requests_of, _WAVE, wave) for wave in waves]
        self.engine.line_up(_requests(*(np.concatenate(column) for column in zip(*more, strict=True))))
        self._waves = waves.stop


@cache
def saturation(
    profile: LlmProfile,
    plan: TokenPlan,
    lengths: AnyLengths,
    cached_share: float = 0.0,
    *,
    is_from_rest: bool = False,
    finds_all: bool = True,
) -> Saturation:
    """Rate of one engine while requests always wait, simulated until it is known to 0.1 % or for the most requests.

    Lower rates are sustained, and at higher ones the queue grows for ever. The engine begins near its stationary
    state, and requests count by their tokens, so that those that run need not be replaced many times.

    Args:
        is_from_rest: whether it begins empty, as in a measured run. Requests of equal lengths that arrive together
            then stay together.
        finds_all: whether turns of sessions find all that a cache without an end would hold, which no real one
            exceeds; else nothing.

    Raises:
        DomainError: lengths or steps are outside of what was measured.
        InputError: more requests would run at once than can be simulated.

    Source:
        Baccelli & Foss (1995), On the saturation rule for the stability of queues, J. Appl. Prob. 32(2).
    """
    case = _Case(
        profile=profile,
        plan=plan,
        requests_of=_Found.of(lengths, cached_share, profile.kv.block_tokens, finds_all=finds_all),
        is_from_rest=is_from_rest,
    )
    while True:
        try:
            return _measured(case)
        except _LineEndedError:
            case = replace(case, pace=_HASTENED * case.pace)


def _measured(case: _Case) -> Saturation:
    """What an engine does while it is watched.

    Raises:
        _LineEndedError: it is quicker than the case says.
    """
    watched, profile = _Watched(case), case.profile
    *_, begun = watched.sections(case.before, steps_min=0)
    counted = max(_COUNTED, math.ceil(_SECTIONS * case.begun))  # a section has a step at least
    marks = [begun, *watched.sections(counted)]
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
    binding = "slots" if is_slots else "kv_cache" if preempted > 0.0 or full > _FULL else "tokens"
    limits = case.profile.limits_measured
    measured = {"slots": limits.sequences_max, "tokens": limits.batched_tokens_max}
    return Saturation(
        rate_rps=requests / span_s,
        running_mean=running,
        kv_utilization=full,
        preemption_rate=preempted,
        step_mean_s=span_s / done.steps,
        prefill_time_share=prompts,
        binding=binding,
        measured_max=measured.get(binding),
        tokens_measured=limits.batched_tokens_max,
    )


def saturated(scenario: TokenScenario, *, finds_all: bool = True) -> Saturation:
    """Saturation of one engine of a scenario; `finds_all` as of `saturation`."""
    plan = replace(scenario.plan, replicas=1, routing=Routing.ROUND_ROBIN, queue_limit=None)
    return saturation(scenario.profile, plan, scenario.lengths, scenario.cached_share, finds_all=finds_all)


def token_load(scenario: TokenScenario) -> float:
    """Arrival rate over the rate at which the fleet saturates: at which its busiest engine does."""
    rate_rps: float = scenario.workload.arrival_rate_rps
    return rate_rps / (even_replicas(scenario.plan) * saturated(scenario).rate_rps)


def load_with_hits(scenario: TokenScenario, hit_share: float) -> float:
    """Arrival rate over the rate at which the fleet would saturate with the hits of a run: its load.

    An engine's time for a turn falls linearly with the tokens found, from that of one that finds nothing to that of one
    that finds all that a cache without an end would hold, since it is the time of the tokens that are computed.

    Args:
        hit_share: tokens that turns of sessions found in caches, over all tokens of their prompts.
    """
    assert are_sessions(scenario.lengths)  # noqa: S101  (only turns find anything)
    given, _, hits = _turns_with_hits(scenario.lengths, scenario.profile.kv.block_tokens)
    found = hit_share * float(given.sum()) / max(1.0, float(hits.sum()))
    least_s, most_s = (1.0 / saturated(scenario, finds_all=whether).rate_rps for whether in (True, False))
    turn_s = found * least_s + (1.0 - found) * most_s
    return float(scenario.workload.arrival_rate_rps * turn_s / even_replicas(scenario.plan))


def settling_requests(scenario: TokenScenario) -> float:
    """Approximate number of requests at one engine in which a deviation of the number that runs decays to 1/e.

    With n running, each of which needs m steps of t(n), requests leave at the rate of n/(m·t(n)). It equals the
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
    passes = float(profile.passes(moments.output))

    def step_s(running: float) -> float:
        prompts = min(moments.input * max(1.0, running) / passes, batched_tokens_max)
        return profile.pass_s(prompts, running, moments.context)

    running, before = 0.0, -1.0
    for _ in range(_ROUNDS):  # from below, as there may be several solutions
        if running == before:
            break
        before, running = running, min(one.running_mean, rate_rps * passes * step_s(running))
    growth = (step_s((1.0 + _NEARBY) * running) / step_s(running) - 1.0) / _NEARBY
    return running / max(1.0 - growth, 1e-3)


def session_requests(scenario: TokenScenario) -> tuple[float, float]:
    """Requests that arrive while a session lasts, if none waits, and while its caches are filled once.

    Both are 0 of requests that come by themselves.
    """
    lengths, profile = scenario.lengths, scenario.profile
    if not are_sessions(lengths):
        return 0.0, 0.0
    given, got, hits = _turns_with_hits(lengths, profile.kv.block_tokens)
    fresh = float((given - hits + got).mean())
    one, load = saturated(scenario), min(1.0, token_load(scenario))
    running = max(1.0, load * one.running_mean)
    pass_s = profile.pass_s(0.0, running, lengths.moments.context)
    answers_s = lengths.turns_mean * float(profile.passes(lengths.moments.output)) * pass_s
    lasting = scenario.workload.arrival_rate_rps * (_waited_s(lengths) + answers_s)
    return lasting, scenario.plan.replicas * profile.kv.usable_tokens / fresh


@lru_cache(maxsize=16)
def _waited_s(sessions: AnySessions) -> float:
    """Mean time in which a session waits for its user. [s]"""
    count = math.ceil(_TURNS / sessions.turns_mean)
    turns = sessions.draw(count, lambda part: np.random.default_rng([count, part]), sessions.context_max)
    return float(np.maximum(turns.think_s, turns.pace_s).sum() / count)


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
