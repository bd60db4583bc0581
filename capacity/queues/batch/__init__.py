"""Laws of queues whose servers serve batches."""
