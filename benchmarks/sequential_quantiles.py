"""Sequential quantiles: our stopping rule beside batching in two phases, on the same streams, for a P99 to 2 %.

    python benchmarks/sequential_quantiles.py [--experiments 100] [--precision 0.02] [--stream NAME] [--rule NAME]

Each experiment goes on until the 95 % interval is as narrow as asked, with random numbers of its own. "Ours" is the
rule of `capacity simulate`: replications of a length known beforehand, pooled; the share beyond the quantile by
sections, turned into durations (Woodruff 1952); no end before 50,000 relaxation times.

"Two phases" stands for Sequest (Alexopoulos, Goldsman, Mokashi, Tien & Wilson 2019, Operations Research 67(4)) and
SQSTS (Lolos et al. 2024, Journal of Simulation), of which only abstracts could be read here, and no code. It has the
parts that these name, on one path, warm-up included:

1. 64 batches of 4,096 observations, with their quantiles. The batches, and the path with them, grow by the square root
   of 2 while von Neumann's ratio of the 64 quantiles is below what independent ones have but in one of five cases. The
   first batch is then left out: if the second does not depend on it, it does not depend on the start.
2. The quantile of all that is left, and around it the scatter of the batches' own (sectioning; Nakayama 2014, ACM
   TOMACS 24(4), 19), by Student's t. The path grows, by a factor of 2 at most, to where the half-width would be as
   narrow as asked, and all batches with it.

Streams: response times of M/M/1 at load 0.9, whose first request finds an empty queue, or a hundred requests; of M/H2/1
at load 0.8, whose service has a squared coefficient of variation of 4; and an autoregression X' = 100 + 0.995 (X - 100)
+ N(0, 1) that starts at 0. In all of them P99 is known. "Requests" are all that were drawn, also those not counted.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from interval_coverage import VARIABLE, hyperexponential
from scipy.signal import lfilter
from scipy.special import ndtri

from capacity.confidence import student_t
from capacity.performance import Interval
from capacity.profile.profile import BatchTiming, ServiceProfile
from capacity.question.scenario import Scenario
from capacity.queues.durations import Duration, Family
from capacity.queues.general.mphc import MPHc
from capacity.queues.markov.mmc import MMc
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import Workload
from simulations.cases.batch import EXCEEDANCES_PER_SECTION, RELAXATIONS_SEEN_MIN, BatchCase
from simulations.draws.arrivals import Purpose, Seed
from simulations.draws.records import Floats
from simulations.looks import precise_look
from simulations.replication import Task
from simulations.statistics.reduction import Reduction
from simulations.statistics.relaxation import RELAXATIONS
from simulations.statistics.sample import Length, Sample

QUANTILE, CONFIDENCE = 0.99, 0.95
REQUESTS_MAX = 1_000_000_000
Path = Callable[[int], Floats]  # the next observations of a path, as many as asked for
Draw = Callable[[np.random.Generator, int], Floats]
_NO_MARKS = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A process whose P99 is known.

    Attributes:
        begin: a path of it.
        case: our simulation of it, as if it came from a fleet.
    """

    name: str
    exact: float
    begin: Callable[[np.random.Generator], Path]
    scenario: Scenario
    relaxation: float | None = None

    @property
    def case(self) -> BatchCase:
        stream = self

        class StreamCase(BatchCase):
            """A case whose replications are paths of the stream."""

            @property
            def replicate(self) -> Callable[[Task], Sample]:
                return stream.sample

            @property
            def length(self) -> Length:
                if stream.relaxation is None:
                    return super().length
                warm_up = math.ceil(RELAXATIONS * stream.relaxation)
                enough = math.ceil(EXCEEDANCES_PER_SECTION / (1.0 - QUANTILE))
                return Length(warm_up=warm_up, measured=max(8 * warm_up, enough), cool_down=0)

            def counted_min(self, care: float) -> float:
                if stream.relaxation is None:
                    return super().counted_min(care)
                return care * RELAXATIONS_SEEN_MIN * stream.relaxation

        return StreamCase(scenario=self.scenario)

    def sample(self, task: Task) -> Sample:
        """A replication: observation i is the response of a request at the instant i."""
        length = task.length
        seen = self.begin(task.seed.generator(Purpose.ARRIVALS))(length.requests)
        instants = np.arange(length.requests, dtype=np.float64)
        reduction = Reduction(length, length.requests, 0.0, _NO_MARKS, _NO_MARKS)
        reduction.add(instants, instants, instants + seen, np.ones(length.requests, dtype=np.int64))
        return reduction.sample()


