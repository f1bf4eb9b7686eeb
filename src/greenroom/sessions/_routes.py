"""Sessions over HTTP; ``control`` mounts this under ``/api``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from greenroom.operations import Operation, operation
from greenroom.sessions._export import archive, contents_of
from greenroom.sessions._peaks import PeaksError, Waveform, waveform
from greenroom.sessions._projection import Sessions
from greenroom.sessions._query import QueryError, SessionQuery
from greenroom.sessions._ranges import Unsatisfiable, range_of
from greenroom.sessions._reader import SessionNotFoundError, SessionPage
from greenroom.sessions._spans import Span, spans_of
from greenroom.sessions._turns import Turn
from greenroom.sessions._view import RecordingRef, Session

_Query = TypeVar("_Query", bound=msgspec.Struct)
_MAX_BUCKETS: Final = 20_000


class TurnList(msgspec.Struct, frozen=True, kw_only=True):
    """The timeline of a session."""

    turns: tuple[Turn, ...]


class SpanList(msgspec.Struct, frozen=True, kw_only=True):
    """The trace of a session."""

    spans: tuple[Span, ...]


class RecordingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which recording.

    :param number: its place in the session's ``recordings``.
    """

    number: Annotated[int, msgspec.Meta(ge=0)] = 0


class PeaksQuery(RecordingQuery, frozen=True, kw_only=True):
    """Which recording, and how fine.

    :param number: its place in the session's ``recordings``.
    :param buckets: how many pairs of peaks there shall be at the most; 0 returns all there are.
    """

    buckets: Annotated[int, msgspec.Meta(ge=0, le=_MAX_BUCKETS)] = 0


def routes(sessions: Sessions) -> list[Route]:
    """Return the routes; errors are :class:`GreenroomError`, whose ``status`` is HTTP's."""
    answers = _Answers(sessions)
    return [
        Route("/sessions", answers.listing, methods=["GET"]),
        Route("/sessions/{session}", answers.one, methods=["GET"]),
        Route("/sessions/{session}/turns", answers.turns, methods=["GET"]),
        Route("/sessions/{session}/spans", answers.spans, methods=["GET"]),
        Route("/sessions/{session}/recording", answers.recording, methods=["GET", "HEAD"]),
        Route("/sessions/{session}/peaks", answers.peaks, methods=["GET"]),
        Route("/sessions/{session}/export", answers.export, methods=["GET"]),
    ]


class _Answers:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @operation(Operation(summary="Search sessions, the latest first.", query=SessionQuery, answers=SessionPage))
    async def listing(self, request: Request) -> Response:
        return _json(await self._sessions.search(query_of(request.query_params.multi_items())))

    @operation(Operation(summary="Return everything about a session.", answers=Session, problems=(404,)))
    async def one(self, request: Request) -> Response:
        return _json(await self._session(request))

    @operation(Operation(summary="Return the timeline of a session.", answers=TurnList, problems=(404,)))
    async def turns(self, request: Request) -> Response:
        return _json(TurnList(turns=(await self._session(request)).turns))

    @operation(Operation(summary="Return the trace of a session.", answers=SpanList, problems=(404,)))
    async def spans(self, request: Request) -> Response:
        found = await self._session(request)
        contents = [content async for content in contents_of(self._sessions.blobs, found, "spans")]
        return _json(SpanList(spans=await self._sessions.decode(lambda: spans_of(contents))))

    @operation(
        Operation(
            summary="Return the audio of a session, or ranges of it.",
            query=RecordingQuery,
            media_type="audio/ogg",
            others={206: "The range that was asked for", 304: "It has not changed", 416: "No such range"},
            problems=(404,),
        )
    )
    async def recording(self, request: Request) -> Response:
        ref = await self._recording(request, _read(request.query_params.multi_items(), RecordingQuery))
        if not self._sessions.blobs.holds(ref.blob):
            raise SessionNotFoundError("The recording has been deleted")
        etag = f'"{ref.blob}"'
        headers = {"Accept-Ranges": "bytes", "ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        asked = None
        if request.headers.get("if-range", etag) == etag:
            try:
                asked = range_of(request.headers.get("range", ""), ref.size)
            except Unsatisfiable:
                return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{ref.size}"})
        start, end = asked or (0, ref.size)
        headers["Content-Length"] = str(end - start)
        if asked is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{ref.size}"
        status = 200 if asked is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=ref.format)
        content = self._sessions.blobs.open(ref.blob, start, end)
        return StreamingResponse(content, status_code=status, headers=headers, media_type=ref.format)

    @operation(
        Operation(
            summary="Return what a drawing of the audio needs.",
            query=PeaksQuery,
            answers=Waveform,
            others={202: "They are being made; ask again"},
            problems=(404, 422),
        )
    )
    async def peaks(self, request: Request) -> Response:
        query = _read(request.query_params.multi_items(), PeaksQuery)
        found = await self._sessions.peaks((await self._recording(request, query)).blob)
        if found.data is None:
            if not found.made:
                return Response(status_code=202, headers={"Retry-After": "1", "Cache-Control": "no-store"})
            raise PeaksError(found.error)
        data = found.data
        return _json(await self._sessions.decode(lambda: waveform(data, query.buckets or None)))

    @operation(
        Operation(
            summary="Return one archive: transcript, audio, trace and the log's proof.",
            media_type="application/gzip",
            problems=(404,),
        )
    )
    async def export(self, request: Request) -> Response:
        session = request.path_params["session"]
        content = await archive(self._sessions, session)
        headers = {"Content-Disposition": f'attachment; filename="{session}.tar.gz"', "Cache-Control": "no-store"}
        return StreamingResponse(content, media_type="application/gzip", headers=headers)

    async def _session(self, request: Request) -> Session:
        return await self._sessions.session(request.path_params["session"])

    async def _recording(self, request: Request, query: RecordingQuery) -> RecordingRef:
        found = await self._session(request)
        if query.number >= len(found.recordings):
            raise SessionNotFoundError(f"Session '{found.summary.id}' has no such recording", fix="See 'recordings'")
        return found.recordings[query.number]


def query_of(given: list[tuple[str, str]]) -> SessionQuery:
    """Read a search from the query of a URL. Raises :class:`QueryError`."""
    return _read(given, SessionQuery)


def _read(given: Iterable[tuple[str, str]], kind: type[_Query]) -> _Query:
    fields: dict[str, str] = {}
    for name, value in given:
        if name not in kind.__struct_fields__:
            names = ", ".join(kind.__struct_fields__)
            raise QueryError(f"'{name[:40]}' is nothing to ask by", fix=f"There are: {names}")
        fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at `$.")
        raise QueryError(f"'{where.rstrip('`')}' cannot be used: {why[:1].lower()}{why[1:]}") from None


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json", headers={"Cache-Control": "no-store"})
