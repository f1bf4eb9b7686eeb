from __future__ import annotations

import json

import pytest

from greenroom.config import ApiKey, Limits
from greenroom.control import control_app
from greenroom.errors import ConfigError
from greenroom.grants import verify

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")


def claims_of(answer: dict[str, str]):
    return verify(answer["token"], [KEY]).claims


async def test_an_empty_request_gets_a_fresh_room_and_identity_each_time(client_of) -> None:
    client = await client_of()
    first, second = [(await client.post("/api/token", json={})).json() for _ in range(2)]

    assert first["room"] != second["room"]
    assert first["identity"] != second["identity"]
    claims = claims_of(first)
    assert claims.identity == first["identity"]
    assert claims.video.room_join
    assert claims.video.room == first["room"]
    assert claims.room_config is None


async def test_the_token_opens_one_room_and_nothing_else(client_of) -> None:
    video = claims_of((await (await client_of()).post("/api/token", json={"room": "lobby"})).json()).video

    assert video.room == "lobby"
    assert not any((video.room_create, video.room_list, video.room_admin, video.room_record, video.hidden, video.agent))
    assert not video.may_update_own_metadata


async def test_what_is_asked_for_is_in_the_token(client_of) -> None:
    asked = {
        "room": "lobby",
        "identity": "ada",
        "name": "Ada",
        "metadata": "vip",
        "agent_name": "front-desk",
        "agent_metadata": '{"floor": 3}',
    }
    answer = (await (await client_of()).post("/api/token", json=asked)).json()

    claims = claims_of(answer)
    assert (answer["room"], answer["identity"]) == ("lobby", "ada")
    assert (claims.identity, claims.name, claims.metadata) == ("ada", "Ada", "vip")
    (dispatch,) = claims.room_config.agents
    assert (dispatch.agent_name, dispatch.metadata) == ("front-desk", '{"floor": 3}')


@pytest.mark.parametrize(
    ("livekit_url", "options", "at", "url"),
    [
        ("http://127.0.0.1:7880", {}, "http://127.0.0.1:7880", "ws://127.0.0.1:7880"),
        ("https://lk.example.com/", {}, "http://127.0.0.1:7880", "wss://lk.example.com"),
        ("ws://127.0.0.1:7880", {"same_origin": True}, "http://localhost:9000", "ws://localhost:9000"),
    ],
)
async def test_the_answer_says_where_to_connect(client_of, livekit_url, options, at, url) -> None:
    client = await client_of(livekit_url, at=at, **options)
    assert (await client.post("/api/token", json={})).json()["url"] == url


async def test_nobody_may_keep_a_token(client_of) -> None:
    answer = await (await client_of()).post("/api/token", json={})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"{", "body_invalid", "truncated"),
        (b"[]", "body_invalid", "Expected `object`"),
        (b'{"room": 7}', "body_invalid", "Expected `str`, got `int` - at `$.room`"),
        (b'{"rooom": "x"}', "body_invalid", "unknown field `rooom`"),
        (b'{"room": "\xff"}', "body_invalid", "token request"),
        (b"[" * 100_000, "body_invalid", "token request"),
        (json.dumps({"room": "x" * 257}).encode(), "field_too_long", "'room' has 257 characters, 256 are allowed"),
        (json.dumps({"metadata": "x" * 600_000}).encode(), "field_too_long", "'metadata' has 600000 characters"),
        (b'{"agent_metadata": "x"}', "agent_name_missing", "without 'agent_name'"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(client_of, body, code, says) -> None:
    answer = await (await client_of()).post("/api/token", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"], problem["code"]) == (400, "Bad Request", code)
    assert says in problem["detail"]
    assert problem["fix"]


async def test_a_form_is_not_a_token_request(client_of) -> None:
    answer = await (await client_of()).post("/api/token", data={"room": "x"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_an_endless_body_is_cut_off(client_of) -> None:
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    answer = await (await client_of()).post(
        "/api/token", content=endless(), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"agent_name": "back-office"}, "agent_not_allowed"),
        ({"room": "vault", "agent_name": "front-desk"}, "room_not_allowed"),
    ],
)
async def test_the_policy_of_the_key_binds_the_page(client_of, asked, code) -> None:
    key = ApiKey(key="k", secret="s", agents=("front-*",), rooms=("playground-*",))
    client = await client_of(key=key)

    refused = await client.post("/api/token", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (403, code)
    assert (await client.post("/api/token", json={"agent_name": "front-desk"})).status_code == 200


async def test_limits_are_those_of_the_server(client_of) -> None:
    client = await client_of(limits=Limits(name=3))
    assert (await client.post("/api/token", json={"name": "abcd"})).json()["code"] == "field_too_long"


@pytest.mark.parametrize("url", ["", "127.0.0.1:7880", "ftp://x", "ws://"])
def test_a_url_that_is_not_livekits_is_refused_at_once(url) -> None:
    with pytest.raises(ConfigError, match="not a LiveKit URL"):
        control_app(url, KEY)
