"""Reading the ``join_request`` query parameter."""

from __future__ import annotations

import base64
import contextlib
import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import rtc

from greenroom.server.signal._join_request import JoinRequestError, parse_join_request

pytestmark = pytest.mark.unit

LIMIT = 1024 * 1024
GZIP, NONE = rtc.WrappedJoinRequest.GZIP, rtc.WrappedJoinRequest.NONE
REQUEST = rtc.JoinRequest(
    metadata="é" * 40, publisher_offer=rtc.SessionDescription(type="offer", sdp="v=0\r\n" * 400, id=1)
)


def wrapped(body: bytes, compression: int = NONE) -> bytes:
    return rtc.WrappedJoinRequest(compression=compression, join_request=body).SerializeToString()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode])
@pytest.mark.parametrize("spoil", [lambda t: t, lambda t: t.rstrip("="), lambda t: t.replace("+", " ")])
def test_every_spelling_of_base64_is_read(compressed, encode, spoil):
    body = REQUEST.SerializeToString()
    data = wrapped(gzip.compress(body), GZIP) if compressed else wrapped(body)
    assert parse_join_request(spoil(encode(data).decode()), LIMIT) == REQUEST


@given(st.binary(max_size=300))
def test_a_round_trip_keeps_everything(payload):
    request = rtc.JoinRequest(metadata=payload.hex(), participant_sid="PA_x")
    for data in (wrapped(request.SerializeToString()), wrapped(gzip.compress(request.SerializeToString()), GZIP)):
        assert parse_join_request(base64.urlsafe_b64encode(data).decode(), LIMIT) == request


def test_fields_of_a_newer_client_are_ignored():
    unknown = b"\xfa\x3f\x03new"
    data = wrapped(REQUEST.SerializeToString() + unknown)
    assert parse_join_request(base64.b64encode(data).decode(), LIMIT).metadata == REQUEST.metadata


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xff\xff", "not a JoinRequest"),
        (wrapped(b"\xff\xff"), "not a JoinRequest"),
        (wrapped(b"no gzip", GZIP), "not gzip"),
        (wrapped(gzip.compress(REQUEST.SerializeToString(), mtime=0)[:-9], GZIP), "cut short"),
        (wrapped(b"", 7), "unknown compression"),
        (wrapped(b"x" * (LIMIT + 1)), "too large"),
        (wrapped(gzip.compress(b"x" * (LIMIT + 1), mtime=0), GZIP), "too large"),
    ],
)
def test_what_is_wrong_is_said(data, why):
    with pytest.raises(JoinRequestError, match=why):
        parse_join_request(base64.b64encode(data).decode(), LIMIT)


@pytest.mark.parametrize("text", ["%%%", "a", "é", "AAAA-_!!", "\x00"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(JoinRequestError, match="base64"):
        parse_join_request(text, LIMIT)


def test_a_bomb_is_not_unpacked():
    bomb = base64.b64encode(wrapped(gzip.compress(b"\x00" * 200_000_000, 9), GZIP)).decode()
    tracemalloc.start()
    with pytest.raises(JoinRequestError, match="too large"):
        parse_join_request(bomb, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * LIMIT


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(text):
    with contextlib.suppress(JoinRequestError):
        parse_join_request(text, LIMIT)
