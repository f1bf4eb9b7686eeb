"""Twirp on the wire: bytes to messages, messages to bytes, errors to JSON. No I/O.

Sources: the Twirp wire protocol, version 7; ``xtwirp.DefaultServerOptions`` of LiveKit's ``protocol``
(JSON answers carry proto names and default values).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

Code: TypeAlias = Literal[
    "canceled",
    "unknown",
    "invalid_argument",
    "malformed",
    "deadline_exceeded",
    "not_found",
    "bad_route",
    "already_exists",
    "permission_denied",
    "unauthenticated",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
]

_STATUS: Final[Mapping[Code, int]] = {
    "canceled": 408,
    "unknown": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "deadline_exceeded": 408,
    "not_found": 404,
    "bad_route": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "failed_precondition": 412,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "dataloss": 500,
}


class TwirpError(Exception):
    """A refusal as a Twirp client sees it.

    :param code: one of Twirp's codes; it decides the HTTP status.
    :param msg: one sentence for a person.
    :param meta: values for a program.
    :param status: the HTTP status where the code's own would mislead.
    """

    def __init__(
        self, code: Code, msg: str, meta: Mapping[str, str] | None = None, *, status: int | None = None
    ) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg
        self.meta = dict(meta or {})
        self.status = status or _STATUS[code]

    def encode(self) -> bytes:
        """Return the JSON body, which does not depend on what the client sent."""
        body: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.meta:
            body["meta"] = self.meta
        return msgspec.json.encode(body)


def too_large(limit: int) -> TwirpError:
    """Build the refusal of a body of more than ``limit`` bytes."""
    return TwirpError(
        "resource_exhausted",
        f"the request body is larger than {limit} bytes",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


class Encoding(StrEnum):
    """How a request is written, and so its answer."""

    JSON = "application/json"
    PROTOBUF = "application/protobuf"


def encoding_of(content_type: str) -> Encoding:
    """Choose the encoding from a ``Content-Type``, parameters ignored. Raises :class:`TwirpError`."""
    try:
        return Encoding(content_type.partition(";")[0].strip().lower())
    except ValueError:
        raise TwirpError("bad_route", f"unexpected Content-Type: {content_type!r}") from None


def decode(kind: type[Message], encoding: Encoding, body: bytes) -> Message:
    """Read a request. Unknown fields are ignored. Raises :class:`TwirpError` with ``malformed``."""
    if encoding is Encoding.PROTOBUF:
        try:
            return kind.FromString(body)
        except DecodeError:
            raise TwirpError("malformed", "the protobuf request could not be decoded") from None
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
        return json_format.ParseDict(members, kind(), ignore_unknown_fields=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise TwirpError("malformed", "the json request could not be decoded") from None
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError) as error:
        # ParseDict lets some type confusions through as they happen. Its own words name the field.
        reason = f": {error}" if isinstance(error, json_format.ParseError) else ""
        raise TwirpError("malformed", f"the json request could not be decoded{reason}") from None


def encode(message: Message, encoding: Encoding) -> bytes:
    """Write an answer. JSON uses proto names and spells out default values."""
    if encoding is Encoding.PROTOBUF:
        return message.SerializeToString()
    return msgspec.json.encode(
        json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )
