"""Plan: one configuration of a fleet of any kind of server."""

import math
import re
from collections.abc import Sequence
from dataclasses import Field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from capacity.errors import DomainError

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # knows defaults, as Python does from 3.13 on
else:
    from typing import TypeVar


# Why replicas with a limited number of places are not scaled.
FIXED_PLACES = (
    "a limit of outstanding requests is not simulated under an autoscaler; leave out --outstanding-max"
)


class Routing(StrEnum):
    """How the load balancer picks the replica for a request.

    Ties go to the lowest index; where requests are turns of sessions, to any of the equal replicas. A name with a
    balancer is that balancer's own rule, ties included.
    """

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    LEAST_OUTSTANDING = "least-outstanding"
    POWER_OF_TWO = "power-of-two"
    SHARED_QUEUE = "shared-queue"
    LEAST_OUTSTANDING_HAPROXY = "least-outstanding:haproxy"
    LEAST_OUTSTANDING_NGINX = "least-outstanding:nginx"
    POWER_OF_TWO_HAPROXY = "power-of-two:haproxy"
    POWER_OF_TWO_NGINX = "power-of-two:nginx"
    SESSION = "session"
    SESSION_COOKIE = "session-cookie"
    SESSION_HAPROXY = "session:haproxy"
    SESSION_NGINX = "session:nginx"
    PREFIX_LLM_D = "prefix:llm-d"
    PREFIX_LLM_D_SCORES = "prefix:llm-d-scores"
    PREFIX_SGLANG = "prefix:sglang"
    PREFIX_DYNAMO = "prefix:dynamo"
    PREFIX_PRODUCTION_STACK = "prefix:production-stack"

    @property
    def base(self) -> "Routing":
        """The rule of which this is what one balancer makes of it; itself where it is no balancer's own.

        >>> Routing.POWER_OF_TWO_HAPROXY.base, Routing.PREFIX_LLM_D.base
        (<Routing.POWER_OF_TWO: 'power-of-two'>, <Routing.PREFIX_LLM_D: 'prefix:llm-d'>)
        """
        family = self.value.partition(":")[0]
        return Routing(family) if family in _FAMILIES else self

    @property
    def needs_sessions(self) -> bool:
        """Whether the rule looks at the session of a request, or at the contents of its prompt."""
        return self.by_content or self.base in (Routing.SESSION, Routing.SESSION_COOKIE)

    @property
    def by_content(self) -> bool:
        """Whether the rule looks at the contents of a prompt."""
        return self.value.startswith("prefix:")

    @property
    def in_words(self) -> str:
        """The rule as a sentence says it."""
        return _IN_WORDS.get(self) or f"{self.value} routing"


_FAMILIES = frozenset(one.value for one in Routing)
_IN_WORDS = {
    Routing.SHARED_QUEUE: "a shared queue",
    Routing.LEAST_OUTSTANDING_HAPROXY: "HAProxy's leastconn",
    Routing.LEAST_OUTSTANDING_NGINX: "nginx's least_conn",
    Routing.POWER_OF_TWO_HAPROXY: "HAProxy's random(2)",
    Routing.POWER_OF_TWO_NGINX: "nginx's random two least_conn",
    Routing.SESSION_HAPROXY: "HAProxy's ring of hashes",
    Routing.SESSION_NGINX: "nginx's ring of hashes",
    Routing.PREFIX_LLM_D: "llm-d's prefix routing",
    Routing.PREFIX_LLM_D_SCORES: "llm-d's scored prefix routing",
    Routing.PREFIX_SGLANG: "SGLang's prefix routing",
    Routing.PREFIX_DYNAMO: "Dynamo's prefix routing",
    Routing.PREFIX_PRODUCTION_STACK: "production-stack's prefix routing",
}
# Those for requests of any kind, of which a fleet may be asked without sessions.
PLAIN_ROUTINGS = tuple(one for one in Routing if not one.needs_sessions)
# Those that a search tries if it may choose any; what a certain balancer makes of one is asked for by name.
ANY_ROUTINGS = tuple(one for one in PLAIN_ROUTINGS if one.base is one)


# A fleet larger than any; a number beyond it is likely to be a mistake.
REPLICAS_LIMIT = 1_000_000
SERVERS_PORT = 8000  # of servers in files for other tools
_NAME_MAX = 40  # of 63 in a DNS label: tools append words of their own


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


def holds_back(plan: Plan) -> bool:
    """Whether requests for which no replica has a place wait at the balancer."""
    return "outstanding_max" in plan.kept


def waiting_max(plan: Plan) -> float:
    """Most requests that wait in queues of their own; infinite if nothing limits them."""
    return math.inf if plan.queue_limit is None else plan.queue_limit * plan.replicas


def dns_label(name: str) -> str:
    """A name as Kubernetes, Compose and the like take it: lower case, digits and hyphens, a letter first.

    >>> dns_label("ResNet50_t4.fp16"), dns_label("7b")
    ('resnet50-t4-fp16', 'model-7b')
    """
    label = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_NAME_MAX].strip("-")
    return label if label[:1].isalpha() else f"model-{label}".rstrip("-")


def server_addresses(profile: str, servers: int, named: Sequence[str] = ()) -> tuple[str, ...]:
    """Addresses of the servers of a fleet in the files that are written for balancers.

    Args:
        named: addresses of the first ones.

    >>> server_addresses("ResNet50", 3, named=["10.0.0.1:80"])
    ('10.0.0.1:80', 'resnet50-1:8000', 'resnet50-2:8000')
    """
    usual = (f"{dns_label(profile)}-{number}:{SERVERS_PORT}" for number in range(len(named), servers))
    return (*named[:servers], *usual)


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
