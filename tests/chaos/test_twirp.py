"""Ten thousand hostile calls through the HTTP APIs: each gets an answer, and nothing is a defect.

The calls go straight into the server's ASGI application; every random choice comes from a seed.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from livekit.protocol import agent_dispatch, egress, ingress, room, sip

from greenroom._media import FakeEngine
from greenroom.config import ApiKey, Limits, ServerConfig
from greenroom.grants import SipGrant, VideoGrant, mint, verify
from greenroom.server import Server
from greenroom.server.room import Joining, Outgoing, Participant
from support import garbage

pytestmark = pytest.mark.chaos

CALLS = 10_000
KEY = ApiKey(key="chaoskey", secret="chaossecret-chaossecret-chaossecret")
LIMIT = 100_000
# The rooms that the garbage may administer; "x" is one of the names that garbage likes.
ROOMS = ("x", "")
METHODS: list[tuple[str, type[Message]]] = [
    (f"/twirp/{service.full_name}/{method.name}", GetMessageClass(method.input_type))
    for file in (room, agent_dispatch, egress, ingress, sip)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# The methods that do something are called as often as all those that only refuse.
FAVOURITES = [method for method in METHODS if "RoomService" in method[0] or "AgentDispatch" in method[0]]


@dataclass
class Request:
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    chunk: int = 65_536


class Witness:
    """A signalling connection on which nothing may happen."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self.closed = False

    def send(self, message: Outgoing) -> None:
        self.messages.append(message)

    def close(self) -> None:
        self.closed = True

    async def wait_closed(self) -> None: ...


def enter(server: Server, room_name: str, identity: str) -> tuple[Participant, Witness]:
    grant = verify(mint(KEY, identity=identity, video=VideoGrant(room_join=True, room=room_name)), (KEY,))
    witness = Witness()
    return server.rooms.join(server.rooms.create(room_name), Joining(grant=grant, identity=identity), witness), witness


def tokens() -> list[str]:
    everything = [
        mint(
            KEY,
            identity="mallory",
            video=VideoGrant(
                room_create=True,
                room_list=True,
                room_admin=True,
                room_record=True,
                ingress_admin=True,
                room=name,
                destination_room="../../etc/passwd",
            ),
            sip=SipGrant(admin=True, call=True),
        )
        for name in ROOMS
    ]
    return [*everything * 8, mint(KEY), mint(KEY, now=0), mint(ApiKey(key="who", secret="s")), "a.b.c", ""]


def spoil(rng: random.Random, kind: type[Message]) -> Message:
    message = garbage.invented(rng, kind)
    for name, values in (("room", ROOMS), ("name", ROOMS), ("identity", ("ann", "x", "")), ("data", (b"", b"x"))):
        known = message.DESCRIPTOR.fields_by_name.get(name)
        if known is not None and known.type in {known.TYPE_STRING, known.TYPE_BYTES} and rng.random() < 0.7:
            setattr(message, name, rng.choice(values))
    return message


def in_json(message: Message) -> bytes:
    try:
        return json_format.MessageToJson(message).encode()
    except json_format.SerializeToJsonError:
        # A timestamp out of range has no JSON.
        return b"{}"


def bodies(rng: random.Random, kind: type[Message]) -> tuple[str, bytes]:
    protobuf, json = "application/protobuf", "application/json"
    choices: tuple[Callable[[], tuple[str, bytes]], ...] = (
        lambda: (protobuf, spoil(rng, kind).SerializeToString()),
        lambda: (protobuf, garbage.noise(rng)),
        lambda: (protobuf, garbage.truncated(rng, spoil(rng, kind).SerializeToString())),
        lambda: (protobuf, garbage.mutated(rng, spoil(rng, kind).SerializeToString())),
        lambda: (json, in_json(spoil(rng, kind))),
        lambda: (json, garbage.truncated(rng, in_json(spoil(rng, kind)))),
        lambda: (json, garbage.mutated(rng, in_json(spoil(rng, kind)))),
        lambda: (json, garbage.text(rng).encode()),
        lambda: (json, mistyped(rng, kind)),
        lambda: (json, spoil(rng, kind).SerializeToString()),
        lambda: (protobuf, in_json(spoil(rng, kind))),
    )
    return rng.choice(choices)()


