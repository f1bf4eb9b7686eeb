"""The process that owns a pool: no user code and no media runs in it."""
