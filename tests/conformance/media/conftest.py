"""One stage for every engine: start it, bring clients in, watch its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from greenroom._media import (
    NO_PLAN,
    Answer,
    Channel,
    ChannelOpened,
    DataReceived,
    EngineConfig,
    Event,
    FakeEngine,
    MediaEngine,
    Plan,
    Str0mEngine,
    TransportClosed,
    TransportId,
)
from support.media_peer import PATIENCE, AiortcPeer, MediaPeer, ScriptedPeer
from support.offers import chromium_first, chromium_publish


class EventLog:
    """Every event an engine has told, in order."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Event]] = []
        self._changed = asyncio.Event()

    def __call__(self, batch: Sequence[Event]) -> None:
        self.batches.append(batch)
        self._changed.set()

    @property
    def all(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]

    def of(self, transport: TransportId) -> list[Event]:
        return [event for event in self.all if getattr(event, "transport", None) == transport]

    def payloads(self, transport: TransportId, label: str) -> list[bytes]:
        events = self.of(transport)
        return [event.payload for event in events if isinstance(event, DataReceived) and event.label == label]

    def closed(self, transport: TransportId) -> list[TransportClosed]:
        return [event for event in self.of(transport) if isinstance(event, TransportClosed)]

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Stage:
    """A running engine and its clients."""

    def __init__(self, engine: MediaEngine, config: EngineConfig) -> None:
        self.engine = engine
        self.config = config
        self.events = EventLog()
        self.peers: list[MediaPeer] = []

    def peer(self, transport: TransportId) -> MediaPeer:
        """Create a transport and the client that will use it."""
        self.engine.create_transport(transport)
        fake = isinstance(self.engine, FakeEngine)
        peer: MediaPeer = ScriptedPeer(self.engine, transport) if fake else AiortcPeer()
        self.peers.append(peer)
        return peer

    async def negotiate(
        self, transport: TransportId, peer: MediaPeer, *, more_audio: int = 0, offer: str = "", plan: Plan = NO_PLAN
    ) -> Answer:
        """Take an offer through the engine; each call makes a new one unless ``offer`` is given."""
        offer = offer or await peer.offer(more_audio=more_audio)
        answer = await self.engine.accept_offer(transport, offer, plan)
        await peer.answer(answer.sdp)
        return answer

    async def join(self, transport: TransportId, *sending: str, receiving: int = 1) -> MediaPeer:
        """Bring in a client and return when its three channels are open at both ends.

        :param sending: names of audio tracks that it will send.
        :param receiving: how many sections it offers to receive audio in.
        """
        peer = self.peer(transport)
        for cid in sending:
            peer.add_audio(cid)
        await self.negotiate(transport, peer, more_audio=receiving - 1)
        opened = {ChannelOpened(transport, label) for label in Channel}
        await self.events.until(lambda: opened <= set(self.events.of(transport)))
        await peer.open()
        return peer

    async def dispose(self) -> None:
        await asyncio.gather(*(peer.dispose() for peer in self.peers))
        await self.engine.stop()


@pytest.fixture(params=["fake", "str0m"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A started engine with small limits."""
    config = EngineConfig(max_message=60_000, send_buffer=128 * 1024)
    engine: MediaEngine = FakeEngine(config) if request.param == "fake" else Str0mEngine(config)
    stage = Stage(engine, config)
    await engine.start(stage.events)
    yield stage
    await stage.dispose()


@pytest.fixture(scope="session")
def first_offer() -> str:
    """The first offer of a LiveKit client in Chromium."""
    return chromium_first()


@pytest.fixture(scope="session")
def publish_offer() -> str:
    """The first offer plus a microphone and a camera in three simulcast layers."""
    return chromium_publish()
