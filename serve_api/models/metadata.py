"""Metadata: the description of one version of a model, and the digests of its files."""

import hashlib
import json
import re
from collections.abc import Iterable
from enum import StrEnum
from importlib.metadata import version as installed_version
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capacity.errors import InputError, quoted
from capacity.files import printable

MODEL_FILE, SCALER_FILE, METADATA_FILE = "model.onnx", "scaler.json", "metadata.json"
# No leading zeros, so that one version has one name.
_VERSION = r"^v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Version = Annotated[str, Field(pattern=_VERSION)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def is_version(name: str) -> bool:
    """Whether a name names a version."""
    return re.fullmatch(_VERSION, name) is not None


def version_order(name: str) -> tuple[int, ...]:
    """Sort key of versions: their numbers, not their letters; another name is refused.

    >>> version_order("v1.10.0") > version_order("v1.9.0")
    True
    """
    found = re.fullmatch(_VERSION, name)
    if found is None:
        raise InputError(f"a model version must look like v1.0.0, got {quoted(name)}")
    return tuple(int(part) for part in found.groups())


def next_free(wanted: str, taken: Iterable[str]) -> str:
    """The wanted version, or the patch after the last one with the same major and minor number.

    >>> next_free("v1.0.0", ["v1.0.0", "v1.0.4", "v1.1.0"])
    'v1.0.5'
    """
    major, minor, _ = version_order(wanted)
    orders = {version_order(name) for name in taken}
    if version_order(wanted) not in orders:
        return wanted
    return f"v{major}.{minor}.{1 + max(order[2] for order in orders if order[:2] == (major, minor))}"


class Precision(StrEnum):
    """Number format of weights."""

    FP32 = "fp32"
    INT8 = "int8"


class _Record(BaseModel):
    """A strict record: every key is known, and every value has its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileDigest(_Record):
    """Size and digest of a file."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


def digest(data: bytes) -> FileDigest:
    """Size and digest of the bytes of a file."""
    return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


class Feature(_Record):
    """An input column: its name and its values in training."""

    name: str
    mean: float
    low: float
    high: float

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"the feature {quoted(self.name)} must have low <= mean <= high")
        return self


class Source(_Record):
    """The version that a quantized model was made from."""

    model: Name
    version: Version
    sha256: Sha256


class Metadata(_Record):
    """Content of `metadata.json` for one version; `source` is set for a quantized one."""

    schema_version: Literal[1] = 1
    model: Name
    version: Version
    precision: Precision
    parameters: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    source: Source | None = None
    files: dict[str, FileDigest]
    metrics: dict[str, float]
    libraries: dict[str, str]
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if set(self.files) != {MODEL_FILE, SCALER_FILE}:
            raise ValueError(f"files must be {MODEL_FILE} and {SCALER_FILE}, each with its digest")
        if len({feature.name for feature in self.features}) < len(self.features):
            raise ValueError("features must have different names")
        return self


def dump_metadata(metadata: Metadata) -> bytes:
    """The text of `metadata.json`: the same bytes for the same metadata."""
    return (json.dumps(metadata.model_dump(mode="json"), indent=2, allow_nan=False) + "\n").encode()


def load_metadata(text: bytes) -> Metadata:
    """Metadata from `metadata.json`; a missing or unknown key or an invalid value is refused."""
    try:
        return Metadata.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise InputError(
            f"metadata: {printable(where)[:80]}: {first['msg']}; train the model again"
        ) from None


def library_versions(*names: str) -> dict[str, str]:
    """Installed versions by the name of the package."""
    return {name: installed_version(name) for name in names}
