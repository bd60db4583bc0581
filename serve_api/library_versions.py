"""Library versions: of what a model was made with, so that it can be made again."""

from collections.abc import Iterable
from importlib.metadata import version


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions by the name of the package."""
    return {name: version(name) for name in names}
