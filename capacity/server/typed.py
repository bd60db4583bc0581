"""Typed: a fleet as people type it after `--fleet`, `replicas=4,batch=16`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from capacity.errors import InputError, quoted
from capacity.json_text import shown
from capacity.question.plan import PLAIN_ROUTINGS, Routing


class TypedFleet(Protocol):
    """How fleets of one kind of server are typed."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that such a fleet may have."""

    @property
    def example(self) -> str:
        """A fleet of this kind."""

    def plan(self, profile: Any, fields: "Fields") -> Any:
        """The plan of a fleet of this profile; what is not typed is as usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The parts of a `--fleet`, by key.

    Attributes:
        where: the fleet, as the beginning of a message.
    """

    by_key: Mapping[str, Any]
    where: str

    @classmethod
    def read(cls, text: str, typed: TypedFleet, usual: Mapping[str, Any] = MappingProxyType({})) -> "Fields":
        """The parts of a text.

        Args:
            usual: values of keys that the text leaves out.

        Raises:
            InputError: a part that is not KEY=VALUE, an unknown or repeated key, or no replicas.
        """
        found = cls(by_key={**usual, **fields_of(text, typed.keys)}, where=f"--fleet {quoted(text)}")
        if "replicas" not in found.by_key:
            raise InputError(f"{found.where} says nothing of replicas; {typed.example} is a fleet")
        return found

    def text(self, key: str, usual: str) -> str:
        """A value as it is typed."""
        return str(self.by_key.get(key, usual))

    def count(self, key: str, usual: int = 0) -> int:
        """A whole number.

        Raises:
            InputError: it is not a whole number.
        """
        return count_of(self.by_key[key], self.where) if key in self.by_key else usual

    @property
    def routing(self) -> Routing:
        """The routing; round-robin if none is typed.

        Raises:
            InputError: an unknown routing.
        """
        return self.routing_of(PLAIN_ROUTINGS)

    def routing_of(self, known: Sequence[Routing]) -> Routing:
        """One of some routings; round-robin if none is typed.

        Raises:
            InputError: another one.
        """
        named = {one.value: one for one in known}
        found = named.get(self.text("routing", Routing.ROUND_ROBIN))
        if found is None:
            raise InputError(f"{self.where} has an unknown routing; use one of {', '.join(named)}")
        return found


def fields_of(text: str, keys: Sequence[str]) -> Mapping[str, str]:
    """The parts of a `--fleet`, by key.

    Raises:
        InputError: a part that is not KEY=VALUE, or an unknown or repeated key.
    """
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (side.strip() for side in part.partition("="))
        if not separator or key in fields:
            raise InputError(
                f"--fleet has {shown(part)}, which is not KEY=VALUE or appears twice; known keys are "
                f"{', '.join(keys)}"
            )
        if key not in keys:
            raise InputError(
                f"--fleet has {shown(part)}; known keys are {', '.join(keys)}; what holds for all "
                "fleets, such as --timeout, is a flag of its own"
            )
        fields[key] = value
    return fields


def count_of(text: str, where: str) -> int:
    """A whole number in a `--fleet`.

    Raises:
        InputError: it is not a whole number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError(f"{where} has {shown(text)}, which is not a whole number of at most 9 digits")
    return int(text)
