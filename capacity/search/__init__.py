"""How a plan is decided."""
