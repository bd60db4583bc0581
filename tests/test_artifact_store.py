"""The store of models: written once, whole, and read only where every byte is what was written."""

import ast
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.errors import CapacityError, DependencyError, DomainError, InputError
from serve_api import artifact as artifact_module
from serve_api import store as store_module
from serve_api.artifact import read_artifact
from serve_api.history import History
from serve_api.metadata import (
    BYTES_MAX,
    MODEL_FILE,
    SCALER_FILE,
    Feature,
    FileDigest,
    Metadata,
    Precision,
    Source,
    digest,
)
from serve_api.metadata_json import dump_metadata, load_metadata
from serve_api.model_version import ModelVersion, is_version, next_free, parse_version
from serve_api.store import CURRENT, HISTORY, ArtifactStore

ROOT = Path(__file__).parent.parent
FILES = {MODEL_FILE: b"a graph", SCALER_FILE: b"{}"}
laws = settings(derandomize=True, deadline=None, max_examples=60)


def metadata(version: str = "v1.0.0", files: dict[str, bytes] = FILES, **changes: Any) -> Metadata:
    known: dict[str, Any] = {
        "model": "mlp",
        "version": version,
        "precision": Precision.FP32,
        "parameters": 7,
        "seed": 0,
        "features": (Feature(name="mean radius", mean=1.0, low=0.5, high=2.0),),
        "metrics": {"test_accuracy": 0.95},
        "libraries": {"numpy": "2.0.0"},
        "files": {name: digest(data) for name, data in files.items()},
    }
    return Metadata(**{**known, **changes})


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """A store with v1.0.0."""
    built = ArtifactStore(tmp_path / "artifacts" / "mlp")
    built.publish(metadata(), FILES)
    return built


def rewritten(store: ArtifactStore, change: Callable[[dict[str, Any]], object]) -> None:
    """`metadata.json` of v1.0.0 with a change."""
    path = store.root / "v1.0.0" / "metadata.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# What a version is called.


@pytest.mark.parametrize(
    "name",
    ["1.0.0", "v1.0", "v1.0.0.0", "v01.0.0", "v1.0.0 ", "v1.0.0\n", "v-1.0.0", "V1.0.0", "", "..", "v1.0.٣",
     "../v1.0.0", "/v1.0.0", "v1.0.0/", "v1.0.0/../v1.0.0", "v1.0.1٣", "v1.0.1234567", "v1234567.0.0", "current"],
)  # fmt: skip
def test_a_name_that_is_no_version(store: ArtifactStore, name: str) -> None:
    assert not is_version(name)
    with pytest.raises(InputError, match="must look like v1.0.0"):
        parse_version(name)
    for refusal in (store.load, store.set_current, store.check_free):
        with pytest.raises(InputError, match="must look like v1.0.0"):
            refusal(name)


parts = st.integers(0, 999_999)
model_versions = st.builds(ModelVersion, major=parts, minor=parts, patch=parts)
close_versions = st.builds(
    ModelVersion, major=st.integers(0, 1), minor=st.integers(0, 1), patch=st.integers(0, 3)
)


@laws
@given(model_versions, model_versions)
def test_versions_are_read_as_written_and_ordered_by_number(one: ModelVersion, other: ModelVersion) -> None:
    assert parse_version(str(one)) == one
    assert (one < other) == ((one.major, one.minor, one.patch) < (other.major, other.minor, other.patch))


@laws
@given(close_versions, st.sets(close_versions))
def test_the_next_free_version_is_free_and_above_its_kin(
    wanted: ModelVersion, taken: set[ModelVersion]
) -> None:
    found = next_free(wanted, taken)
    assert found not in taken
    assert (found == wanted) == (wanted not in taken)
    if found != wanted:
        assert (found.major, found.minor) == (wanted.major, wanted.minor)
        assert all(found > v for v in taken if (v.major, v.minor) == (wanted.major, wanted.minor))


# Written once, and read as written.


def test_what_was_published_is_what_is_loaded(store: ArtifactStore) -> None:
    store.set_current("v1.0.0")
    for loaded in (store.load(), store.load("v1.0.0")):
        assert (loaded.version, loaded.path) == ("v1.0.0", store.root / "v1.0.0")
        assert (loaded.model, loaded.scaler) == (FILES[MODEL_FILE], FILES[SCALER_FILE])
        assert loaded.metadata == metadata()
        assert "a graph" not in repr(loaded)
    with pytest.raises(FrozenInstanceError):
        loaded.model = b""  # type: ignore[misc]
    with pytest.raises(TypeError):
        loaded.metadata.metrics["test_accuracy"] = 1.0  # type: ignore[index]


