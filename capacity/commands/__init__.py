"""Commands: one file each, from options to the printed answer."""
