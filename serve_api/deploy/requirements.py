"""Requirements: what the image installs, one a line, of the `pyproject.toml` on standard input.

The extra `serve`, and of the project's own dependencies those that the server imports. What the planner takes
besides (numba, scipy, matplotlib and others) stays outside.
"""

import sys
import tomllib
from collections.abc import Mapping
from typing import Any

_IMPORTED = ("numpy", "typer")


def requirements(project: Mapping[str, Any]) -> list[str]:
    """As pip takes them, of the table `project`."""
    own = [line for line in project["dependencies"] if line.startswith(_IMPORTED)]
    return [*project["optional-dependencies"]["serve"], *own]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(tomllib.loads(sys.stdin.read())["project"])) + "\n")
