"""The supervisor: registrations, admission, shards, rescue, drain, reload. No user code runs here."""

from __future__ import annotations

from greenroom.pool.supervisor._output import Output
from greenroom.pool.supervisor._pool import Pool
from greenroom.pool.supervisor._run import run_pool

__all__ = ["Output", "Pool", "run_pool"]
