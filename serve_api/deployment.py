"""Deployment: a version that is loaded, with its circuit and its own series of the metrics."""

from prometheus_client import Counter

from serve_api.backend import Backend
from serve_api.breaker import Breaker
from serve_api.histogram import Histogram
from serve_api.metrics import BatchEnd, Metrics
from serve_api.settings import BreakerSettings


class Deployment:
    """One version in service; its series are looked up once, not for every request.

    Attributes:
        features: numbers of a row.
        batches: counts of its batches by how they ended.
    """

    def __init__(self, backend: Backend, breaker: BreakerSettings, metrics: Metrics) -> None:
        self.backend = backend
        self.version = backend.version
        self.features = len(backend.features)
        self.breaker = Breaker(breaker)
        self.request_seconds = metrics.request_seconds.labels(self.version)
        self.batches = {end: metrics.batches.labels(self.version, end) for end in BatchEnd}
        self._metrics = metrics
        self._by_status: dict[int, Counter] = {}
        self._by_size: dict[int, Histogram] = {}

    def requests(self, status: int) -> Counter:
        """Count of the answers with a status."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._metrics.requests.labels(str(status), self.version)
            self._by_status[status] = counter
        return counter

    def batch_seconds(self, size: int) -> Histogram:
        """Times of the batches of a size."""
        series = self._by_size.get(size)
        if series is None:
            series = self._by_size[size] = self._metrics.batch_seconds.labels(self.version, str(size))
        return series
