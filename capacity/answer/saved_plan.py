"""Saved plan: an answer with its whole question, so that it can be judged again to the byte.

The file is JSON: the question; the profiles in full, each with its digest; the effort; the certificate; the versions
of the software; and the answer as `capacity plan --json` prints it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from capacity.answer.documents import dumps
from capacity.answer.saved_batches import SavedBatches
from capacity.answer.saved_engines import SavedEngines
from capacity.answer.saved_parts import MAKE_AGAIN, EffortDocument, SavedForm, is_named_only
from capacity.errors import InputError
from capacity.files import (
    check_target,
    holds,
    located,
    printable,
    read_text,
    repeatable,
    versions,
    write_whole,
)
from capacity.json_text import parse_object, read_as
from capacity.profile.formats import digest
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.budget import Effort
from capacity.question.candidate import Verdict
from capacity.search.recommendation import Certificate
from capacity.traffic.parse import parse_arrivals
from capacity.traffic.workload import ArrivalProcess

_SIGNED_KEYS = ("question", "effort", "certificate", "answer")
_FORMS: dict[type, SavedForm] = {ServiceProfile: SavedBatches(), LlmProfile: SavedEngines()}


def saved_form(question: Any) -> SavedForm:
    """The form in which a question is saved."""
    return _FORMS[type(question.profiles[0])]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan with all inputs.

    Attributes:
        question: the question in full.
        effort: budget, seed and precision, without workers, which change no answer.
        verdict: verdict of the answer.
        recommendation_plan: the recommended plan; None if there was none.
        certificate: how to repeat its confirmation to the byte; None without a plan, or in older files.
        answer: the document that `capacity plan --json` printed, without its schema version.
        versions: versions of the software that computed it.
        name: name of its file.
        path: path of its file as given; None if it was not read from one.
    """

    question: Any
    effort: Effort
    verdict: Verdict
    recommendation_plan: Any
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
    def profile(self) -> Any:
        """Profile of the recommended plan."""
        return self.question.profile(self.plan.profile)

    @property
    def plan(self) -> Any:
        """The recommended plan.

        Raises:
            InputError: there is none.
        """
        if self.recommendation_plan is None:
            raise InputError(
                f"{self.name} holds no plan: its verdict is {self.verdict}; change the question and {MAKE_AGAIN}"
            )
        return self.recommendation_plan

    @property
    def hourly_usd(self) -> float | None:
        """Price of the fleet; None if it is unknown. [USD/h]"""
        price: float | None = self.profile.hourly_cost_usd(self.plan.replicas)
        return price

    @property
    def versions_changed(self) -> dict[str, tuple[str, str]]:
        """Saved and current version of each package that changed; last digits may differ between versions."""
        here = versions()
        return {
            name: (there, here.get(name, "none"))
            for name, there in self.versions.items()
            if here.get(name) != there
        }


def check_plan_target(path: Path, question: Any) -> None:
    """Refuse early a plan that could not be written or read back.

    Raises:
        InputError: an invalid path, or a question that is too long for one file.
    """
    check_target(path, "a saved plan", (".json",))
    saved_form(question).refuse(question, path.name)


def plan_file_document(
    question: Any, effort: Effort, certificate: Certificate | None, answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Content of a saved plan, without its schema version; the same for the same question, seed and versions.

    Args:
        answer: document of `capacity plan --json`.
    """
    form = saved_form(question)
    document: dict[str, Any] = {
        "format": form.format,
        "question": form.question(question),
        "effort": {one.name: getattr(effort, one.name) for one in fields(EffortDocument)},
        "certificate": None if certificate is None else asdict(certificate),
        "versions": versions(),
        "answer": dict(answer),
    }
    return document | {"sha256": signature(document)}


def signature(document: Mapping[str, Any]) -> str:
    """Digest of all that decides the plan; versions, which are reported, may differ."""
    return digest({key: document[key] for key in _SIGNED_KEYS if key in document})


def write_plan_file(path: Path, document: Mapping[str, Any]) -> None:
    """Save a plan; the file is written whole or keeps its old content.

    Raises:
        InputError: the path cannot be written.
        DependencyError: the disk failed.
    """
    write_whole(path, (dumps(dict(document)) + "\n").encode())


def is_plan_file(path: Path) -> bool:
    """Whether a file says that it is a saved plan; False if it cannot be read, which others report."""
    return any(holds(path, f'"format": "{form.format}"') for form in _FORMS.values())


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
    forms = {form.format: form for form in _FORMS.values()}
    form = forms.get(str(document.get("format")))
    if form is None and "axes" in document and "points" in document:
        count = len(document["points"]) if isinstance(document["points"], list) else 0
        raise InputError(
            f"a frontier of {count} plans, not a saved plan; {MAKE_AGAIN} plan.json at one of its values"
        )
    if form is None:
        raise InputError(f"not a saved plan (its format is not {next(iter(forms))}); {MAKE_AGAIN} plan.json")
    version = document.get("schema_version")
    if isinstance(version, bool) or version != 1:
        raise InputError(
            "schema_version must be 1; a newer capacity may have made the plan: install that one"
        )
    given = read_as(form.file, document)
    question = given.question.question(trace)
    plan = given.answer.get("recommendation")
    saved = SavedPlan(
        question=question,
        effort=Effort(**vars(given.effort)),
        verdict=read_as(Verdict, given.answer.get("verdict"), "answer.verdict"),
        recommendation_plan=None if plan is None else form.plan(plan, question),
        certificate=given.certificate,
        answer=document["answer"],
        versions=given.versions,
        name=name,
    )
    if given.sha256 != signature(document):
        raise InputError(f"the plan was edited since it was saved (its sha256 does not fit); {MAKE_AGAIN}")
    return saved
