"""What happens, one request at a time: the simulator that theory is compared with."""
