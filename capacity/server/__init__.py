"""Servers: what one replica is, of whatever kind; a folder for each kind."""
