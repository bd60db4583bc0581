"""Cases: plans, draws, service times and samples that several tests are about."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from hypothesis import strategies as st

from capacity.profile.distribution import ServiceLaw, constant, from_samples
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.queues.durations import Duration, Family
from capacity.server.batch.batching import Batching
from capacity.server.batch.plan import BatchPlan
from simulations.draws.arrivals import ClosedDraws, Draws, Replay
from simulations.draws.records import Records
from simulations.draws.service import ALONE, ExponentialTimes, ProfileTimes, ServiceTable, ServiceTimes, knots
from simulations.kernel import serve as kernel
from simulations.statistics.reduction import Reduction
from simulations.statistics.sample import Length, Sample
from simulations.statistics.tally import Tally
from simulations.validation.systems import DurationTimes

NOTHING = np.zeros(0)


class LawTimes:
    """Service times by the law of each batch size, which either engine can draw."""

    def __init__(self, law_of: Callable[[int], ServiceLaw], wake_s: float = 0.0) -> None:
        self.law_of = law_of
        self.wake_s = wake_s

    def __call__(self, batch_size: int, uniform: float) -> float:
        return self.law_of(batch_size).quantile_s(uniform)

    def table(self, batch_size_max: int) -> ServiceTable:
        laws = [self.law_of(size) for size in range(1, batch_size_max + 1)]
        return knots(laws, np.arange(batch_size_max), np.zeros(batch_size_max), self.wake_s)


def fixed(time_s: Callable[[int], float], wake_s: float = 0.0) -> LawTimes:
    """Times that go by the size of the batch alone, and a rest before it."""
    return LawTimes(lambda size: constant(time_s(size)), wake_s)


class GridTimes(LawTimes):
    """Service times that are whole multiples of a step, so that instants coincide."""

    def __init__(self, step_s: float, base: list[int], wake: int = 0) -> None:
        super().__init__(
            lambda size: from_samples([step_s * (number + size // 2) for number in base]), step_s * wake
        )
        self.step_s = step_s
        self.base = base

    def __repr__(self) -> str:
        return f"GridTimes({self.step_s}, {self.base}, wake_s={self.wake_s})"


# How much longer the first batch after a rest takes, in steps.
WAKES = st.sampled_from([0, 0, 1, 2, 5])


@st.composite
def plans(
    draw: st.DrawFn, step_s: float, limits: tuple[int | None, ...] = (None, None, 0, 1, 3)
) -> BatchPlan:
    size_max = draw(st.integers(1, 6))
    batching = draw(st.sampled_from([Batching.TRITON, *Batching]))
    sizes = st.sets(st.integers(1, size_max), max_size=3) if batching is Batching.TRITON else st.just(set())
    routings = [
        one for one in PLAIN_ROUTINGS if (batching, one) != (Batching.RAY_SERVE, Routing.SHARED_QUEUE)
    ]
    return BatchPlan(
        profile="made-up",
        replicas=draw(st.integers(1, 5)),
        batch_size_max=size_max,
        batch_wait_max_s=step_s * draw(st.sampled_from([0, 0, 1, 2, 3, 5, 8])),
        routing=draw(st.sampled_from(routings)),
        batching=batching,
        preferred_sizes=tuple(sorted(draw(sizes))),
        queue_limit=draw(st.sampled_from(limits)),
    )


@st.composite
def coinciding(draw: st.DrawFn) -> tuple[BatchPlan, ServiceTimes, Draws]:
    """Arrivals, deadlines and completions on one grid; of a step of 0.1 s the sums are rounded."""
    step_s = draw(st.sampled_from([0.25, 0.25, 0.1]))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7]), min_size=1, max_size=40))
    base = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    draws = Draws(
        arrived_s=np.cumsum(np.array(gaps)) * step_s,
        service=generator.random(len(gaps)),
        routing=generator.random(2 * len(gaps)),
    )
    return draw(plans(step_s)), GridTimes(step_s, base, draw(WAKES)), draws


@st.composite
def continuous(draw: st.DrawFn) -> tuple[BatchPlan, ServiceTimes, Draws]:
    """Exponential gaps and service, where no two events coincide but by the semantics."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 60))
    draws = Draws(
        arrived_s=np.cumsum(generator.standard_exponential(count)) * draw(st.sampled_from([0.05, 0.3, 1.0])),
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    return draw(plans(0.37)), ExponentialTimes(1.0, 0.7 * draw(WAKES)), draws


@st.composite
def closed(draw: st.DrawFn) -> tuple[BatchPlan, ServiceTimes, ClosedDraws]:
    """A closed population, its thoughts on a grid (so that users ask at one instant) or not."""
    step_s = draw(st.sampled_from([0.25, 0.25, 0.1]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 40))
    on_grid = step_s * generator.choice(draw(st.sampled_from([[0], [0, 1, 2, 5]])), count)
    draws = ClosedDraws(
        users=draw(st.integers(1, 9)),
        think_s=draw(st.sampled_from([on_grid, generator.standard_exponential(count)])),
        service=generator.random(count),
        routing=generator.random(2 * count),
    )
    base = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    return draw(plans(step_s, limits=(None, None, 0, 1, 3))), GridTimes(step_s, base, draw(WAKES)), draws


DURATIONS = [
    Duration(family=Family.DETERMINISTIC, mean_s=0.5),
    Duration(family=Family.EXPONENTIAL, mean_s=0.5),
    Duration(family=Family.GAMMA, mean_s=0.5, scv=2.0),
    Duration(family=Family.LOGNORMAL, mean_s=0.5, scv=1.0),
    Duration(family=Family.HYPEREXPONENTIAL, mean_s=0.5, scv=4.0),
]


@st.composite
def profiles(draw: st.DrawFn) -> ServiceProfile:
    """Measured at 1 and at some sizes up to 6: by samples, by percentiles or by a mean alone."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = sorted({1, 6, *draw(st.sets(st.integers(2, 5), max_size=2))})
    timings = []
    for size in sizes:
        scale_s = 0.3 + 0.1 * size
        form = draw(st.sampled_from(["samples", "percentiles", "mean"]))
        if form == "samples":
            samples_s = scale_s * (1.0 + generator.random(draw(st.integers(1, 5))))
            timings.append(BatchTiming(batch_size=size, samples_s=tuple(samples_s.tolist())))
        elif form == "percentiles":
            p50_s, p90_s, p99_s = 0.95 * scale_s, 1.2 * scale_s, 1.5 * scale_s
            timings.append(
                BatchTiming(batch_size=size, mean_s=scale_s, p50_s=p50_s, p90_s=p90_s, p99_s=p99_s)
            )
        else:
            timings.append(BatchTiming(batch_size=size, mean_s=scale_s))
    return ServiceProfile(name="made-up", timings=tuple(timings), wake_s=0.2 * draw(WAKES))


@st.composite
def service_times(draw: st.DrawFn) -> ServiceTimes:
    """Service times of every kind that the compiled engine has a table for, batches of up to 6."""
    means_s = tuple(0.5 + 0.25 * size for size in range(6))
    return draw(
        st.sampled_from([fixed(lambda size: 0.25 + 0.125 * size, 0.3), ExponentialTimes(means_s, 0.3)])
        | st.builds(DurationTimes, st.sampled_from(DURATIONS))
        | st.builds(ProfileTimes, profiles())
    )


def sample_of(
    responses_s: Iterable[float] | np.ndarray,
    waits_s: Sequence[float] | np.ndarray | None = None,
    *,
    limits_s: Sequence[float] = (),
    window_s: float = 1.0,
    busy_s: float = 0.5,
    batches: float | None = None,
    largest: int = 1,
    lost: int = 0,
) -> Sample:
    """A sample of made-up responses, and waits of 0 where none are given."""
    response_s = np.asarray(responses_s, dtype=float)
    wait_s = np.zeros_like(response_s) if waits_s is None else np.asarray(waits_s, dtype=float)
    half = len(response_s) // 2
    rise_s = float(response_s[half:].mean() - response_s[:half].mean()) if half else 0.0
    return Sample(
        waits=Tally.of(wait_s, NOTHING),
        responses=Tally.of(response_s, np.unique(limits_s)),
        window_s=window_s,
        busy_s=busy_s,
        batches=float(len(response_s)) if batches is None else batches,
        batch_size_largest=largest,
        lost=lost,
        rises_s=(rise_s,),
    )


def values_of(tally: Tally) -> list[float]:
    """The durations of a tally one by one, rising."""
    return np.repeat(tally.values_s, tally.counts).tolist()


def reduced(records: Records, overhead_s: float = 0.0) -> Sample:
    """The whole of a run as a sample, no mark kept."""
    count = len(records.arrived_s)
    length = Length(warm_up=0, measured=count, cool_down=0)
    reduction = Reduction(length, count, overhead_s, NOTHING, NOTHING)
    reduction.add(records.arrived_s, records.started_s, records.finished_s, records.batch_size)
    return reduction.sample()


def assert_kernel_gives(
    expected: Records,
    plan: BatchPlan,
    times: ServiceTimes,
    draws: Draws | ClosedDraws,
    block: int,
    slowdowns: Sequence[float] = ALONE,
) -> None:
    """Every column of `kernel.run`, and start, finish and size of `kernel.serve`, are those of SimPy's run."""
    found = kernel.run(plan, times, draws, block, slowdowns)
    for name in Records.__slots__:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    first = 0
    for part in kernel.serve(plan, times, Replay(draws), block=block, slowdowns=slowdowns):
        here = slice(first, first + len(part.size))
        served = ~expected.is_lost[here]
        assert part.size.tolist() == expected.batch_size[here].tolist()
        assert part.arrived_s.tobytes() == expected.arrived_s[here].tobytes()
        assert part.started_s[served].tobytes() == expected.started_s[here][served].tobytes()
        assert part.finished_s[served].tobytes() == expected.finished_s[here][served].tobytes()
        first = here.stop
    assert first == len(expected.arrived_s)
