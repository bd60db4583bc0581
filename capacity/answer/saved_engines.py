"""Saved engines: the question and the plan of a language model's fleet, in the form of a saved plan."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from capacity.answer.documents import Document, objective_document
from capacity.answer.saved_parts import (
    INSTANTS_MAX,
    MAKE_AGAIN,
    FileDocument,
    ObjectiveDocument,
    is_named_only,
    read_workload_document,
    survival_document,
    workload_to_document,
)
from capacity.errors import InputError
from capacity.json_text import Line, read_as
from capacity.profile.formats import SignedProfile, signed
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.server.engine.plan import MEASURES, TokenPlan
from capacity.server.engine.router import parse_routing
from capacity.server.engine.space import EngineQuestion, EngineSpace
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.lengths import TOKENS_MAX, LengthLaw, LengthLaws, LengthRows
from capacity.traffic.sessions.laws import SessionLaws, parse_laws
from capacity.traffic.sessions.rows import SessionColumns, SessionRows
from capacity.traffic.workload import ArrivalProcess

LENGTHS_MAX = 200_000  # rows that a file holds
_NOTHING = Survival()


@dataclass(frozen=True, kw_only=True)
class _RowsDocument:
    input_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    name: Line
    dropped: int


@dataclass(frozen=True, kw_only=True)
class _LawsDocument:
    input: LengthLaw
    output: LengthLaw
    limit: int


@dataclass(frozen=True, kw_only=True)
class _SessionsDocument:
    """Sessions by their laws, or `rows` of `SessionRows` by name."""

    sessions: Line
    limit: int = TOKENS_MAX
    rows: SessionColumns | None = None


@dataclass(frozen=True, kw_only=True)
class EngineQuestionDocument:
    """A saved question, in the form of `SavedEngines.question`."""

    profiles: tuple[SignedProfile, ...]
    workload: dict[str, Any]
    lengths: dict[str, Any]
    objective: ObjectiveDocument
    sequences_max: tuple[int, ...] | None
    batched_tokens_max: tuple[int, ...] | None
    routings: tuple[Line, ...]
    replicas_max: int
    cached_share: float
    in_order: bool
    bistable: bool = False
    queue_limit: int | None = None
    survival: Survival = _NOTHING

    def question(self, trace: ArrivalProcess | None) -> EngineQuestion:
        """The question in the document.

        Args:
            trace: the trace, for a document that does not hold it.

        Raises:
            InputError: an invalid question, or a profile or a trace that was edited.
        """
        workload = read_workload_document(self.workload, "question.workload", trace)
        routings = [parse_routing(one, "question.routings") for one in self.routings]
        profiles = (
            one.read(f"question.profiles[{at}]", read_llm_document) for at, one in enumerate(self.profiles)
        )
        return Question(
            profiles=tuple(profiles),
            workload=workload,
            objective=self.objective.objective().require_among(MEASURES, "a language model"),
            space=EngineSpace(
                lengths=_read_lengths(self.lengths),
                sequences_max=self.sequences_max,
                batched_tokens_max=self.batched_tokens_max,
                cached_share=self.cached_share,
                bistable=self.bistable,
                in_order=self.in_order,
                queue_limit=self.queue_limit,
                routers=tuple((routing, rules) for routing, rules in routings if rules is not None),
            ),
            routings=tuple(routing for routing, _ in routings),
            replicas_max=self.replicas_max,
            survival=self.survival,
        )


@dataclass(frozen=True, kw_only=True)
class EngineFile(FileDocument):
    """A saved plan of a fleet that serves a language model."""

    question: EngineQuestionDocument


class SavedEngines:
    """`capacity.answer.saved_parts.SavedForm` of fleets that serve a language model."""

    format = "capacity-llm-plan"
    file = EngineFile

    def question(self, question: EngineQuestion) -> Document:
        """The question as a document."""
        # Not the fewest replicas: they are of what else was asked, such as a recovery in time.
        space = question.space
        survival = {} if question.survival == _NOTHING else {"survival": survival_document(question.survival)}
        return {
            "profiles": [signed(llm_profile_to_document(one), one.path) for one in question.profiles],
            "workload": workload_to_document(question.workload),
            "lengths": _lengths_document(space.lengths),
            "objective": objective_document(question.objective),
            "sequences_max": space.sequences_max,
            "batched_tokens_max": space.batched_tokens_max,
            "routings": [space.typed_routing(one) for one in question.routings],
            "replicas_max": question.replicas_max,
            "cached_share": space.cached_share,
            "in_order": space.in_order,
            **({"bistable": True} if space.bistable else {}),
            **({} if space.queue_limit is None else {"queue_limit": space.queue_limit}),
            **survival,
        }

    def refuse(self, question: EngineQuestion, name: str) -> None:
        """Refuse more lengths or arrivals than a file holds.

        Raises:
            InputError: with the limit.
        """
        if is_named_only(question.workload):
            raise InputError(
                f"the trace has more than {INSTANTS_MAX} arrivals, too many for a saved plan of a language model; "
                "give a shorter stretch of it"
            )
        lengths = question.space.lengths
        if isinstance(lengths, SessionRows) and lengths.size > LENGTHS_MAX:
            raise InputError(
                f"{lengths.name} has more than {LENGTHS_MAX} turns and ids, too many for a saved plan; keep fewer"
            )
        if isinstance(lengths, LengthRows) and len(lengths.input_tokens) > LENGTHS_MAX:
            raise InputError(
                f"{lengths.name} has more than {LENGTHS_MAX} rows, too many for a saved plan; give a sample"
            )

    def plan(self, document: Any, question: EngineQuestion) -> TokenPlan:
        """The recommended plan.

        Raises:
            InputError: no plan, or one of another question.
        """
        plan = self.any_plan(document, "answer.recommendation")
        names = [profile.name for profile in question.profiles]
        if plan.profile not in names:
            raise InputError(f"answer.recommendation.profile is none of the question's; {MAKE_AGAIN}")
        return plan

    def any_plan(self, document: Any, where: str) -> TokenPlan:
        """Any plan of a document."""
        return read_as(TokenPlan, document, where)


def _lengths_document(lengths: AnyLengths) -> Document:
    if isinstance(lengths, LengthRows):
        return {
            "input_tokens": list(lengths.input_tokens),
            "output_tokens": list(lengths.output_tokens),
            "name": lengths.name,
            "dropped": lengths.dropped,
        }
    if isinstance(lengths, SessionRows):
        return {"sessions": lengths.name, "rows": asdict(lengths.listed)}
    if isinstance(lengths, SessionLaws):
        return {"sessions": lengths.typed, "limit": lengths.limit}
    return {"input": asdict(lengths.input), "output": asdict(lengths.output), "limit": lengths.limit}


def _read_lengths(value: dict[str, Any]) -> AnyLengths:
    if "input_tokens" in value:
        rows = read_as(_RowsDocument, value, "question.lengths")
        return LengthRows(rows.input_tokens, rows.output_tokens, rows.name, rows.dropped)
    if "sessions" in value:
        found = read_as(_SessionsDocument, value, "question.lengths")
        if found.rows is not None:
            return SessionRows.of_listed(found.rows)
        return replace(parse_laws(found.sessions), limit=found.limit)
    laws = read_as(_LawsDocument, value, "question.lengths")
    return LengthLaws(laws.input, laws.output, laws.limit)
