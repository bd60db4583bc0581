"""Queueing laws: one Kendall name, one file."""
