"""Artifact store: the versions of one model, each written once, and a link that says which one is current.

    artifacts/mlp/v1.0.0/{model.onnx, scaler.json, metadata.json}
    artifacts/mlp/current -> v1.0.0
    artifacts/mlp/history.txt     what was made current, one version a line, and what was gone back to

A version is written into a folder beside and renamed into place, so that it is whole or not there, and never
overwritten. `current` is replaced in one step, so that a reader finds the old one or the new one.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from capacity.errors import InputError
from capacity.reading import printable
from capacity.writing import refused
from serve_api.artifact import Artifact, check_self_contained, check_size, read_artifact
from serve_api.history import History
from serve_api.metadata import METADATA_FILE, MODEL_FILE, SCALER_FILE, Metadata, digest
from serve_api.metadata_json import dump_metadata
from serve_api.model_version import is_version, next_free, parse_version

CURRENT, HISTORY = "current", "history.txt"
ENTRIES_MAX = 10_000


class ArtifactStore:
    """The folder of one model; nothing of it is kept in memory, so that what others write is seen at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> tuple[str, ...]:
        """Names of the versions that are there, in rising order.

        Raises:
            InputError: no such folder, or one with too many entries.
        """
        try:
            with os.scandir(self.root) as found:
                entries = list(islice(found, ENTRIES_MAX + 1))
                names = [e.name for e in entries if is_version(e.name) and e.is_dir(follow_symlinks=False)]
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read the store {self._shown}: {_reason(error)}; train into it, or check the path"
            ) from None
        if len(entries) > ENTRIES_MAX:
            raise InputError(f"the store {self._shown} has more than {ENTRIES_MAX} entries; take some away")
        return tuple(sorted(names, key=parse_version))

    def current(self) -> str | None:
        """Name of the current version; None where none has been made current.

        Raises:
            InputError: `current` is no link, or one to anything but a version's name.
        """
        try:
            target = str((self.root / CURRENT).readlink())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._shown}/{CURRENT} is no link to a version ({_reason(error)}); set it anew"
            ) from None
        if not is_version(target):  # a path could lead out of the store
            raise InputError(
                f"{self._shown}/{CURRENT} points to {printable(target)[:80]!r}, not to a version beside it "
                "such as v1.0.0; set it anew"
            )
        return target

    def previous(self) -> str | None:
        """What to roll back to: the version that was current before, if it is still there; else None.

        What was rolled back from stands no longer, so that the next way back leads further.
        """
        current, there = self.current(), set(self.versions())
        known = History(self.root / HISTORY).versions(current)[::-1]
        return next((version for version in known if version != current and version in there), None)

    def load(self, version: str | None = None) -> Artifact:
        """A version, or the current one, read and checked.

        Raises:
            InputError: no such version, or anything about it that is not as it was written.
            DependencyError: the disk failed.
        """
        name = self.current() if version is None else str(parse_version(version))
        if name is None:
            there = ", ".join(self.versions()[-5:]) or "none; train one"
            raise InputError(f"the store {self._shown} has no current version; it has {there}")
        return read_artifact(self.root / name)

    def publish(self, metadata: Metadata, files: Mapping[str, bytes]) -> Artifact:
        """Write a new version, whole or not at all, and read it back.

        Raises:
            InputError: it is there already, or the files are not those of the metadata.
            DependencyError: the disk failed.
        """
        if {name: digest(data) for name, data in files.items()} != dict(metadata.files):
            raise InputError(f"the files of {metadata.version} are not those that its metadata name")
        whole = {**files, METADATA_FILE: dump_metadata(metadata)}
        for name, data in whole.items():
            check_size(name, len(data), metadata.version)
        check_self_contained(whole[MODEL_FILE], f"{metadata.version}/{MODEL_FILE}")
        self.check_free(metadata.version)
        final = self.root / metadata.version
        try:
            with self._beside(metadata.version) as folder:
                for name, data in whole.items():
                    _write(folder / name, data)
                _sync(folder)  # or a crash could leave the version's name and not its files
                folder.rename(final)
            _sync(self.root)
        except (OSError, ValueError) as error:
            self.check_free(metadata.version)  # somebody else may have been quicker
            raise refused(error, printable(str(final))) from None
        return self.load(metadata.version)

    def take(self, artifact: Artifact) -> Artifact:
        """Write a version of another store, whole or not at all; the same one again changes nothing.

        Raises:
            InputError: another one of that name is there, or as `publish`.
            DependencyError: the disk failed.
        """
        version = artifact.version
        if not os.path.lexists(self.root / version):
            return self.publish(artifact.metadata, {MODEL_FILE: artifact.model, SCALER_FILE: artifact.scaler})
        if (own := self.load(version)).metadata != artifact.metadata:
            raise InputError(
                f"{self._shown} has another {version}, and none is ever overwritten; "
                "train the new one under the next version"
            )
        return own

    def check_free(self, version: str) -> None:
        """Refuse a version that is there already, before hours of training.

        Raises:
            InputError: it is there; the message names the next free one.
        """
        wanted = parse_version(version)
        taken = [parse_version(name) for name in self.versions()] if os.path.lexists(self.root) else []
        if os.path.lexists(self.root / version):  # whatever it is
            free = next_free(wanted, [*taken, wanted])
            raise InputError(
                f"{self._shown} has {version} already, and none is ever overwritten; use --version {free}"
            )

    def set_current(self, version: str) -> Artifact:
        """Make a version the current one, after it has been checked.

        Raises:
            InputError: as `load`, or the store cannot be written.
            DependencyError: the disk failed.
        """
        return self._switch(version, back=False)

    def rollback(self) -> Artifact:
        """Make the version current that was so before; once more, the one before that.

        Raises:
            InputError: none is known, or as `set_current`.
            DependencyError: the disk failed.
        """
        before = self.previous()
        if before is None:
            raise InputError(
                f"{self._shown} knows of no version that was current before {self.current() or 'now'}; "
                "promote one by its name"
            )
        return self._switch(before, back=True)

    @property
    def _shown(self) -> str:
        return printable(str(self.root))

    def _switch(self, version: str, *, back: bool) -> Artifact:
        """One that fails has changed nothing that a reader sees, and can be asked for again."""
        artifact = self.load(version)
        history = History(self.root / HISTORY)
        try:
            history.append(
                artifact.version, lambda: self._link(artifact.version), current=self._sound_current, back=back
            )
        except OSError as error:
            raise refused(error, f"{self._shown}/{HISTORY}") from None
        return artifact

    def _sound_current(self) -> str | None:
        """The current version; None where `current` is no link to one, as it is about to be set anew."""
        with suppress(InputError):
            return self.current()
        return None

    def _link(self, version: str) -> None:
        """Put a new link in the place of the old one, in one step.

        Raises:
            CapacityError: the old one is still there.
        """
        beside = self.root / f".{CURRENT}.{secrets.token_hex(8)}"
        try:
            beside.symlink_to(version)
            beside.replace(self.root / CURRENT)
        except OSError as error:
            raise refused(error, f"{self._shown}/{CURRENT}") from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        with suppress(OSError):  # where a crash takes the switch back, it never was
            _sync(self.root)

    @contextmanager
    def _beside(self, version: str) -> Iterator[Path]:
        """A folder that no reader takes for a version; gone afterwards where it was not renamed."""
        new = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        for made in new:
            _sync(made.parent)
        folder = self.root / f".{version}.{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """A rename is on the disk once its folder is; some file systems cannot, and need not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or "not a valid path"
