"""Metadata as JSON: written with the same bytes for the same metadata, and read strictly."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TypeVar

from capacity.errors import InputError
from capacity.json_reading import Fields, number, parse_object, text
from serve_api.metadata import (
    SCHEMA_VERSION,
    Feature,
    FileDigest,
    Metadata,
    Precision,
    Source,
)

T = TypeVar("T")

_WHERE = "metadata"
_KEYS = ("schema_version", *(field.name for field in fields(Metadata)))


def dump_metadata(metadata: Metadata) -> bytes:
    """The text of `metadata.json`."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": metadata.model,
        "version": metadata.version,
        "precision": metadata.precision.value,
        "parameters": metadata.parameters,
        "seed": metadata.seed,
        "source": None if metadata.source is None else asdict(metadata.source),
        "files": {name: asdict(digest) for name, digest in sorted(metadata.files.items())},
        "metrics": dict(metadata.metrics),
        "libraries": dict(metadata.libraries),
        "features": [asdict(feature) for feature in metadata.features],
    }
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def load_metadata(data: bytes) -> Metadata:
    """What `metadata.json` says, every key known and every value of its type.

    Raises:
        InputError: it is not such a file; the message says what is wrong.
    """
    try:
        document = parse_object(data.decode("utf-8"), _WHERE, "they must be an object")
    except UnicodeDecodeError:
        raise InputError(f"{_WHERE} are not UTF-8 text; train the model anew") from None
    version = Fields(document, _WHERE, document).whole("schema_version")
    if version != SCHEMA_VERSION:  # before unknown keys, which a later version may have
        raise InputError(
            f"{_WHERE} have schema version {version}, and {SCHEMA_VERSION} is read; "
            "train the model anew, or serve it by the program that it was made with"
        )
    return _metadata(Fields(document, _WHERE, _KEYS))


def _metadata(given: Fields) -> Metadata:
    return Metadata(
        model=given.text("model"),
        version=given.text("version"),
        precision=_precision(given.text("precision")),
        parameters=given.whole("parameters"),
        seed=given.whole("seed"),
        features=tuple(_feature(item, given.at("features")) for item in given.items("features")),
        metrics=_entries(given, "metrics", number),
        libraries=_entries(given, "libraries", text),
        files=_entries(given, "files", _digest),
        source=given.optional(lambda key: _source(given.raw(key), given.at(key)), "source"),
    )


def _precision(name: str) -> Precision:
    try:
        return Precision(name)
    except ValueError:
        raise InputError(f"precision must be {' or '.join(Precision)}, got {name[:40]!r}") from None


def _feature(value: Any, where: str) -> Feature:
    given = Fields(value, where, _names(Feature))
    low, mean, high = (given.number(key) for key in ("low", "mean", "high"))
    return Feature(name=given.text("name"), mean=mean, low=low, high=high)


def _digest(value: Any, where: str) -> FileDigest:
    given = Fields(value, where, _names(FileDigest))
    return FileDigest(sha256=given.text("sha256"), size_bytes=given.whole("size_bytes"))


def _source(value: Any, where: str) -> Source:
    given = Fields(value, where, _names(Source))
    return Source(model=given.text("model"), version=given.text("version"), sha256=given.text("sha256"))


def _entries(given: Fields, key: str, read: Callable[[Any, str], T]) -> dict[str, T]:
    """An object with names that are not known before."""
    where = given.at(key)
    return {text(name, f"a key of {where}"): read(value, where) for name, value in given.mapping(key).items()}


def _names(noun: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(noun))
