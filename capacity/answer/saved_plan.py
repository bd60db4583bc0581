"""A saved plan: an answer with all that was asked, so that it can be judged again to the byte.

The file is JSON: the question, profiles in full and each with its digest; how hard was tried; the certificate
of the plan; the versions of what computed; and the answer as `capacity plan --json` prints it.
"""

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from capacity.answer.documents import dumps, objective_document, recommendation_document
from capacity.errors import InputError
from capacity.files import (
    FILE_BYTES_MAX,
    Fields,
    check_target,
    located,
    number,
    parse_object,
    printable,
    read_text,
    shown,
    text,
    versions,
    write_whole,
)
from capacity.profile.formats import digest, read_signed, signed
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.objective import LatencyObjective, Measure
from capacity.question.plan import BatchTimer, Plan, Routing
from capacity.question.question import Question
from capacity.question.resilience import Spike, Survival
from capacity.search.recommendation import Certificate, Recommendation
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


Choice = TypeVar("Choice", bound=StrEnum)

_QUESTION_KEYS = (
    "profiles", "workload", "objective", "batch_size_limit", "batch_waits_s", "routings", "timer",
    "queue_limit", "replicas_max", "survival",
)  # fmt: skip
_SURVIVAL_KEYS = ("spare", "zones", "unavailable_share", "spike")
_PLAN_KEYS = (
    "profile", "replicas", "batch_size_max", "batch_wait_max_s", "routing", "timer", "queue_limit",
)  # fmt: skip
PROFILES_MAX = 1000


def question_to_document(question: Question) -> dict[str, Any]:
    """All that was asked."""
    survival = question.survival
    spike = survival.spike
    return {
        "profiles": [signed(profile) for profile in question.profiles],
        "workload": workload_to_document(question.workload),
        "objective": objective_document(question.objective),
        "batch_size_limit": question.batch_size_limit,
        "batch_waits_s": None if question.batch_waits_s is None else list(question.batch_waits_s),
        "routings": [routing.value for routing in question.routings],
        "timer": question.timer.value,
        "queue_limit": question.queue_limit,
        "replicas_max": question.replicas_max,
        "survival": {
            "spare": survival.spare,
            "zones": survival.zones,
            "unavailable_share": survival.unavailable_share,
            "spike": None
            if spike is None
            else {"factor": spike.factor, "startup_time_s": spike.startup_time_s},
        },
    }


def read_question_document(value: Any, where: str, trace: ArrivalProcess | None) -> Question:
    """The question of a document.

    Args:
        trace: given beside the document, for one that does not hold its trace.

    Raises:
        InputError: anything that is missing, unknown, of another type or edited.
    """
    given = Fields(value, where, _QUESTION_KEYS)
    profiles = given.items("profiles")
    if len(profiles) > PROFILES_MAX:
        raise InputError(f"{given.at('profiles')} has more than {PROFILES_MAX} profiles")
    waits_s = given.optional(given.items, "batch_waits_s")
    return Question(
        profiles=tuple(
            read_signed(one, f"{given.at('profiles')}[{place}]") for place, one in enumerate(profiles)
        ),
        workload=read_workload_document(given.raw("workload"), given.at("workload"), trace),
        objective=read_objective(given.raw("objective"), given.at("objective")),
        batch_size_limit=given.optional(given.whole, "batch_size_limit"),
        batch_waits_s=None if waits_s is None else tuple(_wait_s(x, given) for x in waits_s),
        routings=tuple(choice(Routing, one, given.at("routings")) for one in given.items("routings")),
        timer=choice(BatchTimer, given.raw("timer"), given.at("timer")),
        queue_limit=given.optional(given.whole, "queue_limit"),
        replicas_max=given.whole("replicas_max"),
        survival=_read_survival(given.object("survival", _SURVIVAL_KEYS)),
    )


def _wait_s(value: Any, given: Fields) -> float:
    wait_s = number(value, given.at("batch_waits_s"))
    if not 0.0 <= wait_s < math.inf:
        raise InputError(f"{given.at('batch_waits_s')} must not be negative, got {wait_s}")
    return wait_s


def _read_survival(given: Fields) -> Survival:
    spike = None
    if given.has("spike"):
        jump = given.object("spike", ("factor", "startup_time_s"))
        spike = Spike(factor=jump.number("factor"), startup_time_s=jump.number("startup_time_s"))
    return Survival(
        spare=given.whole("spare"),
        zones=given.optional(given.whole, "zones"),
        unavailable_share=given.optional(given.number, "unavailable_share"),
        spike=spike,
    )


