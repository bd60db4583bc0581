"""Kinds: what stands in `server/` for each kind of server, by the type of its profile."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from capacity.errors import InputError
from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.grid import Settings
from capacity.question.overload import Saturated
from capacity.server.asked import AskedFleet
from capacity.server.batch.asked import AskedBatches
from capacity.server.batch.server import BatchServer
from capacity.server.batch.settings import BatchSettings
from capacity.server.batch.typed import TypedBatches
from capacity.server.engine.asked import AskedEngines
from capacity.server.engine.server import TokenEngine
from capacity.server.engine.space import EngineSpace
from capacity.server.engine.typed import TypedEngines
from capacity.server.server import Server
from capacity.server.typed import TypedFleet


class _Kind(NamedTuple):
    """What stands in the folder of a kind."""

    asked: AskedFleet
    typed: TypedFleet
    server: type[BatchServer] | type[TokenEngine]
    settings: type[BatchSettings] | type[EngineSpace]


_KINDS: dict[type, _Kind] = {
    ServiceProfile: _Kind(AskedBatches(), TypedBatches(), BatchServer, BatchSettings),
    LlmProfile: _Kind(AskedEngines(), TypedEngines(), TokenEngine, EngineSpace),
}


def asked_of(profiles: Sequence[Any]) -> AskedFleet:
    """How fleets of some profiles are asked for; without any, those of the first kind.

    Raises:
        InputError: the profiles are of several kinds.
    """
    kinds = {type(one): one for one in reversed(profiles)}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[ServiceProfile].name} has batch times, and others are of language models; plan for one kind"
        )
    return _KINDS[next(iter(kinds or _KINDS))].asked


def typed_of(profile: Any = None) -> TypedFleet:
    """How fleets of a profile are typed; without one, those of the first kind."""
    return _KINDS[next(iter(_KINDS)) if profile is None else type(profile)].typed


def server_of(scenario: Any, saturated: Saturated) -> Server:
    """One replica of a scenario's fleet.

    Args:
        saturated: function that measures its saturation, for servers whose capacity no law gives.
    """
    return _KINDS[type(scenario.profile)].server.of(scenario, saturated)


def settings_of(scenario: Any) -> Settings:
    """The settings of a scenario's fleet, as those of a sweep."""
    return _KINDS[type(scenario.profile)].settings.of(scenario)


def require_one_kind(plans: Sequence[Any]) -> None:
    """Refuse saved plans of several kinds.

    Raises:
        InputError: names one that batches, beside those of language models.
    """
    kinds = {type(one.profile): one for one in reversed(plans)}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[ServiceProfile].name} is a plan of a fleet that batches; give one for a language model"
        )
