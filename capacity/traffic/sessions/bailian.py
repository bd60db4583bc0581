"""Sessions as the traces of Alibaba Cloud's Bailian have them: JSON lines, with an id for each 16 tokens of a prompt.

Source:
    alibaba-edu/qwen-bailian-usagetraces-anon, as its description has the keys; Wang et al. (2025), KVCache cache in
    the wild, USENIX ATC 25.
"""

from dataclasses import dataclass, field

import numpy as np

from capacity.errors import InputError, quoted
from capacity.traffic.sessions.jsonl import IdColumns, Line, json_lines, unused_keys
from capacity.traffic.sessions.rows import Lines, SessionRows
from capacity.traffic.sessions.turns import Integers
from capacity.units import format_share

TOKENS_PER_ID = 16
UNKNOWN_SHARE_MAX = 0.05
_OTHER = (512, "the traces of Mooncake")
_KEYS = (
    "chat_id",
    "parent_chat_id",
    "timestamp",
    "input_length",
    "output_length",
    "hash_ids",
    "type",
    "turn",
)


@dataclass(slots=True, kw_only=True)
class _Chats:
    """Chats as they are read, each a line that continues its parent."""

    columns: IdColumns = field(default_factory=lambda: IdColumns(tokens_per_id=TOKENS_PER_ID))
    arrived_s: list[float] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    parents: list[int | None] = field(default_factory=list)
    chains: list[list[int]] = field(default_factory=list)
    chain_ended_by: dict[int, list[int]] = field(default_factory=dict)
    unknown: list[int] = field(default_factory=list)
    branches: int = 0


def read_bailian(text: str, shown: str) -> SessionRows:
    """Sessions from JSON lines with chat_id, parent_chat_id, timestamp [s], input_length, output_length and hash_ids.

    A chat whose parent is −1 is the first of its session. A chat whose ids begin with those of its parent's whole
    prompt, and which is long enough, repeats prompt and answer, so its ids name the blocks of that answer too. If
    several chats have one parent, the first continues its session and each other begins one.

    Raises:
        InputError: names the line that does not fit; or more than 5 % of the chats have unknown parents.
    """
    chats, keys = _Chats(), dict[str, None]()
    for line in json_lines(text, shown):
        keys |= dict.fromkeys(line.values)
        _add(chats, line)
    count, unknown = len(chats.parents), len(chats.unknown)
    late = next((name for name in chats.unknown if name in chats.numbers), None)
    if late is not None:
        raise InputError(
            f"{shown}: chat {late} comes after one that continues it; put parents before their children"
        )
    if unknown > UNKNOWN_SHARE_MAX * count:
        raise InputError(
            f"{shown}: {unknown} of {count} chats have a parent_chat_id that is not in the file, above "
            f"{format_share(UNKNOWN_SHARE_MAX)}; give the whole file, or drop the sessions whose beginning is missing"
        )
    at, tokens, repeated = _with_answers(chats)
    lines = Lines(
        arrived_s=np.array(chats.arrived_s),
        delay_s=np.full(count, np.nan),
        input_tokens=np.array(chats.columns.given, dtype=np.int64),
        output_tokens=np.array(chats.columns.got, dtype=np.int64),
        known=chats.columns.known(at, tokens),
    )
    later = sum(parent is not None for parent in chats.parents)
    told = {
        f"{later - repeated} of {later} later turns do not repeat the prompt and the answer before": later
        - repeated,
        f"{unknown} of {count} chats have a parent that is not in the file; they begin sessions": unknown,
        f"{chats.branches} chats whose parent another chat continues begin sessions": chats.branches,
    }
    remarks = (
        *(f"{shown}: {text}" for text, times in told.items() if times),
        *unused_keys(keys, _KEYS, shown),
    )
    return lines.as_sessions(chats.chains, shown, remarks, has_ids=True)


def _add(chats: _Chats, line: Line) -> None:
    """Add a chat to the session of its parent, or begin one with it."""
    number, name, parent = len(chats.parents), _chat(line, "chat_id"), _chat(line, "parent_chat_id")
    if name in chats.numbers:
        raise InputError(f"{line.where}: chat_id {name} comes again; keep one of them")
    chats.columns.add(line, _OTHER)
    t_s, before = line.number("timestamp"), chats.numbers.get(parent)
    if before is not None and t_s < chats.arrived_s[before]:
        raise InputError(
            f"{line.where}: timestamp {t_s:g} is before {chats.arrived_s[before]:g} of its parent, chat {parent}; "
            "fix or drop the line"
        )
    chats.numbers[name] = number
    chats.arrived_s.append(t_s)
    chats.parents.append(before)
    if parent != -1 and before is None:
        chats.unknown.append(parent)
    chain = chats.chain_ended_by.pop(before, None) if before is not None else None
    if chain is None:
        chats.branches += before is not None
        chain = []
        chats.chains.append(chain)
    chain.append(number)
    chats.chain_ended_by[number] = chain


def _chat(line: Line, key: str) -> int:
    value = line.values.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(
            f"{line.where}: {key} must be a whole number, got {quoted(value)}; fix or drop the line"
        )
    return value


def _with_answers(chats: _Chats) -> tuple[Integers, list[int], int]:
    """Where the ids of each chat are, for how many tokens, and how many chats repeat prompt and answer before.

    A chat that is repeated has the ids of the first that repeats it, as far as its answer goes, and so on down the
    session: its last id, of a block that was not full, is none of those.
    """
    columns = chats.columns
    at, tokens, repeated = columns.at, list(columns.given), 0
    for number, parent in reversed(list(enumerate(chats.parents))):
        if parent is None:
            continue
        known, whole = columns.given[parent] + columns.got[parent], columns.given[parent] // TOKENS_PER_ID
        mine, earlier = columns.ids[number][:whole], columns.ids[parent][:whole]
        if columns.given[number] >= known and np.array_equal(mine, earlier):
            repeated += 1
            at[parent], tokens[parent] = at[number], known
    return at, tokens, repeated
