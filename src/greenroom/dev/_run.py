"""``greenroom dev``: the embedded server, the page and the agents, in one program under one HTTP port."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from greenroom.config import DEV_SECRET, RecordSettings, ServerConfig
from greenroom.dev._cast import Cast
from greenroom.errors import ConfigError, MissingExtraError
from greenroom.pool.discovery import Discovery
from greenroom.pool.settings import PoolSettings
from greenroom.server import check_udp_port, listen, serve, url_of

if TYPE_CHECKING:
    from socket import socket

    from starlette.types import ASGIApp, Receive, Scope, Send

    from greenroom.pool.supervisor import Output

_log = logging.getLogger("greenroom.dev")

EXAMPLES: Final = Path(__file__).parent / "agents"
NOTHING_RUNS: Final = 2
_LIVEKIT: Final = frozenset({"rtc", "agent", "twirp", "greenroom"})


class DevConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What ``greenroom dev`` is told.

    :param path: an agent's file or a directory; ``None`` is the packaged example.
    :param reload: restart agents when their files are saved.
    :param open_page: open the page in a browser once it answers.
    :param log_level: what agents log at least.
    :param record: how the record of calls is kept.
    :param pool: how the agents run; where, with which key and which files is for ``dev`` to say.
    """

    server: ServerConfig
    pool: PoolSettings
    record: RecordSettings = RecordSettings()
    path: Path | None = None
    reload: bool = True
    open_page: bool = False
    log_level: str = "INFO"


class OnePort:
    """Two applications under one port: LiveKit's paths go to the server, all others to the page.

    They share nothing but this, and the root: a page for who looks at it, and a sign of life for LiveKit's
    browser clients. These probe it with HEAD from pages of any origin, which the page would not answer.
    """

    def __init__(self, livekit: ASGIApp, page: ASGIApp) -> None:
        self._livekit = livekit
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        first = scope["path"].lstrip("/").partition("/")[0] if "path" in scope else ""
        probe = not first and scope.get("method") == "HEAD"
        await (self._livekit if probe or first in _LIVEKIT else self._page)(scope, receive, send)


async def run_dev(
    config: DevConfig,
    on_ready: Callable[[str], None],
    *,
    on_output: Callable[[Output], None] | None = None,
    cost_of: Callable[[Mapping[str, Any]], float | None] | None = None,
) -> int:
    """Run until told to stop, and return the exit status.

    :param on_ready: called with the URL once calls can come in.
    :param on_output: is given each line that agents print.
    :param cost_of: the price in USD of LiveKit's usage by model.
    :raises GreenroomError: for what a person has to mend before anything is started.
    """
    server = config.server
    server.validate()
    discovery = Discovery(config.path or EXAMPLES)
    survey = discovery.require_agents()
    _require_livekit_agents()
    check_udp_port(server.bind, server.rtc_port)
    opened = listen(server.bind, server.port)
    _prepare(server.data_dir)
    stop = asyncio.Event()
    try:
        settings = _pool_settings(config, url_of(opened))
        agents = Cast(discovery, survey, settings, on_failed=stop.set, on_output=on_output, cost_of=cost_of)
        # Agents take seconds to import what they need. The server is there long before they ask for it.
        try:
            await agents.start()
            await _serve(config, opened, agents, on_ready, stop)
        finally:
            await agents.stop()
    finally:
        opened.close()
    return NOTHING_RUNS if agents.failed else 0


def _pool_settings(config: DevConfig, url: str) -> PoolSettings:
    return msgspec.structs.replace(
        config.pool,
        url=url.replace("http", "ws", 1),
        key=config.server.keys[0],
        paths=(config.path or EXAMPLES,),
        dev=True,
        log_level=config.log_level,
        shards=config.pool.shards or 1,
        host="127.0.0.1",
        port=config.pool.port or 0,
        observability=url,
        watch=config.reload,
        swap=True,
    )


async def _serve(
    config: DevConfig,
    opened: socket,
    agents: Cast,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    from greenroom.control import Access, PlaneSettings, control_app, open_plane  # noqa: PLC0415 - agents start meanwhile
    from greenroom.server import Server  # noqa: PLC0415

    url = url_of(opened)
    access = Access(bind=config.server.bind, keys=config.server.keys)
    settings = PlaneSettings.of(config.server.data_dir, config.record)
    async with open_plane(url, config.server.keys, access, settings) as plane:
        page = control_app(
            url,
            config.server.keys[0],
            agents=agents.listings,
            access=access,
            plane=plane,
            same_origin=True,
            limits=config.server.limits,
        )

        def ready() -> None:
            on_ready(url)
            _announce(config, url, agents.names)
            if config.open_page:
                asyncio.get_running_loop().run_in_executor(None, webbrowser.open, url)

        async def end_agents() -> None:
            # First: their last words to their rooms need a server, their uploads the control plane.
            _log.info("stopping", extra={"source": "dev"})
            await agents.stop()

        async def end() -> None:
            await server.stop()
            await plane.hang_up()

        server = Server(_told_to_tell(config.server, url))
        await server.start()
        try:
            app = OnePort(server.app, page)
            await serve(
                app,
                opened,
                limits=config.server.limits,
                on_ready=ready,
                before_stop=end_agents,
                on_stop=end,
                stop=stop,
            )
        finally:
            await server.stop()


def _told_to_tell(server: ServerConfig, url: str) -> ServerConfig:
    """Let the server tell the control plane beside it what it would tell any other."""
    webhook = msgspec.structs.replace(server.webhook, urls=(*server.webhook.urls, f"{url}/webhooks/livekit"))
    return msgspec.structs.replace(server, webhook=webhook, observability_url=server.observability_url or url)


def _announce(config: DevConfig, url: str, agents: Sequence[str]) -> None:
    key = config.server.keys[0]
    livekit = f"{url.replace('http', 'ws', 1)}  key {key.key}"
    if key.secret == DEV_SECRET:
        # Known to everybody, and only ever on loopback.
        livekit += f"  secret {key.secret}"
    example = "" if config.path else "  (the packaged example; yours: greenroom dev PATH)"
    for what, value in (
        ("page", url),
        ("LiveKit", livekit),
        ("agents", ", ".join(agents) + example),
        ("stop", "Ctrl-C"),
    ):
        _log.info("%s", f"{what:<8} {value}", extra={"source": "dev"})


def _require_livekit_agents() -> None:
    try:
        found = importlib.util.find_spec("livekit.agents")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError("greenroom dev", "agents")


def _prepare(data_dir: Path) -> None:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nobody wants it in a repository.
        ignore = data_dir / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ConfigError(
            f"Cannot write to '{data_dir}': {error.strerror}", fix="Name a directory of yours with --data-dir"
        ) from None
