"""Clients that try again, faults and shedding, in SimPy, request by request: to be read, and to hold others against."""
