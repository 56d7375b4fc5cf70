"""Training pictures: shards, crops."""
