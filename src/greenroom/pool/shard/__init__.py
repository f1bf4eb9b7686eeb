"""The processes that run user code: the nursery that loads it, and the shards it forks."""
