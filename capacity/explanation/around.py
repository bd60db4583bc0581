"""Around: the fleets around a plan, at less and more traffic, as grids of a sweep, for readers to play with."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, NamedTuple

from capacity.question.candidate import Candidate
from capacity.question.grid import Answer, Grid
from capacity.question.question import Question
from capacity.question.scenario import AnyScenario
from capacity.search.exact import theory_of
from capacity.server.kinds import settings_of
from capacity.traffic.scale import scale_of
from capacity.traffic.workload import Demand, is_patient

_NINE = (0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5)
_SEVEN = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5)
_FIVE = (0.5, 0.75, 1.0, 1.25, 1.5)
_OUTPUTS = (0.5, 1.0, 2.0)
_EVERY_MAX = 16
# Of the cells with a steady state, those with numbers: enough for a grid of some detail, and the least to show.
ENOUGH_SHARE, LEAST_SHARE = 0.9, 0.5
_PLANS_WORTH = 5  # multiple of the requests that the plan itself was allowed, that its grids may need
_RETRIED = 8  # how many times as long a request takes to simulate whose client may try again


class Detail(NamedTuple):
    """How fine a grid is.

    Attributes:
        factors: multiples of the planned traffic.
        sizes: most numbers of requests at once.
        is_every: whether every number of devices is simulated if there are at most 16 in the plan.
    """

    factors: tuple[float, ...]
    sizes: int
    is_every: bool = True


# From the finest to the coarsest, which takes fewest requests.
DETAILS = (
    Detail(_NINE, 8),
    Detail(_SEVEN, 8),
    Detail(_SEVEN, 3),
    Detail(_SEVEN, 3, is_every=False),
    Detail(_FIVE, 3, is_every=False),
    Detail(_FIVE, 2, is_every=False),
    Detail(_SEVEN, 1, is_every=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The grids around a plan, one for each length of outputs, which share all other axes.

    Attributes:
        scenario: the plan in their middle, with the planned traffic.
        outputs: multiples of the planned output tokens; 1 alone if requests have no lengths.
        sizes: numbers of requests that a replica takes at once, rising.
        sizes_left_out: how many others were considered.
    """

    scenario: AnyScenario
    grids: tuple[Grid[Any], ...]
    outputs: tuple[float, ...]
    sizes: tuple[int, ...]
    sizes_left_out: int = 0

    @property
    def is_every(self) -> bool:
        """Whether there is every number of full devices up to twice that of the plan."""
        first, *_, last = self.replicas
        return len(self.replicas) == last // first

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The traffic, rising."""
        return self.grids[0].workloads

    @property
    def replicas(self) -> tuple[int, ...]:
        """Numbers of replicas, rising."""
        return self.grids[0].replicas

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Length of each axis: outputs, traffic, replicas and requests at once, which changes fastest."""
        return len(self.outputs), len(self.demands), len(self.replicas), len(self.sizes)

    @property
    def own(self) -> tuple[int, int, int, int]:
        """Place of the plan on each axis."""
        plan = self.scenario.plan
        return (
            self.outputs.index(1.0),
            self.demands.index(self.scenario.workload),
            self.replicas.index(plan.replicas),
            self.sizes.index(plan.at_once),
        )

    @property
    def own_cell(self) -> int:
        """Place of the plan among all cells."""
        places = product(*(range(length) for length in self.shape))
        return next(number for number, place in enumerate(places) if place == self.own)

    def cells(self) -> Iterator[Any]:
        """The scenario of every cell."""
        return chain.from_iterable(grid.cells() for grid in self.grids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """The grids around a plan with the answers of their cells.

    Attributes:
        needs: simulated requests that the answer of each cell takes at least; None if theory refuses it.
        requests_max: simulated requests that one cell may take.
    """

    around: Around
    answers: tuple[Answer, ...]
    needs: tuple[int | None, ...]
    requests_max: int

    @property
    def own(self) -> Answer:
        """The answer of the plan's own cell."""
        return self.answers[self.around.own_cell]


def requests_worth(question: Question, plan: Any, requests_max: int) -> int:
    """Simulated requests that the grids around a plan may need, all together.

    Args:
        requests_max: what the plan itself was allowed.
    """
    most = theory_of(question.profile(plan.profile)).around_requests_max
    return min(most if is_patient(question.workload) else most // _RETRIED, _PLANS_WORTH * requests_max)


def fleets_around(
    question: Question, plan: Any, considered: Iterable[Candidate[Any]], detail: Detail
) -> Around:
    """The grids around a plan, from half of its traffic to half as much again, and up to twice its replicas.

    Args:
        considered: what the search considered, for the numbers of requests at once.
    """
    scenario = question.scenario(plan)
    known = _sizes(question, plan, considered)
    sizes = _nearest(known, plan.at_once, detail.sizes)
    per_device = question.family(plan).per_device
    is_every = detail.is_every and plan.replicas <= _EVERY_MAX * per_device
    outputs = (1.0,) if scenario.lengths is None else _OUTPUTS
    settings = settings_of(scenario).at_once(sizes)
    grids = [
        Grid(
            profiles=(scenario.profile,),
            workloads=_demands(scenario.workload, detail.factors),
            replicas=_replicas(plan.replicas, per_device, is_every=is_every),
            routings=(plan.routing,),
            settings=settings if factor == 1.0 else settings.with_outputs(scenario.profile, factor),
            survival=question.survival,
        )
        for factor in outputs
    ]
    left_out = len(known) - len(sizes)
    return Around(
        scenario=scenario, grids=tuple(grids), outputs=outputs, sizes=sizes, sizes_left_out=left_out
    )


def _sizes(question: Question, plan: Any, considered: Iterable[Candidate[Any]]) -> list[int]:
    """Numbers of requests at once that were considered, or the next ones if only that of the plan was."""
    alike = (one.plan for one in considered)
    sizes = {one.at_once for one in alike if (one.profile, one.routing) == (plan.profile, plan.routing)}
    if sizes <= {plan.at_once}:
        theory = theory_of(question.profile(plan.profile))
        sizes = {other.at_once for _, other in theory.neighbours(question, plan)}
    return sorted(sizes | {plan.at_once})


def _nearest(sizes: Sequence[int], own: int, most: int) -> tuple[int, ...]:
    """The sizes around the plan's own, the larger of two that are as near, rising.

    >>> _nearest([1, 2, 4, 8, 16], 8, 3)
    (4, 8, 16)
    """
    middle = sizes.index(own)
    places = sorted(range(len(sizes)), key=lambda place: (abs(place - middle), -place))[:most]
    return tuple(sizes[place] for place in sorted(places))


def _demands(planned: Demand, factors: Sequence[float]) -> tuple[Demand, ...]:
    """Multiples of the planned traffic, as far as there are such; of few users every number up to as many multiples.

    Rates have three digits, with which they are shown.
    """
    scale, own = scale_of(planned), planned.size
    others = [factor * own for factor in factors if factor != 1.0]
    rounded = others if scale.multiple is not None else [float(f"{size:.3g}") for size in others]
    sizes = {own, *map(scale.whole, rounded)}
    if len(sizes) < min(len(factors), len(_SEVEN)):
        sizes |= {scale.step * number for number in range(1, len(factors) + 1)}
    return tuple(planned if size == own else planned.sized(size) for size in sorted(sizes))


def _replicas(own: int, step: int, *, is_every: bool) -> tuple[int, ...]:
    """Numbers of replicas of full devices up to twice the plan's; every one, or some that lie closest around it.

    >>> _replicas(3, 1, is_every=True)
    (1, 2, 3, 4, 5, 6)
    >>> _replicas(20, 1, is_every=False)
    (4, 12, 16, 18, 19, 20, 21, 22, 24, 28, 36, 40)
    """
    if is_every:
        return tuple(range(step, 2 * own + 1, step))
    shifts = [step << power for power in range((own // step).bit_length())]
    found = {own, 2 * own, *(own + shift for shift in shifts), *(own - shift for shift in shifts)}
    return tuple(sorted(number for number in found if 0 < number <= 2 * own))
