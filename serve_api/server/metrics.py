"""Metrics: the server's counters, in the text format of Prometheus."""

import os
import platform
import sys

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from serve_api.models.metadata import library_versions
from serve_api.server.refusal import Reason
from serve_api.server.settings import Settings

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody reads


def bounds_s() -> tuple[float, ...]:
    """Bounds of the histograms: 24 to each power of ten, 10 % apart, from 0.1 ms to 10 s.

    >>> len(bounds_s()), bounds_s()[0], bounds_s()[1], bounds_s()[-1]
    (121, 0.0001, 0.000110069, 10.0)
    """
    return tuple(float(f"{10 ** (step / 24):.6g}") for step in range(-96, 25))


class Metrics:
    """All metrics, in a registry of their own, so that two servers in one process do not mix."""

    def __init__(self, settings: Settings) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.request_seconds = self._histogram(
            "serve_request_seconds", "From the headers to the answer, of predictions.", "version"
        )
        self.queue_wait_seconds = self._histogram(
            "serve_queue_wait_seconds", "From a request's arrival in the queue to its batch."
        )
        self.batch_seconds = self._histogram(
            "serve_batch_seconds", "From a batch's start to its results, by rows.", "version", "batch_size"
        )
        self.requests = self._counter("serve_requests_total", "Answers of /predict.", "status", "version")
        self.rejected = self._counter("serve_rejected_total", "Refusals.", "reason")
        for reason in Reason:  # from the first scrape on, so that a rate can be computed
            self.rejected.labels(reason)
        self.reloads = self._counter("serve_reloads_total", "Versions that were to be served.", "outcome")
        self.batches = self._counter("serve_batches_total", "Batches by their end.", "version", "outcome")
        self.batch_cpu_seconds = self._counter(
            "serve_batch_cpu_seconds_total", "CPU time of the inference thread in batches."
        )
        self.queue_length = self._gauge("serve_queue_length", "Requests that wait.")
        self.in_flight = self._gauge("serve_in_flight", "Requests to predict that are open.")
        self.ready = self._gauge("serve_ready", "Whether new requests shall be sent here.")
        self.model_hung = self._gauge("serve_model_hung", "Whether the model hangs.")
        self.circuit_state = self._gauge("serve_circuit_state", "0 closed, 1 half-open, 2 open.", "version")
        self.model_info = self._gauge("serve_model_info", "Versions in memory.", "version", "role")
        self._tell_settings(settings)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=bounds_s(), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _tell_settings(self, settings: Settings) -> None:
        """Expose the batching and the device: `capacity` compares these with the plan."""
        self._gauge("serve_batch_size_max", "Rows of a batch at most.").set(settings.batch_size_max)
        self._gauge("serve_batch_wait_max_seconds", "Longest wait for a batch to fill.").set(
            settings.batch_wait_max_s
        )
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        told = {"cores_usable": str(cores), "threads": str(settings.threads)}
        versions = {"python": platform.python_version(), **library_versions("onnxruntime")}
        info = Info("serve_environment", "On what batches are computed.", registry=self.registry)
        info.info({**told, **versions})

    def text(self) -> bytes:
        """The metrics page."""
        return generate_latest(self.registry)
