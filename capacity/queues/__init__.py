"""What is exact."""