def mistyped(rng: random.Random, kind: type[Message]) -> bytes:
    """Return an object with the right names and any values."""
    values: tuple[Any, ...] = (None, True, -1, 1e300, "", "NaN", [], [[]], [None], {}, {"": {}}, {"room": []}, "\x00")
    names = [name for one in kind.DESCRIPTOR.fields for name in (one.name, one.json_name)]
    return msgspec.json.encode({rng.choice(names): rng.choice(values) for _ in range(rng.randint(1, 4))})


def requests(rng: random.Random) -> Iterator[Request]:
    bearers = tokens()
    for number in range(CALLS):
        path, kind = rng.choice(METHODS if rng.random() < 0.5 else FAVOURITES)
        content_type, body = bodies(rng, kind)
        if rng.random() < 0.02:
            path = rng.choice((path + "x", path.lower(), "/twirp/", "/twirp/livekit.Nothing/Nothing", path + "/"))
        if number % 500 == 0:
            body = b" " * (LIMIT + 1) + body
        headers = {
            "authorization": f"Bearer {rng.choice(bearers)}",
            "content-type": content_type if rng.random() < 0.97 else rng.choice(("", "text/plain", "a" * 9_000)),
            "content-length": rng.choice((str(len(body)), "", "-1", "9" * 5_000)),
            "x-livekit-request-id": rng.choice(("", "again", "é" * 2_000)),
            "x-twirp-timeout-ms": rng.choice(("", "0", "60000", "-5", "NaN", "9" * 400)),
        }
        yield Request(path, body, headers, chunk=rng.choice((1_000, 65_536)))


async def perform(server: Server, request: Request) -> tuple[int, bytes]:
    chunks = [request.body[start : start + request.chunk] for start in range(0, len(request.body), request.chunk)]
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        chunk = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        answer.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": request.path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()],
    }
    await server.app(scope, receive, send)
    return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])


def expected(status: int, body: bytes) -> bool:
    """Tell whether an answer is a result or a refusal that blames the caller or a missing backend."""
    if status == 200:
        return True
    refusal = msgspec.json.decode(body)
    if status == 500:
        return bool(refusal["msg"].endswith("not connected (redis required)"))
    return status in {400, 401, 403, 404, 412, 413, 429, 501} and bool(refusal["code"])


async def test_garbage_calls_are_answered_and_nothing_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random("twirp")
    caplog.set_level(logging.WARNING)
    config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, limits=Limits(api_body=LIMIT, rooms=50))
    server = Server(config, FakeEngine())
    await server.start()
    try:
        watched = [enter(server, "undisturbed", name) for name in ("ann", "bob")]
        before = [participant.info() for participant, _ in watched]
        statuses: Counter[int] = Counter()
        for request in requests(rng):
            # Somebody is always there to be updated, sent data and thrown out.
            if server.rooms.get("x") is None or "ann" not in server.rooms.create("x").participants:
                enter(server, "x", "ann")
            status, body = await perform(server, request)
            statuses[status] += 1
            assert expected(status, body), (request.path, request.headers, request.body[:500], status, body[:500])
        assert statuses.total() == CALLS
        # It was not all turned away at the door.
        assert min(statuses[status] for status in (200, 400, 401, 404, 413, 500, 501)) >= 10, statuses
        assert [record.getMessage() for record in caplog.records if record.exc_info] == []
        assert [participant.info() for participant, _ in watched] == before
        assert all(server.rooms.get("undisturbed") is participant.room for participant, _ in watched)
        for _, witness in watched:
            assert not witness.closed
            # What the room says of its own accord.
            assert {message.message.WhichOneof("message") for message in witness.messages} <= {
                "join",
                "update",
                "room_update",
                "refresh_token",
            }
    finally:
        await server.stop()
