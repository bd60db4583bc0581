"""Validation: compares theory with simulation."""
