"""Stress: the screen of `capacity stress`, the lines that `plan` adds, and figures."""
