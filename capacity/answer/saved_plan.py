"""Saved plan: an answer with its whole question, so that it can be judged again to the byte.

The file is JSON: the question; the profiles in full, each with its digest; the effort; the certificate; the versions
of the software; and the answer as `capacity plan --json` prints it.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from capacity.answer.documents import dumps, objective_document, recommendation_document
from capacity.errors import InputError, quoted
from capacity.files import (
    FILE_BYTES_MAX,
    Line,
    check_target,
    located,
    parse_object,
    printable,
    read_as,
    read_text,
    repeatable,
    versions,
    write_whole,
)
from capacity.profile.formats import SignedProfile, digest, signed
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import Limit, Measure, Objective
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.search.recommendation import Certificate, Recommendation
from capacity.server.batch.batching import Batching, BatchTimer, batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.space import BatchQuestion, BatchSpace
from capacity.server.batch.stability import MEASURES
from capacity.traffic.parse import parse_arrivals
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
)

# Instants that a document holds of a trace; a longer trace is known by its digest.
INSTANTS_MAX = 100_000
PROFILES_MAX = 1000
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
    return Workload(arrival_rate_rps=found.arrival_rate_rps, arrivals=arrivals)


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


@dataclass(frozen=True, kw_only=True)
class QuestionDocument:
    """A saved question, in the form of `question_to_document`."""

    profiles: tuple[SignedProfile, ...]
    workload: dict[str, Any]
    objective: ObjectiveDocument
    batch_size_limit: int | None
    batch_waits_s: tuple[float, ...] | None
    routings: tuple[Routing, ...]
    queue_limit: int | None
    replicas_max: int
    replicas_min: int = 1
    batch_size_min: int = 1
    survival: Survival
    batching: Batching | None = None
    preferred_sizes: tuple[int, ...] = ()
    timer: BatchTimer | None = None

    def question(self, trace: ArrivalProcess | None) -> Question:
        """The question in the document.

        Args:
            trace: the trace, for a document that does not hold it.

        Raises:
            InputError: an invalid question, or a profile or a trace that was edited.
        """
        if len(self.profiles) > PROFILES_MAX:
            raise InputError(f"question.profiles has more than {PROFILES_MAX} profiles")
        profiles = (one.read(f"question.profiles[{place}]") for place, one in enumerate(self.profiles))
        return Question(
            profiles=tuple(profiles),
            workload=read_workload_document(self.workload, "question.workload", trace),
            objective=self.objective.objective().require_among(MEASURES, "a fleet that serves batches"),
            space=BatchSpace(
                batch_size_limit=self.batch_size_limit,
                batch_waits_s=self.batch_waits_s,
                batching=_batching(self.batching, self.timer),
                preferred_sizes=self.preferred_sizes,
                queue_limit=self.queue_limit,
                batch_size_min=self.batch_size_min,
            ),
            routings=self.routings,
            replicas_max=self.replicas_max,
            replicas_min=self.replicas_min,
            survival=self.survival,
        )


def _batching(batching: Batching | None, timer: BatchTimer | None) -> Batching:
    """The batching rule; for files older than the rules, the one with the saved timer."""
    return batching or batching_of(timer or BatchTimer.OLDEST)


@dataclass(frozen=True, kw_only=True)
class PlanDocument:
    """A saved plan's settings, in the form of `capacity.answer.documents.plan_document`."""

    profile: str
    replicas: int
    batch_size_max: int
    batch_wait_max_s: float = 0.0
    routing: Routing = Routing.ROUND_ROBIN
    queue_limit: int | None = None
    batching: Batching | None = None
    preferred_sizes: tuple[int, ...] = ()
    timer: BatchTimer | None = None

    def plan(self) -> BatchPlan:
        """The settings as a plan."""
        parts = vars(self) | {"batching": _batching(self.batching, self.timer)}
        return BatchPlan(**{name: value for name, value in parts.items() if name != "timer"})


def question_to_document(question: Question) -> dict[str, Any]:
    """The question as a document."""
    space: BatchSpace = question.space
    least = {"replicas_min": question.replicas_min, "batch_size_min": space.batch_size_min}
    return {
        "profiles": [signed(profile) for profile in question.profiles],
        "workload": workload_to_document(question.workload),
        "objective": objective_document(question.objective),
        "batch_size_limit": space.batch_size_limit,
        "batch_waits_s": space.batch_waits_s,
        "routings": question.routings,
        "batching": space.batching,
        "preferred_sizes": space.preferred_sizes,
        "queue_limit": space.queue_limit,
        "replicas_max": question.replicas_max,
        **{name: number for name, number in least.items() if number > 1},  # only where they limit anything
        "survival": survival_document(question.survival),
        "timer": space.batching.timer,
    }


