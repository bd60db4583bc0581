"""Finding a profile: a bundled name, a JSON file or a CSV file -> ServiceProfile."""

import re
from importlib.resources import files
from pathlib import Path

from capacity.errors import InputError
from capacity.files import printable, read_text
from capacity.profile.formats import parse_csv, parse_json
from capacity.profile.profile import ServiceProfile


def bundled_names() -> list[str]:
    """Names of the profiles that come with the package, sorted."""
    entries = files("capacity").joinpath("profile", "bundled").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def load_profile(name_or_path: str) -> ServiceProfile:
    """The bundled profile of that name, or the profile in that file.

    Raises:
        InputError: neither exists, or the file is not a valid profile.
    """
    names = bundled_names()
    if name_or_path in names:
        bundled = files("capacity").joinpath("profile", "bundled", f"{name_or_path}.json")
        text = bundled.read_text(encoding="utf-8")
        return parse_json(text, f"{name_or_path}.json")
    path = Path(name_or_path)
    if path.suffix.lower() in (".json", ".csv"):
        return read_profile(path)
    raise InputError(
        f"unknown profile {printable(name_or_path)!r}; use one of {', '.join(names)}, or a .json or .csv file"
    )


def read_profile(path: Path) -> ServiceProfile:
    """The profile in a `.json` or `.csv` file, UTF-8 with or without a byte-order mark."""
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return parse_json(text, path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:128] or "profile"
    return parse_csv(text, printable(path.name), name)
