"""Loop: `python -m serve_api.loop` trains, serves, measures, plans, deploys and verifies, and reports.

It shows the predicted P99 beside the measured one, by one command on one machine. `capacity` is run as anybody runs
it, by its command line; the output of each stage is kept in the output folder.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from capacity.commands.guard import Guarded
from capacity.commands.options import option
from capacity.errors import InconclusiveError, InputError
from capacity.files import write_whole
from capacity.question.parse import read_choice
from capacity.units import format_duration, parse_duration_s, parse_rate_rps
from serve_api.models.metadata import Precision, next_free
from serve_api.models.store import Artifact, ArtifactStore
from serve_api.replica import Replica, example, pinned, running
from serve_api.train import HIDDEN, ModelKind, Recipe, train_into

_OK = 0
_ANSWERS = (_OK, 3, 4)  # of `capacity`: as asked, missed, or undecided; the report says which


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """What to plan, and how long each stage takes."""

    output: Path
    model: ModelKind = ModelKind.MLP
    hidden: int = HIDDEN
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)  # the largest limits what can be planned
    samples: int = 500  # batches of each size
    rate: str = "120rps"
    slo_p99: str = "60ms"
    duration: str = "60s"
    runs: int = 3

    def __post_init__(self) -> None:
        parse_rate_rps(self.rate, "--rate")
        parse_duration_s(self.slo_p99, "--slo-p99")
        parse_duration_s(self.duration, "--duration")

    @property
    def artifacts(self) -> Path:
        """Store of the model's versions."""
        return self.output / "artifacts" / self.model


