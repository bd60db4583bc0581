"""Verification: compares a plan with a server under load."""
