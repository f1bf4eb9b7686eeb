"""Which Python files are agents, and what each of them is made of: read, never run."""

from __future__ import annotations

from greenroom.pool.discovery._files import MAX_AGENTS, AgentFile, Discovery, Survey, local_files, local_modules
from greenroom.pool.discovery._source import (
    ImportedName,
    Launch,
    Problem,
    Source,
    mentions_agent,
    read_source,
    shown,
)

__all__ = [
    "MAX_AGENTS",
    "AgentFile",
    "Discovery",
    "ImportedName",
    "Launch",
    "Problem",
    "Source",
    "Survey",
    "local_files",
    "local_modules",
    "mentions_agent",
    "read_source",
    "shown",
]
