"""What samples tell."""
