"""Demo: `python -m serve_api.demo` takes a model from training to a verified fleet, a line for each stage.

Train, publish, serve, canary, profile, plan, render, deploy, verify, report, by one command on one machine. What has a
command is run by its command line, as anybody runs it; the output of each is kept in the report.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.request import Request, urlopen

import typer

from capacity.commands.guard import Guarded
from capacity.commands.options import option
from capacity.errors import InconclusiveError, InputError
from capacity.files import write_whole
from capacity.profile.load import load_profile
from capacity.units import format_duration, format_quantile, parse_duration_s, parse_rate_rps
from serve_api.balancer import balanced, installed
from serve_api.models.metadata import Precision, next_free
from serve_api.models.store import Artifact, ArtifactStore
from serve_api.quantize import quantize_into
from serve_api.replica import Replica, example, in_front, pinned, put_in_front, running
from serve_api.train import ModelKind, Recipe, train_into

_OK = 0
_ANSWERS = (_OK, 3, 4)  # of `capacity`: as asked, missed, or undecided; the report says which
_LOADING = ("profile", "verify")  # commands that send requests by the clock
# Ranks of priority: load goes before the event loops of servers and the balancer, and these before inference.
_LOAD_RANK, _LOOP_RANK = 3, 2
_CANARY_SHARE, _CANARY_REQUESTS = 0.2, 200
_SWAP_S = 20.0  # patience with a server that looks at its store every second


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What to plan, and how long each stage takes."""

    output: Path
    hidden: int = 3072
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)  # the largest limits what can be planned
    samples: int = 200  # batches of each size
    rate: str = "200rps"
    slo_p99: str = "60ms"
    duration: str = "25s"
    runs: int = 2

    def __post_init__(self) -> None:
        parse_rate_rps(self.rate, "--rate")
        parse_duration_s(self.slo_p99, "--slo-p99")
        parse_duration_s(self.duration, "--duration")

    @property
    def built(self) -> Path:
        """Store that models are trained into."""
        return self.output / "built" / ModelKind.MLP

    @property
    def built_small(self) -> Path:
        """Store of their forms in eight bits."""
        return self.output / "built" / f"{ModelKind.MLP}-{Precision.INT8}"

    @property
    def artifacts(self) -> Path:
        """Store that servers read."""
        return self.output / "artifacts" / ModelKind.MLP


