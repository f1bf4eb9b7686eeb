"""Agent programs for the benches of the pool; they run in other interpreters too, and know nothing of Greenroom."""
