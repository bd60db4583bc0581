"""Histograms: by what names and in what unit a server's metrics have its batches."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """The histogram of batch times, the label that holds the batch size, and the unit of the times. [s]"""

    metric: str = "serve_batch_seconds"
    label: str = "batch_size"
    unit_s: float = 1.0

    @property
    def totals(self) -> tuple[str, str]:
        """Of its series those that have no buckets: the sum of the times, and how many there were."""
        return f"{self.metric}_sum", f"{self.metric}_count"