@dataclass(slots=True, kw_only=True)
class Demo:
    """One pass through all stages.

    Attributes:
        lines: what each stage came to.
        report: the output of each command, as Markdown.
        exit_code: that of the last command that judges.
        version, canary: versions of the model, and of its form in eight bits.
        url: address of what is served now.
        plan: the recommended plan; None without one.
        urls, metrics: addresses of what was deployed, and of its replicas' metrics.
    """

    settings: DemoSettings
    lines: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    exit_code: int = _OK
    version: str = ""
    canary: str = ""
    url: str = ""
    plan: dict[str, Any] | None = None
    urls: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Run all stages; without a plan nothing is deployed. The results of earlier stages stay if one fails."""
        try:
            self.settings.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"-o cannot be a folder ({error.strerror}); name another") from None
        self._stage("train", self._train)
        self._stage("publish", self._publish)
        with ExitStack() as until:
            self._stage("serve", lambda: self._serve(until))
            self._stage("canary", self._try_canary)
        self._stage("profile", self._profile)
        self._stage("plan", self._find_plan)
        if self.plan is not None:
            self._stage("render", self._render)
            with ExitStack() as until:
                self._stage("deploy", lambda: self._deploy(until))
                self._stage("verify", self._verify)
        self._stage("report", self._write_report)

    def _stage(self, name: str, work: Callable[[], str]) -> None:
        """Run a stage, and say in a line what it came to and how long it took."""
        began_s = time.monotonic()
        said = work()
        self.lines.append(f"{name:<8} {said} ({format_duration(time.monotonic() - began_s)})")
        typer.echo(self.lines[-1])

    def _train(self) -> str:
        """Train a model, and write it in eight bits too, unless an earlier demo left both."""
        from serve_api.models.dataset import breast_cancer

        built, eight = ArtifactStore(self.settings.built), ArtifactStore(self.settings.built_small)
        recipe = Recipe(kind=ModelKind.MLP, hidden=self.settings.hidden)
        found = kept(built, recipe)
        origin = "" if found is None else ", of an earlier demo"
        if found is None:
            found = train_into(built, recipe, next_free("v1.0.0", built.versions()))
            built.set_current(found.version)
        small = made_of(eight, found) or quantize_into(
            eight, found, breast_cancer(), next_free("v1.1.0", eight.versions())
        )
        self.version, self.canary = found.version, small.version
        right, of_small = (one.metadata.metrics["test_accuracy"] for one in (found, small))
        return (
            f"mlp {self.version}, {found.metadata.parameters:,} parameters, {100 * right:.1f} % of test rows right; "
            f"in eight bits {self.canary}, {100 * of_small:.1f} %{origin}"
        )

    def _publish(self) -> str:
        """Copy both versions into the store that servers read, and let them serve the first."""
        settings = self.settings
        artifacts = ("--artifacts", str(settings.artifacts))
        self._serve_api("publish", self.version, "--from", str(settings.built), *artifacts)
        self._serve_api("publish", self.canary, "--from", str(settings.built_small), *artifacts)
        self._serve_api("promote", self.version, *artifacts)
        body = json.dumps({"instances": [example(settings.artifacts)]})
        write_whole(self._file("request.json"), body.encode())
        return f"{self.version} and {self.canary} copied and checked, {self.version} current"

    def _serve(self, until: ExitStack) -> str:
        """Start a server with a canary."""
        flags = ("--canary", self.canary, "--canary-share", str(_CANARY_SHARE))
        one = Replica(artifacts=self.settings.artifacts, batch_size_max=1, core=_cores()[0], flags=flags)
        self.url = until.enter_context(running(one, self._file("served.log")))
        return f"{self.version} answers, {self.canary} has {100 * _CANARY_SHARE:.0f} % of the batches"

    def _try_canary(self) -> str:
        """Ask, count who answered, and promote the canary if it answers as the other version does.

        Raises:
            InconclusiveError: the versions answer differently, or the canary is not served after its promotion.
        """
        answers = [self._answer(self.url) for _ in range(_CANARY_REQUESTS)]
        served = Counter(one["model_version"] for one in answers)
        classes = {str(one["predictions"]) for one in answers}
        if not served[self.canary] or len(classes) > 1:
            raise InconclusiveError(
                f"the canary has {served[self.canary]} answers, {len(classes)} classes; not promoted"
            )
        self._serve_api("promote", self.canary, "--artifacts", str(self.settings.artifacts))
        began_s = time.monotonic()
        while any(self._answer(self.url)["model_version"] != self.canary for _ in range(2)):
            if time.monotonic() - began_s > _SWAP_S:
                raise InconclusiveError(f"{self.canary} was promoted and is not served")
            time.sleep(0.1)
        swapped = format_duration(time.monotonic() - began_s)
        return (
            f"{self.canary} answered {served[self.canary]} of {_CANARY_REQUESTS} requests, all as {self.version} did; "
            f"promoted, served after {swapped}"
        )

    def _answer(self, url: str) -> Any:
        body = self._file("request.json").read_bytes()
        with urlopen(Request(f"{url}/predict", body), timeout=10.0) as answer:  # noqa: S310  (of this machine)
            return json.load(answer)

    def _put_in_front(self, urls: Sequence[str]) -> None:
        """Let servers go before other work of this machine, once a first answer has started all their threads."""
        for url in urls:
            self._answer(url)
        put_in_front(os.getpid(), main=_LOOP_RANK)

    def _profile(self) -> str:
        """Measure the profile of one replica, alone on its core."""
        settings = self.settings
        size_max = max(settings.batch_sizes)
        replica = Replica(artifacts=settings.artifacts, batch_size_max=size_max, core=_cores()[0])
        with running(replica, self._file("profiled.log")) as url:
            self._put_in_front([url])
            self._capacity(
                "profile", "--url", f"{url}/predict", "--body", str(self._file("request.json")),
                "--counters", f"{url}/metrics", "--batch-sizes", ",".join(map(str, settings.batch_sizes)),
                "--samples", str(settings.samples), "--name", "mlp-here", "--kind", "cpu",
                "-o", str(self._file("profile.json")), answers=(_OK,),
            )  # fmt: skip
        profile = load_profile(str(self._file("profile.json")))
        ends = (profile.batch_sizes[0], profile.batch_sizes[-1])
        told = (f"{size} in {format_duration(profile.service_mean_s(size))}" for size in ends)
        return f"{self.canary} on one core: a batch of {', of '.join(told)}"

    def _find_plan(self) -> str:
        """Plan for the objective, also with one replica gone."""
        settings = self.settings
        self._capacity(
            "plan", "--profile", str(self._file("profile.json")), "--rate", settings.rate,
            "--slo-p99", settings.slo_p99, "--survive", "n-1", "-o", str(self._file("plan.json")),
        )  # fmt: skip
        answer = self._read("plan.json")["answer"]
        self.plan = answer["recommendation"]
        asked = f"P99 <= {settings.slo_p99} at {settings.rate} with a replica gone"
        if self.plan is None:
            return f"no plan for {asked}; nothing was deployed"
        count = self.plan["replicas"]
        return f"{count} replicas with batches up to {self.plan['batch_size_max']} for {asked}: {answer['verdict']}"

    def _render(self) -> str:
        """Write the settings of the servers, and of the balancer if one is installed."""
        targets = ["serve-api", *filter(None, [installed()])]
        flags = [word for name in targets for word in ("--target", name)]
        folder = self._file("deploy")
        self._capacity("render", str(self._file("plan.json")), *flags, "-o", f"{folder}/", answers=(_OK,))
        return f"{', '.join(sorted(path.name for path in folder.iterdir() if path.suffix != '.here'))}"

    def _deploy(self, until: ExitStack) -> str:
        """Start the planned replicas with the rendered settings, behind the balancer with its rendered file."""
        assert self.plan is not None  # noqa: S101  (else nothing is deployed)
        folder, urls = self._file("deploy"), list[str]()
        for number, core in enumerate(placed(self.plan["replicas"])):
            flags = flags_of((folder / "serve-api.env").read_text(encoding="utf-8"))
            one = Replica(artifacts=self.settings.artifacts, core=core, flags=flags)
            urls.append(until.enter_context(running(one, self._file(f"replica-{number}.log"))))
        self.metrics = [f"{url}/metrics" for url in urls]
        self.urls, name, said = urls, installed(), f"{len(urls)} servers"
        if name is not None:
            (file,) = (path for path in folder.iterdir() if path.name in ("haproxy.cfg", "nginx.conf"))
            text = file.read_text(encoding="utf-8")
            self.urls = [until.enter_context(balanced(name, text, urls, folder))]
        self._put_in_front(urls)
        if name is None:
            return f"{said}; neither HAProxy nor nginx is installed, so the clients take turns"
        return f"{said} behind {name} with its rendered file"

    def _verify(self) -> str:
        """Load what was deployed, and compare its prediction with the measurement."""
        settings = self.settings
        urls = (word for url in self.urls for word in ("--url", f"{url}/predict"))
        metrics = (word for url in self.metrics for word in ("--metrics", url))
        self._capacity(
            "verify", *urls, *metrics, "--plan", str(self._file("plan.json")),
            "--body", str(self._file("request.json")), "--duration", settings.duration,
            "--runs", str(settings.runs), "-o", str(self._file("verification.json")),
        )  # fmt: skip
        return verdict_words(self._read("verification.json"))

    def _write_report(self) -> str:
        """The page of the plan, and what all stages and commands said."""
        if self.plan is not None:
            self._capacity(
                "report", str(self._file("plan.json")), "-o", str(self._file("report.html")), answers=(_OK,)
            )
        table = ["# A model from training to a verified fleet", "", "```", *self.lines, "```"]
        write_whole(self._file("report.md"), ("\n".join([*table, *self.report]) + "\n").encode())
        return "report.md" if self.plan is None else "report.md, and report.html about the plan"

    def _file(self, name: str) -> Path:
        return self.settings.output / name

    def _read(self, name: str) -> Any:
        return json.loads(self._file(name).read_text(encoding="utf-8"))

    def _serve_api(self, verb: str, *arguments: str) -> None:
        """Run a command of the server's stores."""
        self._run(verb, [sys.executable, "-m", "serve_api", verb, *arguments])

    def _capacity(self, verb: str, *arguments: str, answers: Sequence[int] = _ANSWERS) -> None:
        """Run a command of `capacity`, and keep a judgement's exit code.

        Load is sent from the core that replicas use last, before all else that runs there: a late request would tell
        of this machine.
        """
        program = Path(sys.executable).with_name("capacity")
        if not program.exists():
            raise InputError("the capacity command is not installed here; pip install '.[measure,train]'")
        is_loading = verb in _LOADING
        with (
            pinned(_cores()[-1] if is_loading else None),
            in_front(_LOAD_RANK) if is_loading else nullcontext(),
        ):
            code = self._run(verb, [str(program), verb, *arguments], answers)
        if answers is _ANSWERS:
            self.exit_code = code

    def _run(self, title: str, words: Sequence[str], answers: Sequence[int] = (_OK,)) -> int:
        """Run a command and keep its output; its exit code."""
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode not in answers or (done.returncode and not done.stdout):
            typer.echo(done.stderr.strip(), err=True)
            raise typer.Exit(done.returncode or 1)
        said = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
        self.report += ["", f"## {title.capitalize()}", "", "```", *said, "```"] if said else []
        return done.returncode


