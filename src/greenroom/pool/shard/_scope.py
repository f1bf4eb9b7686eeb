"""Whose line is this: the output of a shard, each line with its tenant, agent and session."""

from __future__ import annotations

from greenroom.pool._wire import ShardSettings


def install_output(settings: ShardSettings) -> None:
    """Make every log line and every printed line of this process a line of JSON on its standard output."""
    del settings
