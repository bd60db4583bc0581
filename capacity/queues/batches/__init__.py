"""Parts of the laws of batches: which batches start, who waits in them and for how long."""
