"""Sessions as the traces of Mooncake have them: JSON lines, whose prompts have an id for each 512 tokens.

Source:
    Qin et al. (2025), Mooncake: Trading more storage for less computation, FAST 25, section 4; the traces are in
    kvcache-ai/Mooncake, FAST25-release. `session_id` and `delay` are those of AIPerf's variant of the format.
"""

from collections.abc import Iterable

import numpy as np

from capacity.errors import InputError, quoted
from capacity.traffic.sessions.jsonl import IdColumns, Line, json_lines, unused_keys
from capacity.traffic.sessions.rows import Lines, SessionRows

TOKENS_PER_ID = 512
_OTHER = (16, "the traces of Bailian")
_KEYS = ("timestamp", "input_length", "output_length", "hash_ids", "session_id", "delay")


def read_mooncake(text: str, shown: str) -> SessionRows:
    """Sessions from JSON lines with timestamp [ms], input_length, output_length and hash_ids.

    A line may have a session_id, and instead of a timestamp a delay [ms] from the end of the answer before; without
    session_id each line is a session of one turn. Answers have no ids, so the next turn finds only what ids show.

    Raises:
        InputError: names the line that does not fit.
    """
    columns, keys = IdColumns(tokens_per_id=TOKENS_PER_ID), dict[str, None]()
    arrived_s: list[float] = []
    delay_s: list[float] = []
    chains: dict[str, list[int]] = {}
    names: list[bool] = []
    for number, line in enumerate(json_lines(text, shown)):
        keys |= dict.fromkeys(line.values)
        columns.add(line, _OTHER)
        names.append("session_id" in line.values)
        if names[-1] != names[0]:
            raise InputError(
                f"{line.where}: only some lines have a session_id; give all of them one, or none"
            )
        chain = chains.setdefault(_name(line, number), [])
        arrived_s.append(_seconds(line, "timestamp"))
        delay_s.append(_seconds(line, "delay"))
        _require_time(line, arrived_s, delay_s, chain)
        chain.append(number)
    lines = Lines(
        arrived_s=np.array(arrived_s),
        delay_s=np.array(delay_s),
        input_tokens=np.array(columns.given, dtype=np.int64),
        output_tokens=np.array(columns.got, dtype=np.int64),
        known=columns.known(columns.at, columns.given),
    )
    read = () if names[0] else (f"{shown}: no session_id, so each request is a session of one turn",)
    remarks = (*read, *unused_keys(keys, _KEYS, shown))
    return lines.as_sessions(list(chains.values()), shown, remarks, has_ids=names[0])


def _name(line: Line, number: int) -> str:
    """The name of a line's session, or its number."""
    if "session_id" not in line.values:
        return str(number)
    value = line.values["session_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f"{line.where}: session_id must be a text or a whole number; fix or drop the line")
    return f"{type(value).__name__} {value}"


def _seconds(line: Line, key: str) -> float:
    """A time, or NaN without one. [s]"""
    value = line.number(key) / 1000.0 if line.values.get(key) is not None else np.nan
    if value < 0.0:
        raise InputError(f"{line.where}: {key} must not be negative, got {value * 1000.0:g}")
    return value


def _require_time(line: Line, arrived_s: list[float], delay_s: list[float], chain: Iterable[int]) -> None:
    """Refuse a turn without a time, or before the last of its session."""
    past = [arrived_s[number] for number in chain]
    if np.isnan(arrived_s[-1]) and (not past or np.isnan(delay_s[-1])):
        wanted = "timestamp or a delay" if past else "timestamp"
        raise InputError(f"{line.where}: a turn needs a {wanted}, in milliseconds")
    if past and np.isnan(delay_s[-1]) and not past[-1] <= arrived_s[-1]:
        before = "has none" if np.isnan(past[-1]) else f"has {past[-1] * 1000.0:g}"
        raise InputError(
            f"{line.where}: timestamp {arrived_s[-1] * 1000.0:g} of session {quoted(line.values['session_id'])}, whose "
            f"turn before {before}; put its turns in order"
        )
