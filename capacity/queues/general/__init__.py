"""Parts of the laws with general gaps or services: roads to their waits, and approximations."""
