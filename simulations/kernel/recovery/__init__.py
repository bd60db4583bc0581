"""The recovery model as compiled code."""
