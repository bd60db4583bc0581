"""Simulations: the simulator, request by request, that theory is compared with."""
