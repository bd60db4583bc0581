"""Queues whose servers take batches."""
