"""Laws of trouble: clients that try again or give up, servers that break down or pause, copies of a request."""
