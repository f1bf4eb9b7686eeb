"""What OpenOrca's clients are sent: first everything, then whole objects as they change.

Its client does not resume, adds an action to its list however often it comes, and removes nothing unless everything
is sent anew. So whoever begins, falls behind or has something to forget gets everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from greenroom.fleet import _openorca as orca
from greenroom.fleet._index import Entry
from greenroom.fleet._live import Changes, Fleet
from greenroom.fleet._view import Look

KEEPALIVE: Final = 10.0
#: Everything is sent anew as often as this, in seconds: the client's list of actions has no end of its own.
REPLACE_EVERY: Final = 60.0
#: And no more often than this because something is gone.
REPLACE_REST: Final = 2.0
_KEPT: Final = 1_000


class OpenOrcaFeed:
    """Tells every client of one fleet. Belongs to the event loop; close with :meth:`aclose`."""

    def __init__(
        self, fleet: Fleet, *, keepalive: float = KEEPALIVE, replace_every: float = REPLACE_EVERY, kept: int = _KEPT
    ) -> None:
        self._fleet = fleet
        self._keepalive = keepalive
        self._replace_every = replace_every
        # ``None`` stands for everything, as it is when a client comes to it.
        self._frames: deque[bytes | None] = deque(maxlen=kept)
        self._end = 0
        self._news = asyncio.Event()
        self._closed = False
        self._few: dict[str, bytes] = {}
        self._connection = ""
        self._replace: asyncio.TimerHandle | None = None
        self._snapshot: tuple[int, int, bytes] | None = None
        self._version = 0
        self._stop = fleet.listen(self._on_changes)
        self.clients = 0

    async def aclose(self) -> None:
        """End every stream. Idempotent."""
        if not self._closed:
            self._closed = True
            self._stop()
            if self._replace is not None:
                self._replace.cancel()
            self._wake()

    def snapshot(self) -> bytes:
        """Return everything as JSON; those who ask within a second for what has not changed share it."""
        self._fleet.flush()
        second = int(self._fleet.clock())
        if self._snapshot is None or self._snapshot[:2] != (self._version, second):
            self._snapshot = (self._version, second, orca.snapshot(self._fleet.look()))
        return self._snapshot[2]

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield what a client is sent, until the feed is closed."""
        await self._fleet.ready()
        loop = asyncio.get_running_loop()
        if not self.clients:
            self._begin()
        self.clients += 1
        try:
            place, due = -1, 0.0
            while not self._closed:
                now = loop.time()
                first = self._end - len(self._frames)
                if place < first or now >= due:
                    everything = self._everything()
                    # What is told while this is being sent comes after it.
                    place, due = self._end, now + self._replace_every
                    yield everything
                    continue
                news = self._news
                frames = [self._frames[number - first] for number in range(place, self._end)]
                if None in frames:
                    place = -1
                elif frames:
                    place = self._end
                    yield b"".join(frame for frame in frames if frame is not None)
                else:
                    try:
                        async with asyncio.timeout(min(self._keepalive, max(0.0, due - now))):
                            await news.wait()
                    except TimeoutError:
                        yield b": \n\n"
        finally:
            self.clients -= 1

    def _everything(self) -> bytes:
        return b'data: {"type":"snapshot.replace","snapshot":%s}\n\n' % self.snapshot()

    def _begin(self) -> None:
        """Remember what the next changes are compared with: nobody has kept it up while nobody listened."""
        self._fleet.flush()
        found = self._fleet.look()
        self._few = _few(found)
        self._connection = orca.connection(found.health)

    # Changes

    def _on_changes(self, changes: Changes) -> None:
        self._version += 1
        if not self.clients:
            return
        found = changes.look
        shown = {entry.key for entry in found.offline}
        frames: list[bytes] = []
        gone = False
        for key in sorted(changes.before):
            entry = self._fleet.entry(key)
            if entry is None or (entry.ended_at is not None and entry.key not in shown):
                gone = gone or changes.before[key] is not None
                continue
            frames += self._of_call(entry, changes.before[key], found)
        few = _few(found)
        gone = gone or bool(self._few.keys() - few.keys()) or few["machines"] != self._few.get("machines")
        frames += [frame for name, frame in few.items() if name != "machines" and self._few.get(name) != frame]
        self._few = few
        connection = orca.connection(found.health)
        if connection != self._connection:
            self._connection = connection
            frames.append(_event("runtime.status", "status", orca.encode(connection)))
        if frames:
            self._frames.append(b"".join(frames))
            self._end += 1
            self._wake()
        if gone and self._replace is None:
            self._replace = asyncio.get_running_loop().call_later(REPLACE_REST, self._replace_all)

    def _replace_all(self) -> None:
        self._replace = None
        self._frames.append(None)
        self._end += 1
        self._wake()

    @staticmethod
    def _of_call(entry: Entry, before: Entry | None, found: Look) -> list[bytes]:
        frames = []
        if before is None or before.seen.agent != entry.seen.agent:
            merged = found.merged.get(entry.seen.agent.id)
            said = orca.entry_agent(entry, found.at) if merged is None else orca.encode(orca.agent(merged, found.at))
            frames.append(_event("agent.updated", "agent", said))
        if before is None or before.seen.task != entry.seen.task:
            kind = "task.created" if before is None else "task.updated"
            frames.append(_event(kind, "task", orca.entry_task(entry)))
        told = {action.id for action in before.seen.actions} if before is not None else set()
        new = (orca.action(action) for action in entry.seen.actions if action.id not in told)
        return frames + [_event("action.logged", "action", orca.encode(action)) for action in new]

    def _wake(self) -> None:
        self._news, news = asyncio.Event(), self._news
        news.set()


def _few(found: Look) -> dict[str, bytes]:
    """Return the frames of all that there is little of, by what they are about."""
    machines: list[Mapping[str, Any]] = [
        {"id": each.id, "name": each.name, "online": each.online} for each in found.machines
    ]
    frames = {"machines": orca.encode(machines)}
    for agent in found.idle:
        # Its uptime grows all the time, which is no change.
        frames[agent.id] = _event("agent.updated", "agent", orca.encode(orca.agent(agent, agent.started_at or 0.0)))
    for task in found.pending:
        frames[task.id] = _event("task.created", "task", orca.encode(orca.task(task)))
    for swarm in found.swarms:
        frames[swarm.id] = _event("swarm.updated", "swarm", orca.encode(orca.swarm(swarm)))
    frames["health"] = _event("fleet.updated", "fleetHealth", orca.encode(orca.health(found.health)))
    for entry in found.offline:
        frames[f"offline {entry.key}"] = b""
    return frames


def _event(kind: str, name: str, said: bytes) -> bytes:
    # An event of a name is lost on this client, so they have none.
    return b'data: {"type":"%s","%s":%s}\n\n' % (kind.encode(), name.encode(), said)
