"""Parts of the laws with arrivals or services in phases."""