def streams() -> Iterator[Stream]:
    for start, found in (("empty", 0), ("a hundred requests", 100)):
        yield Stream(
            name=f"M/M/1, load 0.9, from {start}",
            exact=MMc(arrival_rate_rps=0.9, service_rate_rps=1.0, servers=1).response_quantile_s(QUANTILE),
            begin=queue(0.9, exponential, found),
            scenario=single(VARIABLE, 0.9),
        )
    service = Duration(family=Family.HYPEREXPONENTIAL, mean_s=1.0, scv=4.0)
    yield Stream(
        name="M/H2/1, load 0.8, from empty",
        exact=MPHc(arrival_rate_rps=0.8, service=service, servers=1).response_quantile_s(QUANTILE),
        begin=queue(0.8, two_exponentials, 0),
        scenario=single(sampled(two_exponentials), 0.8),
    )
    kept = 0.995
    yield Stream(
        name="AR(1), 0.995, from 0",
        exact=100.0 + float(ndtri(QUANTILE)) / math.sqrt(1.0 - kept * kept),
        begin=autoregression(kept),
        scenario=single(VARIABLE, 0.9),
        relaxation=1.0 / (1.0 - kept),
    )


def queue(load: float, service: Draw, found: int) -> Callable[[np.random.Generator], Path]:
    """Response times of a queue with Poisson arrivals at rate `load`, which the first finds with `found` requests.

    Source:
        Lindley (1952), Mathematical Proceedings of the Cambridge Philosophical Society 48(2), 277-289.
    """

    def begin(generator: np.random.Generator) -> Path:
        work = float(service(generator, found).sum())  # that the next request finds

        def responses(count: int) -> Floats:
            nonlocal work
            served = service(generator, count)
            walk = np.concatenate(([0.0], np.cumsum(served - generator.exponential(1.0 / load, count))))
            waits = walk + np.maximum(work, -np.minimum.accumulate(walk))
            work = float(waits[-1])
            return waits[:-1] + served

        return responses

    return begin


def exponential(generator: np.random.Generator, count: int) -> Floats:
    return generator.standard_exponential(count)


def two_exponentials(generator: np.random.Generator, count: int) -> Floats:
    """Hyperexponential of mean 1, balanced means, and a squared coefficient of variation of 4."""
    (share, fast), (_, slow) = hyperexponential(4.0)
    return generator.standard_exponential(count) * np.where(generator.random(count) < share, fast, slow)


def autoregression(kept: float) -> Callable[[np.random.Generator], Path]:
    def begin(generator: np.random.Generator) -> Path:
        state = np.array([kept * -100.0])

        def values(count: int) -> Floats:
            nonlocal state
            seen, state = lfilter([1.0], [1.0, -kept], generator.standard_normal(count), zi=state)
            return 100.0 + seen

        return values

    return begin


def sampled(service: Draw) -> ServiceProfile:
    """A profile as variable as a law, by which our rule decides how long runs are."""
    drawn = np.sort(service(np.random.default_rng(1), 200_000))
    samples_s = tuple(drawn.reshape(2000, 100).mean(axis=1).tolist())
    return ServiceProfile(name="sampled", timings=(BatchTiming(batch_size=1, samples_s=samples_s),))


def single(profile: ServiceProfile, load: float) -> Scenario:
    return Scenario(
        profile=profile,
        workload=Workload(arrival_rate_rps=load / profile.service_mean_s(1)),
        plan=BatchPlan(profile=profile.name, replicas=1, batch_size_max=1),
        quantiles=(QUANTILE,),
    )