def read_objective(value: Any, where: str) -> LatencyObjective:
    """The objective of a document, as `capacity.answer.documents.objective_document` writes it."""
    given = Fields(value, where, [measure.value for measure in Measure])

    def single(measure: Measure) -> float | None:
        return given.number(measure.value) if given.has(measure.value) else None

    def by_quantile(measure: Measure) -> Mapping[float, float]:
        if not given.has(measure.value):
            return {}
        at = given.at(measure.value)
        limits = given.mapping(measure.value)
        return {_quantile(key, at): number(limit, f"{at}.{key[:20]}") for key, limit in limits.items()}

    return LatencyObjective(
        limits=by_quantile(Measure.RESPONSE),
        response_mean_s=single(Measure.RESPONSE_MEAN),
        wait_limits=by_quantile(Measure.WAIT),
        loss_probability=single(Measure.LOSS),
        utilization=single(Measure.UTILIZATION),
    )


def _quantile(key: str, where: str) -> float:
    try:
        value = float(key)
    except ValueError:
        raise InputError(f"{where} has the quantile {shown(key)}, which is no number; 0.99 is one") from None
    if not 0.0 < value < 1.0:
        raise InputError(f"{where} has a quantile that is not within (0, 1): {shown(key)}")
    return value


def read_plan_document(value: Any, where: str) -> Plan:
    """The plan of a document, as `capacity.answer.documents.plan_document` writes it."""
    given = Fields(value, where, _PLAN_KEYS)
    return Plan(
        profile=given.text("profile"),
        replicas=given.whole("replicas"),
        batch_size_max=given.whole("batch_size_max"),
        batch_wait_max_s=given.number("batch_wait_max_s"),
        routing=choice(Routing, given.raw("routing"), given.at("routing")),
        timer=choice(BatchTimer, given.raw("timer"), given.at("timer"))
        if given.has("timer")
        else BatchTimer.OLDEST,
        queue_limit=given.whole("queue_limit") if given.has("queue_limit") else None,
    )


def choice(choices: type[Choice], value: Any, where: str) -> Choice:
    """One of the names of an enumeration."""
    try:
        return choices(text(value, where))
    except ValueError:
        raise InputError(f"{where} must be one of {', '.join(choices)}, got {shown(value)}") from None


FORMAT = "capacity-plan"
_SIGNED_KEYS = ("question", "effort", "certificate", "answer")
_KEYS = ("schema_version", "format", "sha256", "versions", *_SIGNED_KEYS)
_EFFORT_KEYS = ("seed", "confidence", "precision", "requests_max", "engine")
_ENGINES = ("kernel", "simpy")
# Room in a file for what is not known before the work is done.
_ANSWER_BYTES_MAX = 8 * 2**20
_ANEW = "make it anew by capacity plan ... -o"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan with what it was made from.

    Attributes:
        question: what was asked.
        effort: how hard was tried; workers are not part of it, since they change no answer.
        verdict: of the answer.
        recommendation_plan: the plan that was recommended; None where none was.
        certificate: how to certify it again, to the byte; None where no plan was.
        answer: the document that `capacity plan --json` printed, schema version aside.
        versions: of what computed it.
        name: of its file.
    """

    question: Question
    effort: Effort
    verdict: Verdict
    recommendation_plan: Plan | None
    certificate: Certificate | None
    answer: Mapping[str, Any]
    versions: Mapping[str, str]
    name: str

    @property
    def plan(self) -> Plan:
        """The plan that was recommended.

        Raises:
            InputError: none was.
        """
        if self.recommendation_plan is None:
            raise InputError(
                f"{self.name} holds no plan: its verdict is {self.verdict}; mend what was asked and {_ANEW}"
            )
        return self.recommendation_plan

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None where it is not known. [USD/h]"""
        return self.question.profile(self.plan.profile).hourly_cost_usd(self.plan.replicas)

    @property
    def versions_changed(self) -> dict[str, tuple[str, str]]:
        """Versions there and here, of what is not the same; other versions may compute other digits."""
        here = versions()
        return {
            name: (there, here.get(name, "none"))
            for name, there in self.versions.items()
            if here.get(name) != there
        }


def check_plan_target(path: Path, question: Question) -> None:
    """Refuse early a plan that could not be written, or not be read again.

    Raises:
        InputError: the path, or profiles with too many samples for one file.
    """
    check_target(path, "a saved plan", (".json",))
    if len(dumps(question_to_document(question)).encode()) > FILE_BYTES_MAX - _ANSWER_BYTES_MAX:
        raise InputError(
            f"the profiles are too long for {printable(path.name)}: with them it would be larger than "
            f"{FILE_BYTES_MAX} bytes; keep fewer samples"
        )


