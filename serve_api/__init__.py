"""The reference serving pipeline: trained, served in batches, measured, planned, deployed and verified."""
