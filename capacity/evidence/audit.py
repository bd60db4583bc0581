"""Audit: runs all checks on all runs of a load test, the tool's own verdict among them."""

from collections.abc import Callable
from itertools import chain

from capacity.evidence.finding import Belief, CheckFinding, finding_of
from capacity.evidence.percentiles import averaged, buckets, percentiles, rare_parts, samples
from capacity.evidence.sending import answered, coordinated_omission, generator, kind_of_loop, littles_law
from capacity.evidence.steadiness import ramp, stalls, stationary, warm_up
from capacity.formats.load_test import LoadRun, LoadTest


def tool_verdict(run: LoadRun) -> CheckFinding | None:
    """Whether the tool calls the run invalid by its own rules."""
    if not run.invalid_because:
        return None
    message = f"the tool itself calls the run invalid: {run.invalid_because}"
    return finding_of(run, "tool-verdict", Belief.BROKEN, message, "run it again as its rules ask")


CHECKS: tuple[Callable[[LoadRun], CheckFinding | None], ...] = (
    kind_of_loop,
    tool_verdict,
    littles_law,
    coordinated_omission,
    generator,
    answered,
    samples,
    percentiles,
    buckets,
    ramp,
    warm_up,
    stationary,
    stalls,
)


def check_run(run: LoadRun) -> list[CheckFinding]:
    """All findings about one run."""
    found = [check(run) for check in CHECKS]
    return [one for one in found if one is not None]


def audit_findings(test: LoadTest) -> list[CheckFinding]:
    """All findings about all runs, and about them together."""
    rare = rare_parts(test)
    of_runs = (
        [rare[run.name]] if run.name in rare else [one for one in check_run(run) if _applies(one, run, test)]
        for run in test.runs
    )
    return [*chain.from_iterable(of_runs), *averaged(test)]


def _applies(finding: CheckFinding, run: LoadRun, test: LoadTest) -> bool:
    """Whether a finding adds to what is known of the whole; users, for one, belong to all endpoints together."""
    is_part = test.whole is not None and run.name != test.whole
    is_of_users = finding.check in ("littles-law", "coordinated-omission")
    return not (is_part and (is_of_users or finding.belief is Belief.UNKNOWN))