def plan_file_document(recommendation: Recommendation, question: Question, effort: Effort) -> dict[str, Any]:
    """What a saved plan holds, schema version aside; the same for the same question, seed and versions."""
    certificate = recommendation.certificate
    document: dict[str, Any] = {
        "format": FORMAT,
        "question": question_to_document(question),
        "effort": {key: getattr(effort, key) for key in _EFFORT_KEYS},
        "certificate": None
        if certificate is None
        else {"attempt": certificate.attempt, "requests_first": certificate.requests_first},
        "versions": versions(),
        "answer": recommendation_document(
            recommendation, question, seed=effort.seed, confidence=effort.confidence
        ),
    }
    return document | {"sha256": _signature(document)}


def _signature(document: Mapping[str, Any]) -> str:
    """Digest of all that decides over the plan; versions may differ, and are told."""
    return digest({key: document.get(key) for key in _SIGNED_KEYS})


def write_plan_file(path: Path, recommendation: Recommendation, question: Question, effort: Effort) -> None:
    """Save a plan; the file is whole, or what was there before.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    write_whole(path, (dumps(plan_file_document(recommendation, question, effort)) + "\n").encode())


def read_plans(given: "Sequence[str | Path | SavedPlan]", arrivals: str | None = None) -> list[SavedPlan]:
    """Saved plans, with `trace:FILE` for those whose trace was too long to be saved.

    Raises:
        InputError: one that holds no plan, or a trace that none of them needs.
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
    """A plan that was saved.

    Args:
        trace: that the plan was made with, where it was too long to be saved with it.

    Raises:
        InputError: no such file, or one that is no plan as it was saved; with the place and the mend.
    """
    shown = printable(path.name)
    document = parse_object(read_text(path), shown, "a saved plan is a JSON object")
    return located(shown, lambda: read_plan_file_document(document, shown, trace))


def read_plan_file_document(
    document: Mapping[str, Any], name: str, trace: ArrivalProcess | None = None
) -> SavedPlan:
    """A saved plan from what its file holds."""
    if document.get("format") != FORMAT:
        raise InputError(f"not a saved plan (its format is not {FORMAT}); {_ANEW} plan.json")
    given = Fields(document, "the plan", _KEYS)
    if isinstance(document.get("schema_version"), bool) or given.raw("schema_version") != 1:
        raise InputError(
            "schema_version must be 1; a newer capacity may have made the plan: install that one"
        )
    question = read_question_document(given.raw("question"), "question", trace)
    answer = given.mapping("answer")
    plan = None
    if answer.get("recommendation") is not None:
        plan = read_plan_document(answer["recommendation"], "answer.recommendation")
        _check_plan(plan, question)
    certificate = None
    if given.has("certificate"):
        parts = given.object("certificate", ("attempt", "requests_first"))
        certificate = Certificate(
            attempt=parts.whole("attempt"), requests_first=parts.whole("requests_first")
        )
    saved = SavedPlan(
        question=question,
        effort=_read_effort(given.object("effort", _EFFORT_KEYS)),
        verdict=choice(Verdict, answer.get("verdict"), "answer.verdict"),
        recommendation_plan=plan,
        certificate=certificate,
        answer=answer,
        versions=_read_versions(given),
        name=name,
    )
    if given.text("sha256") != _signature(document):
        raise InputError(f"the plan was edited since it was saved (its sha256 does not fit); {_ANEW}")
    return saved


def _check_plan(plan: Plan, question: Question) -> None:
    """Refuse an answer to another question."""
    names = [profile.name for profile in question.profiles]
    if plan.profile not in names:
        raise InputError(
            f"answer.recommendation.profile {printable(plan.profile)[:40]!r} is none of the question's "
            f"({', '.join(names[:5])}); {_ANEW}"
        )
    per_device = question.profile(plan.profile).instances_per_device
    if question.survival.left(plan.replicas, per_device) < 1:
        raise InputError(f"answer.recommendation has too few replicas to outlive what was asked; {_ANEW}")
    asked = (question.timer, question.queue_limit)
    if plan.routing not in question.routings or (plan.timer, plan.queue_limit) != asked:
        raise InputError(
            f"answer.recommendation has a routing, timer or queue limit that was not asked for; {_ANEW}"
        )


def _read_effort(given: Fields) -> Effort:
    engine = given.text("engine")
    if engine not in _ENGINES:
        raise InputError(f"{given.at('engine')} must be one of {', '.join(_ENGINES)}")
    return Effort(
        seed=given.whole("seed"),
        confidence=given.number("confidence"),
        precision=given.number("precision"),
        requests_max=given.whole("requests_max"),
        engine=engine,
    )


def _read_versions(given: Fields) -> dict[str, str]:
    found = Fields(given.raw("versions"), "versions", versions())
    return {name: found.text(name) for name in versions() if found.has(name)}