def test_a_model_is_held_in_memory_and_not_read_again(store: ArtifactStore) -> None:
    loaded = store.load("v1.0.0")
    (store.root / "v1.0.0" / MODEL_FILE).write_bytes(b"another")
    assert digest(loaded.model) == loaded.metadata.files[MODEL_FILE]


def test_no_version_is_overwritten_and_the_next_free_one_is_named(store: ArtifactStore) -> None:
    store.publish(metadata("v1.0.1"), FILES)
    store.publish(metadata("v1.1.0"), FILES)
    with pytest.raises(InputError, match=r"has v1\.0\.0 already.*use --version v1\.0\.2"):
        store.publish(metadata(parameters=8), FILES)
    assert store.load("v1.0.0").metadata.parameters == 7


@pytest.mark.parametrize("kind", ["folder", "file", "dangling"])
def test_a_name_that_anything_has_is_taken(store: ArtifactStore, kind: str) -> None:
    taken = store.root / "v2.0.0"
    if kind == "folder":
        taken.mkdir()
    elif kind == "file":
        taken.touch()
    else:
        taken.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"use --version v2\.0\.1"):
        store.publish(metadata("v2.0.0"), FILES)


def test_a_version_that_another_writer_was_quicker_with(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = ArtifactStore(store.root)
    written = store_module._write

    def late(path: Path, data: bytes) -> None:
        if not (store.root / "v2.0.0").exists() and path.name == MODEL_FILE:
            monkeypatch.setattr(store_module, "_write", written)
            rival.publish(metadata("v2.0.0", parameters=9), FILES)
        written(path, data)

    monkeypatch.setattr(store_module, "_write", late)
    with pytest.raises(InputError, match="has v2.0.0 already"):
        store.publish(metadata("v2.0.0"), FILES)
    assert store.load("v2.0.0").metadata.parameters == 9


def test_a_write_that_fails_leaves_nothing(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_write", full)
    with pytest.raises(DependencyError, match="No space left"):
        store.publish(metadata("v2.0.0"), FILES)
    assert store.versions() == ("v1.0.0",)
    assert [p.name for p in store.root.iterdir()] == ["v1.0.0"]


def test_files_that_are_not_those_of_the_metadata_are_not_published(store: ArtifactStore) -> None:
    with pytest.raises(InputError, match="not those that its metadata name"):
        store.publish(metadata("v2.0.0"), {**FILES, MODEL_FILE: b"b graph"})
    with pytest.raises(InputError, match="not those that its metadata name"):
        store.publish(metadata("v2.0.0"), {**FILES, "notes.txt": b"x"})
    assert store.versions() == ("v1.0.0",)


def test_a_file_too_large_is_not_published(store: ArtifactStore) -> None:
    files = {**FILES, SCALER_FILE: bytes(BYTES_MAX[SCALER_FILE] + 1)}
    with pytest.raises(InputError, match="scaler.json is larger than 262144 bytes"):
        store.publish(metadata("v2.0.0", files), files)
    assert store.versions() == ("v1.0.0",)


def test_versions_in_rising_order_and_nothing_else(store: ArtifactStore) -> None:
    for version in ("v1.10.0", "v1.9.0", "v0.3.0"):
        store.publish(metadata(version), FILES)
    (store.root / ".v1.2.0.abc").mkdir()
    (store.root / "v3.0.0").symlink_to("v1.0.0")
    (store.root / "v4.0.0").touch()
    assert store.versions() == ("v0.3.0", "v1.0.0", "v1.9.0", "v1.10.0")


def test_a_store_with_too_much_in_it(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ENTRIES_MAX", 0)
    with pytest.raises(InputError, match="more than 0 entries"):
        store.versions()


# Which one is current.


def test_the_current_version_and_the_one_before(store: ArtifactStore) -> None:
    assert store.current() is None
    assert store.previous() is None
    with pytest.raises(InputError, match=r"has no current version; it has v1\.0\.0"):
        store.load()
    store.publish(metadata("v1.1.0"), FILES)
    store.publish(metadata("v1.2.0"), FILES)
    store.set_current("v1.0.0")
    assert (store.current(), store.previous()) == ("v1.0.0", None)
    store.set_current("v1.2.0")
    assert (store.current(), store.previous()) == ("v1.2.0", "v1.0.0")
    store.set_current("v1.2.0")  # again; what was before it is as before
    assert store.previous() == "v1.0.0"
    assert str((store.root / CURRENT).readlink()) == "v1.2.0"
    assert store.load().version == "v1.2.0"
    store.set_current(store.previous() or "")
    assert (store.current(), store.previous()) == ("v1.0.0", "v1.2.0")
    assert not [p for p in store.root.iterdir() if p.name.startswith(".")]


def test_the_version_before_is_one_that_is_there(store: ArtifactStore) -> None:
    for version in ("v1.1.0", "v1.2.0"):
        store.publish(metadata(version), FILES)
    for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
        store.set_current(version)
    assert store.previous() == "v1.1.0"
    (store.root / "v1.1.0").rename(store.root / "gone")
    assert store.previous() == "v1.0.0"


def test_a_history_that_a_crash_cut_off(store: ArtifactStore) -> None:
    store.publish(metadata("v1.0.12"), FILES)
    store.publish(metadata("v1.0.1"), FILES)
    for version in ("v1.0.0", "v1.0.12"):
        store.set_current(version)
    history = store.root / HISTORY
    history.write_bytes(history.read_bytes()[:-2])  # v1.0.1, which was never current
    assert store.previous() == "v1.0.0"
    history.write_bytes(b"\xff\x00nonsense\n../v1.0.0\nv1.0.1\n")
    assert store.previous() == "v1.0.1"


def test_what_was_not_switched_to_stands_no_longer(tmp_path: Path) -> None:
    history = History(tmp_path / HISTORY)
    assert history.versions(None) == []
    history.append("v1.0.0", lambda: None, current=lambda: None)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        history.append("v1.1.0", fail, current=lambda: "v1.0.0")
    assert history.versions("v1.0.0") == ["v1.0.0"]
    history.append("v1.2.0", lambda: None, current=lambda: "v1.0.0")
    with history.path.open("a") as file:
        file.write("../x\n\nv1.")
    assert history.versions("v1.2.0") == ["v1.0.0", "v1.2.0"]


def test_only_the_end_of_a_long_history_is_read(store: ArtifactStore) -> None:
    store.set_current("v1.0.0")
    with (store.root / HISTORY).open("wb") as file:
        file.truncate(2**40)  # sparse
    assert store.previous() is None


def test_a_version_that_cannot_be_loaded_never_becomes_current(store: ArtifactStore) -> None:
    store.set_current("v1.0.0")
    store.publish(metadata("v1.1.0"), FILES)
    (store.root / "v1.1.0" / MODEL_FILE).write_bytes(b"damaged")
    for version in ("v1.1.0", "v9.0.0"):
        with pytest.raises(InputError):
            store.set_current(version)
    assert store.current() == "v1.0.0"
    assert (store.root / HISTORY).read_text() == "v1.0.0\n"


@pytest.mark.parametrize(
    "target", ["../../outside", "/etc", "..", ".", "v1.0.0/../../mlp/v1.0.0", "sub/v1.0.0", "latest"]
)
def test_a_current_that_leads_elsewhere(store: ArtifactStore, target: str) -> None:
    (store.root / CURRENT).symlink_to(target)
    with pytest.raises(InputError, match="not to a version beside it"):
        store.load()


def test_a_current_to_a_version_that_is_gone(store: ArtifactStore) -> None:
    (store.root / CURRENT).symlink_to("v7.0.0")
    with pytest.raises(InputError, match=r"there is no version .*v7\.0\.0; train it"):
        store.load()


def test_a_current_that_is_no_link(store: ArtifactStore) -> None:
    (store.root / CURRENT).mkdir()
    with pytest.raises(InputError, match="current is no link to a version"):
        store.load()


def test_readers_always_find_a_version_while_it_is_switched(store: ArtifactStore, deadline: None) -> None:
    store.publish(metadata("v1.1.0"), FILES)
    store.set_current("v1.0.0")
    found: set[str] = set()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(150):
                found.add(store.load().version)
        except BaseException as error:
            failures.append(error)

    def switch() -> None:
        for _ in range(20):
            store.set_current("v1.1.0")
            store.set_current("v1.0.0")

    threads = [threading.Thread(target=work) for work in (read, read, switch, switch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert found <= {"v1.0.0", "v1.1.0"}
    lines = (store.root / HISTORY).read_text().splitlines()
    assert len(lines) == 81
    assert set(lines) == {"v1.0.0", "v1.1.0"}


# What is refused.


def test_a_version_that_is_a_link(store: ArtifactStore, tmp_path: Path) -> None:
    (store.root / "v1.0.0").rename(tmp_path / "v1.0.0")
    (store.root / "v1.0.0").symlink_to(tmp_path / "v1.0.0")
    with pytest.raises(InputError, match="a version must be a folder of files, none a link"):
        store.load("v1.0.0")
    with pytest.raises(InputError, match="none a link"):
        store.set_current("v1.0.0")


def test_a_version_that_is_a_file(store: ArtifactStore) -> None:
    (store.root / "v2.0.0").touch()
    with pytest.raises(InputError, match="a version must be a folder of files"):
        store.load("v2.0.0")


@pytest.mark.parametrize("name", sorted(BYTES_MAX))
def test_a_file_that_is_a_link_even_to_the_right_bytes(
    store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    (store.root / "v1.0.0" / name).rename(tmp_path / name)
    (store.root / "v1.0.0" / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match="none a link"):
        store.load("v1.0.0")


@pytest.mark.parametrize("name", sorted(BYTES_MAX))
def test_a_file_that_is_missing(store: ArtifactStore, name: str) -> None:
    (store.root / "v1.0.0" / name).unlink()
    with pytest.raises(InputError, match=f"has no {name}"):
        store.load("v1.0.0")


@pytest.mark.parametrize("name", sorted(BYTES_MAX))
def test_a_file_that_is_a_pipe_or_a_folder(store: ArtifactStore, name: str, deadline: None) -> None:
    path = store.root / "v1.0.0" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=f"{name} is no regular file"):
        store.load("v1.0.0")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=f"{name} is no regular file"):
        store.load("v1.0.0")


def test_a_file_that_is_too_large(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**BYTES_MAX, MODEL_FILE: len(FILES[MODEL_FILE])}
    monkeypatch.setattr(artifact_module, "BYTES_MAX", small)
    assert store.load("v1.0.0").model == FILES[MODEL_FILE]
    with (store.root / "v1.0.0" / MODEL_FILE).open("ab") as file:
        file.truncate(2**40)  # sparse: read to its end, it would fill the memory
    with pytest.raises(InputError, match="model.onnx is larger than 7 bytes"):
        store.load("v1.0.0")


def test_metadata_that_are_too_large(store: ArtifactStore) -> None:
    with (store.root / "v1.0.0" / "metadata.json").open("ab") as file:
        file.write(b" " * BYTES_MAX["metadata.json"])
    with pytest.raises(InputError, match="metadata.json is larger than 262144 bytes"):
        store.load("v1.0.0")


@laws
@given(place=st.integers(0, len(FILES[MODEL_FILE]) - 1), change=st.integers(1, 255))
def test_one_changed_byte_is_seen(place: int, change: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    store.publish(metadata(), FILES)
    damaged = bytearray(FILES[MODEL_FILE])
    damaged[place] ^= change
    (store.root / "v1.0.0" / MODEL_FILE).write_bytes(damaged)
    with pytest.raises(InputError, match="model.onnx is not the file that its metadata name"):
        store.load("v1.0.0")


def test_a_changed_size_and_a_changed_scaler_are_seen(store: ArtifactStore) -> None:
    (store.root / "v1.0.0" / MODEL_FILE).write_bytes(FILES[MODEL_FILE] + b"!")
    with pytest.raises(InputError, match="model.onnx has 8 bytes, and its metadata say 7"):
        store.load("v1.0.0")
    (store.root / "v1.0.0" / MODEL_FILE).write_bytes(FILES[MODEL_FILE])
    (store.root / "v1.0.0" / SCALER_FILE).write_bytes(b"[]")
    with pytest.raises(InputError, match="scaler.json is not the file"):
        store.load("v1.0.0")


def test_a_digest_that_names_another_size_is_refused(store: ArtifactStore) -> None:
    rewritten(store, lambda d: d["files"][MODEL_FILE].update(size_bytes=8))
    with pytest.raises(InputError, match="has 7 bytes, and its metadata say 8"):
        store.load("v1.0.0")


def test_a_folder_under_another_name(store: ArtifactStore) -> None:
    (store.root / "v1.0.0").rename(store.root / "v9.0.0")
    with pytest.raises(InputError, match=r"holds metadata of v1\.0\.0, not of v9\.0\.0"):
        store.load("v9.0.0")


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "none")
    with pytest.raises(InputError, match="cannot read the store .*No such file"):
        store.versions()
    with pytest.raises(InputError, match="cannot read the store"):
        store.load()
    with pytest.raises(InputError, match="there is no version"):
        store.load("v1.0.0")
    store.check_free("v1.0.0")  # all are


def test_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot read the store .*Not a directory"):
        ArtifactStore(tmp_path / "file").publish(metadata(), FILES)


def test_a_history_that_is_a_folder(store: ArtifactStore) -> None:
    (store.root / HISTORY).mkdir()
    assert store.previous() is None
    with pytest.raises(CapacityError, match="cannot write"):
        store.set_current("v1.0.0")
    assert store.current() is None


def test_a_history_that_is_a_link_is_not_written_through(store: ArtifactStore, tmp_path: Path) -> None:
    (store.root / HISTORY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CapacityError, match="cannot write"):
        store.set_current("v1.0.0")
    assert not (tmp_path / "elsewhere").exists()
    assert store.current() is None


# Metadata.

names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
digests = st.builds(
    FileDigest, sha256=st.text("0123456789abcdef", min_size=64, max_size=64), size_bytes=st.integers(1, 2**40)
)
features = st.builds(
    lambda name, values: Feature(name=name, low=min(values), mean=sorted(values)[1], high=max(values)),
    names,
    st.tuples(numbers, numbers, numbers),
)
metadatas = st.builds(
    Metadata,
    model=st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True),
    version=model_versions.map(str),
    precision=st.sampled_from(Precision),
    parameters=st.integers(1, 2**70),
    seed=st.integers(0, 2**70),
    features=st.lists(features, min_size=1, max_size=3, unique_by=lambda f: f.name).map(tuple),
    metrics=st.dictionaries(names, numbers, max_size=4),
    libraries=st.dictionaries(names, names, max_size=4),
    files=st.fixed_dictionaries({MODEL_FILE: digests, SCALER_FILE: digests}),
    source=st.none()
    | st.builds(
        Source, model=st.just("mlp"), version=model_versions.map(str), sha256=digests.map(lambda d: d.sha256)
    ),
)


@laws
@given(metadatas)
def test_metadata_are_read_as_they_were_written(known: Metadata) -> None:
    text = dump_metadata(known)
    assert load_metadata(text) == known
    assert dump_metadata(load_metadata(text)) == text
    assert json.loads(text)["schema_version"] == 1


@settings(laws, max_examples=300)
@given(st.data())
def test_damaged_metadata_are_metadata_or_refused(data: st.DataObject) -> None:
    text = bytearray(dump_metadata(metadata()))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=3))
    with suppress(InputError):  # and nothing else
        assert isinstance(load_metadata(bytes(text)), Metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=2), "have schema version 2, and 1 is read"),
        (lambda d: d.pop("schema_version"), "has no key schema_version"),
        (lambda d: d.update(pickle="x"), "unknown key 'pickle'"),
        (lambda d: d.pop("seed"), "has no key seed"),
        (lambda d: d.pop("source"), "has no key source"),
        (lambda d: d.update(seed=-1), "seed >= 0"),
        (lambda d: d.update(parameters=0), "parameters must be >= 1"),
        (lambda d: d.update(parameters=True), "parameters must be a whole number"),
        (lambda d: d.update(precision="fp16"), "precision must be fp32 or int8"),
        (lambda d: d.update(model="../mlp"), "a model's name must be"),
        (lambda d: d.update(version="1.0"), "must look like v1.0.0"),
        (lambda d: d.update(features=[]), "features must be 1 to 1000"),
        (lambda d: d.update(features=d["features"] * 2), "none twice"),
        (lambda d: d.update(features=[{**d["features"][0], "name": str(k)} for k in range(1001)]), "got 1001"),
        (lambda d: d["features"][0].update(low=3.0), "low <= mean <= high"),
        (lambda d: d["features"][0].update(unit="mm"), "unknown key 'unit'"),
        (lambda d: d["metrics"].update(a="0.9"), "metrics must be a number"),
        (lambda d: d["metrics"].update({str(k): 0.5 for k in range(101)}), "100 entries each"),
        (lambda d: d["libraries"].update({str(k): "1" for k in range(101)}), "100 entries each"),
        (lambda d: d["libraries"].update(numpy="1\n2"), "must be a text of one line"),
        (lambda d: d["files"].pop(SCALER_FILE), "files must be model.onnx and scaler.json"),
        (lambda d: d["files"].update({"../x": d["files"][MODEL_FILE]}), "files must be"),
        (lambda d: d["files"][MODEL_FILE].update(sha256="0" * 63), "64 hexadecimal digits"),
        (lambda d: d["files"][MODEL_FILE].update(sha256="A" * 64), "64 hexadecimal digits"),
        (lambda d: d["files"][MODEL_FILE].update(sha256="a" * 65), "64 hexadecimal digits"),
        (lambda d: d["files"][MODEL_FILE].update(size_bytes=0), "size_bytes must be >= 1"),
        (lambda d: d.update(source={"model": "mlp", "version": "v1.0.0", "sha256": "x"}), "64 hexadecimal"),
        (lambda d: d.update(source={"model": "mlp", "version": "one", "sha256": "0" * 64}), "must look like"),
    ],
)  # fmt: skip
def test_metadata_that_are_refused(
    store: ArtifactStore, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rewritten(store, change)
    with pytest.raises(InputError, match=message) as refusal:
        store.load("v1.0.0")
    assert "v1.0.0/metadata.json: " in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "must be an object"),
        (b'{"seed": 1, "seed": 2}', "stands twice"),
        (b'{"seed": NaN}', "NaN is not a number"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"schema_version": ' + b"9" * 10_000 + b"}", "a number is too long"),
    ],
)
def test_metadata_that_are_no_metadata(store: ArtifactStore, text: bytes, message: str) -> None:
    (store.root / "v1.0.0" / "metadata.json").write_bytes(text)
    with pytest.raises(InputError, match=message):
        store.load("v1.0.0")


