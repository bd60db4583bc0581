"""Recovery: clients that retry, faults, shedding, and whether a fleet recovers after trouble."""
