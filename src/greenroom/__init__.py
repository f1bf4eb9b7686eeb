"""Self-hosted operations for LiveKit agents."""

__version__ = "0.1.0"
