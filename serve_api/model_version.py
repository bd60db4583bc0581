"""Model version: `vMAJOR.MINOR.PATCH`, the name of the folder that holds one trained model."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from capacity.errors import InputError
from capacity.reading import printable

# No leading zeros, so that one version has one name; no more digits than a folder's name can well have.
_PATTERN = re.compile(r"v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModelVersion:
    """A semantic version; they are ordered by their numbers, not by their letters.

    >>> parse_version("v1.10.0") > parse_version("v1.9.0")
    True
    """

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}"


def is_version(name: str) -> bool:
    """Whether a name is that of a version."""
    return _PATTERN.fullmatch(name) is not None


def parse_version(name: str) -> ModelVersion:
    """The version of a name.

    Raises:
        InputError: it is none.
    """
    found = _PATTERN.fullmatch(name)
    if found is None:
        raise InputError(f"a model version must look like v1.0.0, got {printable(name)[:40]!r}")
    major, minor, patch = (int(part) for part in found.groups())
    return ModelVersion(major=major, minor=minor, patch=patch)


def next_free(wanted: ModelVersion, taken: Collection[ModelVersion]) -> ModelVersion:
    """The patch after the largest of the same major and minor number; the wanted one where none is taken.

    >>> taken = [parse_version(name) for name in ("v1.0.0", "v1.0.4", "v1.1.0")]
    >>> str(next_free(parse_version("v1.0.0"), taken))
    'v1.0.5'
    """
    kin = [v.patch for v in taken if (v.major, v.minor) == (wanted.major, wanted.minor)]
    if wanted not in taken:
        return wanted
    return ModelVersion(major=wanted.major, minor=wanted.minor, patch=max(kin) + 1)
