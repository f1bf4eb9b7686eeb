"""``greenroom top``: the fleet and its pools in a terminal, as ``/api`` tells of them, or a pool itself."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from greenroom.cli._api import Api, ApiError
from greenroom.cli._options import ApiOptions
from greenroom.cli.top._summary import ALIASES, SORTS, chosen, summary, summary_of_pool
from greenroom.cli.top._table import fitted, table
from greenroom.errors import ConfigError

__all__ = ["TopRequest", "chosen", "fitted", "summary", "summary_of_pool", "table", "top_command"]

_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END: Final = "\x1b[J"
_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
_BACK: Final = "\x1b[?25h\x1b[?1049l"
_FASTEST: Final = 0.1
_SLOWEST: Final = 3600.0
_SHOWN: Final = 200
_NOT_FOUND: Final = 404


@dataclass(kw_only=True)
class TopRequest:
    """What to show, and how often.

    ``agent``, ``tenant`` and ``status`` choose calls; ``sort`` is one of :data:`SORTS`. ``pool`` is the address of
    a pool that is asked itself.
    """

    once: bool = False
    as_json: bool = False
    every: float = 1.0
    sort: str | None = None
    agent: str | None = None
    tenant: str | None = None
    status: str | None = None
    pool: str | None = None


def top_command(options: ApiOptions, request: TopRequest) -> int:
    """Show the fleet until told to stop. Raises :class:`GreenroomError`."""
    if not _FASTEST <= request.every <= _SLOWEST:
        raise ConfigError(f"--every {request.every:g} is out of range", fix="Use seconds from 0.1 to 3600")
    sort = ALIASES.get(request.sort or "", request.sort or "")
    if sort and sort not in SORTS:
        raise ConfigError(f"--sort '{request.sort}' is unknown", fix=f"It is one of {', '.join(SORTS)}")
    if request.pool is not None:
        options = ApiOptions(url=request.pool, token=options.token)
    api = Api.of(options)
    look = _pool if request.pool is not None else _fleet

    def found() -> dict[str, Any]:
        return chosen(look(api), sort=sort, agent=request.agent, tenant=request.tenant, status=request.status)

    screen = sys.stdout.isatty() and not (request.once or request.as_json)
    if screen:
        sys.stdout.write(_SCREEN)
    try:
        while True:
            _show(found, request, where=api.url, screen=screen)
            if request.once:
                return 0
            time.sleep(request.every)
    except KeyboardInterrupt:
        return 0
    finally:
        if screen:
            sys.stdout.write(_BACK)
            sys.stdout.flush()


def _fleet(api: Api) -> dict[str, Any]:
    fleet = api.get("/fleet", dict[str, Any])
    live = api.get("/sessions", dict[str, Any], status="live", limit=_SHOWN)
    try:
        pools = api.get("/pools", dict[str, Any])["pools"]
    except ApiError as error:
        # An older control plane knows of none.
        if error.status not in (0, _NOT_FOUND):
            raise
        pools = []
    return summary(fleet, live.get("sessions", ()), pools)


def _pool(api: Api) -> dict[str, Any]:
    return summary_of_pool(api.get("/pool", dict[str, Any]))


def _show(found: Callable[[], dict[str, Any]], request: TopRequest, *, where: str, screen: bool) -> None:
    if request.as_json:
        text = msgspec.json.encode(found()).decode() + "\n"
    else:
        size = shutil.get_terminal_size()
        lines = table(found(), width=size.columns, where=where)
        if screen:
            lines = fitted(lines, size.lines)
            text = _HOME + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines[:-1]) + lines[-1] + _TO_END
        else:
            text = "".join(f"{line}\n" for line in lines) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()
