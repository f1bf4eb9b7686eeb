"""Twirp over HTTP: routing, tokens, bodies, errors and CORS, on a tiny service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from livekit.protocol import models
from livekit.protocol import room as room_pb
from starlette.applications import Starlette

from greenroom.config import ApiKey, Limits
from greenroom.errors import GreenroomError
from greenroom.grants import VideoGrant, mint
from greenroom.server.twirp import Call, Method, Service, TwirpError, twirp_routes

pytestmark = pytest.mark.unit

KEY = ApiKey(key="APIkey", secret="a secret of more than thirty-two bytes")
TOKEN = mint(KEY, identity="caller", video=VideoGrant(room_create=True))
PATH = "/twirp/test.Rooms/Create"
LIMIT = 10_000

Handler = Callable[[Call, Any], Awaitable[models.Room]]


async def echo(call: Call, request: room_pb.CreateRoomRequest) -> models.Room:
    assert call.grant is not None
    return models.Room(name=request.name, metadata=f"{call.grant.claims.identity} {call.request_id}".strip())


def client(handler: Handler = echo, *, token: str | None = TOKEN) -> httpx.AsyncClient:
    service = Service("test.Rooms", {"Create": Method(room_pb.CreateRoomRequest, handler)})
    app = Starlette(routes=twirp_routes([service], [KEY], Limits(api_body=LIMIT)))
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://greenroom", headers=headers)


def failing(error: BaseException) -> Handler:
    async def handler(_: Call, __: object) -> models.Room:
        raise error

    return handler


def refused(response: httpx.Response) -> tuple[int, str, str]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    return response.status_code, body["code"], body["msg"]


async def test_json_in_json_out() -> None:
    async with client() as http:
        response = await http.post(PATH, json={"name": "lobby"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["name"] == "lobby"
    assert response.json()["num_participants"] == 0


async def test_protobuf_in_protobuf_out() -> None:
    body = room_pb.CreateRoomRequest(name="lobby").SerializeToString()
    async with client() as http:
        response = await http.post(PATH, content=body, headers={"content-type": "application/protobuf"})
    assert response.headers["content-type"] == "application/protobuf"
    assert models.Room.FromString(response.content).name == "lobby"


async def test_a_large_message_is_read_too() -> None:
    service = Service("test.Rooms", {"Create": Method(room_pb.CreateRoomRequest, echo)})
    app = Starlette(routes=twirp_routes([service], [KEY], Limits()))
    name = "n" * 1_000_000
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://greenroom") as http:
        response = await http.post(PATH, json={"name": name}, headers={"authorization": f"Bearer {TOKEN}"})
    assert response.json()["name"] == name


async def test_the_request_id_reaches_the_method() -> None:
    async with client() as http:
        response = await http.post(PATH, json={}, headers={"X-Livekit-Request-Id": "abc"})
    assert response.json()["metadata"] == "caller abc"


async def test_the_token_may_be_in_the_query() -> None:
    async with client(token=None) as http:
        response = await http.post(f"{PATH}?access_token={TOKEN}", json={})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "path", ["/twirp/test.Rooms/Delete", "/twirp/test.Room/Create", "/twirp/Create", "/twirp/", "/twirp/test.Rooms/"]
)
async def test_an_unknown_method_has_no_route(path: str) -> None:
    async with client() as http:
        response = await http.post(path, json={})
    status, code, message = refused(response)
    assert (status, code) == (404, "bad_route")
    assert message == f"no handler for path '{path}'"
    assert response.json()["meta"] == {"twirp_invalid_route": f"POST {path}"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_post_has_a_route(method: str) -> None:
    async with client() as http:
        response = await http.request(method, PATH)
    assert refused(response)[:2] == (404, "bad_route")


async def test_another_content_type_has_no_route() -> None:
    async with client() as http:
        response = await http.post(PATH, content=b"name=lobby", headers={"content-type": "text/plain"})
    assert refused(response)[:2] == (404, "bad_route")


async def test_a_body_that_cannot_be_read_is_malformed() -> None:
    async with client() as http:
        response = await http.post(PATH, content=b"{", headers={"content-type": "application/json"})
    assert refused(response)[:2] == (400, "malformed")


async def test_a_call_without_token_is_denied() -> None:
    async with client(token=None) as http:
        response = await http.post(PATH, json={})
    assert refused(response) == (401, "unauthenticated", "permissions denied")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Basic eA==", "invalid authorization header. Must start with Bearer "),
        ("Bearer x", "invalid authorization token: not a signed JWT"),
        ("Bearer " + mint(ApiKey(key="other", secret="s")), "invalid API key"),
        ("Bearer " + mint(KEY, now=0), "invalid authorization token: it has expired (exp)"),
    ],
)
async def test_a_bad_token_is_refused_with_the_reason(header: str, message: str) -> None:
    async with client(token=None) as http:
        response = await http.post(PATH, json={}, headers={"authorization": header})
    assert refused(response) == (401, "unauthenticated", message)


async def test_the_errors_of_a_method_reach_the_client() -> None:
    async with client(failing(TwirpError("not_found", "gone", {"room": "lobby"}))) as http:
        response = await http.post(PATH, json={})
    assert refused(response) == (404, "not_found", "gone")
    assert response.json()["meta"] == {"room": "lobby"}


async def test_an_error_a_person_can_mend_is_no_server_failure() -> None:
    async with client(failing(GreenroomError("cannot now", context={"room": 5}))) as http:
        response = await http.post(PATH, json={})
    assert refused(response) == (412, "failed_precondition", "cannot now")
    assert response.json()["meta"] == {"room": "5"}


async def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with client(failing(RuntimeError("what the caller said"))) as http:
        response = await http.post(PATH, json={})
    assert refused(response) == (500, "internal", "the server failed; its log says why")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "twirp method failed"


async def chunks(total: int, taken: list[int]) -> AsyncIterator[bytes]:
    for _ in range(total):
        taken.append(1)
        yield b"x" * 1000


async def test_a_body_over_the_limit_is_refused_before_it_is_all_there() -> None:
    headers = {"content-type": "application/json"}
    async with client() as http:
        announced = await http.post(PATH, content=b"x" * (LIMIT + 1), headers=headers)
        streamed = await http.post(PATH, content=chunks(12, []), headers=headers)
    for response in (announced, streamed):
        assert refused(response) == (413, "resource_exhausted", f"the request body is larger than {LIMIT} bytes")


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    taken: list[int] = []
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 1024 * 1024, "more_body": True}

    async def send(message: Any) -> None:
        messages.append(message)

    service = Service("test.Rooms", {"Create": Method(room_pb.CreateRoomRequest, echo)})
    app = Starlette(routes=twirp_routes([service], [KEY], Limits(api_body=LIMIT)))
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    assert messages[0]["status"] == 413
    assert len(taken) < 100


async def test_a_body_at_the_limit_is_read() -> None:
    body = b'{"name":"' + b"n" * (LIMIT - 11) + b'"}'
    assert len(body) == LIMIT
    async with client() as http:
        response = await http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200


async def test_a_client_that_leaves_while_sending_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    service = Service("test.Rooms", {"Create": Method(room_pb.CreateRoomRequest, echo)})
    app = Starlette(routes=twirp_routes([service], [KEY], Limits(api_body=LIMIT)))
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None: ...

    await app(scope, receive, send)
    assert caplog.records == []


async def test_a_call_past_its_deadline_is_given_up() -> None:
    started = asyncio.Event()

    async def forever(_: Call, __: object) -> models.Room:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with client(forever) as http:
        response = await http.post(PATH, json={}, headers={"X-Twirp-Timeout-Ms": "10"})
    assert started.is_set()
    assert refused(response)[:2] == (408, "deadline_exceeded")


@pytest.mark.parametrize("deadline", ["", "0", "soon", "-1", "9" * 50, "²"])
async def test_a_deadline_that_is_none_is_ignored(deadline: str) -> None:
    async with client() as http:
        headers = httpx.Headers({"X-Twirp-Timeout-Ms": deadline}, encoding="latin-1")
        response = await http.post(PATH, json={}, headers=headers)
    assert response.status_code == 200
