"""The models, compiled."""
