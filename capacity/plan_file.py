"""A saved plan: an answer with all that was asked, so that it can be judged again to the byte.

The file is JSON: the question, profiles in full and each with its digest; how hard was tried; the certificate
of the plan; the versions of what computed; and the answer as `capacity plan --json` prints it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capacity.errors import InputError
from capacity.json_reading import Fields, parse_object
from capacity.plan import Certificate, Plan, Recommendation, Verdict
from capacity.plan_report import recommendation_document
from capacity.question import Question
from capacity.reading import FILE_BYTES_MAX, located, printable, read_text
from capacity.report import dumps
from capacity.saved_profile import digest
from capacity.saved_question import choice, question_to_document, read_plan_document, read_question_document
from capacity.versions import versions
from capacity.workbench import Effort
from capacity.workload import ArrivalProcess
from capacity.writing import check_target, write_whole

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
