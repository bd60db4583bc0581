"""Batch servers: replicas that serve requests in batches."""
