"""Statistics: samples and pools of runs, intervals, and the length of a run."""
