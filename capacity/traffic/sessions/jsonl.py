"""Lines of JSON with a turn each, whose prompts have ids: what the formats of traces have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capacity.errors import InputError
from capacity.files import ROWS_MAX, printable
from capacity.json_text import parse_object, shown
from capacity.traffic.lengths import TOKENS_MAX
from capacity.traffic.sessions.contents import Ids, before
from capacity.traffic.sessions.turns import Integers
from capacity.units import DURATION_MAX_S

IDS_MAX = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, and its place for messages."""

    values: dict[str, Any]
    where: str

    def number(self, key: str) -> float:
        """A number of limited size.

        Raises:
            InputError: it is missing, or none.
        """
        value = self.values.get(key)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or abs(value) > 1000 * DURATION_MAX_S
        ):
            raise InputError(f"{self.where}: {key} must be a number, got {self._found(key)}")
        return float(value)

    def tokens(self, key: str) -> int:
        """A number of tokens.

        Raises:
            InputError: it is missing, or none.
        """
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= TOKENS_MAX:
            raise InputError(
                f"{self.where}: {key} must be a whole number from 1 to {TOKENS_MAX} tokens, got {self._found(key)}; "
                "fix or drop the line"
            )
        return value

    def ids(self, tokens: int, tokens_per_id: int, other: tuple[int, str]) -> Integers:
        """The ids of a prompt.

        Args:
            other: another size of ids, and the format that has it.

        Raises:
            InputError: they are no ids, or more or fewer than the prompt's length needs.
        """
        value = self.values.get("hash_ids")
        try:
            found = np.array(value if isinstance(value, list) else None)
        except (ValueError, OverflowError):
            found = np.array(None)
        if found.ndim != 1 or found.dtype.kind != "i" or found.min(initial=0) < 0:
            raise InputError(
                f"{self.where}: hash_ids must be a list of whole numbers from 0 on; fix or drop the line"
            )
        if len(found) != -(-tokens // tokens_per_id):
            fits = len(found) == -(-tokens // other[0])
            mend = (
                f"; these look like ids of {other[0]} tokens, as in {other[1]}"
                if fits
                else "; fix or drop the line"
            )
            raise InputError(
                f"{self.where}: {len(found)} hash_ids for input_length {tokens}, which has "
                f"{-(-tokens // tokens_per_id)} of {tokens_per_id} tokens{mend}"
            )
        return found.astype(np.int64)

    def _found(self, key: str) -> str:
        return shown(self.values[key]) if key in self.values else "none"


@dataclass(slots=True, kw_only=True)
class IdColumns:
    """Columns that every format with ids has, as they are read."""

    tokens_per_id: int
    given: list[int] = field(default_factory=list)
    got: list[int] = field(default_factory=list)
    ids: list[Integers] = field(default_factory=list)
    total: int = 0

    def add(self, line: Line, other: tuple[int, str]) -> None:
        """Add the lengths and the ids of a line."""
        given = line.tokens("input_length")
        self.given.append(given)
        self.got.append(line.tokens("output_length"))
        self.ids.append(line.ids(given, self.tokens_per_id, other))
        self.total += len(self.ids[-1])
        if self.total > IDS_MAX:
            raise InputError(f"{line.where}: more than {IDS_MAX} hash_ids; keep fewer lines")

    @property
    def at(self) -> Integers:
        """Where the ids of each line begin."""
        return before(np.array([len(one) for one in self.ids], dtype=np.int64))

    def known(self, at: Integers, tokens: Sequence[int]) -> Ids:
        """The ids of all lines, those of a line from `at` on for some of its tokens."""
        names = np.unique(np.concatenate(self.ids), return_inverse=True)[1]
        return Ids(
            tokens_per_id=self.tokens_per_id, ids=names, at=at, tokens=np.array(tokens, dtype=np.int64)
        )


def json_lines(text: str, name: str) -> Iterator[Line]:
    """The objects of a text, one a line; empty lines are skipped.

    Raises:
        InputError: names the line that is none; too many of them, or none at all.
    """
    count = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        count += 1
        if count > ROWS_MAX:
            raise InputError(f"{name} has more than {ROWS_MAX} lines; keep fewer")
        where = f"{name} line {number}"
        yield Line(values=parse_object(line, where, "each line must be an object, with a turn"), where=where)
    if not count:
        raise InputError(f"{name} has no lines; give one a turn")


def unused_keys(keys: dict[str, None], used: Sequence[str], name: str) -> tuple[str, ...]:
    """A remark on the keys that are not used; empty if all are."""
    others = [printable(key)[:40] for key in keys if key not in used]
    return (f"{name}: keys not used: {', '.join(others[:8])}",) if others else ()
