"""Versions: of what the digits of an answer depend on."""

import platform
from importlib.metadata import version

COMPUTING = ("capacity", "numpy", "scipy", "simpy", "numba")


def versions() -> dict[str, str]:
    """Version of each package that computes, and of Python."""
    return {**{package: version(package) for package in COMPUTING}, "python": platform.python_version()}
