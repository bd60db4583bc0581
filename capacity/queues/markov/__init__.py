"""Laws of queues with exponential services."""
