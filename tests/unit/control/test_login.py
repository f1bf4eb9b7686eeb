"""Who may do what: one-time addresses, sessions in browsers, tokens for programs, and the scopes of operations."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from greenroom.config import ApiKey
from greenroom.control import Access, PlaneSettings, control_app, open_plane
from greenroom.errors import TokenError
from greenroom.grants import VideoGrant, mint, mint_operator, verify_operator

pytestmark = pytest.mark.unit

KEY = ApiKey(key="prod", secret="a-secret-of-thirty-two-characters")
NOWHERE = "ws://127.0.0.1:1"
AT = "http://10.0.0.5:7870"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser somewhere else, before the control plane of a LiveKit server that is not up yet."""
    access = Access(bind="10.0.0.5", keys=(KEY,))
    async with open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)) as plane:
        app = control_app(NOWHERE, KEY, access=access, plane=plane)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AT) as opened:
            yield opened


def ticket(
    role: str = "read", *, key: ApiKey = KEY, purpose: str = "login", ttl: float = 300, name: str = "ada"
) -> str:
    return mint_operator(key, role, name=name, purpose=purpose, ttl=ttl)


async def test_an_address_opens_a_session_once(client: httpx.AsyncClient) -> None:
    given = ticket("operate")
    assert (await client.get("/api/me")).status_code == 401
    answer = await client.get("/login", params={"ticket": given})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax"))
    me = (await client.get("/api/me")).json()
    assert (me["name"], me["role"]) == ("ada", "operate")
    again = await client.get("/login", params={"ticket": given})
    assert again.status_code == 403
    assert "has been used" in again.text
    assert "set-cookie" not in again.headers


async def test_an_address_stays_used_across_a_restart(tmp_path: Path) -> None:
    given = ticket()
    access = Access(bind="10.0.0.5", keys=(KEY,))
    statuses = []
    for _ in range(2):
        async with open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)) as plane:
            app = control_app(NOWHERE, KEY, access=access, plane=plane)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AT) as opened:
                statuses.append((await opened.get("/login", params={"ticket": given})).status_code)
    assert statuses == [303, 403]


async def test_a_limited_key_before_the_one_that_signed_the_address_is_in_nobodys_way(tmp_path: Path) -> None:
    keys = (ApiKey(key="agency", secret=KEY.secret, agents=("front-*",)), KEY)
    access = Access(bind="10.0.0.5", keys=keys)
    async with open_plane(NOWHERE, keys, access, PlaneSettings(data_dir=tmp_path)) as plane:
        app = control_app(NOWHERE, KEY, access=access, plane=plane)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AT) as opened:
            assert (await opened.get("/login", params={"ticket": ticket()})).status_code == 303
            assert (await opened.get("/api/me")).json()["name"] == "ada"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        ticket(ttl=-1),
        ticket(purpose="api"),
        ticket(purpose="session"),
        ticket(key=ApiKey(key="prod", secret="another-secret-of-thirty-two-char")),
        ticket(key=ApiKey(key="unknown", secret=KEY.secret)),
    ],
)
async def test_no_other_token_opens_a_session(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/login", params={"ticket": given})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "<script" not in answer.text


async def test_a_session_ends_when_asked(client: httpx.AsyncClient) -> None:
    await client.get("/login", params={"ticket": ticket()})
    assert (await client.post("/api/logout", headers={"origin": AT})).status_code == 204
    assert (await client.get("/api/me")).status_code == 401


@pytest.mark.parametrize(("role", "status"), [("read", 403), ("operate", 404), ("admin", 404)])
async def test_acts_on_live_calls_need_their_role(client: httpx.AsyncClient, role: str, status: int) -> None:
    bearer = {"authorization": f"Bearer {ticket(role, purpose='api')}"}
    answer = await client.post("/api/sessions/AJ_none/end", json={}, headers=bearer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 403:
        assert answer.json()["code"] == "scope_missing"
        assert answer.json()["fix"] == "Log in with: greenroom login --role operate"
    assert (await client.get("/api/sessions", headers=bearer)).status_code == 200


@pytest.mark.parametrize("token", [ticket(purpose="login"), ticket(purpose="api", ttl=-1), "x"])
async def test_a_token_that_is_no_programs_is_refused(client: httpx.AsyncClient, token: str) -> None:
    answer = await client.get("/api/me", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "api_token_invalid")
    assert token not in answer.text or token == "x"


def test_a_limited_key_makes_no_operators_and_its_tokens_are_none() -> None:
    limited = ApiKey(key="prod", secret=KEY.secret, agents=("front-*",))
    with pytest.raises(TokenError, match="limited to some agents"):
        mint_operator(limited, "read", name="ada", purpose="api", ttl=60)
    with pytest.raises(TokenError, match="limited to some agents"):
        verify_operator(ticket(purpose="api"), [limited], "api")


def test_a_token_of_livekit_is_no_operators() -> None:
    with pytest.raises(TokenError, match="no token for Greenroom's API"):
        verify_operator(mint(KEY, video=VideoGrant(room_admin=True)), [KEY], "api")


def test_a_token_from_a_clock_ahead_is_not_valid_yet() -> None:
    token = mint_operator(KEY, "read", name="ada", purpose="api", ttl=60, now=time.time() + 600)
    with pytest.raises(TokenError, match="not valid yet"):
        verify_operator(token, [KEY], "api")