def test_metrics_are_finite_and_features_no_nan() -> None:
    with pytest.raises(DomainError, match="metrics must be finite"):
        metadata(metrics={"loss": float("nan")})
    with pytest.raises(DomainError, match="low <= mean <= high"):
        Feature(name="x", mean=float("nan"), low=0.0, high=1.0)


# No code comes out of a store.


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_a_version_is_never_run(store: ArtifactStore, tmp_path: Path) -> None:
    fuse = tmp_path / "it ran"
    bomb = pickle.dumps(Bomb(fuse))
    for name in ("model.pkl", "scaler.joblib", "__init__.py"):
        strange = store.root / "v1.0.0" / name
        strange.write_bytes(bomb)
        with pytest.raises(InputError, match="which is no part of a version"):
            store.load("v1.0.0")
        strange.unlink()
    files = {MODEL_FILE: bomb, SCALER_FILE: bomb}  # even with the right digests
    loaded = store.publish(replace(metadata("v2.0.0", files)), files)
    from serve_api.onnx_session import OnnxSession

    with pytest.raises(Exception, match="protobuf"):
        OnnxSession(loaded.model)
    assert not fuse.exists()
    pickle.loads(bomb)  # it would have run
    assert fuse.exists()


def test_serve_api_imports_nothing_that_unpickles() -> None:
    banned = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
    for path in (ROOT / "serve_api").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            assert not banned & {name.split(".")[0] for name in named}, path.name
        assert "allow_pickle" not in text, path.name


def test_the_store_imports_nothing_heavy() -> None:
    program = (
        "import sys, serve_api.store\n"
        "heavy = {'numpy', 'sklearn', 'onnx', 'onnxruntime', 'skl2onnx', 'scipy', 'joblib', 'typer'}\n"
        "sys.exit(f'{heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_read_artifact_is_the_only_road_and_closes_what_it_opens(store: ArtifactStore) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        read_artifact(store.root / "v1.0.0")
    (store.root / "v1.0.0" / MODEL_FILE).unlink()
    (store.root / "v1.0.0" / MODEL_FILE).mkdir()
    for _ in range(5):
        with pytest.raises(InputError):
            read_artifact(store.root / "v1.0.0")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
