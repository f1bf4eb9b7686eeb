"""The command line of a program that ends with ``pool.run()``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from greenroom.errors import GreenroomError

if TYPE_CHECKING:
    from greenroom.pool.api._pool import AgentPool


def main(pool: AgentPool) -> None:
    """Do what the arguments of this program say."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise GreenroomError("A pool can only be run from a file", fix="Save the program, then: python main.py dev")
    del pool
    os.execv(sys.executable, [sys.executable, "-m", "greenroom", "agents", file])
