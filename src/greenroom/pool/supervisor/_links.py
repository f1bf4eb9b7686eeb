"""All registrations of a pool: one for each name and type of job that some agent in service, or a call, needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from greenroom.errors import GreenroomError
from greenroom.pool._model import AgentSpec
from greenroom.pool._settings import PoolSettings
from greenroom.pool.supervisor._link import Desk, Link
from greenroom.pool.supervisor._messages import Load, Post, Terms

_UNKNOWN_VERSION: Final = "1.8.9"


class Links:
    """Opens and closes registrations as agents come into service and leave it.

    :param on_change: called when one is registered or lost.
    """

    def __init__(self, settings: PoolSettings, desk: Desk, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._desk = desk
        self._on_change = on_change
        self._by_number: dict[int, Link] = {}
        self._current: dict[Post, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._last = 0

    def get(self, number: int) -> Link | None:
        """Return a registration."""
        return self._by_number.get(number)

    def all(self) -> list[Link]:
        """Return every registration, those that wait for their last call, too."""
        return list(self._by_number.values())

    def for_post(self, post: Post) -> Link | None:
        """Return the registration for a name and type of job."""
        return self._by_number.get(self._current.get(post, 0))

    def is_leaving(self, link: Link) -> bool:
        """Whether no agent in service needs it, or needs it as it was registered."""
        return self._current.get(link.post) != link.number

    def serve(self, agents: Iterable[AgentSpec], *, version: str, deployment: str) -> None:
        """Register whatever these agents need. What was registered otherwise stays until its last call has ended."""
        wanted: dict[Post, AgentSpec] = {}
        for agent in agents:
            wanted.setdefault(Post(dispatch=agent.dispatch, job_type=agent.job_type), agent)
        self._current = {post: number for post, number in self._current.items() if post in wanted}
        for post, agent in wanted.items():
            terms = Terms(permissions=agent.permissions, version=version or _UNKNOWN_VERSION, deployment=deployment)
            current = self.for_post(post)
            if current is None or current.terms != terms:
                self._current[post] = self._open(post, terms).number

    def _open(self, post: Post, terms: Terms) -> Link:
        self._last += 1
        link = self._by_number[self._last] = Link(
            self._last,
            post,
            terms,
            self._desk,
            url=self._settings.url,
            key=self._settings.key,
            on_change=self._on_change,
        )
        return link

    def tell_load(self, load_of: Callable[[Link], Load]) -> None:
        """Tell LiveKit how busy each is; one that nobody needs any more is closed."""
        for link in self.all():
            load = load_of(link)
            if self.is_leaving(link) and not load.jobs:
                del self._by_number[link.number]
                task = asyncio.get_running_loop().create_task(link.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            else:
                link.tell_load(load)

    async def settled(self) -> GreenroomError | None:
        """Wait until each is registered; or one never can be, and that is returned."""
        for link in self.all():
            await link.settled.wait()
            if link.problem is not None:
                return link.problem
        return None

    async def close(self) -> None:
        """Close all of them. Idempotent."""
        links, self._by_number = self.all(), {}
        await asyncio.gather(*(link.close() for link in links), *self._closing)
