"""Loop stages on one machine: train, measure, plan, deploy and verify, each as a person would run it.

`capacity` is run as anybody runs it, by its command line; what each stage says is kept in the output folder.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from capacity.errors import InconclusiveError, InputError
from capacity.objective import LatencyObjective
from capacity.reading import printable
from capacity.units import format_duration, parse_duration_s, parse_rate_rps
from capacity.writing import write_whole
from serve_api.local_server import Replica, pinned, running
from serve_api.loop_command import installed, run
from serve_api.loop_model import free_version, kept
from serve_api.store import ArtifactStore
from serve_api.training import HIDDEN, ModelKind, Recipe

# What `capacity` ends with where it has an answer: as was asked for, the objective is missed, or it cannot be
# told. The report says which.
_ANSWERS = (0, 3, 4)
# As `capacity profile` and `capacity verify` have it.
_DURATION_MAX_S, _RUNS_MAX, _SAMPLES_MAX = 3600.0, 100, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """What is to be planned and how long each stage takes.

    Attributes:
        output: folder for all that comes out.
        hidden: width of the heavy model.
        batch_sizes: that are measured; the largest bounds what can be planned.
        samples: batches of each size.
        rate, slo_p99: as `capacity plan` takes them.
        duration, runs: of the load test.
        flags: of every replica, such as its limits.

    Raises:
        InputError: what a stage would refuse, minutes later.
    """

    output: Path
    model: ModelKind = ModelKind.MLP
    hidden: int = HIDDEN
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    samples: int = 500
    rate: str = "120rps"
    slo_p99: str = "60ms"
    duration: str = "60s"
    runs: int = 3
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        parse_rate_rps(self.rate, "--rate")
        LatencyObjective(limits={0.99: parse_duration_s(self.slo_p99, "--slo-p99")})
        if not 0.0 < parse_duration_s(self.duration, "--duration") <= _DURATION_MAX_S:
            raise InputError(f"--duration must be above 0 and at most 1h, got {self.duration}")
        for flag, number, most in (
            ("--runs", self.runs, _RUNS_MAX),
            ("--samples", self.samples, _SAMPLES_MAX),
        ):
            if not 1 <= number <= most:
                raise InputError(f"{flag} must be from 1 to {most}, got {number}")

    def shortened(self) -> Self:
        """To see that each stage works and the report is complete; the figures are worth nothing."""
        return replace(self, hidden=256, batch_sizes=(1, 4, 8), samples=40, duration="10s", runs=1)

    @property
    def recipe(self) -> Recipe:
        """Of the model that is to be measured."""
        return Recipe(kind=self.model, hidden=self.hidden)

    @property
    def artifacts(self) -> Path:
        """Store of the model's versions."""
        return self.output / "artifacts" / self.model

    @property
    def body(self) -> Path:
        """A request of one row, as the load test sends it."""
        return self.output / "request.json"


