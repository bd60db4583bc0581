"""Server facts: what a server tells of its own threads and versions, which bear on its batch times."""

from capacity.reading import printable
from measurements.metrics_text import Scrape

METRIC = "serve_environment_info"
# As the environment of a callable has them.
_NAMES = ("cores_usable", "threads", "python", "onnxruntime")
_TEXT_MAX = 80
UNTOLD = {"threads": "not told by the server"}


def server_facts(page: Scrape) -> dict[str, str]:
    """By name; that the threads are not told, where nothing is."""
    for labels in page.series(METRIC):
        told = dict(labels)
        found = {name: printable(told[name])[:_TEXT_MAX] for name in _NAMES if told.get(name)}
        if found:
            return UNTOLD | found
    return dict(UNTOLD)
