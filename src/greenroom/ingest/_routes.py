"""The four addresses LiveKit's SDKs upload to, and the one that pools report to, as Starlette routes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.eventlog import EventLog, EventLogError, NewEvent
from greenroom.grants import Grant, read_http_token, verify
from greenroom.ingest._answers import accepted, refused
from greenroom.ingest._errors import (
    RecordingDisabledError,
    UploadBusyError,
    UploadError,
    UploadForbiddenError,
    UploadInvalidError,
    UploadTooLargeError,
    UploadUnauthorizedError,
)
from greenroom.ingest._limits import Budget, IngestLimits, Rates
from greenroom.ingest._multipart import read_form
from greenroom.ingest._pools import MAX_REPORT, TakeReport, commands, read_report
from greenroom.ingest._uploads import LOGS, METRICS, SPANS, Signal, Uploads
from greenroom.sessions import UploadRefused

logger = logging.getLogger(__name__)

SYSTEM_STREAM: Final = "system:greenroom"
_TELL_EVERY: Final = 60.0


class IngestStats(msgspec.Struct, kw_only=True):
    """What has become of uploads since the start: counts by route, and by the code of the refusal.

    :param accepted_at: when the latest was stored, seconds since 1970; ``None`` before the first.
    """

    accepted: dict[str, int] = {}
    refused: dict[str, int] = {}
    under_way: int = 0
    accepted_at: float | None = None


class Ingest:
    """Answers uploads: who may, how much, and what they are told.

    :param keys: the API keys whose tokens are accepted, with ``observability: {write: true}``.
    :param recording: ``False`` answers every upload so that LiveKit's SDKs stop uploading.
    :param pools: is given the reports of pools; without it there is no address for them.
    """

    def __init__(
        self,
        log: EventLog,
        keys: Iterable[ApiKey],
        *,
        limits: IngestLimits | None = None,
        recording: bool = True,
        pools: TakeReport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._keys = {key.key: key for key in keys}
        self._limits = limits or IngestLimits()
        self._recording = recording
        self._pools = pools
        self._clock = clock
        self._uploads = Uploads(log, self._limits)
        self._rates = Rates(self._limits.rate, self._limits.burst)
        self._memory = Budget(self._limits.memory, self._limits.patience)
        self._places = Budget(self._limits.uploads, self._limits.queue)
        #: For health and metrics.
        self.stats = IngestStats()
        self._told: dict[tuple[str, str, str], tuple[float, int]] = {}

    async def close(self) -> None:
        """Let go of what is held. Uploads under way should have ended."""
        await self._uploads.close()

    def routes(self) -> list[Route]:
        """Return the routes; their paths are LiveKit's, so they are mounted at the root."""
        reports = [Route("/observability/pools/v0", self._report(self._pools), methods=["POST"])] if self._pools else []
        return [
            *reports,
            Route("/observability/traces/otlp/v0", self._otlp(SPANS), methods=["POST"]),
            Route("/observability/logs/otlp/v0", self._otlp(LOGS), methods=["POST"]),
            Route("/observability/metrics/otlp/v0", self._otlp(METRICS), methods=["POST"]),
            Route("/observability/recordings/v0", self._recordings, methods=["POST"]),
        ]

    def _otlp(self, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            async def take(grant: Grant) -> Response:
                declared = _declared(request, self._limits.batch)
                async with self._memory.take(declared):
                    body = await self._body(request, declared)
                    encoding = request.headers.get("content-encoding", "").strip().lower()
                    return accepted(await self._uploads.batch(signal, grant, body, encoding))

            return await self._answer(request, signal.name, take)

        return endpoint

    def _report(self, pools: TakeReport) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            async def take(_grant: Grant) -> Response:
                declared = _declared(request, MAX_REPORT)
                async with self._memory.take(declared):
                    report = read_report(await self._body(request, declared))
                return commands(await pools(report))

            return await self._answer(request, "pool", take, recorded=False)

        return endpoint

    async def _recordings(self, request: Request) -> Response:
        async def take(grant: Grant) -> Response:
            async with self._places.take(1):
                parts = read_form(request.headers.get("content-type", ""), self._chunks(request))
                await self._uploads.recording(grant, parts)
            return accepted()

        return await self._answer(request, "recording", take)

    async def _answer(
        self, request: Request, route: str, take: Callable[[Grant], Awaitable[Response]], *, recorded: bool = True
    ) -> Response:
        grant: Grant | None = None
        self.stats.under_way += 1
        try:
            grant = self._admit(request, recorded=recorded)
            response = await take(grant)
            self.stats.accepted[route] = self.stats.accepted.get(route, 0) + 1
            self.stats.accepted_at = self._clock()
        except UploadError as error:
            self.stats.refused[error.code] = self.stats.refused.get(error.code, 0) + 1
            if grant is not None and not isinstance(error, UploadBusyError | RecordingDisabledError):
                await self._tell(route, grant.key.key, error)
            return refused(error)
        except ClientDisconnect:
            logger.info("an upload was broken off", extra={"route": route})
            return refused(UploadInvalidError("The upload was broken off"))
        finally:
            self.stats.under_way -= 1
        return response

    def _admit(self, request: Request, *, recorded: bool) -> Grant:
        try:
            grant = verify(read_http_token(request.headers, {}) or "", self._keys, now=self._clock())
        except TokenError as error:
            logger.warning("an upload without a valid token was refused")
            raise UploadUnauthorizedError(error.message, fix=error.fix) from None
        if grant.claims.observability is None or not grant.claims.observability.write:
            fix = "Mint the token with the grant observability: {write: true}"
            raise UploadForbiddenError("operation requires observability write grant", fix=fix)
        if recorded and not self._recording:
            raise RecordingDisabledError
        self._rates.take(grant.key.key, self._clock())
        return grant

    async def _body(self, request: Request, declared: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.idle):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > declared:
                        raise _too_large(declared)
        except TimeoutError:
            raise _stalled() from None
        return bytes(body)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        stream = request.stream()
        while True:
            try:
                async with asyncio.timeout(self._limits.idle):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise _stalled() from None
            if chunk:
                yield chunk

    async def _tell(self, route: str, api_key: str, error: UploadError) -> None:
        """Put a refusal into the log, at most once a minute for each kind."""
        now = self._clock()
        kind = (route, api_key, error.code)
        last, count = self._told.get(kind, (-_TELL_EVERY, 0))
        if now - last < _TELL_EVERY:
            self._told[kind] = (last, count + 1)
            return
        self._told[kind] = (now, 0)
        logger.warning("an upload was refused", extra={"route": route, "code": error.code})
        refusal = UploadRefused(route=route, code=error.code, api_key=api_key, message=error.message, count=count + 1)
        try:
            await self._log.append(SYSTEM_STREAM, [NewEvent(refusal)])
        except EventLogError:
            logger.error("a refused upload could not be put into the log", extra={"route": route})


def _size(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 2**62


def _declared(request: Request, limit: int) -> int:
    size = _size(request)
    if size == 2**62:
        return limit
    if size > limit:
        raise _too_large(limit)
    return size


def _stalled() -> UploadInvalidError:
    return UploadInvalidError("The upload stalled", fix="Send it again")


def _too_large(limit: int) -> UploadTooLargeError:
    return UploadTooLargeError(f"The upload exceeds {limit} bytes", fix="Send smaller batches, or raise the limit")
