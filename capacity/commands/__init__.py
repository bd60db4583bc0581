"""Commands: one file for each, from flags to a verb to its answer."""
