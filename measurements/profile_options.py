"""Options of `capacity profile`: how they are read, and how the profile is written."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from capacity.errors import InputError
from capacity.reading import printable
from capacity.units import SECONDS_PER_UNIT
from measurements.histogram_names import Histograms

if TYPE_CHECKING:
    import typer

    from capacity.profile import DeviceKind, ServiceProfile
    from measurements.rounds import Rounds

_NAME = "measured"
_WAIT_S = 30.0
_TIMEOUT_MAX_S = 600.0
# What each source has no use for but these; all else belongs to all.
_OWNERS = {
    **dict.fromkeys(("body", "rows_key", "counters"), ("--url",)),
    **dict.fromkeys(("duration", "metric", "label", "metric_unit"), ("--metrics",)),
    **dict.fromkeys(("batch_sizes", "samples", "warm_up", "rests", "duration_max"), ("--callable", "--url")),
    "timeout": ("--url", "--metrics"),
}


def given_flags(context: "typer.Context") -> frozenset[str]:
    """Names of the parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(
        name for name, found in sources.items() if found is not None and found.name == "COMMANDLINE"
    )


def check_source(sources: Mapping[str, str | None], body: str | None, given: Collection[str]) -> None:
    """One of the three, with what belongs to it and nothing that belongs to another.

    Args:
        given: names of the parameters that stand on the command line.

    Raises:
        InputError: none or several, or a flag that would be passed over.
    """
    chosen = [flag for flag, value in sources.items() if value is not None]
    if len(chosen) != 1:
        raise InputError(
            f"give one of {', '.join(sources)}, got {' and '.join(chosen) or 'none'}; "
            "each measures the same thing in another way"
        )
    (source,) = chosen
    if (source == "--url") != (body is not None):
        raise InputError("--url and --body FILE.json belong together: where to, and what to send")
    for name, owners in _OWNERS.items():
        if name in given and source not in owners:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{flag} belongs to {' and '.join(owners)}, and {source} has no use for it; leave it out"
            )


def read_histograms(metric: str, label: str, unit: str | None) -> Histograms:
    """`--metric`, `--label` and `--metric-unit`.

    Raises:
        InputError: neither the name nor the flag says in what unit the times are, or it is none.
    """
    if unit is None:
        if not metric.endswith("_seconds"):
            raise InputError(
                f"--metric {printable(metric)[:80]!r} does not end in _seconds; say in what its times are by "
                "--metric-unit ms"
            )
        return Histograms(metric=metric, label=label)
    if unit not in SECONDS_PER_UNIT:
        raise InputError(f"--metric-unit {unit[:20]!r} is unknown; use one of {', '.join(SECONDS_PER_UNIT)}")
    return Histograms(metric=metric, label=label, unit_s=float(SECONDS_PER_UNIT[unit]))


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
