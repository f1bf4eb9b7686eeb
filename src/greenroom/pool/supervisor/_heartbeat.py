"""Tells a control plane how the pool is doing, and does what somebody asked of the pool there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from greenroom.config import ApiKey
from greenroom.grants import ObservabilityGrant, mint
from greenroom.reports import PoolCommands, PoolSnapshot

_log = logging.getLogger("greenroom.pool")

PATH: Final = "/observability/pools/v0"
_TIMEOUT: Final = 5.0
_TOKEN_TTL: Final = 600.0


class Heartbeat:
    """Posts a report every so often. An outage of the control plane is told once, and its end once.

    :param url: of the control plane.
    :param on_commands: gets what the control plane answers.
    """

    def __init__(
        self,
        url: str,
        key: ApiKey,
        every: float,
        report: Callable[[], PoolSnapshot],
        on_commands: Callable[[PoolCommands], None],
    ) -> None:
        self._url = url.rstrip("/") + PATH
        self._key = key
        self._every = every
        self._report = report
        self._on_commands = on_commands
        self._failing = False

    async def run(self) -> None:
        """Report for ever."""
        # The HTTP client brings TLS with it: a pool without a control plane has no use for either.
        from greenroom.httpclient import HttpClient, HttpError  # noqa: PLC0415

        client = HttpClient(timeout=_TIMEOUT)
        try:
            while True:
                try:
                    await self._beat(client.request)
                except HttpError as error:
                    self._failed(str(error))
                except Exception:
                    # One report that cannot be made is no reason never to report again.
                    _log.exception("a report to the control plane failed")
                await asyncio.sleep(self._every)
        finally:
            # A last word, so that nobody waits for the next report of a pool that is gone.
            try:
                async with asyncio.timeout(1.0):
                    await self._beat(client.request)
            except (HttpError, TimeoutError):
                pass
            await client.aclose()

    async def _beat(self, request: Callable[..., object]) -> None:
        token = mint(self._key, observability=ObservabilityGrant(write=True), ttl=_TOKEN_TTL)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        response = await request("POST", self._url, headers=headers, body=msgspec.json.encode(self._report()))  # type: ignore[misc]
        if not response.is_success:
            self._failed(f"HTTP status {response.status}")
            return
        if self._failing:
            self._failing = False
            _log.info("the control plane takes reports again", extra={"url": self._url})
        try:
            commands = msgspec.json.decode(response.body or b"{}", type=PoolCommands)
        except msgspec.MsgspecError:
            return
        if commands.drain or commands.reload:
            self._on_commands(commands)

    def _failed(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("the control plane does not take reports", extra={"url": self._url, "why": why})
