"""``greenroom control``: the control plane beside any LiveKit server."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom.cli._logs import configure_logging
from greenroom.cli._options import ControlOptions
from greenroom.cli._run import announce_ready, run
from greenroom.cli._settings import ControlTarget, control_target
from greenroom.cli.token import parse_duration
from greenroom.config import Limits
from greenroom.errors import ConfigError
from greenroom.link import ObservePolicy, When
from greenroom.server import listen, serve, url_of

_log = logging.getLogger("greenroom.control")

_WHEN: Final = tuple(str(when) for when in When)


@dataclass(kw_only=True)
class ControlRequest:
    """How the control plane is to work."""

    observe: str = "watched"
    share: float = 0.1
    recording: bool = True
    keep: str | None = None
    log_key: Path | None = None


def control_command(options: ControlOptions, request: ControlRequest) -> int:
    """Serve until told to stop. Raises :class:`GreenroomError`."""
    configure_logging(verbose=options.verbose)
    target = control_target(options)
    if request.observe not in _WHEN:
        raise ConfigError(f"--observe '{request.observe}' is unknown", fix=f"It is one of {', '.join(_WHEN)}")
    if not 0 <= request.share <= 1:
        raise ConfigError(f"--share {request.share:g} is no share", fix="Use a number from 0 to 1")
    return run(_serve(target, request))


async def _serve(target: ControlTarget, request: ControlRequest) -> int:
    opened = listen(target.bind, target.port)
    try:
        from greenroom.control import Access, PlaneSettings, control_app, open_plane  # noqa: PLC0415 - the port first

        access = Access(bind=target.bind, allowed_hosts=target.allowed_hosts, keys=target.keys)
        settings = PlaneSettings(
            data_dir=target.data_dir,
            observe=ObservePolicy(when=When(request.observe), share=request.share),
            recording=request.recording,
            retention=parse_duration(request.keep) if request.keep else None,
            signing_key=request.log_key,
        )
        async with open_plane(target.livekit, target.keys, access, settings) as plane:
            app = control_app(target.livekit, target.keys[0], access=access, plane=plane)

            def ready() -> None:
                announce_ready(url_of(opened))
                _log.info("serving", extra={"livekit": target.livekit, "data": str(target.data_dir)})

            await serve(app, opened, limits=Limits(), on_ready=ready, on_stop=plane.hang_up)
    finally:
        opened.close()
    return 0
