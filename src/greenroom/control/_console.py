"""The page: static files built from ``console/``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from greenroom.control._guard import page_policy

STATIC: Final = Path(__file__).parent / "static"
_NONCE: Final = "__CSP_NONCE__"
_FOREVER: Final = "public, max-age=31536000, immutable"
_MISSING: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Greenroom: the page is not built</title>
<h1>The page is not built</h1>
<p>Everything else of this server works. In the clone that it runs from, build the page with:</p>
<pre>make setup</pre>
</html>
"""


def console_routes(connect: Sequence[str], static: Path = STATIC) -> list[BaseRoute]:
    """Return the routes that serve the page. LiveKit clients probe ``/``, so ``HEAD /`` never fails.

    :param connect: origins that the page may connect to, beside its own.
    :param static: where the build is; read anew for each request, so a rebuild needs no restart.
    """

    async def index(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache"}
        try:
            page = (static / "index.html").read_text()
        except OSError:
            status = 200 if request.method == "HEAD" else 503
            return HTMLResponse(_MISSING, status_code=status, headers=headers)
        nonce = secrets.token_urlsafe(16)
        headers["Content-Security-Policy"] = page_policy(connect, nonce)
        return HTMLResponse(page.replace(_NONCE, nonce), headers=headers)

    return [
        Route("/", index, methods=["GET", "HEAD"]),
        Mount("/assets", _Files(static / "assets", cache=_FOREVER)),
        Mount("/", _Files(static, cache="no-cache")),
    ]


class _Files(StaticFiles):
    """Static files under one caching rule, and no index."""

    def __init__(self, directory: Path, *, cache: str) -> None:
        super().__init__(directory=directory, check_dir=False)
        # Without a build each file is a 404, not an error of the server.
        self.config_checked = True
        self._cache = cache

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path == "index.html":
            # Only the route that fills in the nonce may serve it.
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = self._cache
        return response
