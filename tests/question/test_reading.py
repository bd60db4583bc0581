"""Reading: files, and pipes that the shell has opened; what would be waited for is refused at once."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from capacity.errors import InputError
from capacity.files import own_descriptor, read_text

ROOT = Path(__file__).parents[2]


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_text(path)
    return str(caught.value)


def test_what_is_no_file_is_refused_at_once_by_what_it_is(tmp_path: Path, deadline: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    assert refusal(tmp_path / "pipe") == "cannot read pipe: it is a pipe; save it to a file first"
    assert refusal(tmp_path / "link") == "cannot read link: it is a pipe; save it to a file first"
    assert refusal(tmp_path) == f"cannot read {tmp_path.name}: it is a directory; give a file name"
    for name in ("zero", "null", "tty"):
        if Path("/dev", name).exists():
            assert refusal(Path("/dev", name)) == f"cannot read {name}: it is a device; give a file name"
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{name}/s")
        assert refusal(Path(name, "s")) == "cannot read s: it is a socket; save what it sends to a file first"


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch, deadline) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    was_file = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: was_file)
    assert read_text(tmp_path / "pipe") == ""


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2), ("/dev/fd/63", 63), ("/proc/self/fd/4", 4), ("/dev/null", None),
        ("/dev/fd/", None), ("/dev/fd/1/x", None), ("x/dev/stdin", None), ("/dev/fd/" + "9" * 5000, None),
    ],
)  # fmt: skip
def test_paths_of_open_files(path: str, number: int | None) -> None:
    assert own_descriptor(Path(path)) == number


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("printf abc | {}", "/dev/stdin"),
        ("{} < file", "/dev/stdin"),
        ("{} 3< file", "/dev/fd/3"),
        ("{}", "<(printf abc)"),
    ],
)
def test_what_the_shell_has_opened_is_read_to_its_end(shell: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc", encoding="utf-8")
    program = "import sys; from pathlib import Path; from capacity.files import read_text; print(read_text(Path(sys.argv[1])))"
    command = shell.format(f'{sys.executable} -c "$PROGRAM" {path}')
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PROGRAM": program},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("abc\n", "")
