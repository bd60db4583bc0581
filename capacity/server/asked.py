"""Asked: fleets of one kind of server as the flags of a verb ask for them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from capacity.formats.load_test import LoadRun
from capacity.formats.running_plan import RunningPlan
from capacity.question.arguments import Asked
from capacity.question.grid import Settings
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.question import Space
from capacity.traffic.any_lengths import AnyLengths
from capacity.traffic.workload import ArrivalProcess

NO_RATE = "the file says neither users nor a rate; give --users or --rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Arrivals of requests at any rate, and the lengths of the requests.

    Attributes:
        lengths: input and output tokens of the requests; None if requests have no lengths.
        cached_share: share of each prompt that is assumed to be in the cache when the request comes.
        bistable: whether fleets may be such that do not come back from empty caches and a backlog.
        in_order: whether the k-th arrival of a trace has the k-th lengths, and not random ones.
    """

    arrivals: ArrivalProcess
    lengths: AnyLengths | None = None
    cached_share: float = 0.0
    bistable: bool = False
    in_order: bool = False

    @property
    def parts(self) -> dict[str, Any]:
        """What a scenario says of its requests, beside how many there are."""
        names = ("lengths", "cached_share", "bistable", "in_order")
        return {name: getattr(self, name) for name in names}


class AskedFleet(Protocol):
    """How fleets of one kind of server are asked for.

    Profiles, plans, scenarios and questions that are given to it are of its own kind.
    """

    def refuse(self, asked: Asked, besides: Collection[str] = ()) -> None:
        """Refuse flags that such fleets do not have.

        Args:
            besides: flags that they have in this verb alone.

        Raises:
            InputError: names the first flag.
        """

    def ready(self, profile: Any, asked: Asked) -> Any:
        """A profile, with what flags say in place of its own."""

    def requests(self, profile: Any, asked: Asked) -> Requests:
        """The requests that fleets of a profile serve."""

    def objective(self, asked: Asked) -> Objective:
        """The limits that flags set.

        Raises:
            InputError: there is none, or one on what is not measured of such fleets.
        """

    def routings(self, asked: Asked) -> tuple[Routing, ...]:
        """The routings to choose from."""

    def space(self, requests: Requests, asked: Asked) -> Space:
        """The settings to choose from."""

    def settings(self, requests: Requests, asked: Asked) -> Settings:
        """The settings of a sweep."""

    def plan(self, profile: Any, asked: Asked) -> Any:
        """The one fleet of a profile that flags describe; what they leave out is as usual."""

    def changed(self, scenario: Any, asked: Asked) -> Any:
        """The plan of a known fleet, with what flags say in place of its own.

        Raises:
            InputError: a routing that its requests do not have.
        """

    def usual(self, asked: Asked) -> dict[str, Any]:
        """What the flags of `compare` say of all fleets that do not say it themselves, by the keys of `--fleet`."""

    def running(self, profile: Any, running: RunningPlan) -> tuple[Any, tuple[str, ...]]:
        """The plan that a server runs, by its own configuration, and notes on what that leaves out."""

    def keywords(self, plan: Any) -> dict[str, Any]:
        """Keywords of `capacity.simulate` that describe a plan, but for its profile and its replicas."""

    def traffic(self, run: LoadRun, plan: Any, requests: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of `capacity.simulate` for the requests of a load test's run.

        Args:
            requests: keywords that are given of what requests are like.

        Raises:
            InputError: the file does not say enough of them.
        """

    def require(self, scenario: Any) -> None:
        """Refuse a fleet that has no room for its requests, and a limit that says nothing of it."""
