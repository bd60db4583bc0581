"""Versions on the move: ways back, copies between stores, and what is on the disk before a version has its name."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from serving import a_store, onnx_model, publish
from typer.testing import CliRunner

from capacity.errors import DependencyError, InputError
from serve_api import store as store_module
from serve_api.commands import app
from serve_api.history import History
from serve_api.store import HISTORY, ArtifactStore


@pytest.fixture
def store(tmp_path):
    """v1.0.0, v1.1.0 and v1.2.0, made current in this order."""
    built = a_store(tmp_path / "mlp")
    for version in ("v1.1.0", "v1.2.0"):
        publish(built, version, onnx_model())
        built.set_current(version)
    return built


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


# Ways back.


def test_each_way_back_leads_further_and_the_last_is_refused(store):
    assert [store.rollback().version, store.rollback().version] == ["v1.1.0", "v1.0.0"]
    with pytest.raises(
        InputError, match=r"no version that was current before v1\.0\.0; promote one by its name"
    ):
        store.rollback()
    assert store.current() == "v1.0.0"
    assert (store.root / HISTORY).read_text() == "v1.0.0\nv1.1.0\nv1.2.0\nback v1.1.0\nback v1.0.0\n"


def test_what_was_gone_back_from_is_nowhere_that_a_way_back_leads_to(store):
    store.rollback()
    publish(store, "v1.3.0", onnx_model())
    store.set_current("v1.3.0")
    assert store.rollback().version == "v1.1.0"  # not v1.2.0, which was no good
    store.set_current("v1.2.0")  # mended, or the fault was elsewhere
    store.set_current("v1.3.0")
    assert store.rollback().version == "v1.2.0"


def test_an_older_version_that_was_promoted_is_a_step_as_any_other(store):
    store.set_current("v1.0.0")
    assert store.rollback().version == "v1.2.0"
    assert store.rollback().version == "v1.1.0"


@pytest.mark.parametrize(
    ("written", "current", "before"),
    [
        ("v1.0.0\n", "v1.1.0", "v1.0.0"),  # cut off as v1.1.0 was promoted
        ("v1.0.0\nv1.1.0\n", "v1.0.0", None),  # cut off on the way back to v1.0.0
        ("v1.0.0\nv1.1.0\nv1.2.0\n", "v1.1.0", "v1.0.0"),  # and on that to v1.1.0
        ("back v1.1.0\nv1.2.0\n", "v1.2.0", "v1.1.0"),  # the beginning is no longer looked at
        ("v1.0.0\nback \nback\nback v1.9\nv1.1.0\n", "v1.1.0", "v1.0.0"),
    ],
)
def test_a_history_that_a_crash_cut_off_never_leads_to_what_was_given_up(store, written, current, before):
    store.set_current(current)
    (store.root / HISTORY).write_text(written)
    assert store.previous() == before


def test_a_long_history_of_ways_back(tmp_path):
    history, current = History(tmp_path / HISTORY), []
    for number in range(50):
        for version, back in ((f"v1.{number}.0", False), ("v1.0.0", True)):
            history.append(version, lambda: None, current=lambda: next(iter(current), None), back=back)
            current[:] = [version]
    assert history.versions("v1.0.0") == ["v1.0.0"]


def test_the_command_goes_back_step_by_step(store):
    ways = [run("rollback", "--artifacts", str(store.root)) for _ in range(3)]
    assert [way.exit_code for way in ways] == [0, 0, 2]
    assert [way.output for way in ways[:2]] == ["v1.1.0\n", "v1.0.0\n"]
    assert "no version that was current before v1.0.0" in ways[2].output


# Switches that fail.


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(28, "No space left on device")


@contextmanager
def failing(monkeypatch, what):
    """The disk takes no line of the history, does not say that it has it, or takes no link."""
    places = {"write": (os, "write"), "sync": (os, "fsync"), "link": (Path, "symlink_to")}
    with monkeypatch.context() as patch:
        patch.setattr(*places[what], full)
        yield


FAILURES = pytest.mark.parametrize("what", ["write", "sync", "link"])


@FAILURES
def test_a_way_back_that_fails_has_switched_nothing_and_the_next_one_goes_one_step(store, monkeypatch, what):
    with failing(monkeypatch, what), pytest.raises(DependencyError, match="cannot write .*No space left"):
        store.rollback()
    assert store.current() == "v1.2.0"
    assert [store.rollback().version, store.rollback().version] == ["v1.1.0", "v1.0.0"]


@FAILURES
def test_a_way_back_that_fails_keeps_what_a_version_that_was_current_twice_came_after(
    store, monkeypatch, what
):
    store.set_current("v1.0.0")
    with failing(monkeypatch, what), pytest.raises(DependencyError):
        store.rollback()
    assert [store.rollback().version, store.rollback().version] == ["v1.2.0", "v1.1.0"]


@FAILURES
def test_no_way_back_leads_to_what_was_promoted_in_vain(store, monkeypatch, what):
    publish(store, "v1.3.0", onnx_model())
    with failing(monkeypatch, what), pytest.raises(DependencyError):
        store.set_current("v1.0.0")
    assert store.current() == "v1.2.0"
    store.set_current("v1.3.0")
    assert [store.rollback().version, store.rollback().version] == ["v1.2.0", "v1.1.0"]


def test_what_is_switched_is_not_told_to_have_failed(store, monkeypatch):
    monkeypatch.setattr(store_module, "_sync", full)
    assert store.rollback().version == store.current() == "v1.1.0"


def test_a_line_that_a_crash_cut_off_takes_no_other_with_it(store):
    publish(store, "v1.0.1", onnx_model())
    for torn in ("v1.", "v1.0.1", "back v1.0.1"):  # v1.0.1 was never current; it is what was left of v1.0.12
        with (store.root / HISTORY).open("a") as file:
            file.write(torn)
        store.set_current("v1.2.0")
        assert (store.root / HISTORY).read_text().endswith(f"{torn} (cut off)\nv1.2.0\n")
        assert store.previous() == "v1.1.0"


def test_a_line_that_the_disk_takes_in_parts_is_whole(store, monkeypatch):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        store.rollback()
    assert (store.root / HISTORY).read_text() == "v1.0.0\nv1.1.0\nv1.2.0\nback v1.1.0\n"


# Copies between stores.


def test_a_version_is_copied_whole_and_the_first_becomes_current(store, tmp_path):
    shared = ArtifactStore(tmp_path / "shared" / "mlp")
    for version in ("v1.1.0", "v1.2.0"):
        done = run("publish", version, "--from", str(store.root), "--artifacts", str(shared.root))
        assert (done.exit_code, done.output) == (0, f"{version}\n")
    assert shared.current() == "v1.1.0"
    assert shared.versions() == ("v1.1.0", "v1.2.0")
    for version in shared.versions():
        assert shared.load(version).metadata == store.load(version).metadata
        assert shared.load(version).model == store.load(version).model


def test_the_same_copy_again_changes_nothing_and_another_of_that_name_is_refused(store, tmp_path):
    shared = ArtifactStore(tmp_path / "shared")
    shared.take(store.load("v1.1.0"))
    inode = (shared.root / "v1.1.0").stat().st_ino
    assert shared.take(store.load("v1.1.0")).version == "v1.1.0"
    assert (shared.root / "v1.1.0").stat().st_ino == inode
    other = ArtifactStore(tmp_path / "other")
    publish(other, "v1.1.0", onnx_model(bias=2.0))
    done = run("publish", "v1.1.0", "--from", str(other.root), "--artifacts", str(shared.root))
    assert done.exit_code == 2
    assert "has another v1.1.0, and none is ever overwritten; train the new one" in done.output
    assert shared.load("v1.1.0").model == store.load("v1.1.0").model


def test_a_damaged_version_is_not_copied(store, tmp_path):
    with (store.root / "v1.1.0" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = run("publish", "v1.1.0", "--from", str(store.root), "--artifacts", str(tmp_path / "shared"))
    assert done.exit_code == 2
    assert "copy the version anew" in done.output
    assert not (tmp_path / "shared").exists()


# On the disk.


@pytest.fixture
def written(monkeypatch):
    """What was made sure to be on the disk, and what was renamed, in its order; folders made beside without their chance."""
    found = []
    fsync, rename = os.fsync, Path.rename

    def name(path: Path) -> str:
        return "beside" if path.name.startswith(".v") else path.name

    def spy(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        found.append(f"{name(path.parent)}/{path.name}" if path.is_file() else name(path))
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        found.append(f"renamed {name(path)} to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", spy)
    monkeypatch.setattr(Path, "rename", renamed)
    return found


def test_a_version_has_its_name_once_all_of_it_is_on_the_disk(tmp_path, written):
    store = ArtifactStore(tmp_path / "new" / "mlp")
    publish(store, "v1.0.0", onnx_model())
    before, after = written[: written.index("renamed beside to v1.0.0")], written[-1]
    assert set(before[-4:-1]) == {"beside/model.onnx", "beside/scaler.json", "beside/metadata.json"}
    assert before[-1] == "beside"
    assert after == "mlp"
    assert {"new", tmp_path.name} <= set(before[:-4])  # where the folders of the store are entered


def test_a_switch_is_on_the_disk_when_it_is_told(tmp_path, written):
    store = ArtifactStore(tmp_path / "mlp")
    publish(store, "v1.0.0", onnx_model())
    written.clear()
    store.set_current("v1.0.0")
    assert written == ["mlp/history.txt", "mlp"]
