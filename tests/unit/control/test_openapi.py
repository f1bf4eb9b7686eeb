"""The OpenAPI document says what the operations are, no more and no less."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.routing import Route

from greenroom.config import ApiKey
from greenroom.control import Access, PlaneSettings, control_app, open_plane
from greenroom.control._api import guarded

pytestmark = pytest.mark.unit

KEY = ApiKey(key="devkey", secret="secret")
NOWHERE = "ws://127.0.0.1:1"


async def test_every_operation_is_in_the_document_and_every_reference_leads_somewhere(tmp_path: Path) -> None:
    access = Access(keys=(KEY,))
    async with open_plane(NOWHERE, (KEY,), access, PlaneSettings(data_dir=tmp_path)) as plane:
        app = control_app(NOWHERE, KEY, access=access, plane=plane)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7870") as client:
            answer = await client.get("/api/openapi.json")
        mounted = next(route for route in app.routes if getattr(route, "path", "") == "/api")
        served = {(f"/api{route.path}", method) for route in mounted.routes for method in route.methods - {"HEAD"}}
    document = answer.json()
    described = {(path, method.upper()) for path, found in document["paths"].items() for method in found}
    assert described == served
    ids = [each["operationId"] for found in document["paths"].values() for each in found.values()]
    assert len(set(ids)) == len(ids)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert document["paths"]["/api/sessions"]["get"]["parameters"]


def references(part: object) -> set[str]:
    if isinstance(part, dict):
        found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return found.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_an_operation_that_does_not_say_who_may_is_not_served() -> None:
    async def forgotten(_request: object) -> Response:
        return Response()

    with pytest.raises(TypeError, match="/forgotten declares no operation"):
        guarded([Route("/forgotten", forgotten)])
