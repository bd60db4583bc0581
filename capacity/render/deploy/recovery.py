"""Recovery: what a plan's clients and servers need so that it recovers after trouble."""

from dataclasses import dataclass, replace

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError
from capacity.files import printable
from capacity.json_text import read_as
from capacity.question.plan import Plan, with_queue_limit
from capacity.recovery.parse import read_budget, read_shedding, read_slow_start_s
from capacity.recovery.protection import Shedding
from capacity.traffic.clients import Backoff, Clients, Failure, RetryBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Clients and settings with which the plan recovered in simulation.

    Attributes:
        clients: the clients, with the retry budget that makes the fleet recover if it needs one.
        setting: the flag that makes the plan recover; None if it recovers as it is.
        shed: the servers' `--shed`, found or asked for; None if they serve all, oldest first.
        plan: the plan, with the queue limit that makes it recover if it needs one.
        slow_start_s: the balancer's `--slow-start`, found or asked for; 0 without one. [s]
    """

    clients: Clients
    setting: str | None
    shed: str | None
    plan: Plan
    slow_start_s: int = 0

    @property
    def shedding(self) -> Shedding:
        """Which waiting requests the servers shed."""
        return Shedding.NONE if self.shed is None else read_shedding(self.shed)[0]

    @property
    def late_margin_s(self) -> float | None:
        """The margin of `--shed late:MARGIN`; None if it is not given. [s]"""
        return None if self.shed is None else read_shedding(self.shed)[1]

    @property
    def of_servers(self) -> str | None:
        """The flag that servers need for the fleet to recover; None if they need none."""
        if self.setting is not None and not self.setting.startswith(("--retry-budget", "--slow-start")):
            return self.setting
        return None if self.shed is None else f"--shed {self.shed}"


def read_recovery(saved: SavedPlan) -> Recovery | None:
    """What a saved plan needs to recover; None if it was not made to, or does not.

    Raises:
        InputError: the plan was edited.
    """
    found = saved.answer.get("recovery")
    if not isinstance(found, dict) or found.get("chosen") is None:
        return None
    setting = found.get("setting")
    setting = printable(setting) if isinstance(setting, str) else None
    name, _, value = (setting or "").partition(" ")
    clients = _clients(found.get("clients"), saved.name)
    if name == "--retry-budget":
        clients = replace(clients, budget=read_budget(value, None))
    return Recovery(
        clients=clients,
        setting=setting,
        shed=value if name == "--shed" else _asked_shed(found.get("flags")),
        slow_start_s=read_slow_start_s(
            {"slow_start": value if name == "--slow-start" else _asked("--slow-start", found.get("flags"))}
        ),
        plan=with_queue_limit(saved.plan, _count(value, saved.name))
        if name == "--queue-limit"
        else saved.plan,
    )


def _asked_shed(flags: object) -> str | None:
    """The `--shed` in the question, as it was typed."""
    shed = _asked("--shed", flags)
    return None if shed is None or read_shedding(shed)[0] is Shedding.NONE else shed


def _asked(flag: str, flags: object) -> str | None:
    """A flag of the question, as it was typed."""
    words = [str(one) for one in flags] if isinstance(flags, list | tuple) else []
    return words[words.index(flag) + 1] if flag in words[:-1] else None


def _count(text: str, name: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{name}: answer.recovery.setting has no number of requests; make the plan again")
    return int(text)


def _clients(given: object, name: str) -> Clients:
    if not isinstance(given, dict):
        raise InputError(f"{name}: answer.recovery.clients is missing; make the plan again")
    where = f"{name}: answer.recovery.clients"
    budget, backoff = given.get("budget"), given.get("backoff")
    return Clients(
        timeout_s=_seconds(given.get("timeout_s"), where),
        deadline_s=_seconds(given.get("deadline_s"), where),
        attempts=read_as(int, given.get("attempts"), where),
        backoff=None if backoff is None else read_as(Backoff, backoff, where),
        budget=RetryBudget() if budget is None else read_as(RetryBudget, budget, where),
        retried=frozenset(read_as(tuple[Failure, ...], given.get("retried"), where)),
    )


def _seconds(given: object, where: str) -> float | None:
    return None if given is None else read_as(float, given, where)
