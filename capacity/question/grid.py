"""Grid: the axes of a sweep as they are typed, single values and ranges, and the cells they span."""

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Any, Generic, Protocol, TypeVar

from capacity.errors import InputError, quoted
from capacity.files import printable, versions
from capacity.performance import Performance
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.plan import Batching, Plan, Routing
from capacity.question.scenario import Scenario
from capacity.question.tokens import TokenPlan, TokenScenario, require_lengths
from capacity.traffic.lengths import AnyLengths
from capacity.traffic.parse import workload
from capacity.traffic.workload import ArrivalProcess, TraceArrivals, Workload
from capacity.units import parse_duration_s, parse_rate_rps


class Outcome(StrEnum):
    """What became of a cell.

    ANSWERED: it has numbers.
    UNSTABLE: it has no steady state, so no numbers.
    PROFILE_RANGE: the profile does not cover its batches.
    INCONCLUSIVE: the budget, or the trace, was too small for numbers with intervals.
    """

    ANSWERED = "answered"
    UNSTABLE = "unstable"
    PROFILE_RANGE = "profile_range"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The performance of a cell, or the reason why it has none."""

    outcome: Outcome
    reason: str = ""
    performance: Performance | None = None


CELLS_MAX = 100_000
_COUNT = re.compile(r"[+-]?[0-9]{1,9}")


class Named(Protocol):
    """A profile of any kind."""

    @property
    def name(self) -> str:
        """By which rows tell it."""


Profile = TypeVar("Profile", bound=Named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes(ABC, Generic[Profile]):
    """What grids of both kinds have in common: each value of an axis once.

    Raises:
        InputError: an empty axis, two profiles of one name, or more than `CELLS_MAX` cells.
    """

    profiles: tuple[Profile, ...]
    workloads: tuple[Workload, ...]
    replicas: tuple[int, ...]
    routings: tuple[Routing, ...] = (Routing.ROUND_ROBIN,)

    def __post_init__(self) -> None:
        names = [profile.name for profile in self.profiles]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(
                f"--profile {min(twice)} is given twice; rename one, so that rows can be told apart"
            )
        if not len(self):
            raise InputError("the grid is empty; give --profile, --rate and --replicas at least once each")
        if len(self) > CELLS_MAX:
            raise InputError(
                f"the grid has {len(self)} cells, above the {CELLS_MAX} of one sweep; take larger steps, or "
                "several sweeps"
            )

    @property
    @abstractmethod
    def _axes(self) -> tuple[Sequence[Any], ...]:
        """Values of each axis, in the order of the cells."""

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self._axes)

    def all_settings(self, others: Mapping[str, Any], effort: Mapping[str, Any]) -> dict[str, Any]:
        """What the answers depend on: the common axes, the others, and the effort."""
        arrivals = self.workloads[0].arrivals
        trace = arrivals.instants_s if isinstance(arrivals, TraceArrivals) else ()
        return {
            "versions": {name: found for name, found in versions().items() if name != "python"},
            "profiles": {profile.name: digest(repr(profile)) for profile in self.profiles},
            "arrival_rates_rps": short([demand.arrival_rate_rps for demand in self.workloads]),
            "arrivals": f"{arrivals!r} {digest(repr(trace))}",
            "replicas": short(self.replicas),
            "routings": [routing.value for routing in self.routings],
            **others,
            **effort,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid(Axes[ServiceProfile]):
    """The axes of fleets that batch, and what all cells share.

    Attributes:
        batch_sizes_max: None stands for each profile's own largest.
    """

    batch_sizes_max: tuple[int | None, ...] = (None,)
    batch_waits_max_s: tuple[float, ...] = (0.0,)
    batching: Batching = Batching.TRITON
    preferred_sizes: tuple[int, ...] = ()
    queue_limit: int | None = None

    @property
    def _axes(self) -> tuple[Sequence[Any], ...]:
        return (
            self.profiles,
            self.workloads,
            self.replicas,
            self.batch_sizes_max,
            self.batch_waits_max_s,
            self.routings,
        )

    def cells(self) -> Iterator[Scenario]:
        """Every combination; the last axis, the routing, changes fastest."""
        for profile, demand, replicas, batch_size_max, batch_wait_max_s, routing in product(*self._axes):
            plan = Plan(
                profile=profile.name,
                replicas=replicas,
                batch_size_max=profile.batch_size_max if batch_size_max is None else batch_size_max,
                batch_wait_max_s=batch_wait_max_s,
                routing=routing,
                batching=self.batching,
                preferred_sizes=self.preferred_sizes,
                queue_limit=self.queue_limit,
            )
            yield Scenario(profile=profile, workload=demand, plan=plan)

    def settings(self, **effort: Any) -> dict[str, Any]:
        """All that the answers depend on, in brief: long axes, profiles and traces by their digests.

        Args:
            effort: seed, budget and the like, as they are.
        """
        others = {
            "batch_sizes_max": short(self.batch_sizes_max),
            "batch_waits_max_s": short(self.batch_waits_max_s),
            "batching": self.batching.value,
            "preferred_sizes": list(self.preferred_sizes),
            "queue_limit": self.queue_limit,
        }
        return self.all_settings(others, effort)


def parse_rates_rps(texts: Sequence[str], name: str = "--rate") -> tuple[float, ...]:
    """Rates and ranges of rates, each once, in the order given.

    >>> parse_rates_rps(["100rps:300rps:100rps", "30000/min"])
    (100.0, 200.0, 300.0, 500.0)
    """
    return _axis(texts, name, lambda text: parse_rate_rps(text, name), mend="100rps:1000rps:100rps")


def parse_durations_s(texts: Sequence[str], name: str) -> tuple[float, ...]:
    """Durations and ranges of durations.

    >>> parse_durations_s(["0ms:0.3ms:0.1ms"], "--batch-wait")
    (0.0, 0.0001, 0.0002, 0.0003)
    """
    return _axis(texts, name, lambda text: parse_duration_s(text, name), mend="0ms:10ms:2ms")


def parse_counts(texts: Sequence[str], name: str) -> tuple[int, ...]:
    """Whole numbers and ranges of them, by steps of 1 where no step is given.

    >>> parse_counts(["1:4", "8:16:4"], "--replicas")
    (1, 2, 3, 4, 8, 12, 16)
    """
    numbers = _axis(texts, name, lambda text: _count(text, name), mend="1:8 or 2:16:2", step="1")
    return tuple(int(number) for number in numbers)


def workloads(
    arrivals: ArrivalProcess, rates: Sequence[str], rates_rps: Sequence[float] = ()
) -> tuple[Workload, ...]:
    """A workload for each rate; if none is given, a trace has its own."""
    asked = (*(parse_rates_rps(rates) if rates else ()), *rates_rps)
    if not asked:
        return (workload(arrivals, None),)
    return tuple(workload(arrivals, rate_rps) for rate_rps in dict.fromkeys(asked))


def _count(text: str, name: str) -> float:
    if _COUNT.fullmatch(text.strip()) is None:
        raise InputError(f"{name} {quoted(text)} is not a whole number, such as 4")
    return float(text)


def _axis(
    texts: Sequence[str], name: str, parse: Callable[[str], float], mend: str, step: str | None = None
) -> tuple[float, ...]:
    values: dict[float, None] = {}
    for text in texts:
        parts = [*text.split(":"), *([step] if step is not None and text.count(":") == 1 else [])]
        if len(parts) not in (1, 3):
            raise InputError(f"{name} {quoted(text)} is not a range from low to high in steps: {mend}")
        numbers = [parse(part) for part in parts]
        values.update(dict.fromkeys(numbers if len(numbers) == 1 else _range(*numbers, name=name, text=text)))
        if len(values) > CELLS_MAX:
            raise InputError(f"{name} has more than {CELLS_MAX} values; take a larger step")
    return tuple(values)


def _range(low: float, high: float, step: float, *, name: str, text: str) -> list[float]:
    """From low to high, high included where steps end there; decimal, so that 0.1 and 0.2 sum to 0.3."""
    shown = printable(text)[:80]
    if step <= 0.0:
        raise InputError(f"{name} {shown!r} has a step that is not above 0; it would never end")
    if high < low:
        raise InputError(f"{name} {shown!r} runs from high to low; write the low end first")
    first, by = Decimal(repr(low)), Decimal(repr(step))
    steps = (Decimal(repr(high)) - first) / by
    if steps >= CELLS_MAX:
        raise InputError(f"{name} {shown!r} has more than {CELLS_MAX} values; take a larger step")
    return [float(first + number * by) for number in range(int(steps) + 1)]


def digest(text: str) -> str:
    """Tells texts apart, in brief."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def short(values: Sequence[Any]) -> Any:
    """An axis, or its digest where it is long."""
    return list(values) if len(values) <= 20 else f"{len(values)} values, {digest(repr(tuple(values)))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid(Axes[LlmProfile]):
    """The axes of fleets that serve language models, and what all cells share.

    Attributes:
        sequences_max, batched_tokens_max: None stands for what each profile was measured up to.
        lengths, cached_share, in_order: as of `capacity.question.tokens.TokenScenario`.
    """

    lengths: AnyLengths
    sequences_max: tuple[int | None, ...]
    batched_tokens_max: tuple[int | None, ...]
    cached_share: float
    in_order: bool

    def __post_init__(self) -> None:
        # Not super(): slots make a new class, which the bare form does not know.
        super(TokenGrid, self).__post_init__()
        for profile in self.profiles:
            fewest = min(n or profile.limits_measured.sequences_max for n in self.sequences_max)
            require_lengths(profile, self.lengths, fewest)  # a cell with more may still be refused

    @property
    def _axes(self) -> tuple[Sequence[Any], ...]:
        return (
            self.profiles,
            self.workloads,
            self.replicas,
            self.sequences_max,
            self.batched_tokens_max,
            self.routings,
        )

    def cells(self) -> Iterator[TokenScenario]:
        """Every combination; the last axis, the routing, changes fastest."""
        for profile, demand, replicas, sequences_max, tokens_max, routing in product(*self._axes):
            limits = profile.limits_measured
            plan = TokenPlan(
                profile=profile.name,
                replicas=replicas,
                sequences_max=sequences_max or limits.sequences_max,
                batched_tokens_max=tokens_max or limits.batched_tokens_max,
                routing=routing,
            )
            yield TokenScenario(
                profile=profile,
                workload=demand,
                lengths=self.lengths,
                plan=plan,
                cached_share=self.cached_share,
                in_order=self.in_order,
            )

    def settings(self, **effort: Any) -> dict[str, Any]:
        """All that the answers depend on, in brief, as of a `Grid`."""
        others = {
            "sequences_max": short(self.sequences_max),
            "batched_tokens_max": short(self.batched_tokens_max),
            "lengths": digest(repr(self.lengths)),
            "cached_share": self.cached_share,
        }
        return self.all_settings(others, effort)
