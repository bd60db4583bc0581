"""What happens, one request at a time: the simulator that the theory is held against."""
