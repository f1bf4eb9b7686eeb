"""Before the upgrade: every refusal is an HTTP status with a body, and validation says the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import websockets
from livekit.protocol import room as room_pb
from livekit.protocol import rtc

from greenroom.config import ApiKey, Limits, RoomDefaults, ServerConfig
from greenroom.server import Server
from support.serving import running_server
from support.signal_client import SignalClient, encode_join_request, join_request, token

pytestmark = pytest.mark.conformance

KEY = ApiKey(key="devkey", secret="secret")
FORGED = ApiKey(key="devkey", secret="x")
FRONT = ApiKey(key="front", secret="secret", rooms=("front-*",))


@dataclass
class Running:
    server: Server
    url: str

    async def upgrade(self, path: str = "/rtc/v1", query: str = "", bearer: str | None = None) -> tuple[int, str]:
        """Try to upgrade; returns the status and the body of the refusal."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
        url = f"{self.url.replace('http', 'ws')}{path}?{query}"
        try:
            async with websockets.connect(url, additional_headers=headers, compression=None, max_queue=None):
                return 101, ""
        except websockets.InvalidStatus as error:
            return error.response.status_code, error.response.body.decode()

    async def get(self, path: str, query: str = "", bearer: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
        async with httpx.AsyncClient(headers=headers) as client:
            return await client.request(options.pop("method", "GET"), f"{self.url}{path}?{query}", **options)


@contextlib.asynccontextmanager
async def running(**config: Any) -> AsyncIterator[Running]:
    settings = ServerConfig(**{"keys": (KEY, FRONT), "port": 0, "rtc_port": 0, **config})
    async with running_server(config=settings) as (server, url):
        yield Running(server, url)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as here:
        yield here


WANTED = f"join_request={encode_join_request(join_request())}"
GOOD = token()

REFUSALS = {
    "no token": ("/rtc/v1", WANTED, None, 401, "permissions denied"),
    "garbage": ("/rtc/v1", WANTED, "garbage", 401, "invalid authorization token"),
    "wrong secret": (
        "/rtc/v1",
        WANTED,
        token(key=FORGED),
        401,
        "invalid authorization token",
    ),
    "unknown key": ("/rtc/v1", WANTED, token(key=ApiKey(key="who", secret="x")), 401, "invalid API key"),
    "expired": ("/rtc/v1", WANTED, token(now=1_000_000, ttl=60), 401, "expired"),
    "no roomJoin": ("/rtc/v1", WANTED, token(video={"room_join": False}), 401, "permissions denied"),
    "no identity": ("/rtc/v1", WANTED, token(""), 400, "identity"),
    "no room": ("/rtc/v1", WANTED, token(room=""), 400, "no room name"),
    "long room": ("/rtc/v1", WANTED, token(room="r" * 257), 400, "room name"),
    "no join_request": ("/rtc/v1", "", GOOD, 400, "join_request is required"),
    "bad join_request": ("/rtc/v1", "join_request=%25%25", GOOD, 400, "base64"),
    "dual": ("/rtc", "auto_subscribe=1&sdk=go", GOOD, 404, "dual peer connection"),
    "dual resume": ("/rtc", "reconnect=1&sid=PA_x", GOOD, 404, "dual peer connection"),
    "policy": ("/rtc/v1", WANTED, token(key=FRONT), 401, "API key"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_is_a_status_and_a_body_and_validation_agrees(server, case):
    path, query, bearer, status, text = REFUSALS[case]
    got, body = await server.upgrade(path, query, bearer)
    assert got == status
    assert text in body
    assert "requested room does not exist" not in body
    validation = await server.get(f"{path}/validate", query, bearer)
    # livekit-client retries without end where both say 404.
    assert (validation.status_code, validation.text) == (403 if got == 404 else got, body)
    assert validation.headers["access-control-allow-origin"] == "*"
    assert server.server.rooms.list() == []


async def test_an_authorization_of_another_scheme_is_refused(server):
    answer = await server.get("/rtc/v1/validate", WANTED, headers={"Authorization": "Basic abc"})
    assert answer.status_code == 401
    assert answer.text == "invalid authorization header. Must start with Bearer "


@pytest.mark.parametrize("path", ["/rtc/v1/validate", "/rtc/validate", "//rtc/v1/validate"])
@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_good_request_validates(server, path, where):
    query = WANTED if where == "header" else f"access_token={GOOD}&{WANTED}"
    answer = await server.get(path, query, GOOD if where == "header" else None)
    assert (answer.status_code, answer.text) == (200, "success")
    assert server.server.rooms.list() == []


async def test_an_unknown_room_is_404_where_rooms_are_not_made_by_joining():
    async with running(room=RoomDefaults(auto_create=False)) as server:
        assert await server.upgrade(query=WANTED, bearer=GOOD) == (404, "requested room does not exist")
        assert (await server.upgrade(query=WANTED, bearer=token(video={"room_create": True})))[0] == 101


async def test_a_full_room_is_503(server):
    server.server.rooms.create("lobby", request=room_pb.CreateRoomRequest(max_participants=1))
    alice = await SignalClient.connect(server.url)
    assert await server.upgrade(query=WANTED, bearer=token("bob")) == (503, "room has exceeded its max participants")
    await alice.leave()


@pytest.mark.parametrize("limits", [Limits(participants=1), Limits(rooms=1)])
async def test_a_full_server_is_503_and_validation_knows(limits):
    async with running(limits=limits) as server:
        alice = await SignalClient.connect(server.url)
        bob = token("bob", "another room")
        status, why = await server.upgrade(query=WANTED, bearer=bob)
        assert status == 503
        validation = await server.get("/rtc/v1/validate", WANTED, bob)
        assert (validation.status_code, validation.text) == (status, why)
        await alice.leave()


async def test_a_full_server_lets_those_inside_come_back():
    async with running(limits=Limits(participants=1, rooms=1)) as server:
        before = await SignalClient.connect(server.url)
        after = await SignalClient.connect(server.url)
        assert [participant.sid for participant in server.server.rooms.participants] == [after.sid]
        await after.leave()
        await before.close()


async def test_own_metadata_needs_permission(server):
    query = f"join_request={encode_join_request(join_request(metadata='m'))}"
    assert (await server.upgrade(query=query, bearer=GOOD))[0] == 401
    assert (await server.upgrade(query=query, bearer=token(video={"can_update_own_metadata": True})))[0] == 101


@pytest.mark.parametrize("path", ["/rtc", "/rtc/v1"])
async def test_a_plain_get_on_a_websocket_path_is_404_and_empty(server, path):
    answer = await server.get(path, WANTED, GOOD)
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("path", ["/nothing", "/rtc/v2", "/rtc/v1/x"])
async def test_unknown_paths_are_404_for_http_and_websocket(server, path):
    assert (await server.get(path)).status_code == 404
    assert (await server.upgrade(path, WANTED, GOOD))[0] == 404


async def test_a_doubled_slash_is_one_slash(server):
    assert (await server.upgrade("//rtc/v1", WANTED, GOOD))[0] == 101


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers_probes(server, method):
    answer = await server.get("/", method=method)
    assert answer.status_code == 200
    assert answer.text == ("OK" if method == "GET" else "")


async def test_a_page_of_any_origin_may_ask(server):
    headers = {
        "Origin": "https://page.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await server.get("/twirp/livekit.RoomService/ListRooms", method="OPTIONS", headers=headers)
    assert answer.status_code in {200, 204}
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "86400"


async def test_a_long_join_request_fits_into_the_url(server):
    request = join_request(add_track_requests=[rtc.AddTrackRequest(cid=f"{n:x}" * 40) for n in range(1000)])
    query = f"join_request={encode_join_request(request, compressed=False)}"
    assert len(query) > 64_000
    assert (await server.upgrade(query=query, bearer=GOOD))[0] == 101


UPGRADE = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        f"POST /rtc/v1 HTTP/1.1\r\n{UPGRADE}\r\n",
        f"GET /rtc/v1 HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n",
        f"GET /rtc/v1 HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Version: 13\r\n\r\n",
        f"GET /rtc/v1?a=\xe9 HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "GET /rtc/v1 HTTP/9.9\r\n\r\n",
        "\x00\x01\x02\r\n\r\n",
    ],
    ids=["post", "short-key", "no-key", "latin-1", "version", "noise"],
)
async def test_a_broken_upgrade_is_refused_without_a_traceback(server, request_, caplog):
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_.encode("latin-1"))
    async with asyncio.timeout(10):
        status = await reader.readline()
        await reader.read()
    writer.close()
    assert status.split()[1][:1] == b"4"
    assert "Traceback" not in caplog.text
    assert (await server.get("/")).status_code == 200


async def test_a_bomb_is_refused(server):
    query = f"join_request={encode_join_request(join_request(metadata='m' * 5_000_000))}"
    status, body = await server.upgrade(query=query, bearer=GOOD)
    assert (status, "too large" in body) == (400, True)
