"""Saved plan for a language model: an answer with its whole question, so that it can be judged again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from capacity.answer.documents import Document, dumps, objective_document
from capacity.answer.saved_plan import (
    INSTANTS_MAX,
    ObjectiveDocument,
    is_named_only,
    read_workload_document,
    survival_document,
    workload_to_document,
)
from capacity.errors import InputError
from capacity.files import (
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
from capacity.profile.formats import digest
from capacity.profile.llm import LlmProfile
from capacity.profile.llm_formats import llm_profile_to_document, read_llm_document
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.question.plan import Routing
from capacity.question.question import Question
from capacity.question.resilience import Survival
from capacity.server.engine.plan import MEASURES, TokenPlan
from capacity.server.engine.space import EngineQuestion, EngineSpace
from capacity.traffic.lengths import AnyLengths, LengthLaw, LengthLaws, LengthRows
from capacity.traffic.workload import ArrivalProcess, Workload

FORMAT = "capacity-llm-plan"
LENGTHS_MAX = 200_000  # rows that a file holds
_ANEW = "make it again with capacity plan ... -o"
_SIGNED_KEYS = ("question", "effort", "answer")
_NOTHING = Survival()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLlmPlan:
    """A plan for a language model, with all inputs.

    Attributes:
        path: path of its file as given; None if it was not read from one.
    """

    question: EngineQuestion
    effort: Effort
    verdict: Verdict
    recommendation_plan: TokenPlan | None
    answer: Mapping[str, Any]
    name: str
    path: str | None = field(default=None, compare=False)

    @property
    def file(self) -> str:
        """Name of the plan in commands."""
        return self.path or self.name

    @property
    def plan(self) -> TokenPlan:
        """The recommended plan.

        Raises:
            InputError: there is none.
        """
        if self.recommendation_plan is None:
            raise InputError(f"{self.name} holds no plan: its verdict is {self.verdict}; {_ANEW}")
        return self.recommendation_plan

    @property
    def profile(self) -> LlmProfile:
        """Profile of the recommended plan."""
        return self.question.profile(self.plan.profile)


@dataclass(frozen=True, kw_only=True)
class _SignedLlm:
    sha256: str
    profile: dict[str, Any]
    path: Line | None = None

    def read(self, where: str) -> LlmProfile:
        if digest(self.profile) != self.sha256:
            raise InputError(f"{where} was edited after the plan was made (its sha256 is another); {_ANEW}")
        return replace(read_llm_document(self.profile, f"{where}.profile"), path=self.path)


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
class _QuestionDocument:
    profiles: tuple[_SignedLlm, ...]
    workload: dict[str, Any]
    lengths: dict[str, Any]
    objective: ObjectiveDocument
    sequences_max: tuple[int, ...] | None
    batched_tokens_max: tuple[int, ...] | None
    routings: tuple[Routing, ...]
    replicas_max: int
    cached_share: float
    in_order: bool
    survival: Survival = _NOTHING

    def question(self, trace: ArrivalProcess | None) -> EngineQuestion:
        workload = read_workload_document(self.workload, "question.workload", trace)
        if not isinstance(workload, Workload):
            raise InputError("question.workload must have an arrival rate")
        profiles = (one.read(f"question.profiles[{at}]") for at, one in enumerate(self.profiles))
        return Question(
            profiles=tuple(profiles),
            workload=workload,
            objective=self.objective.objective().require_among(MEASURES, "a language model"),
            space=EngineSpace(
                lengths=_read_lengths(self.lengths),
                sequences_max=self.sequences_max,
                batched_tokens_max=self.batched_tokens_max,
                cached_share=self.cached_share,
                in_order=self.in_order,
            ),
            routings=self.routings,
            replicas_max=self.replicas_max,
            survival=self.survival,
        )


@dataclass(frozen=True, kw_only=True)
class _EffortDocument:
    seed: int
    confidence: float
    precision: float
    requests_max: int
    engine: str


@dataclass(frozen=True, kw_only=True)
class _PlanDocument:
    schema_version: int
    format: str
    sha256: str
    versions: dict[Line, Line]
    question: _QuestionDocument
    effort: _EffortDocument
    answer: dict[str, Any]


def check_llm_plan_target(path: Path, question: EngineQuestion) -> None:
    """Refuse early a plan that could not be written.

    Raises:
        InputError: an invalid path, or more lengths or arrivals than a file holds.
    """
    check_target(path, "a saved plan", (".json",))
    if is_named_only(question.workload):
        raise InputError(
            f"the trace has more than {INSTANTS_MAX} arrivals, too many for a saved plan of a language model; give a "
            "shorter stretch of it"
        )
    lengths = question.space.lengths
    if isinstance(lengths, LengthRows) and len(lengths.input_tokens) > LENGTHS_MAX:
        raise InputError(
            f"{lengths.name} has more than {LENGTHS_MAX} rows, too many for a saved plan; give a sample"
        )


def llm_plan_document(question: EngineQuestion, effort: Effort, answer: Document) -> Document:
    """Content of a saved plan, without its schema version."""
    space = question.space
    document: Document = {
        "format": FORMAT,
        # Not the fewest replicas: they are of what else was asked, such as a recovery in time.
        "question": {
            "profiles": [_signed(one) for one in question.profiles],
            "workload": workload_to_document(question.workload),
            "lengths": _lengths_document(space.lengths),
            "objective": objective_document(question.objective),
            "sequences_max": space.sequences_max,
            "batched_tokens_max": space.batched_tokens_max,
            "routings": [one.value for one in question.routings],
            "replicas_max": question.replicas_max,
            "cached_share": space.cached_share,
            "in_order": space.in_order,
            **({} if question.survival == Survival() else {"survival": survival_document(question.survival)}),
        },
        "effort": {one.name: getattr(effort, one.name) for one in fields(_EffortDocument)},
        "versions": versions(),
        "answer": answer,
    }
    return document | {"sha256": _signature(document)}


def _signed(profile: LlmProfile) -> Document:
    """A profile with its digest, and the path of its file if it has one."""
    document = llm_profile_to_document(profile)
    path = {} if profile.path is None else {"path": profile.path}
    return {"sha256": digest(document), "profile": document} | path


def write_llm_plan(path: Path, document: Document) -> None:
    """Save a plan; the file is written whole or keeps its old content."""
    write_whole(path, (dumps(document) + "\n").encode())


def _signature(document: Mapping[str, Any]) -> str:
    return digest({key: document.get(key) for key in _SIGNED_KEYS})


def _lengths_document(lengths: AnyLengths) -> Document:
    if isinstance(lengths, LengthRows):
        return {
            "input_tokens": list(lengths.input_tokens),
            "output_tokens": list(lengths.output_tokens),
            "name": lengths.name,
            "dropped": lengths.dropped,
        }
    return {"input": asdict(lengths.input), "output": asdict(lengths.output), "limit": lengths.limit}


def _read_lengths(value: dict[str, Any]) -> AnyLengths:
    if "input_tokens" in value:
        rows = read_as(_RowsDocument, value, "question.lengths")
        return LengthRows(rows.input_tokens, rows.output_tokens, rows.name, rows.dropped)
    laws = read_as(_LawsDocument, value, "question.lengths")
    return LengthLaws(laws.input, laws.output, laws.limit)


def is_llm_plan(document: Mapping[str, Any]) -> bool:
    """Whether a saved plan is for a language model."""
    return document.get("format") == FORMAT


def read_llm_plan(path: Path) -> SavedLlmPlan:
    """A saved plan for a language model, read from its file.

    Raises:
        InputError: no such file, or not a plan as it was saved.
    """
    shown = printable(path.name)
    document = parse_object(read_text(path), shown, "a saved plan is a JSON object")
    saved = located(shown, lambda: read_llm_plan_document(document, shown))
    return replace(saved, path=repeatable(path))


def read_llm_plan_document(
    document: dict[str, Any], name: str, trace: ArrivalProcess | None = None
) -> SavedLlmPlan:
    """A saved plan from the content of its file.

    Args:
        trace: the plan's trace, if it is too long for the file.
    """
    if not is_llm_plan(document):
        raise InputError(
            f"not a saved plan for a language model (its format is not {FORMAT}); {_ANEW} plan.json"
        )
    given = read_as(_PlanDocument, document)
    if given.schema_version != 1:
        raise InputError(
            "schema_version must be 1; a newer capacity may have made the plan: install that one"
        )
    if given.sha256 != _signature(document):
        raise InputError(f"the plan was edited since it was saved (its sha256 does not fit); {_ANEW}")
    plan = given.answer.get("recommendation")
    return SavedLlmPlan(
        question=given.question.question(trace),
        effort=Effort(**vars(given.effort)),
        verdict=read_as(Verdict, given.answer.get("verdict"), "answer.verdict"),
        recommendation_plan=None if plan is None else read_as(TokenPlan, plan, "answer.recommendation"),
        answer=document["answer"],
        name=name,
    )
