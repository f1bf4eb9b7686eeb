"""``greenroom dev``: server, page and agents in one program."""

from __future__ import annotations

from greenroom.dev._run import DevConfig, run_dev

__all__ = ["DevConfig", "run_dev"]
