"""Saved parts: what the file of a plan holds for any kind of server: workload, objective, survival and effort."""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from capacity.answer.documents import plain
from capacity.errors import InputError
from capacity.files import printable
from capacity.json_text import Line, read_as
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.resilience import Survival
from capacity.search.recommendation import Certificate
from capacity.traffic.clients import PATIENT, Clients
from capacity.traffic.workload import (
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
    is_patient,
)

MAKE_AGAIN = "make it again with capacity plan ... -o"

# Instants that a document holds of a trace; a longer trace is known by its digest.
INSTANTS_MAX = 100_000
# Arrival processes with nothing but numbers, by their saved name.
_PROCESSES: dict[str, type[Any]] = {
    "poisson": PoissonArrivals,
    "deterministic": DeterministicArrivals,
    "gamma": GammaArrivals,
    "mmpp": MmppArrivals,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDocument:
    """A trace in a document: in full, or by name and digest if it is too long."""

    name: Line
    instants: int
    sha256: str
    instants_s: tuple[float, ...] | None
    path: Line | None = None

    def trace(self, given: ArrivalProcess | None, where: str) -> TraceArrivals:
        """The trace in the document, or else the one given with it.

        Raises:
            InputError: it was edited, is missing, or is another trace.
        """
        if self.instants_s is not None:
            found = TraceArrivals(instants_s=self.instants_s, name=self.name, path=self.path)
            if trace_digest(found) != self.sha256 or len(self.instants_s) != self.instants:
                raise InputError(
                    f"{where} was edited after the plan was made (its sha256 is another); make the plan again"
                )
            return found
        if not isinstance(given, TraceArrivals):
            raise InputError(
                f"the plan was made with a trace of {self.instants} arrivals, too long to be kept in "
                f"its file; give it again by --arrivals trace:{printable(self.path or self.name)}"
            )
        if trace_digest(given) != self.sha256:
            raise InputError(
                f"--arrivals trace:{printable(given.name)} is not the trace of the plan, which has "
                f"{self.instants} arrivals (another sha256); give the file that the plan was made with, or "
                "make the plan again"
            )
        return TraceArrivals(instants_s=given.instants_s, name=self.name, path=self.path)


def trace_digest(trace: TraceArrivals) -> str:
    """SHA-256 of the instants, as little-endian doubles."""
    instants_s = trace.instants_s
    return hashlib.sha256(struct.pack(f"<{len(instants_s)}d", *instants_s)).hexdigest()


def is_named_only(workload: Demand) -> bool:
    """Whether a document names this workload's trace instead of holding it."""
    if isinstance(workload, ClosedPopulation) or not isinstance(workload.arrivals, TraceArrivals):
        return False
    return len(workload.arrivals.instants_s) > INSTANTS_MAX


def workload_to_document(workload: Demand) -> dict[str, Any]:
    """A workload in full, so that it can be asked for again."""
    if isinstance(workload, ClosedPopulation):
        return asdict(workload)
    return {
        "arrival_rate_rps": workload.arrival_rate_rps,
        "arrivals": _arrivals_to_document(workload.arrivals),
        **({} if is_patient(workload) else {"clients": plain(workload.clients)}),
    }


def _arrivals_to_document(arrivals: ArrivalProcess) -> dict[str, Any]:
    if isinstance(arrivals, TraceArrivals):
        count = len(arrivals.instants_s)
        return {
            "kind": "trace",
            "name": arrivals.name,
            "instants": count,
            "sha256": trace_digest(arrivals),
            "instants_s": None if count > INSTANTS_MAX else list(arrivals.instants_s),
        } | ({} if arrivals.path is None else {"path": arrivals.path})
    for kind, process in _PROCESSES.items():
        if type(arrivals) is process:
            return {"kind": kind, **asdict(arrivals)}
    raise InputError(f"a plan under {type(arrivals).__name__} cannot be saved; plan for steady arrivals")


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkloadDocument:
    arrival_rate_rps: float
    arrivals: dict[str, Any]
    clients: Clients = PATIENT


def read_workload_document(value: Any, where: str, trace: ArrivalProcess | None) -> Demand:
    """The workload in a document.

    Args:
        trace: the trace, for a document that does not hold it.

    Raises:
        InputError: not a workload, or a trace that was edited, is missing, or is another one.
    """
    if isinstance(value, Mapping) and "users" in value:
        return read_as(ClosedPopulation, value, where)
    found = read_as(_WorkloadDocument, value, where)
    arrivals = _read_arrivals(dict(found.arrivals), f"{where}.arrivals", trace)
    return Workload(arrival_rate_rps=found.arrival_rate_rps, arrivals=arrivals, clients=found.clients)


def _read_arrivals(parts: dict[str, Any], where: str, trace: ArrivalProcess | None) -> ArrivalProcess:
    kind = parts.pop("kind", None)
    if kind == "trace":
        return read_as(TraceDocument, parts, where).trace(trace, where)
    if not isinstance(kind, str) or kind not in _PROCESSES:
        raise InputError(f"{where}.kind must be one of {', '.join((*_PROCESSES, 'trace'))}")
    found: ArrivalProcess = read_as(_PROCESSES[kind], parts, where)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveDocument:
    """Limits of a saved objective, in the form of `capacity.answer.documents.objective_document`."""

    response_quantiles_s: dict[float, float] | None = None
    response_mean_s: float | None = None
    wait_quantiles_s: dict[float, float] | None = None
    ttft_quantiles_s: dict[float, float] | None = None
    ttft_mean_s: float | None = None
    tpot_quantiles_s: dict[float, float] | None = None
    tpot_mean_s: float | None = None
    itl_quantiles_s: dict[float, float] | None = None
    itl_mean_s: float | None = None
    session_response_quantiles_s: dict[float, float] | None = None
    session_response_mean_s: float | None = None
    loss_probability: float | None = None
    utilization: float | None = None
    missed_share: float | None = None

    def objective(self) -> Objective:
        """The objective."""
        return Objective(limits=tuple(self._limits()))

    def _limits(self) -> Iterator[Limit]:
        for measure in Measure:
            known = getattr(self, measure.value)
            by_quantile = known if isinstance(known, dict) else {None: known}
            for quantile, allowed in by_quantile.items():
                if allowed is not None:
                    yield Limit(measure=measure, quantile=quantile, allowed=allowed)


def survival_document(survival: Survival) -> dict[str, Any]:
    """What must be survived; breakdowns where there are any."""
    document = asdict(survival)
    return document if survival.breakdowns else {k: v for k, v in document.items() if k != "breakdowns"}


@dataclass(frozen=True, kw_only=True)
class EffortDocument:
    """The parts of an effort that decide the answer."""

    seed: int
    confidence: float
    precision: float
    requests_max: int
    engine: Literal["kernel", "simpy"]


@dataclass(frozen=True, kw_only=True)
class FileDocument:
    """A saved plan, in the form of its file, but for the question, which each kind of server has in its own form."""

    schema_version: int
    format: str
    sha256: str
    versions: dict[Line, Line]
    effort: EffortDocument
    certificate: Certificate | None = None
    answer: dict[str, Any]


class SavedForm(Protocol):
    """What the file of a plan holds for one kind of server."""

    @property
    def format(self) -> str:
        """Name of the form, by which a file is known."""

    @property
    def file(self) -> type[Any]:
        """The whole file: a `FileDocument` with its `question`, which reads itself with the plan's trace."""

    def question(self, question: Any) -> dict[str, Any]:
        """A question as a document."""

    def refuse(self, question: Any, name: str) -> None:
        """Refuse a question that no file of that name could hold."""

    def plan(self, document: Any, question: Any) -> Any:
        """The recommended plan of a document, which must belong to the question."""

    def any_plan(self, document: Any, where: str) -> Any:
        """Any plan of a document, such as one that was considered."""
