"""The verb `audit`: whether a load test can be believed, beside what was predicted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.answer.plan_like import as_saved
from capacity.api.files import load_test, running_plan
from capacity.doors import door
from capacity.errors import CapacityError, InputError, UnstableError, quoted
from capacity.evidence.audit import audit_findings
from capacity.evidence.compared import ComparedRun, compared, overloaded, unknown
from capacity.formats.load_test import LoadRun, LoadTest, Loop
from capacity.question import parse
from capacity.question.arguments import Asked
from capacity.server.kinds import asked_of

if TYPE_CHECKING:
    from capacity.answers.evidence import AuditAnswer
    from capacity.formats.running_plan import RunningPlan


@door("audit")
def audit(asked: Asked) -> "AuditAnswer":
    """Whether a load test can be believed, by laws that its own figures must obey.

    Raises:
        InputError: the file is of no known format, or holds no load test.
    """
    _ = asked.effort  # refuses what is out of range, even if nothing is predicted
    effort = {name: asked[name] for name in ("seed", "precision", "workers", "progress")}
    known = Told(users=asked.users, loop=asked.loop, think_time_s=asked.think_time, rate_rps=asked.rate)
    running = running_plan(asked.plan)
    _require_one_prediction(asked, running)
    predicted, notes = _prediction(asked, running, effort)
    return audited(asked.file, known, predicted, notes)


def _require_one_prediction(asked: Asked, running: "RunningPlan | None") -> None:
    """Refuse two predictions, or half of one."""
    profile, plan = asked.profile, asked.plan
    if running is not None and profile is None:
        raise InputError("the plan says how a server batches and not how long it takes; give --profile too")
    if profile is not None and plan is not None and running is None:
        raise InputError("give --profile or --plan to predict by, not both")
    told = [name for name in _OF_SERVERS.split() if asked.is_told(name)] if running is not None else []
    if told:
        flag = f"--{told[0].replace('_', '-')}"
        raise InputError(f"{flag} is in the plan of the server; leave it out, or --plan")


_OF_SERVERS = "replicas batch_size_max routing batch_wait queue_limit"


def _prediction(
    asked: Asked, running: "RunningPlan | None", effort: Mapping[str, Any]
) -> "tuple[Callable[[LoadRun], ComparedRun] | None, tuple[str, ...]]":
    """A function that predicts each run of an audit, None without a profile; and notes on it."""
    from capacity.answer.saved_plan import read_plans

    requests = {"lengths": asked.lengths}
    if asked.plan is not None and running is None:
        (saved,) = read_plans([as_saved(asked.plan)])
        if (share := saved.question.space.cached_share) > 0.0:
            requests["cached_share"] = share
        return partial(predicted, saved.profile, saved.plan, requests, effort), ()
    if asked.profile is None:
        return None, ()
    found = parse.find_profile(asked.profile)
    kind = asked_of([found])
    kind.refuse(asked, ("users", "think_time"))  # of the file, not of the prediction
    profile = kind.ready(found, asked)
    plan, notes = (kind.plan(profile, asked), ()) if running is None else kind.running(profile, running)
    return partial(predicted, profile, plan, requests, effort), notes


_QUANTILE_MAX = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the caller knows of a load test, and its file does not say.

    Attributes:
        users: users of a closed loop.
        loop: `open` or `closed`.
        think_time_s: mean time between an answer and the next request of a user. [s]
        rate_rps: arrival rate of the requests. [requests/s]
    """

    users: float | None = None
    loop: str | None = None
    think_time_s: float | None = None
    rate_rps: float | None = None

    def __post_init__(self) -> None:
        if self.users is not None and not self.users >= 1.0:
            raise InputError(f"--users must be at least 1, got {self.users:g}")
        if self.loop not in (None, Loop.OPEN, Loop.CLOSED):
            raise InputError(f"--loop must be open or closed, got {quoted(self.loop)}")
        if self.loop == Loop.OPEN and (self.users is not None or self.think_time_s is not None):
            raise InputError("--users and --think-time are for a closed loop; leave them out, or --loop open")


