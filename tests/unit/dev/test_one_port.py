"""Which application answers which path."""

from __future__ import annotations

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from greenroom.dev._run import OnePort

pytestmark = pytest.mark.unit


def named(name: str, seen: list[str]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(name)

    return app


@pytest.mark.parametrize(
    ("path", "application"),
    [
        ("/rtc", "livekit"),
        ("/rtc/v1", "livekit"),
        ("/rtc/v1/validate", "livekit"),
        ("//rtc", "livekit"),
        ("/agent", "livekit"),
        ("/twirp/livekit.RoomService/ListRooms", "livekit"),
        ("/", "page"),
        ("", "page"),
        ("/agents", "page"),
        ("/rtcx", "page"),
        ("/api/token", "page"),
        ("/assets/rtc/x.js", "page"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_livekit_s_paths_go_to_the_server_and_all_others_to_the_page(
    path: str, application: str, kind: str
) -> None:
    seen: list[str] = []
    port = OnePort(named("livekit", seen), named("page", seen))
    await port({"type": kind, "path": path}, None, None)  # type: ignore[arg-type]
    assert seen == [application]


@pytest.mark.parametrize("path", ["/", "//", ""])
async def test_a_probe_of_the_root_is_livekit_s_for_clients_on_pages_of_any_origin(path: str) -> None:
    seen: list[str] = []
    port = OnePort(named("livekit", seen), named("page", seen))
    await port({"type": "http", "method": "HEAD", "path": path}, None, None)  # type: ignore[arg-type]
    await port({"type": "http", "method": "GET", "path": path}, None, None)  # type: ignore[arg-type]
    assert seen == ["livekit", "page"]
