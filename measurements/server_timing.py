"""Server-Timing: durations that a server tells of itself, in a header (W3C Server Timing, 2023, sec. 3)."""

import math
import re

# Of one metric: its name, then parameters; `dur` is in milliseconds.
_DURATION = re.compile(r'\s*dur\s*=\s*"?([^";\s]+)"?\s*', re.I)


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


def _seconds(text: str) -> float | None:
    """Milliseconds as seconds; None where it is not a duration."""
    try:
        duration_s = float(text) / 1e3
    except ValueError:
        return None
    return duration_s if math.isfinite(duration_s) and duration_s >= 0.0 else None
