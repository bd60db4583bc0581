"""The artifact store: versions that are whole and never overwritten, one of them current, and a way back."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import a_store, onnx_model, publish
from typer.testing import CliRunner

from capacity.errors import DependencyError, InputError
from serve_api.commands import app
from serve_api.models.metadata import (
    MODEL_FILE,
    Feature,
    Metadata,
    Source,
    digest,
    dump_metadata,
    load_metadata,
    next_free,
    version_order,
)
from serve_api.models.store import HISTORY, ArtifactStore

OTHERS = ("v1.1.0", "v1.10.0", "v1.2.0")


@pytest.fixture
def store(tmp_path):
    """v1.0.0 current, and three others beside it."""
    store = a_store(tmp_path / "mlp")
    for version in OTHERS:
        publish(store, version, onnx_model(bias=1.0))
    return store


def command(*words):
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output.strip()


# Names.


@pytest.mark.parametrize(
    "name", ["1.0.0", "v1.0", "v01.0.0", "v1.0.0 ", "v1.0.0\n", "../v1.0.0", "", "vv1.0.0"]
)
def test_a_name_that_is_no_version(store, name):
    with pytest.raises(InputError, match=r"must look like v1\.0\.0"):
        store.load(name)


def test_what_is_current_is_a_link(store):
    link = store.root / "current"
    link.unlink()
    assert store.current() is None
    link.write_text("v1.0.0", encoding="utf-8")
    with pytest.raises(InputError, match=r"current is not a link \(Invalid argument\); set it again"):
        store.current()


@pytest.mark.parametrize(("low", "mean", "high"), [(0.0, 0.0, 0.0), (-1.0, 0.5, 1.0)])
def test_a_feature_has_its_mean_between_its_ends(low, mean, high):
    assert Feature(name="x", mean=mean, low=low, high=high).mean == mean
    for wrong in ({"low": mean + 0.1, "high": high + 1.0}, {"low": low, "high": mean - 0.1}):
        with pytest.raises(ValueError, match="the feature 'x' must have low <= mean <= high"):
            Feature(name="x", mean=mean, **wrong)
    with pytest.raises(ValueError, match="finite"):
        Feature(name="x", mean=mean, low=low, high=float("inf"))


def test_versions_are_ordered_by_number(store):
    (store.root / "v3.0.0").symlink_to("v1.0.0")
    (store.root / "other").mkdir()
    assert store.versions() == ("v1.0.0", "v1.1.0", "v1.2.0", "v1.10.0")


@given(st.lists(st.integers(0, 20), min_size=1))
def test_the_next_free_version_is_free_and_above_its_kin(patches):
    taken = [f"v1.0.{patch}" for patch in patches]
    free = next_free(taken[0], taken)
    assert free not in taken
    assert version_order(free) > max(map(version_order, taken))


# Publishing.


def test_what_was_published_is_what_is_loaded(store):
    artifact = store.load("v1.1.0")
    assert artifact.model == onnx_model(bias=1.0)
    assert artifact.metadata.files[MODEL_FILE] == digest(artifact.model)
    assert sorted(path.name for path in artifact.path.iterdir()) == [
        "metadata.json",
        "model.onnx",
        "scaler.json",
    ]


def test_no_version_is_overwritten_and_the_next_free_one_is_named(store):
    before = store.load("v1.0.0").model
    with pytest.raises(InputError, match=r"already has v1\.0\.0.*use --version v1\.0\.1"):
        publish(store, "v1.0.0", onnx_model(bias=2.0))
    assert store.load("v1.0.0").model == before


def test_a_write_that_fails_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(DependencyError, match="No space left"):
        publish(store, "v2.0.0", onnx_model())
    assert [path.name for path in store.root.iterdir() if "2.0.0" in path.name] == []


def test_files_that_are_not_those_of_the_metadata_are_not_published(store):
    known = store.load("v1.0.0")
    other = known.metadata.model_copy(update={"version": "v2.0.0"})
    with pytest.raises(InputError, match="not those that its metadata describe"):
        store.publish(other, {MODEL_FILE: b"other"})


def test_a_version_is_copied_whole_and_the_first_becomes_current(store, tmp_path):
    words = ("--from", str(store.root), "--artifacts", str(tmp_path / "other"))
    assert command("publish", "v1.1.0", *words) == (0, "v1.1.0")
    other = ArtifactStore(tmp_path / "other")
    assert other.current() == "v1.1.0"
    assert other.load().metadata == store.load("v1.1.0").metadata
    assert command("publish", "v1.0.0", *words)[0] == 0
    assert other.current() == "v1.1.0"
    assert command("publish", "v1.0.0", *words)[0] == 0  # again: nothing changes


def test_another_version_of_that_name_is_refused(store, tmp_path):
    other = ArtifactStore(tmp_path / "other")
    publish(other, "v1.0.0", onnx_model(bias=9.0))
    with pytest.raises(InputError, match=r"already has a different v1\.0\.0"):
        other.take(store.load("v1.0.0"))


# Checksums.


def test_one_changed_byte_is_seen(store):
    path = store.root / "v1.1.0" / MODEL_FILE
    for place in (0, 17, -1):
        data = bytearray(onnx_model(bias=1.0))
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(InputError, match="damaged or replaced"):
            store.load("v1.1.0")


@pytest.mark.parametrize("name", ["model.onnx", "scaler.json", "metadata.json"])
def test_a_file_that_is_missing_or_cut_off(store, name):
    path = store.root / "v1.1.0" / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"v1\.1\.0"):
        store.load("v1.1.0")
    path.unlink()
    with pytest.raises(InputError, match=f"no whole version .*: {name}"):
        store.load("v1.1.0")


def test_a_folder_under_another_name_or_none(store):
    (store.root / "v1.1.0").rename(store.root / "v5.0.0")
    with pytest.raises(InputError, match=r"holds metadata of v1\.1\.0"):
        store.load("v5.0.0")
    with pytest.raises(InputError, match=r"no whole version .*v1\.1\.0"):
        store.load("v1.1.0")


# What is current.


def test_nothing_is_current_at_first(tmp_path):
    store = ArtifactStore(tmp_path / "none")
    assert (store.current(), store.versions()) == (None, ())
    with pytest.raises(InputError, match="no current version; it has none; train one"):
        store.load()


def test_a_version_that_cannot_be_loaded_never_becomes_current(store):
    (store.root / "v1.1.0" / MODEL_FILE).write_bytes(b"xxxx")
    for version in ("v1.1.0", "v7.0.0"):
        with pytest.raises(InputError):
            store.set_current(version)
    assert store.current() == "v1.0.0"


@pytest.mark.parametrize("target", ["../v1.0.0", "other", "/etc"])
def test_a_current_that_leads_elsewhere_is_refused(store, target):
    (store.root / "current").unlink()
    (store.root / "current").symlink_to(target)
    with pytest.raises(InputError, match="not to a version next to it"):
        store.load()
    store.set_current("v1.0.0")
    assert store.current() == "v1.0.0"


def test_readers_always_find_a_version_while_it_is_switched(store, deadline):
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(store.current())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        store.set_current("v1.1.0")
        store.set_current("v1.0.0")
    stop.set()
    reader.join()
    assert seen <= {"v1.0.0", "v1.1.0"}


# The way back.


def test_each_rollback_leads_a_step_further_and_the_last_is_refused(store):
    for version in ("v1.1.0", "v1.2.0"):
        assert command("promote", version, "--artifacts", str(store.root)) == (0, version)
    for version in ("v1.1.0", "v1.0.0"):
        assert command("rollback", "--artifacts", str(store.root)) == (0, version)
    code, said = command("rollback", "--artifacts", str(store.root))
    assert code == 2
    assert "no version that was current before v1.0.0" in said
    assert store.current() == "v1.0.0"


def test_what_was_rolled_back_from_is_not_gone_back_to(store):
    store.set_current("v1.1.0")
    store.rollback()
    store.set_current("v1.2.0")
    assert store.previous() == "v1.0.0"
    assert (store.root / HISTORY).read_text().splitlines() == ["v1.0.0", "v1.1.0", "back v1.0.0", "v1.2.0"]


def test_the_version_before_is_one_that_is_there(store):
    store.set_current("v1.1.0")
    store.set_current("v1.2.0")
    (store.root / "v1.1.0").rename(store.root / "gone")
    assert store.previous() == "v1.0.0"
    (store.root / HISTORY).write_text("v1.1.0\nv1.1", encoding="ascii")  # cut off by a crash
    assert store.previous() is None


# Metadata.


def known(**changes):
    given = {
        "model": "mlp", "version": "v1.0.0", "precision": "fp32", "parameters": 1, "seed": 0,
        "files": {name: digest(b"x") for name in ("model.onnx", "scaler.json")},
        "metrics": {"test_accuracy": 0.95}, "libraries": {"numpy": "1"},
        "features": [Feature(name="x0", mean=0.5, low=0.0, high=1.0)],
    }  # fmt: skip
    return Metadata(**{**given, **changes})


def test_metadata_are_read_as_they_were_written():
    source = Source(model="mlp", version="v1.0.0", sha256="0" * 64)
    for metadata in (known(), known(precision="int8", source=source)):
        text = dump_metadata(metadata)
        assert load_metadata(text) == metadata
        assert dump_metadata(load_metadata(text)) == text
    document = json.loads(dump_metadata(known()))
    assert list(document) == [
        "schema_version", "model", "version", "precision", "parameters", "seed", "source", "files", "metrics",
        "libraries", "features",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema_version", 2), ("model", "MLP"), ("version", "1.0"), ("precision", "fp16"), ("parameters", "1"),
        ("parameters", 0), ("seed", -1), ("files", {}), ("features", []), ("metrics", {"x": "1"}), ("more", 1),
        ("features", [{"name": "x0", "mean": 2.0, "low": 0.0, "high": 1.0}]),
        ("features", [{"name": "x0", "mean": 0.0, "low": 0.0, "high": 0.0}] * 2),
        ("files", {"model.onnx": {"sha256": "0" * 64, "size_bytes": 1}}),
    ],
)  # fmt: skip
def test_metadata_that_are_refused(key, value):
    document = json.loads(dump_metadata(known())) | {key: value}
    with pytest.raises(InputError, match="metadata: "):
        load_metadata(json.dumps(document).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"schema_version": 1}'])
def test_what_is_no_metadata_is_refused(text):
    with pytest.raises(InputError, match="train the model again"):
        load_metadata(text)


# What is said, and what is left.


def test_refusals_name_the_store_and_what_is_there(store):
    shown = str(store.root)
    link = store.root / "current"
    link.unlink()
    link.symlink_to("x" * 61)
    with pytest.raises(InputError) as caught:
        store.current()
    assert str(caught.value) == (
        f"{shown}/current points to {'x' * 60!r}, not to a version next to it such as v1.0.0; set it again"
    )
    link.unlink()
    for version in ("v2.0.0", "v2.1.0"):
        publish(store, version, onnx_model())
    with pytest.raises(InputError) as caught:
        store.load()
    assert str(caught.value) == (
        f"the store {shown} has no current version; it has v1.1.0, v1.2.0, v1.10.0, v2.0.0, v2.1.0"
    )
    (store.root / HISTORY).unlink()
    with pytest.raises(InputError) as caught:
        store.rollback()
    assert str(caught.value) == (
        f"{shown} has no version that was current before now; promote one by its name"
    )


def test_a_version_says_what_it_is_without_its_bytes(store):
    artifact = store.load()
    assert repr(artifact) == f"Artifact(made-up v1.0.0, {len(artifact.model)} bytes)"


def test_a_disk_that_fails_is_no_fault_of_the_version(store, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(
        DependencyError, match=r"^cannot read .*/v1\.0\.0: Input/output error; check the disk$"
    ):
        store.load()


def test_a_switch_that_fails_leaves_the_link_as_it_was_and_nothing_beside(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DependencyError, match=r"current.*No space left"):
        store.set_current("v1.1.0")
    assert store.current() == "v1.0.0"
    assert [path.name for path in store.root.iterdir() if path.name.startswith(".")] == []


def test_another_process_may_be_quicker(store, monkeypatch):
    whole = store.load("v1.1.0")
    other = whole.metadata.model_copy(update={"version": "v2.0.0"})
    rename = Path.rename

    def late(path, target):
        (store.root / "v2.0.0").mkdir()
        (store.root / "v2.0.0" / "model.onnx").touch()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(InputError, match=r"already has v2\.0\.0.*use --version v2\.0\.1"):
        store.publish(other, {MODEL_FILE: whole.model, "scaler.json": whole.scaler})


def test_long_names_are_cut_in_what_is_said():
    with pytest.raises(ValueError, match=f"the feature {'x' * 60!r} must have"):
        Feature(name="x" * 61, mean=2.0, low=0.0, high=1.0)
    with pytest.raises(InputError, match=f"got {'v' * 60!r}$"):
        version_order("v" * 61)
    wrong = json.loads(dump_metadata(known())) | {"y" * 90: 1}
    with pytest.raises(InputError, match=f"^metadata: {'y' * 80}: Extra inputs"):
        load_metadata(json.dumps(wrong).encode())
    assert version_order("v999999.0.0") == (999_999, 0, 0)
    with pytest.raises(InputError):
        version_order("v1000000.0.0")
