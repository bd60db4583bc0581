"""Arguments: what a verb was asked, raw by key and parsed by attribute."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from capacity.errors import InputError, quoted
from capacity.question import parse
from capacity.question.asked import FLAGS
from capacity.question.budget import Effort
from capacity.question.flag import COUNT, ON_OFF, REQUIRED, SHARE, SWITCH, Flag
from capacity.question.verbs import EFFORT, VERBS, in_both, keywords, typed_name


def silent(message: str) -> None:
    """Discard progress messages."""


class Asked(Mapping[str, Any]):
    """The arguments of a verb: raw by key, and parsed by attribute.

    By attribute, a duration is in seconds and a rate in requests per second, whether it was given as text or by the
    keyword with its unit; a share is a number; a repeatable argument is a list. Each is parsed when it is used.

    Args:
        given: values by keyword; those that are left out have their defaults.
        told: names of those that the caller typed, defaults among them; None for all.

    Raises:
        InputError: one that is typed changes nothing beside the others.
    """

    def __init__(self, verb: str, given: Mapping[str, Any], told: Collection[str] | None = None) -> None:
        self.verb, self._flags = verb, keywords(verb)
        self._told = frozenset(
            name
            for name, flag in self._flags.items()
            for one in in_both(name, flag)
            if _is_said(flag, given.get(one)) and (told is None or name in told)
        )
        _refuse_idle(verb, self._told)
        _refuse_several(self._flags, given)
        usual = {
            name: None if flag.default is REQUIRED else flag.default for name, flag in self._flags.items()
        }
        in_si = dict.fromkeys(_units(self._flags))
        self._given = {"progress": silent, **in_si, **usual, **given}
        self._given |= {name: _counted(name, flag, self._given[name]) for name, flag in self._flags.items()}
        if self._given["progress"] is None:
            self._given["progress"] = silent
        for name, flag in self._flags.items():  # a default is not given twice
            unit = f"{name}_{flag.kind.unit}"
            if flag.kind.unit and self._given[unit] is not None and name not in given:
                self._given[name] = None

    def but(self, **changes: Any) -> "Asked":
        """The same with changes, which count as typed."""
        return Asked(self.verb, {**self._given, **changes}, self._told | changes.keys())

    def is_told(self, name: str) -> bool:
        """Whether the caller typed a flag, if only its default."""
        return name in self._told

    def is_said(self, name: str) -> bool:
        """Whether a flag says something: a switch that is off does not."""
        return _is_said(self._flags[name], self._given[name])

    def __getitem__(self, name: str) -> Any:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        flag = self._flags.get(name)
        return self._given[name] if flag is None else self._read(name, flag)

    def _read(self, name: str, flag: Flag) -> Any:
        value, typed = self._given[name], typed_name(name, flag)
        if flag.is_many:
            return many(value)
        if flag.kind.unit:
            read = parse.duration_s if flag.kind.unit == "s" else parse.rate_rps
            return read(value, self._given[f"{name}_{flag.kind.unit}"], typed)
        if value is not None and flag.kind == SHARE:
            return parse.read_share(value, typed)
        return read_switch(value, typed) if flag.kind == ON_OFF else value

    @property
    def effort(self) -> Effort:
        """Budget, precision and workers, as far as the verb has these keywords."""
        return Effort(**{name: self._given[name] for name in EFFORT.split() if name in self._flags})


# What a saved plan has of its own, by the panel of the flags that it refuses.
_OWN = {
    "Profile and traffic": "a saved plan has its own traffic",
    "Autoscaler": "saved plans are compared as fixed fleets",
    "Clients": "a saved plan has its own clients, or none",
}


def _refuse_idle(verb: str, told: Set[str]) -> None:
    """Refuse flags that would change nothing beside the others.

    Raises:
        InputError: names the first.
    """
    flags, needs, idle = VERBS[verb].flags, VERBS[verb].needs, VERBS[verb].idle
    for other, names in idle.items():
        for name in filter(told.__contains__, names.split() if other in told else ()):
            raise InputError(_why_idle(other, typed_name(name, flags[name]), flags[name]))
    for others, names in needs.items():
        if told.isdisjoint(others.split()):
            for name in filter(told.__contains__, names.split()):
                wanted = " or ".join(typed_name(one, flags[one]) for one in others.split())
                raise InputError(
                    f"{typed_name(name, flags[name])} belongs to {wanted}; give that too, or leave it out"
                )


def _refuse_several(flags: Mapping[str, Flag], given: Mapping[str, Any]) -> None:
    """Refuse a list or a range of a flag of which `plan` alone takes one.

    Raises:
        InputError: names the first.
    """
    for name, flag in flags.items():
        value, of_plan = given.get(name), VERBS["plan"].flags.get(name)
        takes_one = of_plan is not None and of_plan.is_axis and not flag.is_axis and not flag.is_many
        if takes_one and isinstance(value, str) and ("," in value or ":" in value):
            raise InputError(
                f"{typed_name(name, flag)} {quoted(value)} has several values; give one, or ask `capacity plan`, which "
                "takes a list or a range"
            )


def _why_idle(other: str, typed: str, flag: Flag) -> str:
    """Why a flag changes nothing beside another: a saved plan has its own, or the other leaves out what it is for."""
    if other in ("plan", "plans"):
        return f"{_OWN.get(flag.panel or '', 'a saved plan has its own settings')}; leave out {typed}"
    return f"--{other.replace('_', '-')} leaves out what {typed} is for; leave out one of the two"


def _is_said(flag: Flag, value: Any) -> bool:
    """Whether a value says something: a switch that is off does not."""
    is_empty = isinstance(value, list | tuple) and not value
    return value is not None and not is_empty and not (value is False and flag.kind is SWITCH)


def _counted(name: str, flag: Flag, value: Any) -> Any:
    """A whole number that was typed as text, since a list or a range may be; these, and other values, as they are."""
    if not flag.is_axis or flag.kind != COUNT or not isinstance(value, str | list):
        return value
    if isinstance(value, list):
        return [_counted(name, flag, one) for one in value]
    is_several = "," in value or ":" in value
    return value if is_several else parse.read_count(value, typed_name(name, flag))


def read_switch(value: str | bool | None, flag: str) -> bool | None:  # noqa: FBT001  (what a keyword takes)
    """A switch from `on` or `off`."""
    if value is None or isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise InputError(f"{flag} {quoted(value)} is neither on nor off")
    return value == "on"


def many(value: Any) -> list[Any]:
    """A list, from one value, several or none."""
    if value is None:
        return []
    if isinstance(value, str | bytes | Path | Mapping) or not isinstance(value, Iterable):
        return [value]
    if hasattr(value, "columns"):  # a DataFrame is one profile, though it can be iterated
        return [value]
    return list(value)


def _units(flags: Mapping[str, Flag]) -> Iterator[str]:
    """Keywords that take a number in SI."""
    return (one for name, flag in flags.items() for one in in_both(name, flag)[1:])


# ---- What one kind of server refuses --------------------------------------------------------------


def refuse_for_batches(given: Mapping[str, Any]) -> None:
    """Refuse flags that only language models have, with a profile of batches.

    Args:
        given: values by keyword.

    Raises:
        InputError: a flag is refused; the message names the first.
    """
    for name, flag in FLAGS.items():
        if flag.of_engines and any(is_given(given, one) for one in in_both(name, flag)):
            raise InputError(
                f"{typed_name(name, flag)} is for language models, and this profile has batch times; give one of "
                "kind llm"
            )


def refuse_for_engines(given: Mapping[str, Any], told: Collection[str] = ()) -> None:
    """Refuse flags that language models do not have, each for its own reason.

    Args:
        told: names of flags that were typed, which count even as their defaults.

    Raises:
        InputError: a flag is refused; the message names the first.
    """
    for name, flag in FLAGS.items():
        if flag.engines_lack and (
            name in told or any(_differs(given, one, flag) for one in in_both(name, flag))
        ):
            raise InputError(f"leave out {typed_name(name, flag)} for a language model: {flag.engines_lack}")


def is_given(given: Mapping[str, Any], name: str) -> bool:
    """Whether a keyword has a value: neither its default nor an empty list."""
    value = given.get(name)
    is_off = value is False and FLAGS[name].kind is SWITCH if name in FLAGS else False
    return value is not None and value not in ([], ()) and not is_off


def only_given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _differs(given: Mapping[str, Any], name: str, flag: Flag) -> bool:
    return name in given and given[name] not in (None, flag.default, (), [])
