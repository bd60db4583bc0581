"""What is measured, of a callable, an endpoint or a running server, and held against what was predicted."""
