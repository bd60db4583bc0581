"""Server-Timing: durations that a server tells of itself, in a header (W3C Server Timing, 2023, sec. 3)."""

import math
import re
from collections.abc import Iterable

from capacity.errors import DependencyError
from capacity.units import format_duration

# Of one metric: its name, then parameters; `dur` is in milliseconds.
_DURATION = re.compile(r'\s*dur\s*=\s*"?([^";\s]+)"?\s*', re.I)
# Batch and queue, both rounded up to whole milliseconds, are told longer than a quick request by that much.
_ROUNDING_S = 2e-3
# More contradictions than these are no clock that was set meanwhile.
_CONTRADICTED_MAX = 0.1


def parse_server_timing(header: str) -> dict[str, float]:
    """Durations by name; what has none, or one that is no number, is passed over. [s]

    >>> parse_server_timing('queue;dur=1.5, batch;desc="of 8";dur=20, miss')
    {'queue': 0.0015, 'batch': 0.02}
    """
    found: dict[str, float] = {}
    for entry in header.split(","):
        name, *parameters = entry.split(";")
        for parameter in parameters:
            match = _DURATION.fullmatch(parameter)
            if match is not None and (duration_s := _seconds(match[1])) is not None:
                found.setdefault(name.strip(), duration_s)
    return found


def check_told(beside_s: Iterable[float]) -> None:
    """Refuse a server by whose word requests were in queue and batch for longer than they took altogether.

    Args:
        beside_s: of each request, what the client saw beyond the queue and the batch. [s]

    Raises:
        DependencyError: more than a tenth are below nothing, by more than rounding explains.
    """
    known_s = tuple(beside_s)
    below_s = [one for one in known_s if one < -_ROUNDING_S]
    if len(below_s) > _CONTRADICTED_MAX * len(known_s):
        raise DependencyError(
            f"by Server-Timing {len(below_s)} of {len(known_s)} requests were in queue and batch for longer "
            f"than the client waited for their answers, by up to {format_duration(-min(below_s))}; is "
            "its dur in milliseconds?"
        )


def _seconds(text: str) -> float | None:
    """Milliseconds as seconds; None where it is not a duration."""
    try:
        duration_s = float(text) / 1e3
    except ValueError:
        return None
    return duration_s if math.isfinite(duration_s) and duration_s >= 0.0 else None
