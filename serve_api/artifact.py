"""Artifact: one version of a model as it was read and checked, so that what was hashed is what is served.

A folder of the store is opened once, no link in it is followed, and each file is read once into memory. Only
an ONNX graph and JSON are ever read: no pickle, which would run whatever whoever wrote it wants.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ELOOP
from itertools import islice
from pathlib import Path

from capacity.errors import CapacityError, DependencyError, InputError
from capacity.reading import located, printable
from serve_api.metadata import BYTES_MAX, METADATA_FILE, MODEL_FILE, SCALER_FILE, Metadata, digest
from serve_api.metadata_json import load_metadata

_FILES = frozenset(BYTES_MAX)
_OUTSIDE = b"location"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A version of a model, its files checked against their digests.

    Attributes:
        version: `v1.0.0`.
        path: of its folder; for messages, as nothing has to be read from there any more.
        model: bytes of the ONNX graph, for `onnxruntime.InferenceSession(artifact.model)`.
        scaler: bytes of `scaler.json`.
        metadata: what is known of it.
    """

    version: str
    path: Path
    model: bytes
    scaler: bytes
    metadata: Metadata

    def __repr__(self) -> str:
        """Without the bytes, of which there are millions."""
        return f"Artifact({self.metadata.model} {self.version}, {len(self.model)} bytes)"


def read_artifact(folder: Path) -> Artifact:
    """The version in a folder that is named after it.

    Raises:
        InputError: a link, a file missing, unknown or too large, metadata that are none or of another
            version, or a file that is not what its digest says.
        DependencyError: the disk failed.
    """
    shown = printable(str(folder))
    try:
        with _opened(folder) as descriptor:
            _check_names(descriptor, shown)
            files = {name: _read(descriptor, name, shown) for name in sorted(_FILES)}
    except OSError as error:
        raise _refused(error, shown) from None
    metadata = located(f"{shown}/{METADATA_FILE}", lambda: load_metadata(files[METADATA_FILE]))
    if metadata.version != folder.name:
        raise InputError(
            f"{shown} holds metadata of {metadata.version}, not of {folder.name}; "
            "a folder must keep the name that it was written under"
        )
    for name, known in metadata.files.items():
        if digest(files[name]) != known:
            raise InputError(_changed(f"{shown}/{name}", len(files[name]), known.size_bytes))
    check_self_contained(files[MODEL_FILE], f"{shown}/{MODEL_FILE}")
    return Artifact(
        version=metadata.version,
        path=folder,
        model=files[MODEL_FILE],
        scaler=files[SCALER_FILE],
        metadata=metadata,
    )


def check_size(name: str, size_bytes: int, shown: str) -> None:
    """Refuse a file that no version may have.

    Raises:
        InputError: it is too large.
    """
    if size_bytes > BYTES_MAX[name]:
        raise InputError(f"{shown}/{name} is larger than {BYTES_MAX[name]} bytes; serve a smaller model")


def check_self_contained(model: bytes, shown: str) -> None:
    """Refuse a graph that has weights in another file, which nobody hashed and ONNX Runtime would read.

    Without a parser: such a tensor has the key `location`, a text of eight bytes, and in a protocol buffer
    the byte before a text is the last of its length: 8, or 0 where that is written longer than need be.

    Raises:
        InputError: it has, or has a text that could not be told from it.
    """
    place = model.find(_OUTSIDE)
    while place >= 0:
        if model[max(0, place - 1) : place] in (b"\x08", b"\x00"):
            raise InputError(f"{shown} has weights in another file (external data); save it as one file")
        place = model.find(_OUTSIDE, place + 1)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A folder that stays the same one, whatever is renamed meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_names(descriptor: int, shown: str) -> None:
    with os.scandir(descriptor) as entries:
        names = {entry.name for entry in islice(entries, len(_FILES) + 1)}  # one too many is enough to refuse
    strange, missing = sorted(names - _FILES), sorted(_FILES - names)
    if strange:
        raise InputError(
            f"{shown} holds {printable(strange[0])[:40]!r}, which is no part of a version "
            f"({', '.join(sorted(_FILES))}); take it away"
        )
    if missing:
        raise InputError(f"{shown} has no {missing[0]}; train the model anew under the next version")


def _read(descriptor: int, name: str, shown: str) -> bytes:
    """The bytes of a regular file, one more than allowed at most."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):  # a pipe would be waited for, for ever
            raise InputError(f"{shown}/{name} is no regular file; put the file itself there")
        with os.fdopen(file, "rb", closefd=False) as opened:
            data = opened.read(BYTES_MAX[name] + 1)
    finally:
        os.close(file)
    check_size(name, len(data), shown)
    return data


def _changed(shown: str, found_bytes: int, known_bytes: int) -> str:
    what = (
        f"has {found_bytes} bytes, and its metadata say {known_bytes}"
        if found_bytes != known_bytes
        else "is not the file that its metadata name (another SHA-256)"
    )
    return f"{shown} {what}; it was damaged or exchanged: copy the version anew"


def _refused(error: OSError, shown: str) -> CapacityError:
    """What a folder that cannot be read means."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"there is no version {shown}; train it, or name another")
    if isinstance(error, (NotADirectoryError, PermissionError, IsADirectoryError)) or error.errno == ELOOP:
        return InputError(
            f"cannot read {shown}: {error.strerror}; a version must be a folder of files, none a link"
        )
    return DependencyError(f"cannot read {shown}: {error.strerror}; look after the disk")
