"""Options of `capacity profile`: how they are read, and how the profile is written."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from capacity.errors import InputError

if TYPE_CHECKING:
    from capacity.profile import DeviceKind, ServiceProfile
    from measurements.rounds import Rounds

_NAME = "measured"
_WAIT_S = 30.0
_TIMEOUT_MAX_S = 600.0


def check_source(sources: Mapping[str, str | None], body: str | None, duration: str | None) -> None:
    """One of the three, with what belongs to it and nothing that belongs to another.

    Raises:
        InputError: none or several, or a flag that would be passed over.
    """
    given = [flag for flag, value in sources.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"give one of {', '.join(sources)}, got {' and '.join(given) or 'none'}; "
            "each measures the same thing in another way"
        )
    if (given[0] == "--url") != (body is not None):
        raise InputError("--url and --body FILE.json belong together: where to, and what to send")
    if given[0] != "--metrics" and duration is not None:
        raise InputError("--duration is how long --metrics watches; give --duration-max or --samples here")


def read_target(file: str) -> Path:
    """`-o`, refused before hours of work if it could not be written."""
    from capacity.writing import check_target

    path = Path(file)
    check_target(path, "a profile", (".json",))
    return path


def read_name(name: str | None, path: Path | None) -> str:
    """`--name`, else the file's."""
    if name is not None or path is None:
        return _NAME if name is None else name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:128] or _NAME


def read_kind(kind: str | None) -> "DeviceKind | None":
    """`--kind`."""
    from capacity.profile import DeviceKind

    kinds: tuple[DeviceKind, ...] = get_args(DeviceKind)
    for known in kinds:
        if kind == known:
            return known
    if kind is not None:
        raise InputError(f"--kind must be {' or '.join(kinds)}, got {kind[:40]!r}")
    return None


def read_duration_s(text: str | None, flag: str) -> float | None:
    """A duration, if there is one. [s]"""
    from capacity.units import parse_duration_s

    return None if text is None else parse_duration_s(text, flag)


def read_timeout_s(text: str) -> float:
    """`--timeout`. [s]"""
    from capacity.units import parse_duration_s

    timeout_s = parse_duration_s(text, "--timeout")
    if not 0.001 <= timeout_s <= _TIMEOUT_MAX_S:
        raise InputError(f"--timeout must be from 1ms to {_TIMEOUT_MAX_S:g}s, got {text.strip()}")
    return timeout_s


def read_wait_s(text: str | None) -> float:
    """`--duration`. [s]"""
    from capacity.units import parse_duration_s
    from measurements.rounds import DURATION_MAX_S

    wait_s = _WAIT_S if text is None else parse_duration_s(text, "--duration")
    if not 0.0 < wait_s <= DURATION_MAX_S:
        raise InputError(f"--duration must be above 0s and at most {DURATION_MAX_S / 3600:g}h, got {text}")
    return wait_s


def read_rounds(batch_sizes: str, samples: int, warm_up: int, seed: int, duration_max: str) -> "Rounds":
    """`--batch-sizes`, `--samples`, `--warm-up`, `--seed` and `--duration-max`."""
    from capacity.units import parse_duration_s
    from measurements.rounds import Rounds, parse_batch_sizes

    return Rounds(
        batch_sizes=parse_batch_sizes(batch_sizes),
        samples=samples,
        warm_up=warm_up,
        seed=seed,
        duration_max_s=parse_duration_s(duration_max, "--duration-max"),
    )


def write_profile(profile: "ServiceProfile", path: Path) -> None:
    """The profile as a file, whole or not at all; what was there is replaced, as by other commands' `-o`."""
    from capacity.report import dumps
    from capacity.saved_profile import profile_to_document
    from capacity.writing import write_whole

    write_whole(path, (dumps(profile_to_document(profile)) + "\n").encode())
