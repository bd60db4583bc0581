"""Server: what one replica is, as everything that holds for any kind of server sees it."""

from typing import Any, Protocol

from capacity.question.plan import Measured
from capacity.traffic.any_lengths import AnyLengths


class Server(Protocol):
    """One replica, with what is known of the requests that it serves.

    A plan that is given to it is of its own kind.
    """

    @property
    def profile(self) -> Measured:
        """Measured times of the server."""

    @property
    def lengths(self) -> AnyLengths | None:
        """Input and output tokens of the requests; None if requests have no lengths."""

    @property
    def cached_share(self) -> float:
        """Share of each prompt that is assumed to be in the cache when the request comes."""

    @property
    def step(self) -> str:
        """Name of what the server computes at a time, in the plural."""

    @property
    def overhead_s(self) -> float:
        """Mean time of a request outside of its replica. [s]"""

    @property
    def served_s(self) -> float:
        """Time from the end of a wait to the reply in a full fleet; 0 if it is short beside a timeout. [s]"""

    @property
    def has_sessions(self) -> bool:
        """Whether requests are turns of sessions, whose caches fill at first."""

    @property
    def sheds(self) -> bool:
        """Whether a replica can turn away requests that already wait."""

    def reorders(self, plan: Any) -> bool:
        """Whether the replicas of a plan can serve the newest requests first."""

    @property
    def stops(self) -> bool:
        """Whether a replica can stop a request that it has begun."""

    def capacity_rps(self, plan: Any) -> float:
        """Requests that a fleet serves in a second if some always wait. [requests/s]"""

    def late_margin_s(self, plan: Any) -> float:
        """Time before its deadline from which on a waiting request is mostly answered too late. [s]"""
