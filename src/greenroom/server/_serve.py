"""The HTTP port: opening it before anything else starts, and serving an ASGI application on it until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp

from greenroom.config import Limits
from greenroom.errors import ConfigError, PortInUseError
from greenroom.server._light import defer_uvicorn

_BACKLOG: Final = 2048
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
FORCED_EXIT: Final = 130


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Open the port: connections wait from now on until :func:`serve` takes them.

    :param port: 0 for any free one.
    :raises PortInUseError: when another program listens there.
    :raises ConfigError: when the address is not this machine's, or the port needs privileges.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"'{host}' is not an address: {error.strerror}", fix="Use an IP address of this machine"
        ) from None
    # Browsers and LiveKit clients try IPv4 for "localhost" whenever they try anything.
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise _bind_error(error, host, port, protocol="TCP", option=option) from None
    return opened


def check_udp_port(host: str, port: int, *, option: str = "--rtc-port") -> None:
    """Raise what :func:`listen` raises, if the UDP port cannot be opened. It is left closed."""
    if not port:
        return
    with contextlib.suppress(socket.gaierror):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind(address)
            except OSError as error:
                raise _bind_error(error, host, port, protocol="UDP", option=option) from None


def url_of(opened: socket.socket) -> str:
    """Return the URL at which this machine reaches the port."""
    host, port = opened.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


async def serve(
    app: ASGIApp,
    opened: socket.socket,
    *,
    limits: Limits,
    on_ready: Callable[[], None],
    on_stop: Callable[[], Awaitable[None]],
    before_stop: Callable[[], Awaitable[None]] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve ``app`` until SIGINT, SIGTERM or ``stop``; a second signal ends the program at once.

    :param on_ready: called when requests are answered.
    :param before_stop: awaited first, while new connections are still taken.
    :param on_stop: awaited when no new connection is taken any more and those there are still open.
    """
    # Importing uvicorn is a good part of the start, so it happens once the port is known to be free.
    defer_uvicorn()
    from greenroom.server._uvicorn import HttpServer  # noqa: PLC0415

    ending = stop or asyncio.Event()
    server = HttpServer(app, limits=limits, on_ready=on_ready, on_stop=on_stop)
    with _signals(ending):
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        waiting = asyncio.create_task(ending.wait())
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        if before_stop is not None:
            await before_stop()
        server.should_exit = True
        waiting.cancel()
        await serving


@contextlib.contextmanager
def _signals(ending: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if ending.is_set():
            os._exit(FORCED_EXIT)
        ending.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _bind_error(error: OSError, host: str, port: int, **where: Any) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(host, port, **where)
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"No interface of this machine has the address {host}", fix="Use --bind 127.0.0.1")
    if error.errno == errno.EACCES:
        return ConfigError(f"Port {port} needs privileges", fix=f"Use {where['option']} with a port from 1024 up")
    return ConfigError(f"Cannot listen on {host}:{port}: {error.strerror}", fix="Use another --bind")
