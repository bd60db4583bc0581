"""Numerical methods that the laws use, and that know no law."""
