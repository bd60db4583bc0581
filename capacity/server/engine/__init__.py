"""Engines: replicas that serve a language model step by step."""
