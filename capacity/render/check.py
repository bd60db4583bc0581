"""Check report: the result of `capacity check` as JSON, Markdown, JUnit and GitHub annotations."""

from collections.abc import Iterator
from xml.etree import ElementTree

from capacity.answer.check import GateAnswer, Gated
from capacity.answer.documents import Document, like_it_document, picked, plain, requests_document
from capacity.files import printable
from capacity.question.candidate import Verdict

_COMMANDS = {Verdict.MET: "notice", Verdict.MISSED: "error", Verdict.INCONCLUSIVE: "warning"}
_SIGNS = {Verdict.MET: "✅", Verdict.MISSED: "❌", Verdict.INCONCLUSIVE: "❔"}


def gate_document(answer: GateAnswer, *, seed: int, confidence: float) -> Document:
    """Document of `capacity check`."""
    inputs, needed = answer.inputs, answer.needed
    verdict = answer.verdict
    return {
        "verdict": verdict.value,
        "exit_code": verdict.exit_code,
        **like_it_document(answer.like_it),
        **picked(inputs, "plan", "replaced"),
        **picked(inputs.question, "objective"),
        "workload": requests_document(inputs.question.workload, inputs.question.space.lengths),
        **picked(answer, "findings", "performance"),
        **(picked(answer, "rejection") if inputs.scenario.lengths is not None else {}),
        **picked(answer, "reproduced", "survived"),
        "needed": None
        if needed is None
        else {
            "verdict": needed.verdict.value,
            "recommendation": plain(needed.plan),
            "cost": None if needed.hourly_usd is None else picked(needed, "hourly_usd"),
        },
        "notes": list(answer.notes),
        "seed": seed,
        "confidence": confidence,
    }


def github_lines(answer: Gated) -> Iterator[str]:
    """Workflow commands, which GitHub shows next to the change.

    Source:
        GitHub Docs, Workflow commands for GitHub Actions; the escapes are those of actions/toolkit,
        packages/core/src/command.ts.
    """
    for finding in answer.findings:
        yield _command(_COMMANDS[finding.verdict], f"capacity: {finding.name}", finding.message)
    for note in answer.notes:
        yield _command("notice", "capacity: note", note)
    yield _data(answer.summary)


def _command(name: str, title: str, message: str) -> str:
    return f"::{name} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(answer: Gated) -> str:
    """The verdict and a table of findings, for a summary or a comment."""
    rows = [
        f"| {_SIGNS[finding.verdict]} {finding.verdict} | {_cell(finding.name)} | {_cell(finding.message)} |"
        for finding in answer.findings
    ]
    notes = [f"- {_cell(note)}" for note in answer.notes]
    lines = [
        f"### {_SIGNS[answer.verdict]} {_cell(answer.summary)}",
        "",
        "| verdict | what | found |",
        "|---|---|---|",
        *rows,
        *(["", *notes] if notes else []),
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that is neither markup nor the end of a cell."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|~#" else c for c in " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def junit(answer: Gated, name: str) -> str:
    """JUnit XML, as test reporters read it: missed is a failure, undecided an error.

    Args:
        name: name of the saved plan.
    """
    verdicts = [finding.verdict for finding in answer.findings]
    counts = {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(Verdict.MISSED)),
        "errors": str(verdicts.count(Verdict.INCONCLUSIVE)),
    }
    suites = ElementTree.Element("testsuites", {"name": "capacity check", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": printable(name), **counts, "skipped": "0"})
    for finding in answer.findings:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "capacity.check", "name": printable(finding.name)}
        )
        message = printable(finding.message)
        if finding.verdict is Verdict.MISSED:
            limit = "objective" if finding.rejection is None else finding.rejection.reason.value
            ElementTree.SubElement(case, "failure", {"message": message, "type": limit}).text = message
        elif finding.verdict is Verdict.INCONCLUSIVE:
            ElementTree.SubElement(case, "error", {"message": message, "type": "inconclusive"}).text = message
        else:
            ElementTree.SubElement(case, "system-out").text = message
    notes = ElementTree.SubElement(suite, "system-out")
    notes.text = "\n".join([printable(answer.summary), *map(printable, answer.notes)])
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
