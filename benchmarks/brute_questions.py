"""Brute questions: random questions for `capacity plan`, each with the service law of its profile.

A question is made from a seed and its number alone, so that any can be asked again by itself. Its profile is a
bundled one, or a file that is written here: means, raw samples, or raw samples with work beside the batches. Nothing
from the project is imported: profiles mean what docs/background/decisions.md ("The law of a summary") says.
"""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from brute_fleet import ROUTINGS, Fleet, Law, Service, constant, samples

BUNDLED = Path(__file__).parent.parent / "capacity" / "profile" / "bundled"
# So many that the sampling error of a profile, which is part of the planner's intervals, is small.
SAMPLES = 4000
SIZE_MAX = 64
REPLICAS_FEW = (1, 2, 3, 4, 6)
# A limit on losses, over the share that the highest quantile lets be late, lost requests included.
LOSS_SHARES = (0.05, 0.2, 0.5, 1.0, 2.0)
Number = float | int


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to `capacity plan`, and the same for the brute force."""

    number: int
    profile: str
    service: Service
    rate_rps: float
    limits_s: dict[int, float]  # by per cent: {99: 0.05}
    gap_cv: float
    routing: str
    batch_size_max: int | None
    batch_wait_max_s: float | None
    timer: str
    queue_limit: int | None
    loss_max: float | None
    replicas_max: int | None
    requests_max: int | None

    @property
    def command(self) -> list[str]:
        """The command, from `capacity` on."""
        limits = [f"--slo-p{percent}={_ms(limit_s)}" for percent, limit_s in self.limits_s.items()]
        options = {
            "--arrivals": None if self.gap_cv == 1.0 else f"gamma:cv={self.gap_cv:g}",
            "--batch-size-max": self.batch_size_max,
            "--batch-wait": None if self.batch_wait_max_s is None else _ms(self.batch_wait_max_s),
            "--timer": None if self.timer == "oldest" else self.timer,
            "--routing": None if self.routing == "round-robin" else self.routing,
            "--queue-limit": self.queue_limit,
            "--loss-max": None if self.loss_max is None else f"{100.0 * self.loss_max:g}%",
            "--replicas-max": self.replicas_max,
            "--requests-max": self.requests_max,
        }
        asked = [f"{flag}={value}" for flag, value in options.items() if value is not None]
        start = ["capacity", "plan", f"--profile={self.profile}", f"--rate={self.rate_rps:g}rps"]
        return [*start, *limits, *asked, "--hourly-usd=1", "--format=json"]

    @property
    def shown(self) -> str:
        return shlex.join(self.command)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that the planner says it considers: those measured."""
        largest = self.batch_size_max or max(self.service.sizes)
        return tuple(size for size in self.service.sizes if size <= largest)

    def waits_s(self, size: int) -> tuple[float, ...]:
        """The waits that it says it considers: half and all of the time of a batch of one, and of a full one."""
        if self.batch_wait_max_s is not None:
            return (self.batch_wait_max_s,)
        if size == 1:
            return (0.0,)
        one_s, full_s = self.service.mean_s(1), self.service.mean_s(size)
        return tuple(sorted({0.0, one_s / 2.0, one_s, full_s / 2.0, full_s}))

    def fleet(self, *, replicas: int, batch_size_max: int, batch_wait_max_s: float) -> Fleet:
        return Fleet(
            service=self.service,
            rate_rps=self.rate_rps,
            replicas=replicas,
            batch_size_max=batch_size_max,
            batch_wait_max_s=batch_wait_max_s,
            routing=self.routing,
            timer=self.timer,
            queue_limit=self.queue_limit,
            gap_cv=self.gap_cv,
        )