def verdict_words(verification: dict[str, Any]) -> str:
    """The verdict of a verification, with the highest quantile that was measured beside its prediction.

    >>> found = {"response_quantiles_s": {"0.5": {"value": 0.002}, "0.99": {"value": 0.008}}}
    >>> verdict_words({"verdict": "agree", "measured": found, "predicted": {"stationary": {"performance": found}}})
    'agree: P99 8 ms measured, 8 ms predicted'
    """
    measured = verification["measured"]["response_quantiles_s"]
    predicted = verification["predicted"]["stationary"]["performance"]["response_quantiles_s"]
    both = sorted((q for q in measured if q in predicted), key=float)
    if not both:
        return f"{verification['verdict']}: no quantile was measured"
    one, other = (format_duration(found[both[-1]]["value"]) for found in (measured, predicted))
    void = "; void, report.md says why" if verification["verdict"] == "invalid" else ""
    return f"{verification['verdict']}: {format_quantile(float(both[-1]))} {one} measured, {other} predicted{void}"


def flags_of(environment: str) -> tuple[str, ...]:
    """The settings of a rendered `serve-api.env` as flags of the server.

    >>> flags_of("# from a plan\\nSERVE_BATCH_SIZE_MAX=8\\n")
    ('--batch-size-max', '8')
    """
    lines = [line for line in environment.splitlines() if line and not line.startswith("#")]
    pairs = (line.removeprefix("SERVE_").split("=", 1) for line in lines)
    return tuple(word for name, value in pairs for word in (f"--{name.lower().replace('_', '-')}", value))


