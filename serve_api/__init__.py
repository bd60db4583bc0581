"""The reference serving pipeline: it trains, serves in batches, measures, plans, deploys and verifies."""
