"""Plan: one configuration of a fleet of any kind of server."""

import math
from dataclasses import Field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from capacity.errors import DomainError

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # knows defaults, as Python does from 3.13 on
else:
    from typing import TypeVar


class Routing(StrEnum):
    """How the load balancer picks the replica for a request; ties go to the lowest index."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_OUTSTANDING = "least-outstanding"
    POWER_OF_TWO = "power-of-two"
    SHARED_QUEUE = "shared-queue"


# A fleet larger than any; a number beyond it is likely to be a mistake.
REPLICAS_LIMIT = 1_000_000


class Names(NamedTuple):
    """What sentences and figures call the settings of one kind of replica.

    Attributes:
        at_once: the number of requests that it takes at once, on an axis.
        this: the settings of a plan.
        others: other settings, as a title.
        tried: those that a search tried of each fleet, as the end of a title.
        leave: how requests leave replicas that are never short of them.
        busier: why a replica is busier than its load says, as a clause.
        work: what a replica does in the time that counts as busy.
    """

    at_once: str
    this: str
    others: str
    tried: str
    leave: str
    busier: str
    work: str


class Plan(Protocol):
    """How many replicas of a profile, how each is set, and how requests are sent to them."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def profile(self) -> str:
        """Name of the profile."""

    @property
    def replicas(self) -> int:
        """Number of replicas."""

    @property
    def routing(self) -> Routing:
        """How the load balancer picks the replica for a request."""

    @property
    def queue_limit(self) -> int | None:
        """Limit of each queue; None if it is unlimited."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the settings that a document holds: those that may be left out only if they are set."""

    @property
    def starts_at_once(self) -> bool:
        """Whether a free replica never waits for a batch to fill."""

    @property
    def settings(self) -> tuple[float, int]:
        """How a replica is set, by which plans are ordered."""

    @property
    def at_once(self) -> int:
        """Requests that a replica takes at once."""

    @property
    def size_name(self) -> str:
        """Head of the column of that number in a table."""

    @property
    def other_setting(self) -> tuple[str, str]:
        """Name and text of the setting beside that number, in a table."""

    @property
    def holds_s(self) -> float:
        """How long a free replica may wait for more requests. [s]"""

    @property
    def names(self) -> Names:
        """What sentences and figures call the settings of such replicas."""

    @property
    def words(self) -> dict[str, str]:
        """How a replica is set, by name, as tables show it."""

    @property
    def with_text(self) -> str:
        """What each replica does, as a sentence says it of a fleet."""

    @property
    def size_text(self) -> str:
        """How much a replica takes at once."""

    @property
    def at_once_text(self) -> str:
        """How much a replica takes at once, in two words."""

    @property
    def server_text(self) -> str:
        """How a replica is set, without its routing, in a few words."""

    @property
    def setting_text(self) -> str:
        """How a replica is set, in a few words."""

    def value_text(self, what: str) -> str:
        """The value of a setting that a search varies, by the search's name of it; empty if that has it."""


def require_fleet(plan: Plan) -> None:
    """Refuse a plan with too few or too many replicas, or a negative queue limit.

    Raises:
        DomainError: says the number.
    """
    if not 1 <= plan.replicas <= REPLICAS_LIMIT:
        raise DomainError(f"replicas must be from 1 to {REPLICAS_LIMIT}, got {plan.replicas}")
    if plan.queue_limit is not None and plan.queue_limit < 0:
        raise DomainError(f"the queue limit must be >= 0, got {plan.queue_limit}")


def rejects(plan: Plan) -> bool:
    """Whether a request that finds its queue full is rejected."""
    return plan.queue_limit is not None


def waiting_max(plan: Plan) -> float:
    """Most requests that wait in queues of their own; infinite if nothing limits them."""
    return math.inf if plan.queue_limit is None else plan.queue_limit * plan.replicas


def plan_words(plan: Plan) -> dict[str, str]:
    """The settings of a fleet, by name, as tables show them; a queue limit only if there is one."""
    found = {
        "profile": plan.profile,
        "replicas": str(plan.replicas),
        **plan.words,
        "routing": plan.routing.value,
    }
    return found | ({"queue limit": str(plan.queue_limit)} if rejects(plan) else {})


class Measured(Protocol):
    """A profile of any kind."""

    @property
    def name(self) -> str:
        """Name by which plans and rows refer to it."""

    @property
    def instances_per_device(self) -> int:
        """Replicas on each device, or on what is priced as one."""

    def hourly_cost_usd(self, replicas: int) -> float | None:
        """Price of a fleet; None if the device's price is unknown. [USD/h]"""

    def scaled(self, factor: float) -> Self:
        """The profile of devices that take `factor` times as long for everything in a server."""


# Nouns that hold for every kind of server.
if TYPE_CHECKING:
    AnyProfile = TypeVar("AnyProfile", bound=Measured, default=Measured, covariant=True)
    AnyPlan = TypeVar("AnyPlan", bound=Plan, default=Plan, covariant=True)
else:
    AnyProfile, AnyPlan = TypeVar("AnyProfile"), TypeVar("AnyPlan")


def with_queue_limit(plan: Any, limit: int | None) -> Any:
    """The plan with a limit of each queue, or without one."""
    return replace(plan, queue_limit=limit)
