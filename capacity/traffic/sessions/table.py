"""Sessions as a CSV: a row for each turn, with its session, its time and its tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from capacity.errors import InputError, quoted
from capacity.files import csv_rows
from capacity.traffic.lengths import INPUT_NAMES, OUTPUT_NAMES, place_of, token_count
from capacity.traffic.sessions.contents import Prefixes
from capacity.traffic.sessions.rows import Lines, SessionRows
from capacity.traffic.trace import unused_columns
from capacity.units import DURATION_MAX_S, is_number

_EXAMPLE = "session_id,turn,t_s,input_tokens,output_tokens"
_OPTIONAL = ("think_s", "group", "shared_tokens")


def is_sessions(names: Sequence[str]) -> bool:
    """Whether a header, in lower case, is that of sessions."""
    has_lengths = not set(names).isdisjoint(INPUT_NAMES) and not set(names).isdisjoint(OUTPUT_NAMES)
    return has_lengths and {"session_id", "turn", "t_s"} <= set(names)


@dataclass(slots=True, kw_only=True)
class _Session:
    """A session so far: its rows, and what its last turn said."""

    rows: list[int] = field(default_factory=list)
    t_s: Decimal = Decimal(0)
    group: str = ""
    shared: int = 0


@dataclass(slots=True, kw_only=True)
class _Columns:
    """Columns as they are read, and sessions by their names."""

    arrived: list[Decimal] = field(default_factory=list)
    delay_s: list[float] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    got: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    sessions: dict[str, _Session] = field(default_factory=dict)
    groups: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    cut: int = 0


def read_table(text: str, shown: str) -> SessionRows:
    """Sessions from a CSV with columns session_id, turn, t_s, input_tokens and output_tokens.

    A prompt that is at least as long as the one before with its answer repeats both; a shorter one repeats only the
    prefix of its group, which has `shared_tokens`. Without a column `group`, all sessions are of one group.

    Raises:
        InputError: names the line of a turn that is out of order or does not fit its session or its group.
    """
    rows = csv_rows(text, shown, "keep fewer sessions")
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    places = _places(names, f"{shown} line {line}")
    columns = _Columns()
    for line, row in rows:
        where = f"{shown} line {line}"
        if len(row) != len(names):
            raise InputError(f"{where}: {len(row)} cells for {len(names)} columns; complete or drop the row")
        _add(columns, {name: row[place].strip() for name, place in places.items()}, line, where)
    if not columns.given:
        raise InputError(f"{shown} has no rows; give one a turn")
    return _sessions(columns, shown, unused_columns(header, set(places.values()), shown))


def _places(names: Sequence[str], where: str) -> dict[str, int]:
    """Places of the columns by what they are called here."""
    places = {"input": place_of(names, INPUT_NAMES, where), "output": place_of(names, OUTPUT_NAMES, where)}
    for name in ("session_id", "turn", "t_s", *_OPTIONAL):
        if names.count(name) > 1 or (name not in names and name not in _OPTIONAL):
            fault = "more than one" if name in names else "no"
            raise InputError(f"{where}: {fault} column {name}; a turn of a session has {_EXAMPLE}")
        if name in names:
            places[name] = names.index(name)
    return places


def _add(columns: _Columns, cells: dict[str, str], line: int, where: str) -> None:
    """Add a row, after checking it against the turn before and against its group."""
    name = cells["session_id"]
    if not name:
        raise InputError(f"{where}: session_id is empty; name the session, or drop the row")
    session = columns.sessions.setdefault(name, _Session())
    _require_turn(cells["turn"], len(session.rows), name, where)
    t_s, think = _time(cells["t_s"], f"{where}: t_s"), cells.get("think_s", "")
    given, got = (
        token_count(cells["input"], f"{where}: input_tokens"),
        token_count(cells["output"], f"{where}: output_tokens"),
    )
    if session.rows:
        if t_s < session.t_s:
            raise InputError(
                f"{where}: t_s of session {quoted(name)} falls from {session.t_s} to {t_s}; "
                "give each turn the time at which it was sent"
            )
        columns.cut += given < columns.given[session.rows[-1]] + columns.got[session.rows[-1]]
    _add_prefix(columns, session, cells, given, (line, where))
    session.rows.append(len(columns.given))
    session.t_s = t_s
    columns.arrived.append(t_s)
    columns.delay_s.append(float(_time(think, f"{where}: think_s", least=0)) if think else np.nan)
    columns.given.append(given)
    columns.got.append(got)


def _require_turn(cell: str, before: int, name: str, where: str) -> None:
    """Refuse a turn that is not the next of its session."""
    if not re.fullmatch(r"[0-9]{1,9}", cell):
        raise InputError(f"{where}: turn must be a whole number from 1 on, got {quoted(cell)}")
    turn = int(cell)
    if turn == before + 1:
        return
    if 0 < turn <= before:
        raise InputError(
            f"{where}: turn {turn} of session {quoted(name)} comes again; number its turns 1, 2, 3"
        )
    if before == 0:
        raise InputError(
            f"{where}: session {quoted(name)} begins with turn {turn}; put turn 1 first, or drop the session"
        )
    raise InputError(
        f"{where}: turn {turn} of session {quoted(name)} follows turn {before}; give the turns between in order"
    )


def _add_prefix(
    columns: _Columns, session: _Session, cells: dict[str, str], given: int, at: tuple[int, str]
) -> None:
    """Add what a row says of its prefix; an empty cell says the same as the turn before."""
    line, where = at
    group = cells.get("group", "") or session.group
    told = cells.get("shared_tokens", "")
    shared = (
        session.shared if told == "" else 0 if told == "0" else token_count(told, f"{where}: shared_tokens")
    )
    if session.rows and (group, shared) != (session.group, session.shared):
        raise InputError(
            f"{where}: group {quoted(group)} with {shared} shared_tokens, but the turn before has group "
            f"{quoted(session.group)} with {session.shared}; a session is of one group"
        )
    if shared > given:
        raise InputError(
            f"{where}: shared_tokens {shared} is above input_tokens {given}; the prefix is part of the prompt"
        )
    key = group if group or shared else None
    number, length, first = columns.groups.setdefault(
        key or "", (len(columns.groups), shared, f"line {line}")
    )
    if key is not None and length != shared:
        if group or length:
            of = f"group {quoted(group)}" if group else "all sessions"
            raise InputError(
                f"{where}: the prefix of {of} has {shared} shared_tokens, but {length} in {first}; give sessions "
                "with another prefix another group"
            )
        columns.groups[key] = (number, shared, f"line {line}")
    session.group, session.shared = group, shared
    columns.group.append(number)
    columns.shared.append(shared)


def _time(cell: str, where: str, least: float | None = None) -> Decimal:
    if (
        not is_number(cell)
        or abs(float(cell)) > DURATION_MAX_S
        or (least is not None and float(cell) < least)
    ):
        from_0 = "" if least is None else " from 0 on"
        raise InputError(f"{where} must be a number of seconds{from_0}, got {quoted(cell)}")
    return Decimal(cell)


def _sessions(columns: _Columns, shown: str, unused: tuple[str, ...]) -> SessionRows:
    origin = min(columns.arrived)  # taken off before digits are lost
    lines = Lines(
        arrived_s=np.array([float(t_s - origin) for t_s in columns.arrived]),
        delay_s=np.array(columns.delay_s),
        input_tokens=np.array(columns.given, dtype=np.int64),
        output_tokens=np.array(columns.got, dtype=np.int64),
        known=Prefixes(
            group=np.array(columns.group, dtype=np.int64), tokens=np.array(columns.shared, dtype=np.int64)
        ),
    )
    later = len(columns.given) - len(columns.sessions)
    remarks = [*unused]
    if columns.cut:
        remarks.append(
            f"{shown}: {columns.cut} of {later} later turns are shorter than the prompt and the answer before; their "
            "context was cut, so they are taken to repeat their shared_tokens alone"
        )
    chains = [session.rows for session in columns.sessions.values()]
    return lines.as_sessions(chains, shown, tuple(remarks), has_ids=True)
