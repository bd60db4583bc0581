"""Traffic: arrival processes, traces, burstiness, daily curves and lengths of requests."""
