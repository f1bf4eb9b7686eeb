"""The OpenAPI document of ``/api``, made from what the operations declare."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from greenroom import __version__
from greenroom.control._responses import Problem
from greenroom.operations import Operation, operation, operation_of

_REFS: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"{(\w+)(?::\w+)?}")
# What every operation may answer: the guard's refusals, and a client that sends what cannot be read.
_COMMON: Final = (400, 401, 403)


def openapi_document(routes: Iterable[Route], prefix: str = "/api") -> dict[str, Any]:
    """Return the document for these routes, mounted under ``prefix``."""
    found = [(route, declared) for route in routes if (declared := operation_of(route.endpoint)) is not None]
    types = [Problem, *(each for _, declared in found for each in (declared.takes, declared.answers) if each)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    known = {id(each): schema for each, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route, declared in found:
        path = _PARAMETER.sub(r"{\1}", prefix + route.path)
        for method in sorted(route.methods or ()):
            # HEAD is what GET answers, without the body.
            if method != "HEAD":
                paths.setdefault(path, {})[method.lower()] = _operation(route, method, declared, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Greenroom",
            "version": __version__,
            "description": "What Greenroom knows of your LiveKit agents, and what you can do about it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "greenroom_session"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        # On loopback nothing is asked for.
        "security": [{}, {"session": []}, {"bearer": []}],
    }


def openapi_route(routes: Iterable[Route]) -> Route:
    """Return the route that serves the document of these routes and of itself."""
    described = list(routes)
    encoded: list[bytes] = []

    @operation(Operation(summary="Return this document.", answers=dict[str, Any]))
    async def openapi(_request: Request) -> Response:
        if not encoded:
            encoded.append(msgspec.json.encode(openapi_document([*described, route])))
        return Response(encoded[0], media_type="application/json")

    route = Route("/openapi.json", openapi, methods=["GET"])
    return route


def _operation(route: Route, method: str, declared: Operation, known: dict[int, Any]) -> dict[str, Any]:
    name = _PARAMETER.sub(lambda match: match[1], route.path).strip("/").replace("/", "_").replace(".", "_")
    described: dict[str, Any] = {
        "operationId": f"{method.lower()}_{name}",
        "summary": declared.summary,
        "description": f"Asks for the role '{declared.scope}'.",
        "tags": [route.path.split("/")[1].partition(".")[0]],
        "parameters": [*_path_parameters(route), *_query_parameters(declared.query)],
        "responses": _responses(declared, known),
    }
    if declared.takes is not None:
        content = {"application/json": {"schema": known[id(declared.takes)]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _responses(declared: Operation, known: dict[int, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    success: dict[str, Any] = {"description": HTTPStatus(declared.status).phrase}
    if declared.answers is not None:
        success["content"] = {declared.media_type: {"schema": known[id(declared.answers)]}}
    elif declared.media_type != "application/json":
        success["content"] = {declared.media_type: {"schema": {"type": "string", "format": "binary"}}}
    answers[str(declared.status)] = success
    for status, why in declared.others.items():
        answers[str(status)] = {"description": why}
    problem = {"application/problem+json": {"schema": {"$ref": _REFS.format(name="Problem")}}}
    for status in sorted({*_COMMON, *declared.problems}):
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return answers


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(query: Any) -> list[dict[str, Any]]:
    if query is None:
        return []
    (schema,), components = msgspec.json.schema_components([query], ref_template=_REFS)
    properties = components[schema["$ref"].rpartition("/")[2]]
    required = properties.get("required", [])
    meanings = _meanings(query)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": shape,
            **({"description": meanings[name]} if name in meanings else {}),
        }
        for name, shape in properties["properties"].items()
    ]


def _meanings(kind: Any) -> dict[str, str]:
    """Read the ``:param name:`` lines of a docstring."""
    text = inspect.getdoc(kind) or ""
    found = re.findall(r":param (\w+): (.*?)(?=\n:param|\n\n|\Z)", text, re.DOTALL)
    return {name: " ".join(meaning.split()) for name, meaning in found}
