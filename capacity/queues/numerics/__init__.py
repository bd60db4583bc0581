"""Numerical methods of the laws, which know no law themselves."""
