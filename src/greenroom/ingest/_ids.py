"""Which job an upload belongs to: its id names the stream, so it must be one of LiveKit's and nothing else."""

from __future__ import annotations

import re
from typing import Final

_JOB: Final = re.compile(r"AJ_[A-Za-z0-9]{4,64}")


def is_job_id(value: str) -> bool:
    """Tell whether ``value`` is a job id as LiveKit servers mint them."""
    return _JOB.fullmatch(value) is not None


def session_stream(job_id: str) -> str:
    """Return the stream of a job's session."""
    return f"session:{job_id}"
