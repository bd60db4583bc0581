"""Random numbers, by request."""
