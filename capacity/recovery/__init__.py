"""Recovery: faults, shedding, and whether a fleet recovers after trouble."""
