"""Models: training data, versions, and the store that keeps them."""
