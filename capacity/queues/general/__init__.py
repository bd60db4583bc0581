"""Laws of queues with general gaps and services."""
