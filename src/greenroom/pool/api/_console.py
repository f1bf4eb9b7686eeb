"""Where livekit-agents' own console finds the server of a program that named none.

It imports a file and takes the ``server`` in it; this file is that one, and the program puts its server here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livekit.agents import AgentServer

#: The server of the program that runs.
server: AgentServer