@dataclass(slots=True, kw_only=True)
class Loop:
    """One pass through all stages, with their output as Markdown, and the exit code of the last one."""

    settings: LoopSettings
    report: list[str] = field(default_factory=list)
    exit_code: int = _OK

    def run(self) -> None:
        """Run all stages; without a plan nothing is deployed. The results of earlier stages stay if one fails."""
        settings = self.settings
        try:
            settings.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"-o cannot be a folder ({error.strerror}); name another") from None
        self.report += ["# Measured, planned, deployed, verified", ""]
        self.report += [f"{self._train()}, {settings.rate}, P99 <= {settings.slo_p99}."]
        self._measure()
        plan = self._plan()
        if plan is None:
            self.report += ["", "Nothing was deployed."]
        else:
            self._verify(plan)
        write_whole(self._file("report.md"), ("\n".join(self.report) + "\n").encode())

    def _train(self) -> str:
        """Train the requested model, unless an earlier loop left it."""
        settings, store = self.settings, ArtifactStore(self.settings.artifacts)
        recipe = Recipe(kind=settings.model, hidden=settings.hidden)
        found = kept(store, recipe)
        origin = "" if found is None else " of an earlier loop"
        if found is None:
            typer.echo("train ...", err=True)
            found = train_into(store, recipe, next_free("v1.0.0", store.versions()))
            store.set_current(found.version)
        body = json.dumps({"instances": [example(settings.artifacts)]})
        write_whole(self._file("request.json"), body.encode())
        return f"{settings.model} {found.version}{origin}, {found.metadata.parameters:,} parameters"

    def _measure(self) -> None:
        """Measure the profile of one replica, alone on its core."""
        settings = self.settings
        size_max = max(settings.batch_sizes)
        replica = Replica(artifacts=settings.artifacts, batch_size_max=size_max, core=_cores()[0])
        with running(replica, self._file("profiled.log")) as url:
            self._capacity(
                "profile", "--url", f"{url}/predict", "--body", str(self._file("request.json")),
                "--counters", f"{url}/metrics", "--batch-sizes", ",".join(map(str, settings.batch_sizes)),
                "--samples", str(settings.samples), "--name", f"{settings.model}-here", "--kind", "cpu",
                "-o", str(self._file("profile.json")), answers=(_OK,),
            )  # fmt: skip

    def _plan(self) -> dict[str, Any] | None:
        """Plan for the objective; None if no plan meets it."""
        self._capacity(
            "plan", "--profile", str(self._file("profile.json")), "--rate", self.settings.rate,
            "--slo-p99", self.settings.slo_p99, "-o", str(self._file("plan.json")),
        )  # fmt: skip
        saved = json.loads(self._file("plan.json").read_text(encoding="utf-8"))
        found: dict[str, Any] | None = saved["answer"]["recommendation"]
        return found

    def _verify(self, plan: dict[str, Any]) -> None:
        """Load the planned replicas, and compare their prediction with the measurement."""
        settings = self.settings
        with ExitStack() as fleet:
            addresses: list[str] = []
            for number, core in enumerate(placed(plan["replicas"])):
                replica = Replica(
                    artifacts=settings.artifacts,
                    batch_size_max=plan["batch_size_max"],
                    batch_wait_max_s=plan["batch_wait_max_s"],
                    core=core,
                )
                url = fleet.enter_context(running(replica, self._file(f"replica-{number}.log")))
                addresses += ["--url", f"{url}/predict"]
            self._capacity(
                "verify", *addresses, "--plan", str(self._file("plan.json")),
                "--body", str(self._file("request.json")), "--duration", settings.duration,
                "--runs", str(settings.runs), "-o", str(self._file("verification.json")),
            )  # fmt: skip

    def _file(self, name: str) -> Path:
        return self.settings.output / name

    def _capacity(self, verb: str, *arguments: str, answers: Sequence[int] = _ANSWERS) -> None:
        """Run a command of `capacity` on the core that replicas use last; keep its output."""
        typer.echo(f"{verb} ...", err=True)
        began_s = time.monotonic()
        program = Path(sys.executable).with_name("capacity")
        if not program.exists():
            raise InputError("the capacity command is not installed here; pip install '.[measure,train]'")
        with pinned(_cores()[-1]):
            done = subprocess.run([program, verb, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        self.exit_code = done.returncode
        if not done.stdout or done.returncode not in answers:
            raise typer.Exit(done.returncode or 1)  # it has said why
        took = format_duration(time.monotonic() - began_s)
        self.report += ["", f"## {verb.capitalize()}", "", f"It took {took}.", "", "```"]
        self.report += [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
        self.report += ["```"]


def kept(store: ArtifactStore, recipe: Recipe) -> Artifact | None:
    """The current version of a store, if it has the recipe's kind, seed and size."""
    if store.current() is None:
        return None
    found = store.load()
    known = found.metadata
    wanted = (recipe.kind, Precision.FP32, recipe.seed, recipe.parameters(len(known.features)))
    return found if (known.model, known.precision, known.seed, known.parameters) == wanted else None


def placed(replicas: int) -> list[int]:
    """A core for each replica; the load generator's is taken last.

    Raises:
        InconclusiveError: more replicas than cores, with contention that the plan does not know.
    """
    usable = _cores()
    if replicas > len(usable):
        raise InconclusiveError(
            f"the plan asks for {replicas} replicas and this machine has {len(usable)} cores, one for each "
            "replica; lower the rate or loosen the objective"
        )
    return usable[:replicas]


def _cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


_USUAL = LoopSettings(output=Path("loop"))
# To see that each stage works and the report is complete; the figures are worthless.
_SHORT = {"hidden": 256, "batch_sizes": (1, 4, 8), "samples": 40, "duration": "10s", "runs": 1}

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def loop(
    output: Annotated[Path, option("-o", "--output", help="Folder for all that comes out.")] = _USUAL.output,
    model: Annotated[str, option("--model", help="logistic or mlp.")] = _USUAL.model.value,
    rate: Annotated[str, option("--rate", help="Arrival rate to plan for.")] = _USUAL.rate,
    slo_p99: Annotated[str, option("--slo-p99", help="Limit on P99 to plan for.")] = _USUAL.slo_p99,
    duration: Annotated[str, option("--duration", help="Of each load test.")] = _USUAL.duration,
    runs: Annotated[int, option("--runs", help="Load tests.")] = _USUAL.runs,
    samples: Annotated[
        int, option("--samples", help="Batches of each size in the profile.")
    ] = _USUAL.samples,
    short: Annotated[
        bool, option("--short", help="A small model and little of everything, to see that all works.")
    ] = False,
) -> None:
    """Train, serve, measure, plan, deploy the planned replicas here, verify, and write report.md.

    Figures are only as good as the machine is quiet. The exit code is that of `capacity verify`: 0 if prediction and
    measurement agree and the objective is met; without a plan, that of `capacity plan`.
    """
    kind = read_choice(ModelKind, model, "--model")
    took: dict[str, Any] = _SHORT if short else {"samples": samples, "duration": duration, "runs": runs}
    work = Loop(settings=LoopSettings(output=output, model=kind, rate=rate, slo_p99=slo_p99, **took))
    work.run()
    typer.echo("\n".join(work.report))
    raise typer.Exit(work.exit_code)


if __name__ == "__main__":
    app(prog_name="python -m serve_api.loop")
