"""Agreement grid: the systems that compare every law with the simulator."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial

from capacity.question.plan import Routing
from capacity.queues.durations import Duration, Family
from capacity.server.batch.batching import BatchTimer
from simulations.validation import laws
from simulations.validation import recovery_systems as trouble
from simulations.validation import session_systems as sessions
from simulations.validation import token_systems as tokens
from simulations.validation.agreement import AnySystem
from simulations.validation.systems import P50, P99

OLDEST, OPEN = BatchTimer
BRIEF = Duration(family=Family.DETERMINISTIC, mean_s=2.0)
LONG = Duration(family=Family.EXPONENTIAL, mean_s=2.0)
UNIT = Duration(family=Family.EXPONENTIAL, mean_s=1.0)
SKEWED = Duration(family=Family.LOGNORMAL, mean_s=1.0, scv=2.0)
RESNET, BERT, JASPER = "resnet50-t4-fp16", "bert-large-384-l40s-fp16", "jasper-7s-t4-fp16"

_SHORT: tuple[Callable[[], AnySystem], ...] = (
    partial(laws.mm1, 0.6, P99),
    partial(laws.mmc, 2, 0.7, P99),
    partial(laws.mmc, 8, 0.8, P99),
    partial(laws.mmck, 2, 6, 1.2, P99),
    partial(laws.mg1, Family.HYPEREXPONENTIAL, 4.0, 0.5, P99),
    partial(laws.mdc, 4, 0.7, P99),
    partial(laws.gimc, 0.5, 2, 0.7, P99),
    partial(laws.mmpp, 4.0, 20.0, 40.0, 1, 0.6, P50),
    partial(laws.bulk, RESNET, 16, 0.7, P99),
    partial(laws.bulk, BERT, 8, 0.5, P99, wait=0.5, timer=OLDEST),
    partial(laws.bulk, BERT, 8, 0.5, P99, wait=0.5, timer=OPEN),
    partial(laws.bulk, RESNET, 8, 0.7, P99, replicas=3, routing=Routing.ROUND_ROBIN),
    partial(laws.bulk, RESNET, 8, 0.7, P99, replicas=3, routing=Routing.RANDOM),
    partial(laws.bulk_markov, 4, 2, 0.6, P99),
    partial(laws.bulk_ctmc, (1.0, 1.2, 1.4, 1.6), 2, 0.6, P99),
    partial(laws.closed, 8, 4.0, 1, P99),
    partial(laws.closed, 12, 5.0, 2, P99),
    partial(laws.bulk_closed, RESNET, 8, 16, 2.0, P99),
    partial(laws.random_split, 3, 0.6, P99),
    partial(laws.round_robin, 3, 0.6, P99),
    partial(laws.shortest_queue, 0.7, P99),
    partial(laws.power_of_two, 100, 0.5, P50),
    partial(laws.shared_device, (1.0, 1.5), 0.7),
    partial(tokens.alone, (10, 300, 40), (3, 6, 5), 0.4, P50),
    partial(tokens.equal_passes, 10, 2.0),
    partial(tokens.shared_engine, "constant", 50, 0.5),
    partial(tokens.geometric_slots, 4, 6, 0.6),
    partial(tokens.prompts_alone, 100, 64, 850, 0.7),
    partial(sessions.growing_sessions, 5, 60),
    partial(sessions.groups_alone, 1.0, 150, 37.5),
    partial(trouble.retrial, 4, 0.6, 0.5),
    partial(trouble.long_backoff, 4, 0.9, 3, 500.0),
    partial(trouble.fixed_patience, 4, 1.1, 1.0, P99),
    partial(trouble.newest_first, 1, 2.0, 5.0),
    partial(trouble.paused, BRIEF, 0.05, 0.3, P99),
    partial(trouble.breakdowns, 4, 0.5, 0.05, 0.5),
    partial(trouble.redundancy, 4, 2, 0.6),
    partial(trouble.hedged, UNIT, 1.0, P99),
)

_MORE: tuple[Callable[[], AnySystem], ...] = (
    partial(laws.mm1, 0.3, P99),
    partial(laws.mm1, 0.9, P99),
    partial(laws.mmc, 32, 0.8, P99),
    partial(laws.mmck, 1, 5, 0.8, P99),
    partial(laws.mmck, 8, 12, 1.0, P99),
    partial(laws.mmck, 4, 4, 0.9, P99),
    partial(laws.mg1, Family.DETERMINISTIC, 0.0, 0.8, P99),
    partial(laws.mg1, Family.ERLANG, 0.5, 0.7, P99),
    partial(laws.mg1, Family.GAMMA, 2.0, 0.6, P99),
    partial(laws.mg1, Family.LOGNORMAL, 1.0, 0.7, P99),
    partial(laws.mdc, 1, 0.5, P99),
    partial(laws.mdc, 2, 0.8, P99),
    partial(laws.mdc, 16, 0.8, P99),
    partial(laws.gimc, 2.0, 1, 0.6, P99),
    partial(laws.gimc, 2.0, 4, 0.7, P99),
    partial(laws.gimc, 0.5, 1, 0.8, P99),
    partial(laws.gimc, 0.0, 4, 0.8, P99),
    partial(laws.mmpp, 5.0, 120.0, 120.0, 1, 0.75, P50),
    partial(laws.mmpp, 3.0, 20.0, 40.0, 2, 0.6, P99),
    partial(laws.mmpp, 10.0, 5.0, 60.0, 4, 0.5, P50),
    *(
        partial(laws.bulk, profile, size, load, P99)
        for profile, size in ((RESNET, 16), (BERT, 8), (JASPER, 4))
        for load in (0.3, 0.5, 0.8, 0.9)
    ),
    *(
        partial(laws.bulk, profile, size, load, P99, wait=wait, timer=timer)
        for profile, size in ((RESNET, 16), (BERT, 8), (JASPER, 4))
        for load, wait in ((0.3, 0.9), (0.8, 0.4), (0.9, 0.4))
        for timer in BatchTimer
    ),
    *(
        partial(laws.bulk, BERT, 8, load, P50, wait=wait, timer=OPEN, replicas=count, routing=routing)
        for routing in (Routing.ROUND_ROBIN, Routing.RANDOM)
        for count, load, wait in ((2, 0.5, 0.5), (5, 0.8, 0.0))
    ),
    partial(laws.bulk_markov, 4, 1, 0.7, P99),
    partial(laws.bulk_markov, 8, 3, 0.7, P99),
    partial(laws.bulk_markov, 32, 1, 0.6, P99),
    partial(laws.bulk_ctmc, (1.0, 1.1, 1.2), 3, 0.7, P99),
    partial(laws.closed, 3, 0.0, 2, P99),
    partial(laws.closed, 20, 12.0, 1, P99),
    partial(laws.closed, 40, 15.0, 2, P99),
    partial(laws.bulk_closed, BERT, 8, 6, 1.0, P99),
    partial(laws.bulk_closed, JASPER, 4, 30, 10.0, P99),
    partial(laws.random_split, 4, 0.3, P99),
    partial(laws.round_robin, 8, 0.8, P99),
    partial(laws.shortest_queue, 0.4, P99),
    partial(laws.shortest_queue, 0.8, P99),
    partial(laws.power_of_two, 100, 0.7, P50),
    partial(laws.shared_device, (1.0, 2.0, 3.0, 4.0), 0.7),
    partial(laws.shared_device, (1.0, 2.4), 0.6),
    partial(tokens.alone, (10, 300, 40), (3, 20, 8), 0.6, P99),
    partial(tokens.equal_passes, 3, 0.5),
    partial(tokens.equal_passes, 10, 12.0),
    *(partial(tokens.shared_engine, "geometric", 50, load) for load in (0.3, 0.7)),
    partial(tokens.geometric_slots, 4, 6, 0.7, quantiles=P99[1:]),
    partial(tokens.geometric_slots, 4, 6, 0.6, base_s=0.0),
    partial(tokens.geometric_slots, 8, 20, 0.8),
    partial(tokens.prompts_alone, 100, 6, 8000, 0.8),
    partial(sessions.growing_sessions, 5, 1),
    partial(sessions.groups_alone, 0.0, 150, 75.0),
    partial(trouble.retrial, 1, 0.2, 0.5),
    partial(trouble.long_backoff, 4, 0.7, 3, 1000.0),
    partial(trouble.fixed_patience, 1, 0.8, 3.0, P99),
    partial(trouble.newest_first, 4, 1.25, 2.0),
    partial(trouble.paused, LONG, 0.05, 0.66, P99),
    partial(trouble.paused, BRIEF, 0.05, 0.5, P99),
    partial(trouble.breakdowns, 4, 0.6, 0.01, 0.1),
    partial(trouble.redundancy, 3, 3, 0.5),
    partial(trouble.redundancy, 8, 2, 0.7),
    partial(trouble.hedged, SKEWED, 1.5, P99),
)


class Grid(StrEnum):
    """Number of systems: one or two of each law, or all."""

    SHORT = "short"
    FULL = "full"


def systems(grid: Grid) -> Iterator[AnySystem]:
    """The systems of a grid, each built when its turn comes."""
    for build in (*_SHORT, *(_MORE if grid is Grid.FULL else ())):
        yield build()
