"""Requirements: what the image installs, one a line, from the `pyproject.toml` on standard input.

They are the extra `serve`, and those of the project's own dependencies that the server imports. The planner's others
(numba, scipy, matplotlib and so on) are left out.
"""

import sys
import tomllib
from collections.abc import Mapping
from typing import Any

_IMPORTED = ("numpy", "typer")


def requirements(project: Mapping[str, Any]) -> list[str]:
    """Requirements of the table `project`, in pip's form."""
    own = [line for line in project["dependencies"] if line.startswith(_IMPORTED)]
    return [*project["optional-dependencies"]["serve"], *own]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(tomllib.loads(sys.stdin.read())["project"])) + "\n")
