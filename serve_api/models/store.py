"""Artifact store: the versions of one model, each written once, and a link that says which one is current.

    artifacts/mlp/v1.0.0/{model.onnx, scaler.json, metadata.json}
    artifacts/mlp/current -> v1.0.0
    artifacts/mlp/history.txt     what was made current, one version a line; `back v1.0.0` is a rollback

A version is written into a temporary folder and renamed into place, so that it is whole or absent, and never
overwritten. `current` is replaced in one step, so that a reader finds the old one or the new one.
"""

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from capacity.errors import DependencyError, InputError, quoted
from capacity.files import located, printable, refused
from serve_api.models.metadata import (
    METADATA_FILE,
    MODEL_FILE,
    SCALER_FILE,
    Metadata,
    digest,
    dump_metadata,
    is_version,
    load_metadata,
    next_free,
    version_order,
)

CURRENT, HISTORY = "current", "history.txt"
_BACK = "back "


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A version of a model; its files were checked against their digests, and are not read again."""

    path: Path
    model: bytes
    scaler: bytes
    metadata: Metadata

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.metadata.version

    def __repr__(self) -> str:
        """Its version, without the millions of bytes."""
        return f"Artifact({self.metadata.model} {self.version}, {len(self.model)} bytes)"


class ArtifactStore:
    """The folder of one model; nothing is cached, so changes by others are seen at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> tuple[str, ...]:
        """Names of the versions, rising; empty without a folder."""
        if not self.root.is_dir():
            return ()
        names = (entry.name for entry in self.root.iterdir() if entry.is_dir() and not entry.is_symlink())
        return tuple(sorted(filter(is_version, names), key=version_order))

    def current(self) -> str | None:
        """Name of the current version; None if no version has been made current."""
        try:
            target = str((self.root / CURRENT).readlink())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(
                f"{self._shown}/{CURRENT} is not a link ({error.strerror}); set it again"
            ) from None
        if not is_version(target):  # a path could lead out of the store
            raise InputError(
                f"{self._shown}/{CURRENT} points to {quoted(target)}, not to a version next to "
                "it such as v1.0.0; set it again"
            )
        return target

    def previous(self) -> str | None:
        """The version to roll back to: the previously current one, if it still exists."""
        current, there = self.current(), self.versions()
        before = reversed(self._standing())
        return next((version for version in before if version != current and version in there), None)

    def load(self, version: str | None = None) -> Artifact:
        """A version, by default the current one, read and checked."""
        name = self.current() if version is None else version
        if name is None:
            there = ", ".join(self.versions()[-5:]) or "none; train one"
            raise InputError(f"the store {self._shown} has no current version; it has {there}")
        version_order(name)
        return _read(self.root / name)

    def publish(self, metadata: Metadata, files: Mapping[str, bytes]) -> Artifact:
        """Write a new version, whole or not at all, and read it back."""
        if {name: digest(data) for name, data in files.items()} != metadata.files:
            raise InputError(f"the files of {metadata.version} are not those that its metadata describe")
        self.check_free(metadata.version)
        final = self.root / metadata.version
        beside = self.root / f".{metadata.version}.{secrets.token_hex(8)}"
        try:
            beside.mkdir(parents=True)
            for name, data in {**files, METADATA_FILE: dump_metadata(metadata)}.items():
                _write(beside / name, data)
            _sync(beside)  # or a crash could leave the version's name and not its files
            beside.rename(final)
            _sync(self.root)
        except OSError as error:
            self.check_free(metadata.version)  # another process may have been quicker
            raise refused(error, printable(str(final))) from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return self.load(metadata.version)

    def take(self, artifact: Artifact) -> Artifact:
        """Copy a version from another store; an identical one changes nothing, a different one is refused."""
        if artifact.version not in self.versions():
            return self.publish(artifact.metadata, {MODEL_FILE: artifact.model, SCALER_FILE: artifact.scaler})
        if (own := self.load(artifact.version)).metadata != artifact.metadata:
            raise InputError(
                f"{self._shown} already has a different {artifact.version}, and versions are never "
                "overwritten; "
                "train the new one under the next version"
            )
        return own

    def check_free(self, version: str) -> None:
        """Refuse a version that exists; the message names the next free one."""
        version_order(version)
        if os.path.lexists(self.root / version):
            free = next_free(version, [*self.versions(), version])
            raise InputError(
                f"{self._shown} already has {version}, and versions are never overwritten; use --version "
                f"{free}"
            )

    def set_current(self, version: str) -> Artifact:
        """Make a version current, after checking it."""
        return self._switch(version, version)

    def rollback(self) -> Artifact:
        """Make the previously current version current again; once more, the one before that."""
        before = self.previous()
        if before is None:
            raise InputError(
                f"{self._shown} has no version that was current before {self.current() or 'now'}; "
                "promote one by its name"
            )
        return self._switch(before, f"{_BACK}{before}")

    @property
    def _shown(self) -> str:
        return printable(str(self.root))

    def _switch(self, version: str, line: str) -> Artifact:
        """Replace the link in one step, then record it."""
        artifact = self.load(version)
        beside = self.root / f".{CURRENT}.{secrets.token_hex(8)}"
        try:
            beside.symlink_to(version)
            beside.replace(self.root / CURRENT)
            with (self.root / HISTORY).open("a", encoding="ascii") as history:
                history.write(f"{line}\n")
        except OSError as error:
            raise refused(error, f"{self._shown}/{CURRENT}") from None
        finally:
            beside.unlink(missing_ok=True)
        return artifact

    def _standing(self) -> list[str]:
        """Versions that were current and not rolled back from, the last one last."""
        standing: list[str] = []
        file = self.root / HISTORY
        for line in file.read_text(encoding="ascii", errors="replace").splitlines() if file.exists() else ():
            version = line.removeprefix(_BACK)
            # A rollback removes what came after the version that it leads to.
            while line.startswith(_BACK) and standing and standing[-1] != version:
                standing.pop()
            if is_version(version) and standing[-1:] != [version]:
                standing.append(version)
        return standing


def _read(folder: Path) -> Artifact:
    """The version in a folder; each file is read once, so that the hashed bytes are the ones used."""
    shown = printable(str(folder))
    try:
        files = {name: (folder / name).read_bytes() for name in (MODEL_FILE, SCALER_FILE, METADATA_FILE)}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        missing = Path(error.filename).name
        raise InputError(
            f"no whole version {shown} ({error.strerror}: {missing}); train or name another"
        ) from None
    except OSError as error:
        raise DependencyError(f"cannot read {shown}: {error.strerror}; check the disk") from None
    metadata = located(f"{shown}/{METADATA_FILE}", lambda: load_metadata(files[METADATA_FILE]))
    if metadata.version != folder.name:
        raise InputError(
            f"{shown} holds metadata of {metadata.version}; a folder must keep its version's name"
        )
    for name, known in metadata.files.items():
        if digest(files[name]) != known:
            raise InputError(
                f"{shown}/{name} is not the file that its metadata describe (another size or SHA-256); it "
                "was "
                "damaged or replaced: copy the version again"
            )
    return Artifact(path=folder, model=files[MODEL_FILE], scaler=files[SCALER_FILE], metadata=metadata)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Flush a folder, so that a rename in it is on the disk; some file systems cannot, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
