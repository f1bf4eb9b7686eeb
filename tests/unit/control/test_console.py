from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<meta property="csp-nonce" nonce="__CSP_NONCE__"><title>Greenroom</title>')
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-abc123.js").write_text("export {}")
    return tmp_path


async def test_the_page_is_served_and_never_kept(client_of, build) -> None:
    answer = await (await client_of(static=build)).get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    assert "<title>Greenroom</title>" in answer.text


async def test_head_is_answered_as_livekit_clients_expect(client_of, build) -> None:
    answer = await (await client_of(static=build)).head("/")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_hashed_assets_are_kept_for_good_and_other_files_are_not(client_of, build) -> None:
    client = await client_of(static=build)
    asset, icon = await client.get("/assets/index-abc123.js"), await client.get("/favicon.svg")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-type"].startswith("text/javascript")
    assert icon.headers["cache-control"] == "no-cache"


async def test_the_policy_allows_the_page_the_livekit_server_and_nothing_else(client_of, build) -> None:
    answer = await (await client_of("wss://lk.example.com:7443/x", static=build)).get("/")
    policy = answer.headers["content-security-policy"]
    assert "connect-src 'self' wss://lk.example.com:7443 https://lk.example.com:7443;" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_the_nonce_is_fresh_and_the_one_in_the_page(client_of, build) -> None:
    client = await client_of(static=build)
    seen = set()
    for _ in range(2):
        answer = await client.get("/")
        nonce = re.search(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])[1]
        assert f'nonce="{nonce}"' in answer.text
        seen.add(nonce)
    assert len(seen) == 2


async def test_a_page_that_was_not_built_says_how_to_build_it(client_of, tmp_path) -> None:
    client = await client_of(static=tmp_path / "static")
    answer = await client.get("/")
    assert answer.status_code == 503
    assert "make setup" in answer.text
    assert (await client.head("/")).status_code == 200
    assert (await client.get("/assets/x.js")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/index.html", "/../pyproject.toml", "/%2e%2e/%2e%2e/pyproject.toml", "/assets", "/assets/"]
)
async def test_only_the_files_of_the_build_are_served(client_of, build, path) -> None:
    assert (await (await client_of(static=build)).get(path)).status_code == 404
