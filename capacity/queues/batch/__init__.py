"""Queues whose servers serve batches."""
