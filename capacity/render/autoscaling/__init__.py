"""Autoscaling on the terminal and as a figure."""
