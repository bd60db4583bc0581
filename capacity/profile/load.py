"""Loading: a profile by its bundled name, from a JSON or CSV file, or from a DataFrame."""

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union, cast

from capacity.errors import InputError
from capacity.files import is_file, printable, read_text, repeatable, unpacked_name
from capacity.json_text import parse_object
from capacity.profile.formats import parse_csv, read_document
from capacity.profile.profile import ServiceProfile

if TYPE_CHECKING:
    import pandas as pd

    from capacity.profile.llm import LlmProfile

ProfileLike: TypeAlias = Union[str, Path, ServiceProfile, "pd.DataFrame"]


def bundled_names() -> list[str]:
    """Names of the profiles that come with the package, sorted."""
    entries = files("capacity").joinpath("profile", "bundled").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def bundled_llm_names() -> list[str]:
    """Names of the profiles of language models that come with the package, sorted."""
    entries = files("capacity").joinpath("profile", "bundled_llm").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def all_bundled_names() -> list[str]:
    """Names of all profiles that come with the package, sorted."""
    return sorted((*bundled_names(), *bundled_llm_names()))


def load_profile(profile: ProfileLike) -> ServiceProfile:
    """The bundled profile of that name, or the profile in that file or DataFrame.

    Args:
        profile: a name, a .json or .csv file, `-` for either on stdin, a DataFrame with the columns of a .csv
            profile, or a profile, which is returned as it is.

    Raises:
        InputError: no such name or file, an invalid profile, or one of a language model.

    >>> load_profile("resnet50-t4-fp16").batch_size_max
    128
    """
    return _of_batches(load_any(profile))


def _of_batches(found: "ServiceProfile | LlmProfile") -> ServiceProfile:
    if not isinstance(found, ServiceProfile):
        raise InputError(
            f"{found.name} is the profile of a language model, which batches continuously; plan, "
            "simulate and stress know these, and this needs one of batch times"
        )
    return found


def load_any(profile: "ProfileLike | LlmProfile") -> "ServiceProfile | LlmProfile":
    """The profile of batch times or of a language model, as `load_profile` finds it.

    Raises:
        InputError: no such name or file, or an invalid profile.
    """
    if isinstance(profile, ServiceProfile):
        return profile
    if hasattr(profile, "kv"):  # told apart without importing its module
        return cast("LlmProfile", profile)
    if hasattr(profile, "to_csv"):
        return _read_csv(profile.to_csv(index=False), "the DataFrame", "profile")
    if not isinstance(profile, str | Path):
        raise InputError(
            f"a profile is a name, a file, a DataFrame or a profile, got {type(profile).__name__}"
        )
    return _named(profile)


def _named(profile: str | Path) -> "ServiceProfile | LlmProfile":
    """The profile that comes with the package under a name, or is in a file or on stdin."""
    names, text = bundled_names(), str(profile)
    for folder, known in (("bundled", names), ("bundled_llm", bundled_llm_names())):
        if text in known:
            bundled = files("capacity").joinpath("profile", folder, f"{text}.json")
            return _read_json(bundled.read_text(encoding="utf-8"), f"{text}.json")
    if text == "-":
        given = read_text(Path("/dev/stdin"))
        is_json = given.lstrip().startswith("{")
        return _read_json(given, "stdin") if is_json else _read_csv(given, "stdin", "stdin")
    path = Path(profile)
    if unpacked_name(path).suffix.lower() in (".json", ".csv"):
        return _read_file(path)
    raise InputError(f"unknown profile {printable(text)!r}; {_nearest(text)}")


def _nearest(text: str) -> str:
    """What an unknown name may mean: a file beside it, or the name that begins with it or is most similar."""
    from difflib import get_close_matches

    for path in (Path(f"{text}.csv"), Path(f"{text}.json")):
        if is_file(path):
            return f"there is {printable(str(path))}: give the file with its ending"
    names = [*bundled_names(), *bundled_llm_names()]
    begun = [name for name in names if text and name.startswith(text.lower())]
    alike = begun or get_close_matches(text.lower(), names, n=1)
    meant = f"did you mean {alike[0]}? " if alike else ""
    return (
        f"{meant}capacity profiles lists those that come with the package; or give a .json or .csv file, or - "
        "for stdin"
    )


def load_llm(profile: "ProfileLike | LlmProfile") -> "LlmProfile":
    """The profile of a language model, as `load_profile` finds it.

    Raises:
        InputError: it has batch times, or is not a profile.
    """
    found = load_any(profile)
    if isinstance(found, ServiceProfile):
        raise InputError(f"{found.name} has batch times, and this needs the profile of a language model")
    return found


def _read_file(path: Path) -> "ServiceProfile | LlmProfile":
    """The profile in a `.json` or `.csv` file, UTF-8 with or without a byte-order mark."""
    text = read_text(path)
    is_json = unpacked_name(path).suffix.lower() == ".json"
    found = (
        _read_json(text, path.name) if is_json else _read_csv(text, printable(path.name), profile_name(path))
    )
    return replace(found, path=repeatable(path))


def profile_name(path: Path, default: str = "profile") -> str:
    """The name that a file gives its profile."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", unpacked_name(path).stem).strip("-._")[:128] or default


def _read_json(text: str, file_name: str) -> "ServiceProfile | LlmProfile":
    shown = printable(file_name)
    document = parse_object(text, shown, "a profile is a JSON object, with name and timings")
    if document.get("kind") == "llm":
        from capacity.profile.llm_formats import read_llm_document

        return read_llm_document(document, shown)
    return read_document(document, shown)


def _read_csv(text: str, file_name: str, profile_name: str) -> "ServiceProfile | LlmProfile":
    if "wall_time_s" in text.partition("\n")[0]:  # as in the engines' records of their steps
        from capacity.profile.llm_formats import parse_llm_csv

        return parse_llm_csv(text, file_name, profile_name)
    return parse_csv(text, file_name, profile_name)


def read_profile(path: Path) -> ServiceProfile:
    """The profile of batch times in a `.json` or `.csv` file."""
    return _of_batches(_read_file(path))
