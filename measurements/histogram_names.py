"""Histograms: by what names a server's metrics have its batches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """The histogram of batch times in seconds, and the label that holds the batch size."""

    metric: str = "serve_batch_seconds"
    label: str = "batch_size"
