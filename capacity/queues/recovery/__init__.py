"""Laws of trouble: clients that retry or give up, servers that break down or pause, copies of a request."""
