"""Twirp's encodings, without HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit.protocol import models
from livekit.protocol import room as room_pb

from greenroom.server.twirp import TwirpError
from greenroom.server.twirp._wire import Encoding, decode, encode, encoding_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "header", ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;"]
)
def test_content_types_are_read_with_their_parameters_ignored(header: str) -> None:
    assert encoding_of(header) is Encoding.JSON


@pytest.mark.parametrize("header", ["", "text/plain", "application/x-www-form-urlencoded", "json"])
def test_other_content_types_have_no_route(header: str) -> None:
    with pytest.raises(TwirpError) as caught:
        encoding_of(header)
    assert (caught.value.code, caught.value.status) == ("bad_route", 404)


def test_json_is_read_in_both_cases_with_numbers_as_text_and_unknown_members() -> None:
    body = b'{"name":"lobby","emptyTimeout":"30","max_participants":2,"future":{"a":1},"agents":[{"agentName":"a"}]}'
    request = decode(room_pb.CreateRoomRequest, Encoding.JSON, body)
    assert isinstance(request, room_pb.CreateRoomRequest)
    assert (request.name, request.empty_timeout, request.max_participants) == ("lobby", 30, 2)
    assert request.agents[0].agent_name == "a"


def test_json_answers_use_proto_names_and_spell_out_defaults() -> None:
    answer = json.loads(encode(models.Room(sid="RM_1", creation_time=5), Encoding.JSON))
    assert answer["sid"] == "RM_1"
    assert answer["creation_time"] == "5"
    assert answer["num_participants"] == 0
    assert answer["active_recording"] is False
    assert answer["metadata"] == ""
    assert answer["enabled_codecs"] == []


def test_enums_are_names_and_bytes_are_base64() -> None:
    participant = models.ParticipantInfo(kind=models.ParticipantInfo.AGENT)
    assert json.loads(encode(participant, Encoding.JSON))["kind"] == "AGENT"
    request = decode(room_pb.SendDataRequest, Encoding.JSON, b'{"data":"aGk=","kind":"LOSSY"}')
    assert request == room_pb.SendDataRequest(data=b"hi", kind=models.DataPacket.LOSSY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"lobby"',
        b"{",
        b'{"name":5}',
        b'{"name":"a"}{"name":"b"}',
        b'{"emptyTimeout":-1}',
        b'{"emptyTimeout":99999999999}',
        b'{"agents":"front-desk"}',
        b'{"agents":5}',
        b'{"agents":[5]}',
        b'{"tags":[1]}',
        b'{"name":"\\ud800"}',
        b"\xff",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"egress":1}',
    ],
)
def test_json_that_is_no_request_is_malformed(body: bytes) -> None:
    with pytest.raises(TwirpError) as caught:
        decode(room_pb.CreateRoomRequest, Encoding.JSON, body)
    assert (caught.value.code, caught.value.status) == ("malformed", 400)


def test_protobuf_that_is_no_request_is_malformed() -> None:
    for body in (b"\xff", b"\x0a\x05ab", room_pb.CreateRoomRequest(name="lobby").SerializeToString()[:-1]):
        with pytest.raises(TwirpError) as caught:
            decode(room_pb.CreateRoomRequest, Encoding.PROTOBUF, body)
        assert caught.value.code == "malformed"


def outcome(encoding: Encoding, body: bytes) -> str:
    try:
        decode(room_pb.CreateRoomRequest, encoding, body)
    except TwirpError as error:
        return error.code
    return "read"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_names = st.sampled_from(["name", "emptyTimeout", "egress", "agents", "tags", "syncStreams", "room_preset", "metadata"])


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(_names, _json))
def test_any_json_object_is_a_request_or_malformed(members: dict[str, Any]) -> None:
    assert outcome(Encoding.JSON, json.dumps(members).encode()) in {"read", "malformed"}


@settings(deadline=None, max_examples=60)
@given(st.binary(), st.sampled_from(list(Encoding)))
def test_any_bytes_are_a_request_or_malformed(body: bytes, encoding: Encoding) -> None:
    assert outcome(encoding, body) in {"read", "malformed"}


def test_errors_are_json_without_empty_meta() -> None:
    assert json.loads(TwirpError("not_found", "gone").encode()) == {"code": "not_found", "msg": "gone"}
    assert json.loads(TwirpError("not_found", "gone", {"room": "a"}).encode()) == {
        "code": "not_found",
        "msg": "gone",
        "meta": {"room": "a"},
    }
