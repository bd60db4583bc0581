"""Validity: the tool's own verdict on a run."""

from capacity.evidence.finding import Belief, CheckFinding, finding_of
from capacity.formats.load_test import LoadRun


def tool_verdict(run: LoadRun) -> CheckFinding | None:
    """Whether the tool calls the run invalid by its own rules."""
    if not run.invalid_because:
        return None
    message = f"the tool itself calls the run invalid: {run.invalid_because}"
    return finding_of(run, "tool-verdict", Belief.BROKEN, message, "run it again as its rules ask")
