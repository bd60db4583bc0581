"""Models: trained data, versions, and the store that keeps them."""
