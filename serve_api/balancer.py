"""Balancer: runs HAProxy or nginx with a rendered file in front of servers on this machine."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from capacity.errors import DependencyError, InputError

NAMES = ("haproxy", "nginx")
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # that nginx writes to
READY, _PATIENCE_S = "/readyz", 20.0


def program(name: str) -> str | None:
    """The path of a balancer; None if it is not installed. Debian puts it where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def installed() -> str | None:
    """The first balancer that is installed here; None without any."""
    return next((name for name in NAMES if program(name)), None)


def placed(text: str, port: int, urls: Sequence[str], folder: Path, probe: str = READY) -> str:
    """A rendered file with its port, the addresses of its servers and, for nginx, folders of this machine.

    Args:
        probe: what servers answer once they are ready.

    Raises:
        InputError: another number of servers in the file.
    """
    addresses = [url.removeprefix("http://") for url in urls]
    pattern = r"^( +server .*?)" + "(?:" + "|".join([r"\S+:8000", *map(re.escape, addresses)]) + r")\b"
    count, here = len(re.findall(pattern, text, re.M)), iter(addresses)
    if count != len(urls):
        raise InputError(f"the balancer's file has {count} servers, and {len(urls)} were started")
    text = re.sub(pattern, lambda found: found[1] + next(here), text, flags=re.M)
    text = re.sub(r"^( +(?:bind |listen )).*8080", rf"\g<1>127.0.0.1:{port}", text, flags=re.M)
    text = re.sub(r"(?<=httpchk GET )\S+", probe, text)
    own = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _FOLDERS)
    text = text.replace("http {\n", f"http {{\n{own}", 1)
    # Root's workers are another user, who may not look into the folder of long requests.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return re.sub(r"^(worker_processes .*\n)", rf"\1{user}pid {folder}/nginx.pid;\n", text, flags=re.M)


def command(name: str, file: Path) -> list[str]:
    """The command line that runs it in the foreground."""
    path = program(name) or name
    if name == "haproxy":
        return [path, "-db", "-f", str(file)]
    return [path, "-c", str(file), "-e", f"{file}.log", "-g", "daemon off;"]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def balanced(name: str, text: str, urls: Sequence[str], folder: Path, probe: str = READY) -> Iterator[str]:
    """Run a balancer with a rendered file until the block ends; yields its address once it has a ready server."""
    port = free_port()
    file, address = folder / f"{name}.here", f"http://127.0.0.1:{port}"
    file.write_text(placed(text, port, urls, folder.resolve(), probe), encoding="utf-8")
    with Path(f"{file}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603
            command(name, file), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        _until_ready(process, f"{address}{probe}", Path(f"{file}.log"))
        yield address
    finally:
        process.terminate()
        process.wait()


def _until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with suppress(OSError), urlopen(url):  # noqa: S310  (an address of this machine)
            return
        time.sleep(0.05)
    said = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    raise DependencyError(f"the balancer did not start: {said or 'it said nothing'}")
