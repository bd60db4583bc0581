"""Priority of processes on this machine over its other work, as far as it may be given."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_api.replica import favour, in_front, put_in_front

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may give priority"),
]
# Starts a thread, says so, and waits.
_TWO_THREADS = "import sys, threading; threading.Thread(target=sys.stdin.read).start(); print(flush=True); sys.stdin.read()"


@contextmanager
def process():
    with subprocess.Popen(
        [sys.executable, "-c", _TWO_THREADS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as found:
        assert found.stdout.readline() == b"\n"
        yield found.pid
        found.stdin.close()


def threads(pid):
    return sorted(int(one.name) for one in Path(f"/proc/{pid}/task").iterdir())


def test_what_computes_is_less_nice_and_its_main_thread_least():
    with process() as pid:
        favour(os.getpid())
        main, other = threads(pid)
        assert (os.getpriority(os.PRIO_PROCESS, main), os.getpriority(os.PRIO_PROCESS, other)) == (-20, -10)
        assert os.sched_getscheduler(main) == os.SCHED_OTHER
        group = Path(f"/proc/{pid}/autogroup")
        assert not group.exists() or group.read_text("utf-8").endswith("nice -20\n")


def test_what_does_not_goes_before_all_else():
    with process() as pid:
        put_in_front(os.getpid(), main=2)
        assert {os.sched_getscheduler(one) for one in threads(pid)} == {os.SCHED_RR}
        assert [os.sched_getparam(one).sched_priority for one in threads(pid)] == [2, 1]


def test_what_is_started_inside_goes_before_other_work_and_this_thread_no_longer():
    with in_front(3), process() as pid:
        assert (os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority) == (os.SCHED_RR, 3)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
