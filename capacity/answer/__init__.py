"""What is kept and compared."""
