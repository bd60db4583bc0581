"""What pytest must not import, and what must be said before numpy is."""

import os

# Locust replaces the standard library's sockets as it is imported.
collect_ignore = ["serve_api/deploy/locustfile.py"]
# A worker has a core of its own: more threads would only wait for each other, and take twice the time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