def kept(store: ArtifactStore, recipe: Recipe) -> Artifact | None:
    """The current version of a store, if it has the recipe's kind, seed and size."""
    if store.current() is None:
        return None
    found = store.load()
    known = found.metadata
    wanted = (recipe.kind, Precision.FP32, recipe.seed, recipe.parameters(len(known.features)))
    return found if (known.model, known.precision, known.seed, known.parameters) == wanted else None


def made_of(store: ArtifactStore, model: Artifact) -> Artifact | None:
    """The last version of a store, if it was made of this model."""
    if not store.versions():
        return None
    found = store.load(store.versions()[-1])
    source = found.metadata.source
    return found if source is not None and source.version == model.version else None


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


_USUAL = DemoSettings(output=Path("demo"))
# To see that each stage works and the report is complete; the figures are worthless.
_SHORT = {"hidden": 256, "batch_sizes": (1, 4, 8), "samples": 40, "duration": "10s", "runs": 1}

app = typer.Typer(cls=Guarded, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, subcommand_metavar="")
def demo(
    output: Annotated[Path, option("-o", "--output", help="Folder for all that comes out.")] = _USUAL.output,
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
    """Train, publish, serve, try a canary, profile, plan, render, deploy here, verify, and report, a line for each.

    Figures are only as good as the machine is quiet. The exit code is that of `capacity verify`: 0 if prediction and
    measurement agree and the objective is met; without a plan, that of `capacity plan`.
    """
    took: dict[str, Any] = _SHORT if short else {"samples": samples, "duration": duration, "runs": runs}
    work = Demo(settings=DemoSettings(output=output, rate=rate, slo_p99=slo_p99, **took))
    work.run()
    raise typer.Exit(work.exit_code)


if __name__ == "__main__":
    app(prog_name="python -m serve_api.demo")
