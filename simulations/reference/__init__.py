"""The models in SimPy, to be read."""
