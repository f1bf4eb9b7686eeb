"""JSON bodies of requests, read within a limit."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from starlette.requests import Request

from greenroom.control._responses import RefusedError

_Body = TypeVar("_Body", bound=msgspec.Struct)

MAX_BODY: Final = 256 * 1024


async def read_body(request: Request, kind: type[_Body], *, limit: int = MAX_BODY) -> _Body:
    """Return the body as a ``kind``. Raises :class:`RefusedError`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        fix = "Send a JSON object with the header Content-Type: application/json; {} is enough"
        raise RefusedError(415, "unsupported_media_type", "The body is not declared as JSON", fix=fix)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RefusedError(413, "body_too_large", f"The body is larger than {limit} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        fields = ", ".join(kind.__struct_fields__)
        words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).strip()
        message = f"The body is not a {words}: {error}"
        raise RefusedError(400, "body_invalid", message, fix=f"It takes any of these fields: {fields}") from None
