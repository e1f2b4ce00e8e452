"""Images on disk to batches in memory; never a deep-learning framework."""
