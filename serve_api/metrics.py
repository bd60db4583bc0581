"""Metrics: what the server counts, in the text of Prometheus."""

import os
import platform
import sys
from collections.abc import Collection
from enum import StrEnum

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from serve_api.histogram import HistogramFamily, logarithmic_bounds_s
from serve_api.library_versions import library_versions
from serve_api.refusal import Reason

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody here reads


class BatchEnd(StrEnum):
    """How a batch ended, as `serve_batches_total` has it."""

    OK = "ok"
    FAILED = "failed"
    HUNG = "hung"


class Metrics:
    """All of them, in a registry of their own, so that two servers of one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        bounds_s = logarithmic_bounds_s()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.request_seconds = HistogramFamily(
            "serve_request_seconds", "From the headers to the answer, of predictions.", ["version"], bounds_s
        )
        self.queue_wait_seconds = HistogramFamily(
            "serve_queue_wait_seconds", "From a request's arrival in the queue to its batch.", [], bounds_s
        )
        self.batch_seconds = HistogramFamily(
            "serve_batch_seconds",
            "From a batch's being taken to its results, by rows.",
            ["version", "batch_size"],
            bounds_s,
        )
        self._count_requests()
        self._count_batches()
        self._show_states()

    def _count_requests(self) -> None:
        registry = self.registry
        self.requests = Counter("serve_requests_total", "Answers.", ["status", "version"], registry=registry)
        self.rejected = Counter("serve_rejected_total", "Refusals.", ["reason"], registry=registry)
        for reason in Reason:  # from the first reading on, so that a rate can be told
            self.rejected.labels(reason)
        self.reloads = Counter(
            "serve_reloads_total", "Versions that were to be served.", ["outcome"], registry=registry
        )

    def _count_batches(self) -> None:
        registry = self.registry
        self.batches = Counter(
            "serve_batches_total", "Batches by how they ended.", ["version", "outcome"], registry=registry
        )
        self.batch_cpu_seconds = Counter(
            "serve_batch_cpu_seconds_total", "CPU time of the inference thread in batches.", registry=registry
        )

    def _show_states(self) -> None:
        registry = self.registry
        self._environment = Info("serve_environment", "On what batches are computed.", registry=registry)
        self._batch_size_max = Gauge("serve_batch_size_max", "Rows of a batch at most.", registry=registry)
        self._batch_wait_max = Gauge(
            "serve_batch_wait_max_seconds", "Longest wait for a batch to fill.", registry=registry
        )
        self.queue_length = Gauge("serve_queue_length", "Requests that wait.", registry=registry)
        self.in_flight = Gauge("serve_in_flight", "Requests to predict that are open.", registry=registry)
        self.ready = Gauge("serve_ready", "Whether new requests shall be sent here.", registry=registry)
        self.model_hung = Gauge("serve_model_hung", "Whether the model hangs.", registry=registry)
        self.circuit_state = Gauge(
            "serve_circuit_state", "0 closed, 1 half-open, 2 open.", ["version"], registry=registry
        )
        self.model_info = Gauge(
            "serve_model_info", "Versions that are loaded.", ["version", "role"], registry=registry
        )

    def tell_environment(self, threads: int) -> None:
        """On what batches are computed, which bears on how long they take: `capacity profile` keeps it."""
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        told = {
            "cores_usable": str(cores),
            "threads": str(threads),
            "python": platform.python_version(),
            **library_versions(["onnxruntime"]),
        }
        self._environment.info(told)

    def tell_batching(self, size_max: int, wait_max_s: float) -> None:
        """How requests are put together: `capacity verify` tells where that is not as planned."""
        self._batch_size_max.set(size_max)
        self._batch_wait_max.set(wait_max_s)

    def reject(self, reason: Reason) -> None:
        """Count a refusal."""
        self.rejected.labels(reason).inc()

    def keep(self, versions: Collection[str]) -> None:
        """Drop the series of all other versions: each has thousands, and nobody serves them any more."""
        for histograms in (self.request_seconds, self.batch_seconds):
            histograms.keep(versions)
        for counter, names in (
            (self.requests, ("status", "version")),
            (self.batches, ("version", "outcome")),
        ):
            for sample in [sample for family in counter.collect() for sample in family.samples]:
                if sample.labels["version"] not in versions:
                    counter.remove(*(sample.labels[name] for name in names))

    def text(self) -> bytes:
        """The text."""
        histograms = (self.request_seconds, self.queue_wait_seconds, self.batch_seconds)
        return generate_latest(self.registry) + "".join(h.text() for h in histograms).encode()
