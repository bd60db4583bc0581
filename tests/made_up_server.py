"""A server of a model that does as its first feature says: sleeps as many milliseconds, fails at -1, hangs at -2.

At -3 it tells how the interpreter is set up. At -4 it is broken for as long as two batches and the row after
each that it should be able to answer. It says when its interpreter comes to an orderly end.
"""

import atexit
import gc
import json
import sys
import threading
import time

from serving import FAR, MadeUp, application

from serve_api.backend import FloatRows, Predictions
from serve_api.log import capture_libraries, say
from serve_api.running import run


class Obedient(MadeUp):
    broken = 0  # calls that it fails yet

    def predict(self, rows: FloatRows) -> Predictions:
        word = float(rows[0, 0])
        if word == -4.0:
            self.broken = 4
        if self.broken or -1.0 in rows[:, 0]:
            self.broken = max(0, self.broken - 1)
            raise RuntimeError("SECRET of the user")
        if word == -3.0:
            say("told", frozen=gc.get_freeze_count(), switch_interval_s=sys.getswitchinterval())
        if word == -2.0:
            threading.Event().wait()
        if word < FAR:
            time.sleep(max(0.0, word) / 1e3)
        return super().predict(rows)


if __name__ == "__main__":
    capture_libraries()
    atexit.register(say, "finalized")
    run(application(Obedient(), **{"listen": {"port": 0}, **json.loads(sys.argv[1])}))
