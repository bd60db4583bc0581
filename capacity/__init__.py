"""Capacity planning for inference serving: what is true on paper, and what is decided."""

__version__ = "0.1.0"
