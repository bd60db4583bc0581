"""A workload inside another document; a long trace by its digest alone."""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from capacity.errors import InputError
from capacity.json_reading import Fields, number
from capacity.reading import printable
from capacity.workload import (
    ArrivalProcess,
    ClosedPopulation,
    Demand,
    DeterministicArrivals,
    GammaArrivals,
    MmppArrivals,
    PoissonArrivals,
    TraceArrivals,
    Workload,
)

# Instants of a trace that a document holds itself; a longer one is told by its digest.
INSTANTS_MAX = 100_000
# Arrival processes that are all in their numbers, by the name they are saved under.
_PROCESSES: dict[str, type[Any]] = {
    "poisson": PoissonArrivals,
    "deterministic": DeterministicArrivals,
    "gamma": GammaArrivals,
    "mmpp": MmppArrivals,
}
_TRACE_KEYS = ("kind", "name", "instants", "sha256", "instants_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReference:
    """A trace that a document names and does not hold."""

    name: str
    instants: int
    sha256: str

    def require(self, trace: TraceArrivals) -> TraceArrivals:
        """That trace and no other.

        Raises:
            InputError: it is another.
        """
        if trace_digest(trace) != self.sha256:
            raise InputError(
                f"--arrivals trace:{printable(trace.name)} is not the trace of the plan, which has "
                f"{self.instants} arrivals (another sha256); give the file that the plan was made with, or "
                "make the plan anew"
            )
        return TraceArrivals(instants_s=trace.instants_s, name=self.name)


def trace_digest(trace: TraceArrivals) -> str:
    """SHA-256 of the instants, as little-endian doubles."""
    instants_s = trace.instants_s
    return hashlib.sha256(struct.pack(f"<{len(instants_s)}d", *instants_s)).hexdigest()


def is_named_only(workload: Demand) -> bool:
    """Whether a document names the trace of this workload and does not hold it."""
    if isinstance(workload, ClosedPopulation) or not isinstance(workload.arrivals, TraceArrivals):
        return False
    return len(workload.arrivals.instants_s) > INSTANTS_MAX


def workload_to_document(workload: Demand) -> dict[str, Any]:
    """A workload with all that it takes to ask for it again."""
    if isinstance(workload, ClosedPopulation):
        return {"users": workload.users, "think_time_s": workload.think_time_s}
    return {
        "arrival_rate_rps": workload.arrival_rate_rps,
        "arrivals": _arrivals_to_document(workload.arrivals),
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
        }
    for kind, process in _PROCESSES.items():
        if type(arrivals) is process:
            return {"kind": kind, **{f.name: getattr(arrivals, f.name) for f in fields(arrivals)}}
    raise InputError(f"a plan under {type(arrivals).__name__} cannot be saved; plan for steady arrivals")


def read_workload_document(value: Any, where: str, trace: ArrivalProcess | None) -> Demand:
    """The workload of a document.

    Args:
        trace: given beside the document, for one that does not hold its trace.

    Raises:
        InputError: not a workload, or a trace that was edited, is missing or is another.
    """
    keys = ("arrival_rate_rps", "arrivals", "users", "think_time_s")
    is_closed = isinstance(value, Mapping) and "users" in value
    if is_closed:
        given = Fields(value, where, keys[2:])
        return ClosedPopulation(users=given.whole("users"), think_time_s=given.number("think_time_s"))
    given = Fields(value, where, keys[:2])
    arrivals = _read_arrivals(given.mapping("arrivals"), given.at("arrivals"), trace)
    return Workload(arrival_rate_rps=given.number("arrival_rate_rps"), arrivals=arrivals)


def _read_arrivals(value: Mapping[str, Any], where: str, trace: ArrivalProcess | None) -> ArrivalProcess:
    kind = value.get("kind")
    if kind == "trace":
        return _read_trace(Fields(value, where, _TRACE_KEYS), trace)
    if not isinstance(kind, str) or kind not in _PROCESSES:
        raise InputError(f"{where}.kind must be one of {', '.join((*_PROCESSES, 'trace'))}")
    process = _PROCESSES[kind]
    names = [field.name for field in fields(process)]
    given = Fields(value, where, ("kind", *names))
    found: ArrivalProcess = process(**{name: given.number(name) for name in names})
    return found


def _read_trace(given: Fields, trace: ArrivalProcess | None) -> TraceArrivals:
    reference = TraceReference(
        name=given.text("name"), instants=given.whole("instants"), sha256=given.text("sha256")
    )
    held = given.optional(given.items, "instants_s")
    if held is None:
        if not isinstance(trace, TraceArrivals):
            raise InputError(
                f"the plan was made with a trace of {reference.instants} arrivals, too long to be kept in "
                f"its file; give it again by --arrivals trace:{printable(reference.name)}"
            )
        return reference.require(trace)
    instants_s = tuple(number(instant, given.at("instants_s")) for instant in held)
    found = TraceArrivals(instants_s=instants_s, name=reference.name)
    if trace_digest(found) != reference.sha256 or len(instants_s) != reference.instants:
        raise InputError(
            f"{given.where} was edited after the plan was made (its sha256 is another); make the plan anew"
        )
    return found
