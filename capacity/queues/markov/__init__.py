"""Queues of exponential services."""
