"""Draws: the random numbers of a run, by request."""