def ours(stream: Stream, number: int, precision: float) -> tuple[Interval, int]:
    look = precise_look(stream.case, Seed(value=number), REQUESTS_MAX, precision, CONFIDENCE)
    return look.pool.response_quantile(QUANTILE).interval(CONFIDENCE), look.requests


BATCHES, FIRST_SIZE, GROWTH, DOUBTED = 64, 4096, math.sqrt(2.0), 0.2


def two_phases(stream: Stream, number: int, precision: float) -> tuple[Interval, int]:
    path = stream.begin(np.random.default_rng(number))
    size = FIRST_SIZE
    seen = path(BATCHES * size)
    while correlated(quantiles(seen, BATCHES)):
        size = math.ceil(GROWTH * size)
        seen = np.concatenate((seen, path(BATCHES * size - len(seen))))
    begun, batches = size, BATCHES - 1
    while True:
        kept = seen[begun : begun + (len(seen) - begun) // batches * batches]
        each = quantiles(kept, batches)
        value = quantile_between(kept, float(each.min()), float(each.max()))
        scatter = math.sqrt(float(((each - value) ** 2).sum()) / (batches - 1))
        half = student_t(0.5 + CONFIDENCE / 2.0, batches - 1) * scatter / math.sqrt(batches)
        wanted = (half / (precision * value)) ** 2
        if wanted <= 1.0:
            return Interval(value=value, low=value - half, high=value + half), len(seen)
        more = math.ceil(len(kept) * (min(max(wanted, 1.05), 2.0) - 1.0))
        seen = np.concatenate((seen, path(more)))


def quantiles(seen: Floats, batches: int) -> Floats:
    """The quantile of each batch, shape `(batches,)`."""
    rank = math.ceil(QUANTILE * (len(seen) // batches)) - 1
    return np.array([np.partition(batch, rank)[rank] for batch in seen.reshape(batches, -1)])


def quantile_between(seen: Floats, low: float, high: float) -> float:
    """The quantile of all, which lies between those of its batches."""
    rank = math.ceil(QUANTILE * len(seen)) - 1 - int((seen < low).sum())
    between = seen[(seen >= low) & (seen <= high)]
    return float(np.partition(between, rank)[rank])


def correlated(values: Floats) -> bool:
    """Whether neighbours are more alike than independent ones.

    Source:
        von Neumann (1941), Annals of Mathematical Statistics 12(4), 367-395, for the moments of the ratio.
    """
    count = len(values)
    ratio = sum((b - a) ** 2 for a, b in pairwise(values)) / float(((values - values.mean()) ** 2).sum())
    error = math.sqrt(4.0 * (count - 2) / (count * count - 1))
    return bool(ratio < 2.0 + float(ndtri(DOUBTED)) * error)


RULES = {"ours": ours, "two phases": two_phases}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--precision", type=float, default=0.02)
    parser.add_argument("--stream", default="", help="one whose name begins so")
    parser.add_argument("--rule", choices=RULES, help="only one of them")
    options = parser.parse_args()
    print(
        "| stream | exact P99 | rule | covered | mean half-width | mean deviation | requests, mean | CPU s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for stream in streams():
        if not stream.name.startswith(options.stream):
            continue
        for name, rule in RULES.items():
            if options.rule not in (None, name):
                continue
            begun_s = time.process_time()
            found = [rule(stream, number, options.precision) for number in range(options.experiments)]
            print(line(stream, name, found, (time.process_time() - begun_s) / len(found)), flush=True)


def line(stream: Stream, name: str, found: list[tuple[Interval, int]], took_s: float) -> str:
    held = np.mean([one.low <= stream.exact <= one.high for one, _ in found])
    width = np.mean([one.relative_half_width for one, _ in found])
    off = np.array([one.value / stream.exact - 1.0 for one, _ in found])
    error = off.std(ddof=1) / math.sqrt(len(off))
    cells = (
        stream.name,
        f"{stream.exact:.5g}",
        name,
        f"{100 * held:.0f} %",
        f"{100 * width:.2f} %",
        f"{100 * off.mean():+.2f} ± {100 * error:.2f} %",
        f"{np.mean([requests for _, requests in found]):,.0f}",
        f"{took_s:.2f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
