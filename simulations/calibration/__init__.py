"""Calibration: the steps of a language model's engine from loads on it, by simulating these loads."""
