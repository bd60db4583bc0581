"""A profile inside another document: the form of profile files, in full, and the digest of that."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from capacity.contention import Contention
from capacity.errors import InputError
from capacity.json_reading import Fields
from capacity.profile import ServiceProfile
from capacity.profile_json import read_document
from capacity.spells import Spells


def profile_to_document(profile: ServiceProfile) -> dict[str, Any]:
    """A profile as in `capacity/profiles/`, durations in seconds; what is not known is absent."""
    document: dict[str, Any] = {}
    for field in fields(profile):
        if not field.init:
            continue
        value = getattr(profile, field.name)
        if field.name == "timings":
            document["timings"] = [_plain(timing) for timing in value]
        elif isinstance(value, Contention):
            document["contention_slowdowns"] = list(value.slowdowns)
        elif isinstance(value, Spells):
            document |= {"spell_share": value.share, "spell_lasting_s": value.lasting_s}
        elif isinstance(value, Mapping):
            document[field.name] = dict(value)
        elif value is not None:
            document[field.name] = value
    return document


def _plain(timing: Any) -> dict[str, Any]:
    """A batch size with what was measured of it."""
    given = {field.name: getattr(timing, field.name) for field in fields(timing)}
    kept = {name: value for name, value in given.items() if value is not None and value != ()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def digest(document: Any) -> str:
    """SHA-256 of a document as canonical JSON: keys sorted, no blanks, numbers in full precision."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def signed(profile: ServiceProfile) -> dict[str, Any]:
    """A profile with its digest."""
    document = profile_to_document(profile)
    return {"sha256": digest(document), "profile": document}


def read_signed(value: Any, where: str) -> ServiceProfile:
    """A profile that is what its digest says.

    Raises:
        InputError: not a valid profile, or one that was edited since.
    """
    given = Fields(value, where, ("sha256", "profile"))
    document = given.mapping("profile")
    profile = read_document(dict(document), given.at("profile"))
    if digest(document) != given.text("sha256"):
        raise InputError(
            f"{where} of {profile.name} was edited after the plan was made (its sha256 is another); make the "
            "plan anew, or check it against your profile by --profile"
        )
    return profile
