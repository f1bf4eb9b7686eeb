"""``greenroom server``: the embedded LiveKit-compatible server alone."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator

from greenroom.cli._options import ServerOptions
from greenroom.cli._run import announce_ready, begin_log, run
from greenroom.cli._settings import server_configuration, server_of
from greenroom.config import DEV_SECRET, ServerConfig
from greenroom.server import check_udp_port, listen, serve, url_of

_log = logging.getLogger("greenroom.server")


def run_server(options: ServerOptions) -> int:
    """Serve until told to stop. Raises :class:`GreenroomError`."""
    # Nothing that is imported from here on is ever garbage; looking for it would cost a tenth of the start.
    gc.disable()
    said = server_configuration(options)
    begin_log(said)
    return run(_serve(server_of(said, options)))


async def _serve(config: ServerConfig) -> int:
    check_udp_port(config.bind, config.rtc_port)
    opened = listen(config.bind, config.port)
    try:
        # Once the ports are known to be free.
        with _without_cryptography():
            from greenroom.server import Server  # noqa: PLC0415

        server = Server(config)
        await server.start()
        try:
            await serve(
                server.app,
                opened,
                limits=config.limits,
                on_ready=lambda: _ready(config, url_of(opened)),
                on_stop=server.stop,
            )
        finally:
            await server.stop()
    finally:
        opened.close()
    return 0


@contextlib.contextmanager
def _without_cryptography() -> Iterator[None]:
    """Hide the cryptography package from PyJWT, which takes it along wherever it happens to be installed.

    LiveKit's tokens need none of it: it would be a sixth of this program's memory and of its start.
    """
    if "cryptography" in sys.modules:
        yield
        return
    sys.modules["cryptography"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["cryptography"]


def _ready(config: ServerConfig, url: str) -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
    announce_ready(url)
    if any(key.secret == DEV_SECRET for key in config.keys):
        _log.info("serving with the development key", extra={"keys": ",".join(key.key for key in config.keys)})
    else:
        _log.info("serving", extra={"keys": ",".join(key.key for key in config.keys)})
