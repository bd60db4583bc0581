"""Questions: plans, objectives, scenarios, and the flags and keywords in which they are asked."""
