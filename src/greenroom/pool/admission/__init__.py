"""Decisions of a pool, without I/O: routing, admission, placement, breakers, policies, the watchdog."""
