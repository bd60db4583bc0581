"""Saved batches: the question and the plan of a fleet that serves batches, in the form of a saved plan."""

from dataclasses import dataclass
from typing import Any

from capacity.answer.documents import dumps, objective_document
from capacity.answer.saved_parts import (
    MAKE_AGAIN,
    FileDocument,
    ObjectiveDocument,
    read_workload_document,
    survival_document,
    workload_to_document,
)
from capacity.errors import InputError, quoted
from capacity.files import FILE_BYTES_MAX, printable
from capacity.json_text import read_as
from capacity.profile.formats import SignedProfile, profile_to_document, read_document, signed
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.server.batch.batching import Batching, BatchTimer, batching_of
from capacity.server.batch.plan import BatchPlan
from capacity.server.batch.space import BatchQuestion, BatchSpace
from capacity.server.batch.stability import MEASURES
from capacity.traffic.workload import ArrivalProcess

PROFILES_MAX = 1000
# Room left in a file for what is known only after the work.
_ANSWER_BYTES_MAX = 8 * 2**20


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
    outstanding_max: int | None = None
    replicas_max: int
    replicas_min: int = 1
    batch_size_min: int = 1
    survival: Survival
    batching: Batching | None = None
    preferred_sizes: tuple[int, ...] = ()
    timer: BatchTimer | None = None

    def question(self, trace: ArrivalProcess | None) -> BatchQuestion:
        """The question in the document.

        Args:
            trace: the trace, for a document that does not hold it.

        Raises:
            InputError: an invalid question, or a profile or a trace that was edited.
        """
        if len(self.profiles) > PROFILES_MAX:
            raise InputError(f"question.profiles has more than {PROFILES_MAX} profiles")
        profiles = (
            one.read(f"question.profiles[{place}]", read_document) for place, one in enumerate(self.profiles)
        )
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
                outstanding_max=self.outstanding_max,
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
    outstanding_max: int | None = None
    batching: Batching | None = None
    preferred_sizes: tuple[int, ...] = ()
    timer: BatchTimer | None = None

    def plan(self) -> BatchPlan:
        """The settings as a plan."""
        parts = vars(self) | {"batching": _batching(self.batching, self.timer)}
        return BatchPlan(**{name: value for name, value in parts.items() if name != "timer"})


def question_to_document(question: BatchQuestion) -> dict[str, Any]:
    """The question as a document."""
    space: BatchSpace = question.space
    least = {"replicas_min": question.replicas_min, "batch_size_min": space.batch_size_min}
    return {
        "profiles": [signed(profile_to_document(one), one.path) for one in question.profiles],
        "workload": workload_to_document(question.workload),
        "objective": objective_document(question.objective),
        "batch_size_limit": space.batch_size_limit,
        "batch_waits_s": space.batch_waits_s,
        "routings": question.routings,
        "batching": space.batching,
        "preferred_sizes": space.preferred_sizes,
        "queue_limit": space.queue_limit,
        **({} if space.outstanding_max is None else {"outstanding_max": space.outstanding_max}),
        "replicas_max": question.replicas_max,
        **{name: number for name, number in least.items() if number > 1},  # only where they limit anything
        "survival": survival_document(question.survival),
        "timer": space.batching.timer,
    }


@dataclass(frozen=True, kw_only=True)
class BatchFile(FileDocument):
    """A saved plan of a fleet that serves batches."""

    question: QuestionDocument


class SavedBatches:
    """`capacity.answer.saved_parts.SavedForm` of fleets that serve batches."""

    format = "capacity-plan"
    file = BatchFile

    def question(self, question: BatchQuestion) -> dict[str, Any]:
        """The question as a document."""
        return question_to_document(question)

    def refuse(self, question: BatchQuestion, name: str) -> None:
        """Refuse profiles with too many samples for one file.

        Raises:
            InputError: with the limit.
        """
        if len(dumps(question_to_document(question)).encode()) > FILE_BYTES_MAX - _ANSWER_BYTES_MAX:
            raise InputError(
                f"the profiles are too long for {printable(name)}: with them it would be larger than "
                f"{FILE_BYTES_MAX} bytes; keep fewer samples"
            )

    def plan(self, document: Any, question: BatchQuestion) -> BatchPlan:
        """The recommended plan.

        Raises:
            InputError: no plan, or one of another question.
        """
        plan = self.any_plan(document, "answer.recommendation")
        _check_plan(plan, question)
        return plan

    def any_plan(self, document: Any, where: str) -> BatchPlan:
        """Any plan of a document."""
        return read_as(PlanDocument, document, where).plan()


def _check_plan(plan: BatchPlan, question: BatchQuestion) -> None:
    """Refuse an answer that belongs to another question."""
    names = [profile.name for profile in question.profiles]
    if plan.profile not in names:
        raise InputError(
            f"answer.recommendation.profile {quoted(plan.profile)} is none of the question's "
            f"({', '.join(names[:5])}); {MAKE_AGAIN}"
        )
    per_device = question.profile(plan.profile).instances_per_device
    if question.survival.left(plan.replicas, per_device) < 1:
        raise InputError(
            f"answer.recommendation has too few replicas to survive what was asked; {MAKE_AGAIN}"
        )
    kept = ("batching", "preferred_sizes", "queue_limit", "outstanding_max")
    is_asked = all(getattr(plan, name) == getattr(question.space, name) for name in kept)
    if plan.routing not in question.routings or not is_asked:
        raise InputError(
            f"answer.recommendation has a routing, batching or limit that was not asked for; {MAKE_AGAIN}"
        )
