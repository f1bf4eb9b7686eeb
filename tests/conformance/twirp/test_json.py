"""The HTTP APIs from a page or a shell: JSON, CORS, bodies over a socket."""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from greenroom._media import FakeEngine
from greenroom.grants import VideoGrant, mint
from support.twirp_stage import KEY, Stage

pytestmark = pytest.mark.conformance

EVERYTHING = VideoGrant(room_create=True, room_list=True, room_admin=True, room="lobby")
HEADERS = {"authorization": f"Bearer {mint(KEY, video=EVERYTHING)}"}


async def post(stage: Stage, method: str, service: str = "RoomService", **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=stage.url, headers=HEADERS) as http:
        return await http.post(f"/twirp/livekit.{service}/{method}", json=body)


async def test_rooms_in_json(stage: Stage) -> None:
    created = (await post(stage, "CreateRoom", name="lobby", emptyTimeout="30", max_participants=2)).json()
    assert created["sid"].startswith("RM_")
    assert (created["empty_timeout"], created["max_participants"], created["num_participants"]) == (30, 2, 0)
    assert created["creation_time"].isdigit()
    assert (created["active_recording"], created["enabled_codecs"]) == (False, [])
    assert (await post(stage, "ListRooms")).json() == {"rooms": [created]}
    assert (await post(stage, "DeleteRoom", room="lobby")).json() == {}
    missing = await post(stage, "DeleteRoom", room="lobby")
    assert (missing.status_code, missing.json()) == (
        404,
        {"code": "not_found", "msg": "requested room does not exist", "meta": {"room": "lobby"}},
    )


async def test_participants_in_json(stage: Stage) -> None:
    await stage.join("ann", kind="agent")
    (participant,) = (await post(stage, "ListParticipants", room="lobby")).json()["participants"]
    assert (participant["identity"], participant["kind"], participant["state"]) == ("ann", "AGENT", "ACTIVE")
    assert participant["permission"]["can_publish_sources"] == []
    assert participant["disconnect_reason"] == "UNKNOWN_REASON"


async def test_data_in_json_is_base64_and_a_nonce_is_honoured(stage: Stage) -> None:
    ann = await stage.join("ann")
    peer = ann.peer
    nonce = b64encode(uuid.uuid4().bytes).decode()
    for _ in range(2):
        sent = await post(stage, "SendData", room="lobby", data="aGk=", kind="LOSSY", topic="t", nonce=nonce)
        assert sent.json() == {}
    assert isinstance(stage.server.engine, FakeEngine)
    await stage.server.engine.settle()
    assert len(peer.received["_lossy"]) == 1
    refused = await post(stage, "SendData", room="lobby", data="aGk=", nonce="aGk=")
    assert refused.json()["msg"] == "nonce should be 16-bytes or not present, got: 2 bytes"


async def test_a_dispatch_in_json(stage: Stage) -> None:
    made = await post(stage, "CreateDispatch", "AgentDispatchService", room="lobby", agent_name="front-desk")
    assert (made.json()["agent_name"], made.json()["restart_policy"]) == ("front-desk", "JRP_ON_FAILURE")


@pytest.mark.parametrize(
    "path", ["/twirp/livekit.Connector/DialWhatsAppCall", "/twirp/livekit.RoomService/Nothing", "/twirp/livekit"]
)
async def test_a_service_livekit_does_not_serve_has_no_route(stage: Stage, path: str) -> None:
    async with httpx.AsyncClient(base_url=stage.url, headers=HEADERS) as http:
        response = await http.post(path, json={})
    assert (response.status_code, response.json()["code"]) == (404, "bad_route")


async def test_a_page_from_anywhere_may_call(stage: Stage) -> None:
    origin = {"origin": "https://elsewhere.example"}
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    path = "/twirp/livekit.RoomService/ListRooms"
    async with httpx.AsyncClient(base_url=stage.url, headers=origin) as http:
        preflight = await http.options(path, headers=wanted)
        granted = await http.post(path, json={}, headers=HEADERS)
        denied = await http.post(path, json={})
    assert preflight.status_code in {200, 204}
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    for response in (preflight, granted, denied):
        assert response.headers.get_list("access-control-allow-origin") == ["*"]
    assert (granted.status_code, denied.status_code) == (200, 401)


async def _endless(sent: list[int]) -> AsyncIterator[bytes]:
    while True:
        sent.append(1024 * 1024)
        yield b"x" * 1024 * 1024


async def test_a_body_over_ten_mebibytes_is_refused(stage: Stage) -> None:
    path = f"{stage.url}/twirp/livekit.RoomService/ListRooms"
    headers = {**HEADERS, "content-type": "application/json"}
    async with httpx.AsyncClient(headers=headers) as http:
        for content in (b"x" * (10 * 1024 * 1024 + 1), b"x" * (40 * 1024 * 1024)):
            response = await http.post(path, content=content)
            assert (response.status_code, response.json()["code"]) == (413, "resource_exhausted")
        assert (await http.post(path, content=b"{}")).status_code == 200


async def test_an_endless_body_is_cut_off(stage: Stage) -> None:
    path = f"{stage.url}/twirp/livekit.RoomService/ListRooms"
    sent: list[int] = []
    async with httpx.AsyncClient(headers={**HEADERS, "content-type": "application/json"}) as http:
        try:
            response = await http.post(path, content=_endless(sent))
            assert response.status_code == 413
        except httpx.TransportError:
            pass
    assert sum(sent) < 200 * 1024 * 1024


async def test_a_body_without_a_token_is_not_read(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stage.url.rsplit(":", 1)[1]))
    writer.write(
        b"POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n{"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()
