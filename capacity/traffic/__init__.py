"""Traffic: arrival processes, traces, burstiness, daily curves, lengths of requests, and the clients who send them."""
