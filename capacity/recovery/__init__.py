"""What happens when something goes wrong: clients that try again, faults, shedding, and whether a fleet comes back."""
