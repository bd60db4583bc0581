"""Finding a profile: a bundled name, a JSON file or a CSV file -> ServiceProfile."""

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from capacity.errors import InputError
from capacity.files import printable, read_text
from capacity.profile.formats import parse_csv, parse_json
from capacity.profile.profile import ServiceProfile

if TYPE_CHECKING:
    import pandas as pd

ProfileLike: TypeAlias = Union[str, Path, ServiceProfile, "pd.DataFrame"]


def bundled_names() -> list[str]:
    """Names of the profiles that come with the package, sorted."""
    entries = files("capacity").joinpath("profile", "bundled").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def load_profile(profile: ProfileLike) -> ServiceProfile:
    """The bundled profile of that name, the profile in that file, or that of a DataFrame.

    Args:
        profile: a name, a .json or .csv file, `-` for either on stdin, a DataFrame with the columns of a
            .csv profile, or a profile, which is returned as it is.

    Raises:
        InputError: neither exists, or what is there is not a valid profile.

    >>> load_profile("resnet50-t4-fp16").batch_size_max
    128
    """
    if isinstance(profile, ServiceProfile):
        return profile
    if hasattr(profile, "to_csv"):
        return parse_csv(profile.to_csv(index=False), "the DataFrame", "profile")
    names, text = bundled_names(), str(profile)
    if text in names:
        bundled = files("capacity").joinpath("profile", "bundled", f"{text}.json")
        return parse_json(bundled.read_text(encoding="utf-8"), f"{text}.json")
    if text == "-":
        given = read_text(Path("/dev/stdin"))
        is_json = given.lstrip().startswith("{")
        return parse_json(given, "stdin") if is_json else parse_csv(given, "stdin", "stdin")
    path = Path(profile)
    if path.suffix.lower() in (".json", ".csv"):
        return read_profile(path)
    raise InputError(
        f"unknown profile {printable(text)!r}; use one of {', '.join(names)}, a .json or .csv file, "
        "or - for stdin"
    )


def read_profile(path: Path) -> ServiceProfile:
    """The profile in a `.json` or `.csv` file, UTF-8 with or without a byte-order mark."""
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return parse_json(text, path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:128] or "profile"
    return parse_csv(text, printable(path.name), name)
