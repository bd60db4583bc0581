"""Explanations: what limits a plan, what it depends on, and what would save most."""
