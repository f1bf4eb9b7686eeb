"""The cast: many agents in few processes, on any LiveKit."""
