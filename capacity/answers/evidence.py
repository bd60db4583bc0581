"""Answers about measurements: of `audit`, `import` and `profile`, and of `explain` for a server's stages."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from capacity.answer.documents import Document, caveat_documents, dumps, plain
from capacity.answers.answer import Answer
from capacity.errors import CapacityError, InputError
from capacity.evidence.compared import ComparedRun
from capacity.evidence.finding import Belief, CheckFinding, verdict_of
from capacity.evidence.stages import sentences, waiting_of
from capacity.files import check_target, write_whole
from capacity.formats.load_test import LoadRun, LoadTest
from capacity.formats.own_load_test import load_test_to_document
from capacity.formats.own_workload import workload_to_document
from capacity.formats.running_plan import RunningPlan
from capacity.measurement.findings import Measurement
from capacity.profile.formats import profile_to_document
from capacity.profile.llm import CHECK_SHARE, LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document
from capacity.profile.llm_loads import Figure
from capacity.profile.profile import ServiceProfile
from capacity.question.caveat import Caveat
from capacity.traffic.workload import TraceArrivals

if TYPE_CHECKING:
    from capacity.render.plot import Plot


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AuditAnswer(Answer):
    """Whether a load test can be believed.

    Attributes:
        beside: predictions for each run; empty without a profile.
    """

    test: LoadTest
    findings: tuple[CheckFinding, ...]
    beside: tuple[ComparedRun, ...] = ()

    @property
    def belief(self) -> Belief:
        """The worst belief of the findings."""
        return verdict_of(self.findings)

    @property
    def exit_code(self) -> int:
        """0 if the figures can be used as they are, else 4."""
        return 0 if self.belief is Belief.HOLDS else 4

    def document(self) -> Document:
        """Document of `capacity audit --json`."""
        return {
            "verdict": self.belief.value,
            "exit_code": self.exit_code,
            "tool": self.test.tool,
            "file": self.test.name,
            "runs": [_run_document(run) for run in self.test.runs],
            "findings": plain(self.findings),
            "beside": [plain(one) for one in self.beside],
            "notes": list(self.test.notes),
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity audit`."""
        from capacity.render.evidence import audit_tables

        yield from audit_tables(self.test, self.findings, self.belief, self.beside, verbose=verbose)

    def rows(self) -> list[dict[str, Any]]:
        """One row a finding."""
        return [
            {
                "run": one.run,
                "check": one.check,
                "verdict": one.belief.value,
                "found": one.message,
                "fix": one.fix,
            }
            for one in self.findings
        ]

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("an audit has no figure; use to_frame()")


def _run_document(run: LoadRun) -> Document:
    """Summary of a run."""
    names = ("users", "rate_asked_rps", "throughput_rps", "succeeded", "failed", "mean_s", "max_s")
    quantiles = {f"{q:g}": _ends(one.value, one.low, one.high) for q, one in run.quantiles_s.items()}
    return {
        "name": run.name,
        "loop": run.loop.value,
        "loop_because": run.loop_because or None,
        **{name: getattr(run, name) for name in names},
        "response_quantiles_s": quantiles,
        "stages_s": dict(run.stages_s),
    }


