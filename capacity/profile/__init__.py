"""Profiles: measured batch times and engine steps, their sampling error, contention and files."""
