"""A server of a model that does as its first feature says: sleeps as many milliseconds, hangs at -2."""

import json
import sys
import threading
import time

from serving import MadeUp, service_of

from serve_api.server.backend import Answers, FloatRows
from serve_api.server.process import run


class Obedient(MadeUp):
    def predict(self, rows: FloatRows) -> Answers:
        if -2.0 in rows[:, 0]:
            threading.Event().wait()
        time.sleep(max(0.0, float(rows[0, 0])) / 1e3)
        return super().predict(rows)


if __name__ == "__main__":
    run(service_of(Obedient(), port=0, **json.loads(sys.argv[1])))
