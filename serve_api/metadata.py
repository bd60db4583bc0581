"""Metadata: what is known of one trained model, and the digests by which its files are known again."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from capacity.errors import DomainError
from serve_api.model_version import parse_version

SCHEMA_VERSION = 1
MODEL_FILE, SCALER_FILE, METADATA_FILE = "model.onnx", "scaler.json", "metadata.json"
# What a file may have at most; a model of the size that is served here has 64 MiB.
BYTES_MAX: Mapping[str, int] = MappingProxyType({MODEL_FILE: 2**29, SCALER_FILE: 2**18, METADATA_FILE: 2**18})
FEATURES_MAX, ENTRIES_MAX = 1000, 100
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Precision(StrEnum):
    """What the weights are kept in."""

    FP32 = "fp32"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """By what a file is known again.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        size_bytes: how many it has.
    """

    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise DomainError("sha256 must be 64 hexadecimal digits in lower case; train the model anew")
        if self.size_bytes < 1:
            raise DomainError(f"size_bytes must be >= 1, got {self.size_bytes}")


def digest(data: bytes) -> FileDigest:
    """The digest of the bytes of a file."""
    return FileDigest(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of the input: its name, and what values it had in training."""

    name: str
    mean: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.mean <= self.high:  # NaN is not
            raise DomainError(
                f"the feature {self.name[:40]!r} must have low <= mean <= high, "
                f"got {self.low}, {self.mean}, {self.high}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Of a quantized model: the version that it was made from, and the digest of that model."""

    model: str
    version: str
    sha256: str

    def __post_init__(self) -> None:
        _check_name(self.model)
        parse_version(self.version)
        FileDigest(sha256=self.sha256, size_bytes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What `metadata.json` says.

    Attributes:
        model: name of the model, `mlp`.
        version: of it, `v1.0.0`.
        precision: of its weights.
        parameters: how many it has.
        seed: of its training.
        features: columns of the input, in their order.
        metrics: numbers that were measured of it, by name.
        libraries: versions of what it was made with.
        files: digests by file name.
        source: of a quantized model; None of a trained one.
    """

    model: str
    version: str
    precision: Precision
    parameters: int
    seed: int
    features: tuple[Feature, ...]
    metrics: Mapping[str, float]
    libraries: Mapping[str, str]
    files: Mapping[str, FileDigest]
    source: Source | None = None

    def __post_init__(self) -> None:
        _check_name(self.model)
        parse_version(self.version)
        if self.parameters < 1 or self.seed < 0:
            raise DomainError(f"parameters must be >= 1 and seed >= 0, got {self.parameters} and {self.seed}")
        _check_features(self.features)
        if set(self.files) != {MODEL_FILE, SCALER_FILE}:
            raise DomainError(f"files must be {MODEL_FILE} and {SCALER_FILE}, each with its digest")
        if max(len(self.metrics), len(self.libraries)) > ENTRIES_MAX:
            raise DomainError(f"metrics and libraries may have {ENTRIES_MAX} entries each at most")
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise DomainError("metrics must be finite numbers; train the model anew")
        for name in ("metrics", "libraries", "files"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


def _check_name(model: str) -> None:
    if not _NAME.fullmatch(model):
        raise DomainError(
            f"a model's name must be lower-case letters, digits and hyphens, 40 at most, got {model[:40]!r}"
        )


def _check_features(features: tuple[Feature, ...]) -> None:
    if not 1 <= len(features) <= FEATURES_MAX:
        raise DomainError(f"features must be 1 to {FEATURES_MAX}, got {len(features)}")
    if len({feature.name for feature in features}) < len(features):
        raise DomainError("features must have a name each, none twice")