@dataclass(slots=True, kw_only=True)
class Loop:
    """One way through all stages; each leaves its name, how long it took and what it has to say."""

    settings: LoopSettings
    tell: Callable[[str], None]
    stages: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """All stages, to the report's document; without a verification where there is no plan to deploy.

        Raises:
            CapacityError: a stage failed; what the ones before it left stays.
        """
        _make_folder(self.settings.output)
        with self._stage("train"):
            model = self._train()
        with self._stage("measure"):
            profile = self._measure()
        with self._stage("plan") as said:
            plan = self._plan(profile)
            said["verdict"] = plan["verdict"]
        verification = None
        if plan["recommendation"] is not None:
            with self._stage("deploy and verify") as said:
                verification = self._verify(plan)
                said["verdict"] = verification["verdict"]
        return {
            "stages": self.stages,
            "model": model,
            "profile": json.loads(profile.read_text(encoding="utf-8")),
            "plan": plan,
            "verification": verification,
        }

    @contextmanager
    def _stage(self, name: str) -> Iterator[dict[str, Any]]:
        """What happens within is timed and told."""
        self.tell(f"{name} ...")
        began_s = time.monotonic()
        said: dict[str, Any] = {"stage": name}
        yield said
        said["duration_s"] = round(time.monotonic() - began_s, 1)
        self.stages.append(said)
        self.tell(f"{name}: {format_duration(said['duration_s'])}")

    def _train(self) -> dict[str, Any]:
        """The model that is asked for, trained beside another that an earlier loop may have left."""
        settings, store = self.settings, ArtifactStore(self.settings.artifacts)
        found = kept(store, settings.recipe)
        trained = found is None
        if found is None:
            run(
                [
                    sys.executable, "-m", "serve_api.train", "--artifacts", str(settings.artifacts.parent),
                    "--model", settings.model, "--hidden", str(settings.hidden),
                    "--seed", str(settings.recipe.seed), "--version", free_version(store), "--promote",
                ]
            )  # fmt: skip
            found = store.load()
        write_whole(settings.body, json.dumps({"instances": [example(settings.artifacts)]}).encode())
        return {
            "name": settings.model.value,
            "version": found.version,
            "hidden": settings.hidden if settings.model is ModelKind.MLP else None,
            "parameters": found.metadata.parameters,
            "trained": trained,
        }

    def _measure(self) -> Path:
        """The profile of one replica, alone on its core."""
        settings, profile = self.settings, self.settings.output / "profile.json"
        replica = self._replica(max(settings.batch_sizes), 0.0, cores()[0])
        with running(replica, settings.output / "profiled.log") as url:
            self._capacity(
                "profile", "--url", f"{url}/predict", "--body", str(settings.body),
                "--counters", f"{url}/metrics",
                "--batch-sizes", ",".join(map(str, settings.batch_sizes)),
                "--samples", str(settings.samples), "--name", f"{settings.model}-here", "--kind", "cpu",
                "-o", str(profile),
            )  # fmt: skip
        return profile

    def _plan(self, profile: Path) -> dict[str, Any]:
        """The plan for the objective, as its file has it."""
        settings, file = self.settings, self.settings.output / "plan.json"
        return self._capacity(
            "plan", "--profile", str(profile), "--rate", settings.rate, "--slo-p99", settings.slo_p99,
            "-o", str(file),
            answers=_ANSWERS,
        )  # fmt: skip

    def _verify(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The planned replicas under load, and the prediction beside what is measured of them."""
        settings, wanted = self.settings, plan["recommendation"]
        with ExitStack() as fleet:
            urls = [
                fleet.enter_context(
                    running(
                        self._replica(wanted["batch_size_max"], wanted["batch_wait_max_s"], core),
                        settings.output / f"replica-{number}.log",
                    )
                )
                for number, core in enumerate(placed(wanted["replicas"]))
            ]
            addresses = [word for url in urls for word in ("--url", f"{url}/predict")]
            return self._capacity(
                "verify", *addresses, "--plan", str(settings.output / "plan.json"),
                "--body", str(settings.body), "--duration", settings.duration, "--runs", str(settings.runs),
                "-o", str(settings.output / "verification.json"),
                answers=_ANSWERS,
            )  # fmt: skip

    def _replica(self, batch_size_max: int, batch_wait_max_s: float, core: int) -> Replica:
        return Replica(
            artifacts=self.settings.artifacts,
            batch_size_max=batch_size_max,
            batch_wait_max_s=batch_wait_max_s,
            core=core,
            flags=self.settings.flags,
        )

    def _capacity(self, *arguments: str, answers: Sequence[int] = (0,)) -> dict[str, Any]:
        """What a `capacity` command answers as JSON, from the core that no replica is first to use."""
        with pinned(cores()[-1]):
            found: dict[str, Any] = json.loads(run([installed(), *arguments, "--json"], answers))
        return found


def cores() -> list[int]:
    """The cores of this machine that we may use."""
    return sorted(os.sched_getaffinity(0))


def placed(replicas: int) -> list[int]:
    """A core for each replica, the driver's the last to be taken.

    Raises:
        InconclusiveError: more replicas than cores, whose contention the plan knows nothing of.
    """
    usable = cores()
    if replicas > len(usable):
        raise InconclusiveError(
            f"the plan asks for {replicas} replicas and this machine has {len(usable)} cores, of which each "
            "takes one; lower the rate or loosen the objective"
        )
    return usable[:replicas]


def example(artifacts: Path) -> list[float]:
    """A row as the model was trained on: the mean of each feature."""
    scaler = json.loads((artifacts / "current" / "scaler.json").read_text(encoding="utf-8"))
    return [float(value) for value in scaler["mean"]]


def _make_folder(path: Path) -> None:
    """A folder, if there is none.

    Raises:
        InputError: there cannot be one.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"-o {printable(str(path))[:80]} cannot be a folder ({error.strerror}); name another"
        ) from None
