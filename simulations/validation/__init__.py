"""Theory compared with simulation."""