def audited(
    source: str | Path,
    told: Told,
    predicted: Callable[[LoadRun], ComparedRun] | None = None,
    notes: Sequence[str] = (),
) -> "AuditAnswer":
    """Whether a load test can be believed; with a prediction, what each run should have shown.

    Args:
        predicted: function that predicts a run.
        notes: notes on the plan, shown below those on the test.
    """
    from capacity.answers.evidence import AuditAnswer

    test = load_test(source)
    test = replace(test, notes=(*test.notes, *_unused(test, told), *notes))
    test = replace(test, runs=tuple(_completed_run(run, told) for run in test.runs))
    findings = tuple(audit_findings(test))
    if predicted is None:
        return AuditAnswer(test=test, findings=findings)
    whole = [run for run in test.runs if test.whole in (None, run.name)]  # the server answers all endpoints
    rows = tuple(predicted(run) for run in whole)
    return AuditAnswer(test=test, findings=findings, beside=rows)


def _unused(test: LoadTest, told: Told) -> Iterator[str]:
    """Notes on what the caller said and the file contradicts."""
    users = dict.fromkeys(f"{run.users:g}" for run in test.runs if run.users and run.users != told.users)
    if told.users is not None and users:
        counts = ", ".join(users)
        yield f"the file itself says how many users there were ({counts}): the {told.users:g} given are not used"


def _completed_run(run: LoadRun, told: Told) -> LoadRun:
    """The run, completed by what the caller knows."""
    run = _in_loop(run, told)
    if run.loop is Loop.OPEN and (told.users is not None or told.think_time_s is not None):
        flag = "--users" if told.users is not None else "--think-time"
        because = f" ({run.loop_because}); give --loop closed if they were not" if run.loop_because else ""
        raise InputError(f"{flag} is for a closed loop, and these requests were sent by a schedule{because}")
    is_closed = told.users is not None or told.think_time_s is not None
    loop = Loop.CLOSED if is_closed else run.loop
    return replace(
        run,
        users=run.users or told.users,
        loop=loop,
        think_time_s=run.think_time_s if told.think_time_s is None else told.think_time_s,
        **_rates(run, loop, told.rate_rps),
    )


def _rates(run: LoadRun, loop: Loop, told_rps: float | None) -> dict[str, Any]:
    """The caller's rate: of answers to users who waited, else of arrivals, if the run has no rate of its own."""
    is_unknown = run.throughput_rps is None
    if told_rps is None or not (is_unknown or loop is Loop.OPEN):
        return {}
    if loop is Loop.CLOSED:
        return {"throughput_rps": told_rps}
    return {"rate_asked_rps": run.rate_asked_rps or told_rps}


def _in_loop(run: LoadRun, told: Told) -> LoadRun:
    """The run with the loop that the caller names.

    Raises:
        InputError: the file itself names another loop.
    """
    if told.loop is None or told.loop == run.loop:
        return run
    if run.loop is Loop.SERVED and told.loop == Loop.OPEN:
        raise InputError(
            "these are the server's own figures, whoever sent the requests; leave out --loop open"
        )
    if run.loop in (Loop.OPEN, Loop.CLOSED) and not run.loop_because:
        raise InputError(f"--loop {told.loop}: the file says that the loop is {run.loop}; leave it out")
    return replace(run, loop=Loop(told.loop), loop_because="as --loop says")


def predicted(
    profile: Any, plan: Any, requests: Mapping[str, Any], effort: Mapping[str, Any], run: LoadRun
) -> ComparedRun:
    """The prediction of one run by simulation, or the reason why there is none.

    Args:
        requests: keywords of `capacity.simulate` for what requests are like, such as their lengths.
        effort: its keywords for seed, precision and workers.
    """
    from capacity.api.simulate import simulate

    kind = asked_of([profile])
    try:
        how = {**kind.keywords(plan), **requests, **kind.traffic(run, plan, requests)}
        found = simulate(profile, plan.replicas, **how, quantile=_quantiles(run), **effort)
    except UnstableError as error:
        return overloaded(run, str(error))
    except CapacityError as error:
        return unknown(run, str(error))
    return compared(run, found.performance, profile.request_overhead_s)


def _quantiles(run: LoadRun) -> list[float]:
    """Quantiles to predict: the reported ones up to P99.9, since higher ones take too many requests."""
    return [q for q in run.quantiles_s if 0.0 < q <= _QUANTILE_MAX] or [0.99]
