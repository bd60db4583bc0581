"""Measurement: profiles from a callable, an endpoint, or a server's own metrics."""
