"""Verification: a plan compared with a server under load."""