def _ends(value: float, low: float, high: float) -> Document:
    return {
        "value": value if math.isfinite(value) else None,
        "low": low,
        "high": high if math.isfinite(high) else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StagesAnswer(Answer):
    """Where a request's time goes in a server, and why its queue is as long as it is."""

    test: LoadTest

    @property
    def summary(self) -> str:
        """The file, and the first reason, on one line."""
        reasons = chain.from_iterable(sentences(run) for run in self.test.runs if run.stages_s)
        return f"{self.test.tool}, {self.test.name}: {next(reasons, 'no stages')}".removesuffix(".")

    def document(self) -> Document:
        """Document of `capacity explain --json` for such a file."""
        return {
            "tool": self.test.tool,
            "file": self.test.name,
            "runs": [
                {
                    "name": run.name,
                    "stages_s": dict(run.stages_s),
                    "waiting": plain(waiting_of(run)),
                    "reasons": list(sentences(run)),
                }
                for run in self.test.runs
                if run.stages_s
            ],
            "notes": list(self.test.notes),
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity explain` for such a file."""
        from capacity.render.evidence import stage_tables

        yield from stage_tables(self.test)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each run, with a column for each stage. [s]"""
        return [{"run": run.name, **run.stages_s} for run in self.test.runs if run.stages_s]

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("the stages of a server have no figure; use to_frame()")


Imported = ServiceProfile | TraceArrivals | LoadTest | RunningPlan


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ImportAnswer(Answer):
    """Content of another tool's file, as a noun of this package.

    Attributes:
        tool: tool that wrote the file.
        kind: profile, workload, load-test or plan.
        others: other kinds that could have been read out of it.
    """

    tool: str
    kind: str
    found: Imported
    others: tuple[str, ...] = ()

    def document(self) -> Document:
        """Document of `capacity import --json`, as -o would write it."""
        return {
            "tool": self.tool,
            "kind": self.kind,
            "others": list(self.others),
            self._key: self._contents(),
        }

    @property
    def _key(self) -> str:
        return self.kind.replace("-", "_")

    def _contents(self) -> Document:
        match self.found:
            case ServiceProfile():
                return profile_to_document(self.found)
            case TraceArrivals():
                return workload_to_document(self.found)
            case LoadTest():
                return load_test_to_document(self.found)
            case RunningPlan():
                return {**plain(self.found), "flags": self.found.flags}

    def write(self, path: Path) -> None:
        """Write .json; a workload also as .csv with a column `t_s`.

        Raises:
            InputError: another suffix, or the file cannot be written.
        """
        is_workload = isinstance(self.found, TraceArrivals)
        check_target(path, f"a {self.kind}", (".json", ".csv") if is_workload else (".json",))
        if isinstance(self.found, TraceArrivals) and path.suffix.lower() == ".csv":
            first_s = self.found.instants_s[0]
            lines = ["t_s", *(repr(instant_s - first_s) for instant_s in self.found.instants_s)]
            write_whole(path, ("\n".join(lines) + "\n").encode())
            return
        write_whole(path, (dumps(self._contents()) + "\n").encode())

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of `capacity import`."""
        from capacity.render.evidence import import_tables

        also = f" It also holds a {' and a '.join(self.others)}: give --as." if self.others else ""
        yield Text(f"{self.tool}: a {self.kind}.{also}", style="bold")
        yield from import_tables(self.found)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each batch size, run, or instant."""
        match self.found:
            case ServiceProfile():
                return [
                    {"batch_size": b, "mean_s": self.found.service_mean_s(b)} for b in self.found.batch_sizes
                ]
            case TraceArrivals():
                return [{"t_s": instant_s} for instant_s in self.found.instants_s]
            case LoadTest():
                return [_run_document(run) for run in self.found.runs]
            case RunningPlan():
                row: dict[str, Any] = plain(self.found)
                return [row]

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("what was imported has no figure; use to_frame()")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MeasurementAnswer(Answer):
    """A profile that was measured, batch size by batch size.

    Attributes:
        found: what was measured of each size, and outside the batches.
        profile: the profile of it, which `plan` takes.
    """

    found: Measurement
    profile: ServiceProfile
    seed: int
    confidence: float

    @property
    def stop(self) -> BaseException | None:
        """The interrupt or the failure that ended the measurement early; None without one."""
        return self.found.stop

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Caveats of the measurement."""
        return self.found.caveats

    def document(self) -> Document:
        """Document of `capacity profile --json`."""
        from capacity.measurement.report import measurement_document

        return measurement_document(self.found, self.profile, seed=self.seed, confidence=self.confidence)

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of the measurement."""
        from capacity.measurement.report import measurement_tables

        return measurement_tables(self.found, self.profile)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each batch size."""
        return [
            {
                "batch_size": one.batch_size,
                "batches": one.count,
                "mean_s": self.profile.service_mean_s(one.batch_size),
            }
            for one in self.found.findings
        ]

    def write_profile(self, path: str | Path) -> None:
        """Write the profile as a .json file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        _write_profile(Path(path), profile_to_document(self.profile))

    def plot(self) -> "Plot":
        """Refuse: there is no figure.

        Raises:
            InputError: always.
        """
        raise InputError("a measurement has no figure; use to_frame()")


def _write_profile(path: Path, document: Document) -> None:
    check_target(path, "a profile", (".json",))
    write_whole(path, (dumps(document) + "\n").encode())


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LlmProfileAnswer(Answer):
    """A profile of a language model, derived from sweeps, from loads or from recorded steps.

    Attributes:
        checked_rps: throughput that its steps give in the saturated run that checks it; None without one.
            [requests/s]
        stop: that the steps miss the rate of that run; None if they do not, or nothing was checked.
        figures: figures of the loads that calibrated it, or of the requests that did not calibrate its host, measured
            and as it gives them; empty if none did.
    """

    profile: LlmProfile
    checked_rps: float | None
    caveats: tuple[Caveat, ...]
    stop: CapacityError | None = None
    figures: tuple[Figure, ...] = ()

    def document(self) -> Document:
        """Document of `capacity import --json` for such files, and of `capacity profile --llm --json`."""
        check = self.profile.check
        return {
            "profile": llm_profile_to_document(self.profile),
            "check": None
            if check is None or self.checked_rps is None
            else {
                "measured_rps": check.saturated_throughput_rps,
                "predicted_rps": self.checked_rps,
                "difference": self.checked_rps / check.saturated_throughput_rps - 1.0,
                "allowed": CHECK_SHARE,
            },
            "figures": plain(self.figures),
            "caveats": caveat_documents(self.caveats),
        }

    def tables(self, width: int, *, verbose: bool = False) -> Iterator[RenderableType]:
        """Tables of the profile."""
        from capacity.render.profiles import calibration_table, check_table, llm_profile_pieces
        from capacity.render.tables import caveat_lines

        yield from llm_profile_pieces(self.profile)
        yield check_table(self.profile, self.checked_rps)
        if self.figures:
            told = "others" if self.profile.calibration is None else "calibrated on"
            yield calibration_table(self.figures, told)
        yield from caveat_lines(self.caveats)

    def rows(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [asdict(step) for step in self.profile.steps]

    def write_profile(self, path: str | Path) -> None:
        """Write the profile as a .json file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        _write_profile(Path(path), llm_profile_to_document(self.profile))

    def plot(self) -> "Plot":
        """Refuse: there is no figure yet.

        Raises:
            InputError: always.
        """
        raise InputError("the profile of a language model has no figure yet; use to_frame()")
