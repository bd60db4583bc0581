"""Emulation: a server that streams tokens as the profile of a language model says, and computes none."""
