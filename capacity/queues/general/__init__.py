"""Queues of general gaps and services."""
