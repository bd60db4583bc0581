"""Server: one process that batches requests and answers them."""
