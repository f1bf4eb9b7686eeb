"""Which agents there are, from a server that has a page."""

from __future__ import annotations

import contextlib
import http.client
from typing import Final
from urllib.parse import urlsplit

import msgspec

_PATIENCE: Final = 2.0
_LARGEST: Final = 1 << 20


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as ``GET /api/agents`` lists it. Unnamed agents join every room."""

    name: str = ""
    state: str = ""
    detail: str = ""


class _Listing(msgspec.Struct, frozen=True):
    agents: list[Listed] = []


def list_agents(url: str) -> list[Listed]:
    """Ask the page at the server's address; nothing when it has none. Blocks for two seconds at most.

    :param url: the server's WebSocket address.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    opener = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    with contextlib.closing(opener(parts.hostname or "", port, timeout=_PATIENCE)) as connection:
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/api/agents")
            answer = connection.getresponse()
            if answer.status == 200:
                return msgspec.json.decode(answer.read(_LARGEST), type=_Listing).agents
        except (OSError, http.client.HTTPException, msgspec.MsgspecError, ValueError):
            # The call itself will tell what is wrong.
            return []
    return []
