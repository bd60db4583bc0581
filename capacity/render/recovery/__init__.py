"""Trouble as people read it: the screen of `stress`, what `plan` adds, and figures."""
