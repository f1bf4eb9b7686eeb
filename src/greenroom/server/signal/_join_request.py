"""The ``join_request`` query parameter (``docs/protocol.md``, "Join request")."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

from google.protobuf.message import DecodeError
from livekit.protocol import rtc

_GZIP: Final = 16 + zlib.MAX_WBITS


class JoinRequestError(ValueError):
    """The parameter cannot be read. The text says why and is for the client."""


def parse_join_request(text: str, limit: int) -> rtc.JoinRequest:
    """Read a ``join_request``: base64 of a ``WrappedJoinRequest``, which may hold gzip.

    :param text: either base64 alphabet, with or without padding.
    :param limit: largest size in bytes, before and after decompression.
    :raises JoinRequestError: for anything that is not one.
    """
    if len(text) > limit * 2:
        raise JoinRequestError("join_request is too large")
    try:
        wrapped = rtc.WrappedJoinRequest.FromString(_base64(text))
        body = wrapped.join_request
        if wrapped.compression == rtc.WrappedJoinRequest.GZIP:
            body = _gunzip(body, limit)
        elif wrapped.compression != rtc.WrappedJoinRequest.NONE:
            raise JoinRequestError("join_request has an unknown compression")
        if len(body) > limit:
            raise JoinRequestError("join_request is too large")
        return rtc.JoinRequest.FromString(body)
    except (binascii.Error, ValueError) as error:
        raise _as_join_request_error(error, "join_request is not base64") from None
    except DecodeError:
        raise JoinRequestError("join_request is not a JoinRequest") from None


def _as_join_request_error(error: ValueError, message: str) -> JoinRequestError:
    return error if isinstance(error, JoinRequestError) else JoinRequestError(message)


def _base64(text: str) -> bytes:
    # A query parser reads the '+' of the standard alphabet as a space.
    standard = text.strip().replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _gunzip(data: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(_GZIP)
    try:
        # One byte more than allowed tells a bomb without unpacking it.
        body = inflate.decompress(data, limit + 1)
    except zlib.error:
        raise JoinRequestError("join_request is not gzip") from None
    if len(body) > limit:
        raise JoinRequestError("join_request is too large")
    if not inflate.eof:
        raise JoinRequestError("join_request is cut short")
    return body
