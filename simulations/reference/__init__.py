"""The models in SimPy, for reading."""
