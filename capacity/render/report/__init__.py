"""How a saved plan is shown as one page."""
