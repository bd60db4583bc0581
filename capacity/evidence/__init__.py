"""Evidence: whether the figures of a load test are to be believed, and what the stages of a server say."""
