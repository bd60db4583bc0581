"""Numerics: what the laws compute with and what knows no law, positive terms wherever there is a choice."""
