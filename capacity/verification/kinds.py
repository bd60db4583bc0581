"""Kinds: what a load test of each kind of server sends, and what is compared, by the type of its profile."""

from typing import Any, Protocol

from capacity.measurement.http import Address
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.arguments import Asked
from capacity.verification.batches import Batches
from capacity.verification.engines import Engines
from capacity.verification.quantities import Quantity
from capacity.verification.send import Target
from capacity.verification.subject import Subject


class Kind(Protocol):
    """What is sent to servers of one kind, and what of it is compared.

    Attributes:
        quantities: with their usual tolerances.
        is_calibrated: whether a server may tell what a request takes inside it, so that this client's own request
            overhead can be measured.
        told_by_metrics: what their metrics tell, in words.
    """

    quantities: tuple[Quantity, ...]
    is_calibrated: bool
    told_by_metrics: str

    def require_answerable(self, subject: Subject) -> None:
        """Refuse at once a plan without a steady state, where that takes no simulation.

        Raises:
            UnstableError: the plan cannot sustain the rate.
            DomainError: the profile does not cover the plan.
        """

    def target(self, asked: Asked, subject: Subject) -> Target:
        """The addresses of the servers, and the requests to them.

        Raises:
            InputError: a flag that is missing, or that such servers do not have.
        """

    def look(
        self, addresses: tuple[Address, ...], subject: Subject
    ) -> tuple[tuple[Address, ...], tuple[str, ...]]:
        """The addresses of metrics to watch during a run, and what servers report that differs from the plan.

        Raises:
            DependencyError: metrics that cannot be fetched or read.
        """


_KINDS: dict[type, Kind] = {ServiceProfile: Batches(), LlmProfile: Engines()}


def kind_of(profile: Any) -> Kind:
    """The kind of the server that a profile was measured of."""
    return _KINDS[type(profile)]
