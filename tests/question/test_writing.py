"""Writing: whole or not at all, with the rights of what is replaced; streams are written straight."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capacity.answer.sweep import SweepTable, kept_rows
from capacity.errors import DependencyError, InputError
from capacity.files import check_target, format_suffix, write_whole
from capacity.queues.curves import Axis, Quantity, curves
from capacity.render.figures import draw_curves
from capacity.server.batch.rows import BatchRows

ROOT = Path(__file__).parents[2]
TABLE = SweepTable(form=BatchRows(), quantiles=(0.5,), seed=0, confidence=0.95)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def draw(path: Path) -> None:
    draw_curves(curves(Quantity.QUEUE_LENGTH, Axis.UTILIZATION, [5.0], [1])).save(path)


def write(path: Path) -> None:
    write_whole(path, b"new")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write to everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("output", [write, draw])
def test_a_new_file_has_what_the_umask_leaves_and_an_old_one_keeps_its_mode(output, tmp_path) -> None:
    path = tmp_path / "x.svg"
    with umask(0o027):
        output(path)
        assert mode_of(path) == 0o640
        path.chmod(0o604)
        output(path)
    assert mode_of(path) == 0o604


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_an_old_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, path.read_bytes()) == (1234, 4321, b"new")


def test_a_protected_file_is_refused_early_and_late() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        path = folder / "x.json"
        path.write_bytes(b"old")
        path.chmod(0o444)
        with nobody(), pytest.raises(InputError, match="Permission denied; check the path"):
            check_target(path, "a plan", (".json",))
        with nobody(), pytest.raises(InputError, match="Permission denied; check the path"):
            write(path)
        assert [each.name for each in folder.iterdir()] == ["x.json"]
        assert path.read_bytes() == b"old"


def test_a_folder_that_takes_no_files_is_refused_early() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with nobody(), pytest.raises(InputError, match="Permission denied; check the path"):
            check_target(Path(name) / "x.json", "a plan", (".json",))


@pytest.mark.parametrize("output", [write, draw])
def test_what_a_killed_run_has_left_blocks_nobody(output: Callable[[Path], None], tmp_path: Path) -> None:
    """In a container every run has the same number."""
    (tmp_path / f".x.svg.{os.getpid()}").write_bytes(b"left")
    output(tmp_path / "x.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".x.svg.{os.getpid()}", "x.svg"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    write(path)
    assert path.read_bytes() == b"new"


def test_a_link_to_what_is_not_there_yet_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "x.svg").symlink_to("real.svg")
    check_target(tmp_path / "x.svg", "a figure", (".svg",))
    draw(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").readlink() == Path("real.svg")
    assert (tmp_path / "real.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_links_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("b.json")
    (tmp_path / "b.json").symlink_to("a.json")
    (tmp_path / "c.json").symlink_to("gone/c.json")
    for call in (write, lambda path: check_target(path, "a plan", (".json",))):
        with pytest.raises(InputError, match="Too many levels of symbolic links"):
            call(tmp_path / "a.json")
        with pytest.raises(InputError, match="cannot write"):
            call(tmp_path / "c.json")
    assert (tmp_path / "a.json").is_symlink()


def test_a_pipe_is_written_straight(tmp_path: Path) -> None:
    path, found = tmp_path / "x", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()
    check_target(path, "a plan", (".json",))
    write(path)
    reader.join(10.0)
    assert found == [b"new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_devices_are_written_straight() -> None:
    check_target(Path("/dev/null"), "a plan", (".json",))
    write(Path("/dev/null"))
    draw(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    if Path("/dev/full").exists():
        with pytest.raises(DependencyError, match="cannot write /dev/full: No space left on device"):
            write(Path("/dev/full"))


def test_a_stream_without_a_suffix_gets_the_first_format(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.svg")
    assert format_suffix(Path("/dev/stdout"), (".png", ".svg")) == ".png"
    assert format_suffix(tmp_path / "x.svg", (".png", ".svg")) == ".svg"
    assert format_suffix(tmp_path / "x.pdf", (".png", ".svg")) == ".pdf"


def test_what_stdout_has_already_is_not_written_over(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from capacity.files import write_whole\n"
        "print('before', flush=True)\n"
        "for name in ('/dev/stdout', '/dev/fd/1'): write_whole(Path(name), b'straight\\n')\n"
        "print('after')\n"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, cwd=ROOT, timeout=60, check=True)
    assert (tmp_path / "out").read_text() == "before\nstraight\nstraight\nafter\n"


def test_no_journal_is_kept_beside_a_stream(tmp_path: Path) -> None:
    path, found = tmp_path / "x.csv", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()
    with kept_rows(path, {}, TABLE.columns, 0, fresh=False):
        assert [each.name for each in tmp_path.iterdir()] == ["x.csv"]
    reader.join(10.0)
    assert found[0].startswith(b"profile,")