def question(seed: int, number: int, folder: Path, *, requests_max: int | None = None) -> Question:
    """The question of this number; every third has a queue limit and a limit on losses."""
    random = np.random.default_rng([seed, number])
    profile, service = _profile(random, folder / f"question-{number}")
    largest = max(service.sizes)
    asked_size = int(random.integers(1, largest + 1)) if random.random() < 0.5 else None
    if not profile.endswith((".csv", ".json")):
        asked_size = asked_size or largest  # a bundled profile may know larger ones
    usual = int(random.choice([size for size in service.sizes if size <= (asked_size or largest)]))
    full_s = service.mean_s(usual)
    replicas = math.exp(random.uniform(0.0, math.log(20.0)))
    rate_rps = _rounded(replicas * random.uniform(0.5, 0.9) * usual / full_s)
    limits_s = _limits(random, full_s + service.overhead_s)
    wait_s = _wait(random, full_s)
    loses = number % 3 == 2
    return Question(
        number=number,
        profile=profile,
        service=service,
        rate_rps=rate_rps,
        limits_s=limits_s,
        gap_cv=float(random.choice([1.0, 1.0, 1.0, 0.5, 1.5, 2.0])),
        routing=str(random.choice(ROUTINGS)),
        batch_size_max=asked_size,
        batch_wait_max_s=wait_s,
        timer="open" if wait_s and random.random() < 0.3 else "oldest",
        queue_limit=int(random.choice([0, 1, usual // 2, usual, 4 * usual])) if loses else None,
        loss_max=_loss_max(random, max(limits_s)) if loses else None,
        replicas_max=int(random.choice(REPLICAS_FEW)) if random.random() < 0.15 else None,
        requests_max=requests_max,
    )


def _limits(random: np.random.Generator, full_s: float) -> dict[int, float]:
    """One or two limits, some multiple of the time of a full batch."""
    percent = int(random.choice([50, 90, 95, 99, 99, 99]))
    limit_s = _rounded(full_s * random.uniform(1.3, 4.5))
    if percent == 50 or random.random() < 0.6:
        return {percent: limit_s}
    lower = int(random.choice([one for one in (50, 90, 95) if one < percent]))
    return {lower: _rounded(limit_s * random.uniform(0.5, 0.9)), percent: limit_s}


def _loss_max(random: np.random.Generator, percent: int) -> float:
    """A share of what the highest quantile lets be late, or more than all of it."""
    return min(0.5, _rounded(random.choice(LOSS_SHARES) * (1.0 - percent / 100.0)))


def _wait(random: np.random.Generator, full_s: float) -> float | None:
    """A batch wait; None lets the planner search it."""
    kind = random.random()
    if kind < 0.4:
        return 0.0
    return _rounded(full_s * random.uniform(0.1, 1.0)) if kind < 0.65 else None


# ---- profiles ----


def _profile(random: np.random.Generator, path: Path) -> tuple[str, Service]:
    """Argument of `--profile`, and the service law that it describes."""
    kind = random.choice(["bundled", "means", "samples", "work"], p=[0.3, 0.4, 0.15, 0.15])
    if kind == "bundled":
        names = sorted(file.stem for file in BUNDLED.glob("*.json") if _plain(file))
        return bundled(str(random.choice(names)))
    sizes = _sizes(random)
    base_s, each_s = random.uniform(0.001, 0.02), random.uniform(0.0002, 0.004)
    means_s = [base_s + each_s * size ** random.uniform(0.8, 1.0) for size in sizes]
    if kind == "means":
        rounded_s = [_rounded(mean_s) for mean_s in means_s]
        lines = [f"{size},{1e3 * mean_s:.6g}" for size, mean_s in zip(sizes, rounded_s, strict=True)]
        file = _written(path.with_suffix(".csv"), ["batch_size,mean_ms", *lines])
        return file, Service(laws={size: constant(x) for size, x in zip(sizes, rounded_s, strict=True)})
    times_s = {size: _times(random, mean_s) for size, mean_s in zip(sizes, means_s, strict=True)}
    laws = {size: samples(one) for size, one in times_s.items()}
    if kind == "samples":
        lines = [f"{size},{1e3 * x:.6g}" for size, one in times_s.items() for x in one]
        return _written(path.with_suffix(".csv"), ["batch_size,latency_ms", *lines]), Service(laws=laws)
    beside = {
        "batch_work_s": _rounded(random.uniform(0.0, 0.1) * means_s[0]),
        "request_work_s": _rounded(random.uniform(0.0, 0.02) * means_s[0]),
        "wake_s": _rounded(random.uniform(0.0, 0.2) * means_s[0]),
        "request_overhead_s": _rounded(random.uniform(0.0, 0.3) * means_s[0]),
    }
    timings = [{"batch_size": size, "samples_s": one} for size, one in times_s.items()]
    document = {"schema_version": 1, "name": path.name, **beside, "timings": timings}
    file = _written(path.with_suffix(".json"), [json.dumps(document)])
    overhead_s = beside.pop("request_overhead_s")
    return file, Service(laws=laws, overhead_s=overhead_s, **beside)


def _sizes(random: np.random.Generator) -> list[int]:
    """Batch sizes from 1 to 8, 16, 32 or 64 by doubling, some of them left out."""
    largest = int(random.integers(3, 7))
    return [1, *(2**k for k in range(1, largest) if random.random() < 0.7), 2**largest]


def _times(random: np.random.Generator, mean_s: float) -> list[float]:
    """Measured batch times: a narrow hump, or a wide one, some with stragglers."""
    spread = float(random.choice([0.02, 0.1, 0.3]))
    times_s = mean_s * random.lognormal(-spread * spread / 2.0, spread, SAMPLES)
    if random.random() < 0.3:
        times_s[random.random(SAMPLES) < 0.03] *= 3.0
    return [_rounded(x) for x in times_s]


def _plain(file: Path) -> bool:
    """Whether `service_of` understands a bundled profile."""
    return "spell_share" not in (document := json.loads(file.read_text())) and _summed(document) is not None


def bundled(name: str) -> tuple[str, Service]:
    laws = _summed(json.loads((BUNDLED / f"{name}.json").read_text()))
    if laws is None:
        raise ValueError(f"the law of {name} is not an ordinary one")
    return name, Service(laws=laws)


def _summed(document: dict[str, list[dict[str, Number]]]) -> dict[int, Law] | None:
    """Laws of summaries; None if one of them is not the ordinary case."""
    laws = {}
    for timing in document["timings"]:
        if timing["batch_size"] > SIZE_MAX:
            continue
        knots = sorted((float(key[1:3]) / 100.0, 1e-3 * x) for key, x in timing.items() if key[0] == "p")
        law = summary(1e-3 * timing["mean_ms"], knots) if "mean_ms" in timing and len(knots) > 1 else None
        if law is None:
            return None
        laws[int(timing["batch_size"])] = law
    return laws


def summary(mean_s: float, knots: Sequence[tuple[float, float]]) -> Law | None:
    """Straight pieces through the percentiles, and a line at either end.

    The piece below makes the mean exact, the one beyond has the mean excess of the exponential tail through the last
    two. None if the piece below would begin too low or fall: the planner has other rules for these.
    """
    (first_u, first_s), (before_u, before_s), (last_u, last_s) = knots[0], knots[-2], knots[-1]
    excess_s = (last_s - before_s) / math.log((1.0 - before_u) / (1.0 - last_u))
    middle = math.fsum((u1 - u0) * (x0 + x1) / 2.0 for (u0, x0), (u1, x1) in pairwise(knots))
    body_s = (mean_s - middle - (last_s + excess_s) * (1.0 - last_u)) / first_u
    if not 2.0 / 3.0 * first_s <= body_s < first_s:
        return None
    ends = [(0.0, 2.0 * body_s - first_s), *knots, (1.0, last_s + 2.0 * excess_s)]
    return Law(kind="lines", u=tuple(u for u, _ in ends), x_s=tuple(x for _, x in ends))


# ---- text ----


def _rounded(value: float) -> float:
    """A value to four digits, so that the typed text is exact."""
    return float(f"{value:.4g}")


def _ms(time_s: float) -> str:
    return f"{1e3 * time_s:.6g}ms"


def _written(path: Path, lines: Sequence[str]) -> str:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return str(path)