def survival_document(survival: Survival) -> dict[str, Any]:
    """What must be survived; breakdowns where there are any."""
    document = asdict(survival)
    return document if survival.breakdowns else {k: v for k, v in document.items() if k != "breakdowns"}


FORMAT = "capacity-plan"
_SIGNED_KEYS = ("question", "effort", "certificate", "answer")
# Room left in a file for what is known only after the work.
_ANSWER_BYTES_MAX = 8 * 2**20
_ANEW = "make it again with capacity plan ... -o"


@dataclass(frozen=True, kw_only=True)
class _EffortDocument:
    """The parts of an effort that decide the answer."""

    seed: int
    confidence: float
    precision: float
    requests_max: int
    engine: Literal["kernel", "simpy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanDocument:
    """A saved plan, in the form of its file."""

    schema_version: int
    format: str
    sha256: str
    versions: dict[Line, Line]
    question: QuestionDocument
    effort: _EffortDocument
    certificate: Certificate | None
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan with all inputs.

    Attributes:
        question: the question in full.
        effort: budget, seed and precision, without workers, which change no answer.
        verdict: verdict of the answer.
        recommendation_plan: the recommended plan; None if there was none.
        certificate: how to repeat its confirmation to the byte; None without a plan.
        answer: the document that `capacity plan --json` printed, without its schema version.
        versions: versions of the software that computed it.
        name: name of its file.
        path: path of its file as given; None if it was not read from one.
    """

    question: BatchQuestion
    effort: Effort
    verdict: Verdict
    recommendation_plan: BatchPlan | None
    certificate: Certificate | None
    answer: Mapping[str, Any]
    versions: Mapping[str, str]
    name: str
    path: str | None = field(default=None, compare=False)

    @property
    def file(self) -> str:
        """Name of the plan in commands."""
        return self.path or self.name

    @property
    def plan(self) -> BatchPlan:
        """The recommended plan.

        Raises:
            InputError: there is none.
        """
        if self.recommendation_plan is None:
            raise InputError(
                f"{self.name} holds no plan: its verdict is {self.verdict}; change the question and {_ANEW}"
            )
        return self.recommendation_plan

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None if it is unknown. [USD/h]"""
        return self.question.profile(self.plan.profile).hourly_cost_usd(self.plan.replicas)

    @property
    def versions_changed(self) -> dict[str, tuple[str, str]]:
        """Saved and current version of each package that changed; last digits may differ between versions."""
        here = versions()
        return {
            name: (there, here.get(name, "none"))
            for name, there in self.versions.items()
            if here.get(name) != there
        }


def check_plan_target(path: Path, question: Question) -> None:
    """Refuse early a plan that could not be written or read back.

    Raises:
        InputError: an invalid path, or profiles with too many samples for one file.
    """
    check_target(path, "a saved plan", (".json",))
    if len(dumps(question_to_document(question)).encode()) > FILE_BYTES_MAX - _ANSWER_BYTES_MAX:
        raise InputError(
            f"the profiles are too long for {printable(path.name)}: with them it would be larger than "
            f"{FILE_BYTES_MAX} bytes; keep fewer samples"
        )


def plan_file_document(
    recommendation: Recommendation,
    question: Question,
    effort: Effort,
    others: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of a saved plan, without its schema version; the same for the same question, seed and versions.

    Args:
        others: further parts of the answer, such as what the fleet needs to recover.
    """
    certificate = recommendation.certificate
    document: dict[str, Any] = {
        "format": FORMAT,
        "question": question_to_document(question),
        "effort": {field.name: getattr(effort, field.name) for field in fields(_EffortDocument)},
        "certificate": None if certificate is None else asdict(certificate),
        "versions": versions(),
        "answer": recommendation_document(
            recommendation, question, seed=effort.seed, confidence=effort.confidence
        )
        | dict(others or {}),
    }
    return document | {"sha256": _signature(document)}


def _signature(document: Mapping[str, Any]) -> str:
    """Digest of all that decides the plan; versions, which are reported, may differ."""
    return digest({key: document.get(key) for key in _SIGNED_KEYS})


def write_plan_file(path: Path, document: Mapping[str, Any]) -> None:
    """Save a plan; the file is written whole or keeps its old content.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    write_whole(path, (dumps(dict(document)) + "\n").encode())


def read_plans(given: "Sequence[str | Path | SavedPlan]", arrivals: str | None = None) -> list[SavedPlan]:
    """Saved plans; `trace:FILE` is the trace of those whose own was too long to save.

    Raises:
        InputError: a file without a plan, or a trace that no plan needs.
    """
    if arrivals is not None and not arrivals.startswith("trace:"):
        raise InputError("--arrivals can only give a saved plan its trace again: trace:FILE")
    trace = None if arrivals is None else parse_arrivals(arrivals)
    plans = [one if isinstance(one, SavedPlan) else read_plan_file(Path(one), trace) for one in given]
    for saved in plans:
        saved.plan  # noqa: B018  (one that holds no plan is refused before any work)
    if trace is not None and not any(is_named_only(saved.question.workload) for saved in plans):
        raise InputError("a saved plan has all of its arrivals; leave --arrivals out, or plan for other ones")
    return plans


def read_plan_file(path: Path, trace: ArrivalProcess | None = None) -> SavedPlan:
    """A saved plan, read from its file.

    Args:
        trace: the plan's trace, if it was too long to save.

    Raises:
        InputError: no such file, or not a plan as it was saved; names the place and the fix.
    """
    shown, text = printable(path.name), read_text(path)
    if not text.lstrip().startswith("{"):
        raise _no_plan(shown, text)
    document = parse_object(text, shown, "a saved plan is a JSON object")
    saved = located(shown, lambda: read_plan_file_document(document, shown, trace))
    return replace(saved, path=repeatable(path))


def _no_plan(name: str, text: str) -> InputError:
    """The error for a file that is not a JSON object, with what it is if that is known."""
    from capacity.formats.document import Document as Text
    from capacity.formats.registry import Kind, known_format

    found = known_format(Text(name, text))
    another = "" if found is None else f"is from {found.NAME}, "
    told = "; capacity import shows its settings as flags" if found and Kind.PLAN in found.READERS else ""
    return InputError(
        f"{name} {another or 'is '}not a saved plan{told}; capacity plan ... -o plan.json makes one"
    )


def read_plan_file_document(
    document: Mapping[str, Any], name: str, trace: ArrivalProcess | None = None
) -> SavedPlan:
    """A saved plan from the content of its file."""
    if document.get("format") != FORMAT:
        raise InputError(f"not a saved plan (its format is not {FORMAT}); {_ANEW} plan.json")
    version = document.get("schema_version")
    if isinstance(version, bool) or version != 1:
        raise InputError(
            "schema_version must be 1; a newer capacity may have made the plan: install that one"
        )
    given = read_as(_PlanDocument, document)
    question = given.question.question(trace)
    plan = given.answer.get("recommendation")
    if plan is not None:
        plan = read_as(PlanDocument, plan, "answer.recommendation").plan()
        _check_plan(plan, question)
    saved = SavedPlan(
        question=question,
        effort=Effort(**vars(given.effort)),
        verdict=read_as(Verdict, given.answer.get("verdict"), "answer.verdict"),
        recommendation_plan=plan,
        certificate=given.certificate,
        answer=document["answer"],
        versions=given.versions,
        name=name,
    )
    if given.sha256 != _signature(document):
        raise InputError(f"the plan was edited since it was saved (its sha256 does not fit); {_ANEW}")
    return saved


def _check_plan(plan: BatchPlan, question: Question) -> None:
    """Refuse an answer that belongs to another question."""
    names = [profile.name for profile in question.profiles]
    if plan.profile not in names:
        raise InputError(
            f"answer.recommendation.profile {quoted(plan.profile)} is none of the question's "
            f"({', '.join(names[:5])}); {_ANEW}"
        )
    per_device = question.profile(plan.profile).instances_per_device
    if question.survival.left(plan.replicas, per_device) < 1:
        raise InputError(f"answer.recommendation has too few replicas to survive what was asked; {_ANEW}")
    asked = (question.space.batching, question.space.preferred_sizes, question.space.queue_limit)
    found = (plan.batching, plan.preferred_sizes, plan.queue_limit)
    if plan.routing not in question.routings or found != asked:
        raise InputError(
            f"answer.recommendation has a routing, batching or queue limit that was not asked for; {_ANEW}"
        )
