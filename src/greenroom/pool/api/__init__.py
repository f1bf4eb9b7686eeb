"""What programs import: the pool as Python knows it."""
