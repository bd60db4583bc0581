"""Verification: a plan held against a server under load."""
