"""A server of a model that does as its first feature says: sleeps as many milliseconds, fails at -1, hangs at -2.

At -3 it tells how the interpreter is set up. It says when its interpreter comes to an orderly end.
"""

import atexit
import gc
import json
import sys
import threading
import time

from serving import MadeUp, application

from serve_api.backend import FloatRows, Predictions
from serve_api.log import capture_libraries, say
from serve_api.running import run


class Obedient(MadeUp):
    def predict(self, rows: FloatRows) -> Predictions:
        word = float(rows[0, 0])
        if word == -1.0:
            raise RuntimeError("SECRET of the user")
        if word == -3.0:
            say("told", frozen=gc.get_freeze_count(), switch_interval_s=sys.getswitchinterval())
        if word == -2.0:
            threading.Event().wait()
        time.sleep(max(0.0, word) / 1e3)
        return super().predict(rows)


if __name__ == "__main__":
    capture_libraries()
    atexit.register(say, "finalized")
    run(application(Obedient(), **{"listen": {"port": 0}, **json.loads(sys.argv[1])}))
