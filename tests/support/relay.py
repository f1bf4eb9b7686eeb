"""A bad network: a UDP relay in front of a server that loses, repeats and delays datagrams, both ways."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

#: Where the relay is; the server listens on 127.0.0.1 and announces this address.
ADDRESS = "127.0.0.2"


@dataclass(frozen=True)
class Weather:
    """Shares of the datagrams that are lost, come twice, and come late, so that later ones overtake them."""

    lost: float = 0
    repeated: float = 0
    late: float = 0


CALM = Weather()
#: How late a late datagram is, in seconds: longer than a packet of audio lasts.
LATE = (0.005, 0.05)


class Relay:
    """Passes datagrams on as :attr:`weather` allows, and counts what it did to them."""

    def __init__(self, server: tuple[str, int], seed: str) -> None:
        self.weather = CALM
        #: ``lost``, ``repeated``, ``late`` and ``passed``, for both directions together.
        self.counts: Counter[str] = Counter()
        self._server = server
        self._random = random.Random(seed)
        self._front: asyncio.DatagramTransport | None = None
        #: A client's way to the server, by the client's address; ``None`` while it is being opened.
        self._ways: dict[Any, asyncio.DatagramTransport | None] = {}
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to relay, on the server's port of another address."""
        loop = asyncio.get_running_loop()
        front = _Socket(self._from_client)
        self._front, _ = await loop.create_datagram_endpoint(lambda: front, local_addr=(ADDRESS, self._server[1]))

    async def close(self) -> None:
        """Stop; late datagrams are dropped."""
        await asyncio.gather(*self._opening)
        for way in (self._front, *self._ways.values()):
            if way is not None:
                way.close()

    def _from_client(self, data: bytes, client: Any) -> None:
        if client not in self._ways:
            self._ways[client] = None
            task = asyncio.ensure_future(self._open_way(client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        elif (way := self._ways[client]) is not None:
            self._pass_on(way, data, None)

    async def _open_way(self, client: Any) -> None:
        back = _Socket(lambda data, _: self._pass_on(self._front, data, client))
        loop = asyncio.get_running_loop()
        self._ways[client], _ = await loop.create_datagram_endpoint(lambda: back, remote_addr=self._server)

    def _pass_on(self, way: asyncio.DatagramTransport | None, data: bytes, to: Any) -> None:
        fate, weather = self._random.random(), self.weather
        if way is None or fate < weather.lost:
            self.counts["lost"] += 1
            return
        self.counts["passed"] += 1
        way.sendto(data, to) if fate < 1 - weather.late else self._delay(way, data, to)
        if self._random.random() < weather.repeated:
            self.counts["repeated"] += 1
            way.sendto(data, to)

    def _delay(self, way: asyncio.DatagramTransport, data: bytes, to: Any) -> None:
        self.counts["late"] += 1
        asyncio.get_running_loop().call_later(self._random.uniform(*LATE), way.sendto, data, to)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._take(data, address)

    def error_received(self, error: OSError) -> None:
        """The other side is gone: so are its datagrams."""


@contextlib.asynccontextmanager
async def relay(port: int, *, seed: str) -> AsyncIterator[Relay]:
    """Relay to the server's media port."""
    relay = Relay(("127.0.0.1", port), seed)
    await relay.open()
    try:
        yield relay
    finally:
        await relay.close()
