"""Kinds: what stands in `server/` for each kind of server, by the type of its profile."""

from typing import Any

from capacity.profile.llm import LlmProfile
from capacity.profile.profile import ServiceProfile
from capacity.question.grid import Settings
from capacity.server.batch.settings import BatchSettings
from capacity.server.engine.space import EngineSpace

_SETTINGS: dict[type, type[BatchSettings] | type[EngineSpace]] = {
    ServiceProfile: BatchSettings,
    LlmProfile: EngineSpace,
}


def settings_of(scenario: Any) -> Settings:
    """The settings of a scenario's fleet, as those of a sweep."""
    return _SETTINGS[type(scenario.profile)].of(scenario)
