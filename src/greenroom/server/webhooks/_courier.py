"""Delivers events to one URL: signed, in order within a room, several rooms at a time.

Source: ``livekit/protocol``, ``webhook/url_notifier.go``; ``docs/protocol.md``, "Webhooks".
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec
from google.protobuf import json_format
from livekit.protocol import webhook

from greenroom.config import ApiKey
from greenroom.grants import Claims, mint
from greenroom.httpclient import AddressRefusedError, HttpClient, HttpError
from greenroom.server.webhooks._outbox import Lane, Outbox

_log = logging.getLogger("greenroom.server.webhooks")

CONCURRENT: Final = 8
TOKEN_TTL: Final = 300.0
# Beside these, everything below 500 says that the same request will never be taken.
_WORTH_A_RETRY: Final = frozenset({408, 425, 429})


class Courier:
    """Sends what it is given, as long as it takes, without ever holding up who gives it.

    :param key: signs; its name is who the events come from.
    """

    def __init__(self, url: str, key: ApiKey, http: HttpClient, outbox: Outbox | None = None) -> None:
        self.outbox = outbox or Outbox()
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._key = key
        self._http = http
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._failing = False

    def put(self, key: str, event: webhook.WebhookEvent) -> None:
        """Queue an event of the room ``key``. It is the courier's from now on."""
        self.outbox.add(key, event, time.monotonic())
        self._pump()

    async def aclose(self, within: float) -> None:
        """Deliver what waits, each event with one attempt more, for at most ``within`` seconds; then stop."""
        self.outbox.hurry()
        self._pump()
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("webhooks were left undelivered", extra={"host": self._host, "events": self.outbox.size})
        if self._timer is not None:
            self._timer.cancel()
        for task in [*self._sending]:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _pump(self) -> None:
        while len(self._sending) < CONCURRENT and (lane := self.outbox.take(time.monotonic())) is not None:
            task = asyncio.get_running_loop().create_task(self._send(lane))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.outbox.next_due()
        if due is not None and len(self._sending) < CONCURRENT:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._pump)
        if self.outbox.size:
            self._idle.clear()
        else:
            self._idle.set()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            self._pump()

    async def _send(self, lane: Lane) -> None:
        try:
            status = await self._post(lane)
        except AddressRefusedError as error:
            self.outbox.refused(lane)
            self._complain(f"{error.message}; see --webhook-allow-private")
        except HttpError as error:
            self._try_later(lane, error.message)
        except Exception:
            # A defect costs this event, not those behind it.
            self.outbox.refused(lane)
            _log.exception("a webhook could not be sent", extra={"host": self._host})
        else:
            self._answered(lane, status)

    async def _post(self, lane: Lane) -> int:
        pending = lane.head
        if not pending.body:
            pending.event.num_dropped = lane.dropped
            pending.body = msgspec.json.encode(json_format.MessageToDict(pending.event))
        digest = base64.b64encode(hashlib.sha256(pending.body).digest()).decode()
        headers = {
            "authorization": mint(self._key, Claims(sha256=digest), ttl=TOKEN_TTL),
            "content-type": "application/webhook+json",
            "user-agent": "LiveKit",
        }
        return (await self._http.request("POST", self._url, headers=headers, body=pending.body)).status

    def _answered(self, lane: Lane, status: int) -> None:
        if status // 100 == 2:
            self.outbox.delivered(lane)
            if self._failing:
                self._failing = False
                _log.info("webhooks are delivered again", extra={"host": self._host})
        elif status >= 500 or status in _WORTH_A_RETRY:
            self._try_later(lane, f"it answered {status}")
        else:
            self.outbox.refused(lane)
            self._complain(f"it answered {status}")

    def _try_later(self, lane: Lane, why: str) -> None:
        if self.outbox.failed(lane, time.monotonic()) is None:
            _log.warning("a webhook was given up", extra={"host": self._host, "why": why})
        elif not self._failing:
            self._complain(why)

    def _complain(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("a webhook was not taken", extra={"host": self._host, "why": why})
