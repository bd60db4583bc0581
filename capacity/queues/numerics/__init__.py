"""What the laws compute with, and what knows no law."""
