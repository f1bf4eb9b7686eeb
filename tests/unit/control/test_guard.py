from __future__ import annotations

import pytest

pytestmark = pytest.mark.unit


async def get(client, **headers: str):
    return await client.get("/api/agents", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("host", ["localhost:7880", "127.0.0.1:7880", "[::1]:7880", "127.0.0.1", "LOCALHOST:1"])
async def test_loopback_names_are_served(client_of, host) -> None:
    assert (await get(await client_of(), host=host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example:7880", "localhost.evil.example", "192.168.1.9:7880", "", "127.0.0.1.nip.io"]
)
async def test_a_rebound_name_is_refused(client_of, host) -> None:
    answer = await get(await client_of(), host=host)
    assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed")


async def test_a_name_can_be_allowed(client_of) -> None:
    client = await client_of(allowed_hosts=["Green.example"], api_token="t0ken")
    assert (await get(client, host="green.example:7880", authorization="Bearer t0ken")).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"host": "green.example"}, {"host": "127.0.0.1:7880", "x_forwarded_for": "203.0.113.9"}]
)
async def test_what_comes_through_a_proxy_needs_a_login_on_loopback_too(client_of, headers) -> None:
    answer = await get(await client_of(allowed_hosts=["green.example"]), **headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "login_required")


async def test_behind_a_wildcard_address_any_ip_address_is_ours_but_no_name_is(client_of) -> None:
    client = await client_of(bind="0.0.0.0", api_token="t0ken")
    allowed = await get(client, host="192.168.1.9:7880", authorization="Bearer t0ken")
    rebound = await get(client, host="evil.example:7880", authorization="Bearer t0ken")
    assert (allowed.status_code, rebound.status_code) == (200, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://localhost:7880"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_pages_of_other_sites_are_refused(client_of, headers) -> None:
    answer = await get(await client_of(), host="127.0.0.1:7880", **headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:7880", "http://127.0.0.1:7880"),
        ("localhost", "http://localhost"),
        ("localhost", "https://localhost"),
        ("[::1]:7880", "http://[::1]:7880"),
    ],
)
async def test_our_own_page_is_served(client_of, host, origin) -> None:
    answer = await get(await client_of(), host=host, origin=origin, sec_fetch_site="same-origin")
    assert answer.status_code == 200


async def test_a_preflight_is_not_answered(client_of) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = await (await client_of()).options("/api/token", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/api/token", "/api/agents"])
async def test_without_a_login_nothing_is_given_to_other_machines(client_of, path) -> None:
    client = await client_of(bind="10.0.0.5", at="http://10.0.0.5:7880")
    answer = await client.request("POST" if path.endswith("token") else "GET", path)
    assert (answer.status_code, answer.json()["code"]) == (401, "login_required")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "greenroom login" in answer.json()["fix"]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("Bearer t0ken", 200), ("bearer t0ken", 200), ("Bearer wrong", 401), ("Basic t0ken", 401), ("", 401)],
)
@pytest.mark.parametrize("bind", ["10.0.0.5", "127.0.0.1"])
async def test_a_configured_token_is_asked_for_everywhere(client_of, bind, authorization, status) -> None:
    client = await client_of(bind=bind, at=f"http://{bind}:7880", api_token="t0ken")
    answer = await get(client, authorization=authorization)
    assert answer.status_code == status
    assert "t0ken" not in answer.text


@pytest.mark.parametrize("path", ["/", "/api/agents", "/api/nothing", "/nothing", "/assets/nothing.js"])
async def test_every_answer_tells_browsers_to_stay_strict(client_of, path) -> None:
    answer = await (await client_of()).get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/token", 405), ("GET", "/api/none", 404)])
async def test_what_does_not_exist_is_a_problem_too(client_of, method, path, status) -> None:
    answer = await (await client_of()).request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
